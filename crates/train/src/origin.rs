//! What a run starts from: a package that was put into it, or a new default model with the text
//! tower of the run's own text stage.

use std::path::Path;

use mmovseg_model::{MmOvSeg, ModelConfig};
use mmovseg_text::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::import::{self, Imported};
use crate::run::{StageOptions, result};
use crate::start;
use crate::tensors;
use crate::words::Words;

/// Prompt of the default model: the class name alone, on which the text tower was distilled.
pub const NANO_TEMPLATE: &str = "{}";

/// Sizes of the three towers of the default model, where a run trains others than the package's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TowerSize {
    /// Channels of a token, a multiple of 32.
    pub width: usize,
    /// Blocks, 3 at least.
    pub layers: usize,
}

/// Where a run keeps the sizes of its towers.
const SIZE_FILE: &str = "towers.json";

impl TowerSize {
    /// Writes the sizes into a run.
    ///
    /// # Errors
    /// When they fit no tower, or the file cannot be written.
    pub fn write(self, run: &Path) -> Result<(), TrainError> {
        let path = run.join(SIZE_FILE);
        if self.width == 0 || !self.width.is_multiple_of(32) || self.layers < 3 {
            let what = "towers have a multiple of 32 channels and at least 3 blocks";
            return Err(TrainError::content(&path)(what));
        }
        let json = serde_json::to_vec(&self).map_err(TrainError::content(&path))?;
        std::fs::write(&path, json).map_err(TrainError::file(&path, tensors::NO_ROOM))
    }

    fn read(run: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run.join(SIZE_FILE)).ok()?).ok()
    }

    /// Sets widths, depths, heads of 32 channels, and taps at the same depths as in the default
    /// model.
    fn apply(self, config: &mut ModelConfig) {
        let Self { width, layers } = self;
        let taps = [layers * 2 / 5 - 1, layers * 4 / 5 - 1];
        let heads = width / 32;
        for encoder in &mut config.encoders {
            (encoder.width, encoder.layers, encoder.heads) = (width, layers, heads);
            encoder.taps = taps.to_vec();
            if !encoder.is_clip() {
                encoder.taps.push(layers - 1);
            }
        }
    }
}

/// Weights, tokenizer and prompt that a run starts from.
pub(crate) struct Origin {
    /// The weights that the run starts from.
    pub model: MmOvSeg,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its prompt, with `{}` for the class name.
    pub template: String,
    /// Whether the weights of the towers and the head come from a package.
    pub has_weights: bool,
}

impl Origin {
    /// Opens what the run starts from.
    pub fn open(options: &StageOptions) -> Result<Self, TrainError> {
        let device = options.device.clone().autodiff();
        device.seed(options.seed);
        let Some(imported) = Imported::open(&options.run)? else {
            let model = MmOvSeg::new(&ModelConfig::nano(), &device)
                .map_err(|e| TrainError::content(&options.run)(e))?;
            let (model, tokenizer) = with_text_of(&options.run, model)?;
            return Ok(Self {
                model,
                tokenizer,
                template: NANO_TEMPLATE.into(),
                has_weights: false,
            });
        };
        let config = config_of(&options.run, Some(&imported));
        let old = MmOvSeg::new(&imported.config, &device)
            .map_err(|e| TrainError::content(&options.run)(e))?;
        let old = result(&options.run, import::FOLDER, old)?;
        let (model, tokenizer) = if config == imported.config {
            (old, imported.tokenizer)
        } else {
            let model =
                MmOvSeg::new(&config, &device).map_err(|e| TrainError::content(&options.run)(e))?;
            let model = start::take_over(model, old)?;
            if has_text(&options.run) {
                with_text_of(&options.run, model)?
            } else {
                (model, imported.tokenizer)
            }
        };
        Ok(Self {
            model,
            tokenizer,
            template: imported.manifest.prompt_template,
            has_weights: TowerSize::read(&options.run).is_none(),
        })
    }

    /// Whether this is a released variant, which learns by the paper's own recipe.
    pub fn is_released(&self) -> bool {
        self.model.config().variant != "nano"
    }

    /// The words of all label sets.
    pub fn words(&self) -> Result<Words, TrainError> {
        Words::embed(&self.model, &self.tokenizer, &self.template)
    }

    /// The model after the first of `stages` that was run here; without any, a package's weights.
    /// A model that started from nothing must have been through `needed`.
    pub fn after(
        self,
        options: &StageOptions,
        stages: &[&str],
        needed: &str,
    ) -> Result<MmOvSeg, TrainError> {
        let done = stages.iter().find(|stage| options.run.join(stage).exists());
        if !self.has_weights && !options.run.join(needed).exists() {
            return result(&options.run, needed, self.model);
        }
        match done {
            Some(stage) => result(&options.run, stage, self.model),
            None => Ok(self.model),
        }
    }
}

/// Whether the run has a text stage of its own.
pub(crate) fn has_text(run: &Path) -> bool {
    run.join("text").join("text.safetensors").exists()
}

/// The sizes that a run trains: a package's, but a default model of older sizes grows to today's;
/// its text tower does where the run has one. [`TowerSize::write`] chooses other towers.
pub(crate) fn config_of(run: &Path, imported: Option<&Imported>) -> ModelConfig {
    let mut config = ModelConfig::nano();
    if let Some(Imported { config: old, .. }) = imported {
        if old.variant != config.variant {
            return old.clone();
        }
        if !has_text(run) {
            config.text = old.text.clone();
        }
    }
    if let Some(size) = TowerSize::read(run) {
        size.apply(&mut config);
    }
    config
}

/// The model with the text tower of the run, and its tokenizer.
fn with_text_of(run: &Path, model: MmOvSeg) -> Result<(MmOvSeg, Tokenizer), TrainError> {
    let folder = run.join("text");
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).map_err(|source| TrainError::File {
        path: path.clone(),
        source,
        hint: "run the stage `text` first",
    })?;
    let tokenizer = Tokenizer::from_json(&json)?;
    let path = folder.join("text.safetensors");
    let mut tensors = tensors::read(&path)?;
    let wanted = model.parameter_shapes();
    for (name, (shape, _)) in &tensors {
        if wanted.get(name) != Some(shape) {
            return Err(TrainError::content(&path)(format!(
                "{name} {shape:?} is not a tensor of this text tower"
            )));
        }
    }
    Ok((model.load(&mut tensors), tokenizer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{TowerSize, config_of};
    use mmovseg_model::ModelConfig;

    #[test]
    fn sizes_of_todays_towers_change_nothing_and_others_are_valid() {
        let run = tempfile::tempdir().unwrap();
        let size = |width, layers| TowerSize { width, layers };
        size(96, 5).write(run.path()).unwrap();
        assert_eq!(config_of(run.path(), None), ModelConfig::nano());
        for (width, layers) in [(128, 6), (160, 7), (192, 8)] {
            size(width, layers).write(run.path()).unwrap();
            config_of(run.path(), None).validate().unwrap();
        }
        assert!(size(100, 5).write(run.path()).is_err());
    }
}
