//! The book-keeping of one stage: resume, schedule, loss log, checkpoints.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::{Module, ParamId};
use burn::optim::{AdamWConfig, ModuleOptimizer};
use mmovseg_model::MmOvSeg;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::tensors::{self, NO_ROOM};

/// What every vision stage is told.
#[derive(Clone)]
pub struct StageOptions {
    /// Folder with `eurosat_rgb` and `s1s2_pairs`.
    pub data: PathBuf,
    /// Folder of the run; the stages find one another's results in it.
    pub run: PathBuf,
    /// Optimiser steps.
    pub steps: usize,
    /// Samples a step.
    pub batch: usize,
    /// Samples computed together; the parts of a batch run side by side. Another size gives other
    /// gradients in the last places, and where the share of labelled pixels differs between parts.
    pub part: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learn from this many samples only, over and over: shows whether a recipe can learn at all.
    pub samples: Option<usize>,
    /// Seed of weights and data.
    pub seed: u64,
    /// Where to compute, without gradients.
    pub device: burn::tensor::Device,
    /// Called with each line of progress.
    pub progress: fn(&str),
}

impl StageOptions {
    /// The book-keeping of the stage `name`.
    pub(crate) fn plan(&self, name: &str) -> Plan {
        Plan {
            folder: self.run.join(name),
            steps: self.steps,
            learning_rate: self.learning_rate,
            seed: self.seed,
            progress: self.progress,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    steps: usize,
    seed: u64,
}

/// The mean of a stage's last weights, beside its checkpoint.
pub(crate) const AVERAGE_FILE: &str = "average.bpk";
/// What `torch/train.py` gave.
const TORCH_FILE: &str = "weights.safetensors";
/// The states of the optimisers, beside the checkpoint.
const OPTIMIZER_FILES: [&str; 2] = ["optimizer.bpk", "optimizer-slow.bpk"];
/// Steps between two checkpoints.
const CHECKPOINT_STEPS: usize = 100;
/// How a stage turns gradients into steps, beyond its highest learning rate.
pub(crate) struct Recipe {
    /// Of AdamW.
    pub weight_decay: f32,
    /// Of AdamW.
    pub beta_2: f32,
    /// Share of the steps with a rising learning rate.
    pub warm_up: f64,
    /// Last learning rate over the highest.
    pub last: f64,
    /// Norm that all gradients together are held to.
    pub clip_norm: Option<f32>,
    /// Parameters with a learning rate of their own.
    pub slow: Option<Slow>,
}

/// Parameters with a learning rate of their own.
pub(crate) struct Slow {
    /// Whether a checkpoint name is one.
    pub is: fn(&str) -> bool,
    /// Their learning rate over that of the others.
    pub factor: f64,
}

impl Recipe {
    /// For the default model.
    pub const OURS: Self = Self {
        weight_decay: 0.02,
        beta_2: 0.98,
        warm_up: 0.04,
        last: 0.01,
        clip_norm: None,
        slow: None,
    };

    /// The ids of the parameters with a learning rate of their own.
    pub fn slow_ids(&self, model: &MmOvSeg) -> HashSet<ParamId> {
        let Some(slow) = &self.slow else {
            return HashSet::new();
        };
        model
            .parameter_ids()
            .into_iter()
            .filter(|(name, _)| (slow.is)(name))
            .map(|(_, id)| id)
            .collect()
    }

    fn optimizer(&self) -> ModuleOptimizer {
        AdamWConfig::new()
            .with_beta_2(self.beta_2)
            .with_epsilon(1e-8)
            .with_weight_decay(self.weight_decay)
            .init()
    }
}

/// The optimiser, and that of the parameters with a learning rate of their own.
pub(crate) struct Optimizers {
    pub main: ModuleOptimizer,
    pub slow: Option<ModuleOptimizer>,
}

/// What a stage's book-keeping is told.
pub(crate) struct Plan {
    /// Where the stage keeps its files.
    pub folder: PathBuf,
    /// Optimiser steps.
    pub steps: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Seed of weights and data.
    pub seed: u64,
    /// Called with each line of progress.
    pub progress: fn(&str),
}

/// A stage under way.
pub(crate) struct Run {
    plan: Plan,
    losses: File,
    started: Instant,
    first: usize,
    warm_up: f64,
    last: f64,
}

impl Run {
    /// Starts a stage, or goes on where it stopped: the module and the optimiser are replaced by
    /// the last checkpoint's.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds a run of another length or seed.
    pub(crate) fn start<M: Module>(
        plan: Plan,
        recipe: &Recipe,
        module: M,
    ) -> Result<(Self, M, Optimizers), TrainError> {
        let folder = &plan.folder;
        std::fs::create_dir_all(folder).map_err(TrainError::file(folder, NO_ROOM))?;
        let mut optimizers = Optimizers {
            main: recipe.optimizer(),
            slow: recipe.slow.as_ref().map(|_| recipe.optimizer()),
        };
        let mut module = module;
        let mut first = 0;
        let path = folder.join("state.json");
        if path.exists() {
            let bytes = std::fs::read(&path).map_err(TrainError::file(&path, NO_ROOM))?;
            let state: State =
                serde_json::from_slice(&bytes).map_err(TrainError::content(&path))?;
            if (state.steps, state.seed) != (plan.steps, plan.seed) {
                let what = format!(
                    "it belongs to a run of {} steps with seed {}",
                    state.steps, state.seed
                );
                return Err(TrainError::Content { path, what });
            }
            module = module
                .try_load_file(folder.join("model.bpk"))
                .map_err(TrainError::content(folder))?;
            optimizers.main = optimizers
                .main
                .load(folder.join(OPTIMIZER_FILES[0]))
                .map_err(TrainError::content(folder))?;
            if let Some(slow) = optimizers.slow.take() {
                let loaded = slow.load(folder.join(OPTIMIZER_FILES[1]));
                optimizers.slow = Some(loaded.map_err(TrainError::content(folder))?);
            }
            first = state.step;
        }
        let path = folder.join("losses.jsonl");
        let losses = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(TrainError::file(&path, NO_ROOM))?;
        let run = Self {
            plan,
            losses,
            started: Instant::now(),
            first,
            warm_up: recipe.warm_up,
            last: recipe.last,
        };
        Ok((run, module, optimizers))
    }

    /// Where the stage keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.plan.folder
    }

    /// The step to go on with.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// Linear warm-up, then half a cosine.
    #[must_use]
    pub fn learning_rate(&self, step: usize) -> f64 {
        let at = (step + 1) as f64 / self.plan.steps.max(1) as f64;
        let factor = if at < self.warm_up {
            at / self.warm_up
        } else {
            let turn = std::f64::consts::PI * (at - self.warm_up) / (1.0 - self.warm_up);
            0.5 * (1.0 + self.last + (1.0 - self.last) * turn.cos())
        };
        self.plan.learning_rate * factor
    }

    /// Logs named losses of a step.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn log(&mut self, step: usize, losses: &[(&str, f32)]) -> Result<(), TrainError> {
        let mut line = serde_json::Map::new();
        line.insert("step".into(), step.into());
        line.insert(
            "seconds".into(),
            self.started.elapsed().as_secs_f64().into(),
        );
        for (name, value) in losses {
            line.insert((*name).into(), (*value).into());
        }
        let path = self.plan.folder.join("losses.jsonl");
        writeln!(self.losses, "{}", serde_json::Value::Object(line))
            .map_err(TrainError::file(&path, NO_ROOM))?;
        let text: Vec<String> = losses
            .iter()
            .map(|(name, value)| format!("{name} {value:.4}"))
            .collect();
        (self.plan.progress)(&format!(
            "step {step} of {}: {}",
            self.plan.steps,
            text.join(", ")
        ));
        Ok(())
    }

