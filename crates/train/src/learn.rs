//! The loop of every vision stage: samples ahead of time, gradients of the parts of a batch side by
//! side, the optimiser's step, the running mean, checkpoints.

use std::collections::HashSet;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use mmovseg_model::MmOvSeg;

use crate::TrainError;
use crate::average::Average;
use crate::batch::Batch;
use crate::data::sample::{Sample, Square};
use crate::prefetch::{Draw, Prefetch};
use crate::run::{Recipe, Run, StageOptions};

/// Steps between two lines of the log.
pub(crate) const LOG_STEPS: usize = 10;

/// What a stage minimises, and the terms it logs.
pub(crate) struct Loss {
    pub total: Tensor<1>,
    pub terms: Vec<(&'static str, Tensor<1>)>,
}

/// Runs a stage from its last checkpoint to its end: `draw` makes a sample, `loss` judges the model
/// on a batch at a step.
pub(crate) fn learn(
    name: &str,
    options: &StageOptions,
    recipe: &Recipe,
    model: MmOvSeg,
    draw: impl Draw,
    loss: impl Fn(&MmOvSeg, &Batch, usize) -> Loss + Sync,
) -> Result<(), TrainError> {
    let slow = recipe.slow_ids(&model);
    let (mut run, mut model, mut optimizers) = Run::start(options.plan(name), recipe, model)?;
    let square = Square::of(model.config());
    let mut average = Average::open(&run, options.steps, &model)?;
    // One thread is enough: a step takes far longer than its samples.
    let mut samples_of_step =
        Prefetch::start(options, square, run.first(), 1, draw, |_, batch| batch)?;
    for step in run.first()..options.steps {
        let samples = samples_of_step.next()?;
        let logs = step % LOG_STEPS == 0 || step + 1 == options.steps;
        let (gradients, terms) = gradients(&model, &samples, options, logs, |model, batch| {
            loss(model, batch, step)
        });
        let rate = run.learning_rate(step);
        let (gradients, slow_gradients) = split(gradients, &model, &slow, recipe.clip_norm);
        model = optimizers.main.step(rate, model, gradients);
        if let (Some(optimizer), Some(slow)) = (&mut optimizers.slow, &recipe.slow) {
            model = optimizer.step(rate * slow.factor, model, slow_gradients);
        }
        if logs {
            run.log(step, &terms)?;
        }
        average.take(step, &model)?;
        if run.is_checkpoint(step) {
            average.save(&run, &model)?;
            run.checkpoint(step, &model, &optimizers)?;
        }
    }
    Ok(())
}

/// Mean gradients of a batch, its parts computed side by side: most tensor operations of the CPU
/// backend use one thread. The mean of each logged term goes with them.
fn gradients(
    model: &MmOvSeg,
    samples: &[Sample],
    options: &StageOptions,
    logs: bool,
    loss: impl Fn(&MmOvSeg, &Batch) -> Loss + Sync,
) -> (GradientsParams, Vec<(&'static str, f32)>) {
    let device = options.device.clone().autodiff();
    let parts: Vec<&[Sample]> = samples
        .chunk_by(|a, b| a.kind == b.kind)
        .flat_map(|same| same.chunks(options.part.max(1)))
        .collect();
    let judge = |part: &[Sample]| {
        let share = part.len() as f64 / samples.len() as f64;
        // Parts that shared an autodiff graph would wait for one another; a fork has its own.
        let model = model.clone().fork(&device);
        let batch = Batch::new(part, model.config().head.grid, &device)?;
        let loss = loss(&model, &batch);
        let terms: Vec<(&'static str, f32)> = if logs {
            loss.terms
                .into_iter()
                .map(|(name, term)| (name, term.into_scalar::<f32>()))
                .collect()
        } else {
            Vec::new()
        };
        let gradients = GradientsParams::from_grads((loss.total * share).backward(), &model);
        Some((gradients, terms, share as f32))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .iter()
            .map(|part| scope.spawn(|| judge(part)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut sum = GradientsAccumulator::new();
    // Not every part has every term.
    let mut means: Vec<(&'static str, f32, f32)> = Vec::new();
    for (gradients, terms, share) in results.into_iter().flatten() {
        sum.accumulate(model, gradients);
        for (name, value) in terms {
            match means.iter_mut().find(|mean| mean.0 == name) {
                Some((_, sum, of)) => {
                    *sum += value * share;
                    *of += share;
                }
                None => means.push((name, value * share, share)),
            }
        }
    }
    let means = means
        .into_iter()
        .map(|(name, sum, of)| (name, sum / of))
        .collect();
    (sum.grads(), means)
}

/// The gradients of the parameters outside and inside `slow`, all scaled down together where the
/// norm of the whole is above `clip_norm`.
fn split(
    mut gradients: GradientsParams,
    model: &MmOvSeg,
    slow: &HashSet<ParamId>,
    clip_norm: Option<f32>,
) -> (GradientsParams, GradientsParams) {
    let mut factor = 1.0;
    if let Some(most) = clip_norm {
        let mut norm = SquareSum {
            gradients: &gradients,
            sum: 0.0,
        };
        model.visit(&mut norm);
        factor = f64::from(most) / norm.sum.sqrt().max(f64::from(most));
    }
    let mut slow_gradients = GradientsParams::new();
    if factor < 1.0 || !slow.is_empty() {
        model.visit(&mut Sort {
            all: &mut gradients,
            slow_gradients: &mut slow_gradients,
            slow,
            factor,
        });
    }
    (gradients, slow_gradients)
}

struct SquareSum<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SquareSum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += f64::from(gradient.square().sum().into_scalar::<f32>());
        }
    }
}

struct Sort<'a> {
    all: &'a mut GradientsParams,
    slow_gradients: &'a mut GradientsParams,
    slow: &'a HashSet<ParamId>,
    factor: f64,
}

impl ModuleVisitor for Sort<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.all.remove::<D>(param.id) else {
            return;
        };
        let into = if self.slow.contains(&param.id) {
            &mut *self.slow_gradients
        } else {
            &mut *self.all
        };
        into.register(param.id, gradient * self.factor);
    }
}
