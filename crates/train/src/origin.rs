//! What a run starts from: a package that was put into it, or a new default model with the text tower of the
//! run's own text stage.

use std::path::Path;

use mmovseg_model::{MmOvSeg, ModelConfig};
use mmovseg_text::Tokenizer;

use crate::TrainError;
use crate::import::{self, Imported};
use crate::run::{StageOptions, result};
use crate::start;
use crate::tensors;
use crate::words::Words;

/// Prompt of the default model: the class name alone, on which the text tower was distilled.
pub const NANO_TEMPLATE: &str = "{}";

/// Weights, tokenizer and prompt that a run starts from.
pub(crate) struct Origin {
    /// The weights that the run starts from.
    pub model: MmOvSeg,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its prompt, with `{}` for the class name.
    pub template: String,
    /// Whether all weights come from a package.
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
            has_weights: true,
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

/// The sizes that a run trains: a package's, but a default model of older sizes grows to today's; its
/// text tower does where the run has one.
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
