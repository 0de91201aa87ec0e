//! Batches of the steps to come, prepared by threads of their own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::data::sample::{Sample, Square};
use crate::data::sources::Sources;
use crate::run::StageOptions;

/// Batches that each thread prepares ahead of the step that uses them.
const AHEAD: usize = 3;
/// Samples from one source in a row: samples of one kind are computed together.
const SAME_SOURCE: usize = 2;

/// Makes a sample from its seed; the source is drawn from the dice.
pub(crate) trait Draw:
    Fn(&Sources, u64, &mut ChaCha8Rng) -> Result<Sample, TrainError> + Send + Sync + 'static
{
}

impl<F> Draw for F where
    F: Fn(&Sources, u64, &mut ChaCha8Rng) -> Result<Sample, TrainError> + Send + Sync + 'static
{
}

/// Batches in the order of their steps, as `T`.
pub(crate) struct Prefetch<T> {
    /// Thread `i` of `n` makes the steps `first + i + n·k`.
    threads: Vec<Receiver<Result<T, TrainError>>>,
    taken: usize,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `threads` threads that make the batches from step `first` on and convert them with
    /// `finish`. A step's samples depend on its number alone.
    pub fn start(
        options: &StageOptions,
        square: Square,
        first: usize,
        threads: usize,
        draw: impl Draw,
        finish: impl Fn(usize, Vec<Sample>) -> T + Send + Sync + 'static,
    ) -> Result<Self, TrainError> {
        let sources = Arc::new(Sources::open(&options.data, square, options.progress)?);
        let (draw, finish) = (Arc::new(draw), Arc::new(finish));
        let threads = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (options, sources) = (options.clone(), sources.clone());
                let (draw, finish) = (draw.clone(), finish.clone());
                std::thread::spawn(move || {
                    for step in (first + thread..options.steps).step_by(threads) {
                        let batch: Result<Vec<Sample>, TrainError> = (0..options.batch)
                            .map(|i| sample(&options, &sources, step * options.batch + i, &*draw))
                            .collect();
                        if sender.send(batch.map(|all| finish(step, all))).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        Ok(Self { threads, taken: 0 })
    }

    /// The next step's batch.
    pub fn next(&mut self) -> Result<T, TrainError> {
        let thread = self.taken % self.threads.len();
        self.taken += 1;
        self.threads[thread].recv().map_err(|_| {
            let error = "the thread that prepares them ended early";
            TrainError::content("samples".as_ref())(error)
        })?
    }
}

fn sample(
    options: &StageOptions,
    sources: &Sources,
    index: usize,
    draw: &impl Draw,
) -> Result<Sample, TrainError> {
    let index = options.samples.map_or(index, |count| index % count);
    let seed = options.seed << 40 ^ index as u64;
    let source_seed = options.seed << 40 ^ (index / SAME_SOURCE) as u64;
    let mut dice = ChaCha8Rng::seed_from_u64(source_seed ^ 0xFEED);
    draw(sources, seed, &mut dice)
}