    /// Whether it is time to save after a step, as it is at the end.
    #[must_use]
    pub fn is_checkpoint(&self, step: usize) -> bool {
        (step + 1).is_multiple_of(CHECKPOINT_STEPS) || step + 1 == self.plan.steps
    }

    /// Saves the state after a step.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub(crate) fn checkpoint<M: Module>(
        &self,
        step: usize,
        module: &M,
        optimizers: &Optimizers,
    ) -> Result<(), TrainError> {
        let done = step + 1;
        // The state file is written last: without it a half-written checkpoint is not picked up.
        let path = self.plan.folder.join("state.json");
        if path.exists() {
            std::fs::remove_file(&path).map_err(TrainError::file(&path, NO_ROOM))?;
        }
        module
            .valid()
            .save_file(self.plan.folder.join("model.bpk"))
            .map_err(TrainError::content(self.folder()))?;
        let all = std::iter::once(&optimizers.main).chain(&optimizers.slow);
        for (optimizer, name) in all.zip(OPTIMIZER_FILES) {
            optimizer
                .save(self.plan.folder.join(name))
                .map_err(TrainError::content(self.folder()))?;
        }
        let state = State {
            step: done,
            steps: self.plan.steps,
            seed: self.plan.seed,
        };
        let text = serde_json::to_vec(&state).map_err(TrainError::content(&path))?;
        std::fs::write(&path, text).map_err(TrainError::file(&path, NO_ROOM))
    }
}

/// What the stage `name` of a run gave, in place of `module`'s own weights: the mean of its last
/// weights where it kept one, its own or that of `torch/train.py`.
///
/// # Errors
/// When the stage has not been run.
pub fn result<M: Module>(run: &Path, name: &str, module: M) -> Result<M, TrainError> {
    let folder = run.join(name);
    let by_torch = folder.join(TORCH_FILE);
    if by_torch.exists() {
        return tensors::read_into(module, &by_torch);
    }
    let average = folder.join(AVERAGE_FILE);
    let path = if average.exists() {
        average
    } else {
        folder.join("model.bpk")
    };
    if !path.exists() {
        return Err(TrainError::Content {
            path,
            what: format!("it is missing: run the stage `{name}` first"),
        });
    }
    module
        .try_load_file(&path)
        .map_err(TrainError::content(&path))
}
