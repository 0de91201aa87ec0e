//! The student: the model's own text tower, taught to give the teacher's (reduced) embeddings.

use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use mmovseg_model::Silent;
use mmovseg_model::clip_text::TextTower;
use mmovseg_text::Tokenizer;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::landcover::NEUTRAL_PROMPTS;
use super::options::TextOptions;
use crate::TrainError;
use crate::learn::LOG_STEPS;
use crate::run::{Plan, Recipe, Run};
use crate::start;

/// Weight of the similarity-matrix term against the cosine term.
const SIMILARITY_WEIGHT: f64 = 4.0;
/// Share of phrases that are put into a neutral prompt.
const PROMPTED: f64 = 0.25;
/// Times that a land-cover phrase comes in one pass over the corpus.
const LAND_COVER_TIMES: usize = 5;
/// Batches drawn together and sorted by length, so that little is padded.
const POOL_BATCHES: usize = 8;

/// What the student learns from.
pub(super) struct Lessons<'a> {
    /// Phrases.
    pub texts: Vec<&'a str>,
    /// Unit vectors `[phrases, embed]`.
    pub targets: Vec<f32>,
    /// Whether each is a land-cover phrase.
    pub land_cover: Vec<bool>,
}

/// Trains from the last checkpoint, or from the start, to `options.steps`; `table` gives the token
/// table to start with.
pub(super) fn train(
    options: &TextOptions,
    tokenizer: &Tokenizer,
    lessons: &Lessons<'_>,
    table: Vec<f32>,
) -> Result<TextTower, TrainError> {
    let device = options.device.clone().autodiff();
    device.seed(options.seed);
    let tower = TextTower::new(&options.tower, &device).with_table(table);
    let tower = start::mean_of_words(tower)?;
    let plan = Plan {
        folder: options.out.clone(),
        steps: options.steps,
        learning_rate: options.learning_rate,
        seed: options.seed,
        progress: options.progress,
    };
    let (mut run, tower, mut optimizers) = Run::start(plan, &Recipe::OURS, tower)?;
    let mut tower = tower.set_require_grad(true);
    let feed = Feed::new(options, tokenizer, lessons)?;
    for step in run.first()..options.steps {
        let (prompts, targets) = feed.batch(step);
        let count = prompts.len();
        let targets: Tensor<2> = Tensor::from_data(
            TensorData::new(targets, [count, options.tower.embed]),
            &device,
        );
        let out = tower.forward(&prompts, &mut Silent);
        let cosine = (out.clone() * targets.clone()).sum_dim(1).mean();
        let similar =
            out.clone().matmul(out.transpose()) - targets.clone().matmul(targets.transpose());
        let loss = -cosine.clone() + 1.0 + similar.square().mean() * SIMILARITY_WEIGHT;
        let gradients = GradientsParams::from_grads(loss.backward(), &tower);
        tower = optimizers
            .main
            .step(run.learning_rate(step), tower, gradients);
        if step % LOG_STEPS == 0 || step + 1 == options.steps {
            let terms = [
                ("loss", loss.into_scalar()),
                ("cosine", cosine.into_scalar()),
            ];
            run.log(step, &terms)?;
        }
        if run.is_checkpoint(step) {
            run.checkpoint(step, &tower, &optimizers)?;
        }
    }
    Ok(tower.valid())
}

/// Unit vectors `[texts, embed]` of the tower.
pub(super) fn embed(
    tower: &TextTower,
    tokenizer: &Tokenizer,
    texts: &[&str],
) -> Result<Vec<f32>, TrainError> {
    let mut out = Vec::new();
    for chunk in texts.chunks(256) {
        let prompts = chunk
            .iter()
            .map(|text| tokenizer.encode_cut(text, tower.context()))
            .collect::<Result<Vec<_>, _>>()?;
        let values: Vec<f32> = tower
            .forward(&prompts, &mut Silent)
            .into_data()
            .try_into_vec()
            .map_err(TrainError::device(Path::new("text tower")))?;
        out.extend(values);
    }
    Ok(out)
}

/// Gives the batch of any step, the same for the same seed, so that a run can resume.
struct Feed<'a> {
    lessons: &'a Lessons<'a>,
    /// Tokens of each phrase without marks.
    words: Vec<Vec<u32>>,
    /// Tokens before and after the phrase, marks included; the first is the bare phrase.
    frames: Vec<(Vec<u32>, Vec<u32>)>,
    /// Phrases of one pass, repeated by their weight.
    deck: Vec<usize>,
    context: usize,
    embed: usize,
    batch: usize,
    seed: u64,
}

impl<'a> Feed<'a> {
    fn new(
        options: &TextOptions,
        tokenizer: &Tokenizer,
        lessons: &'a Lessons<'a>,
    ) -> Result<Self, TrainError> {
        let context = options.tower.context;
        let mut words = Vec::with_capacity(lessons.texts.len());
        for text in &lessons.texts {
            let ids = tokenizer.encode_cut(text, context)?;
            words.push(ids[1..ids.len() - 1].to_vec());
        }
        let mut frames = Vec::new();
        for prompt in std::iter::once(&"{}").chain(NEUTRAL_PROMPTS) {
            let (before, after) = prompt.split_once("{}").unwrap_or((prompt, ""));
            let (mut before, after) = (
                tokenizer.encode(before, context)?,
                tokenizer.encode(after, context)?,
            );
            before.pop();
            frames.push((before, after[1..].to_vec()));
        }
        let times = |i: usize| {
            if lessons.land_cover[i] {
                LAND_COVER_TIMES
            } else {
                1
            }
        };
        let deck = (0..lessons.texts.len())
            .flat_map(|i| std::iter::repeat_n(i, times(i)))
            .collect();
        let batch = options.batch.max(2);
        Ok(Self {
            lessons,
            words,
            frames,
            deck,
            context,
            embed: options.tower.embed,
            batch,
            seed: options.seed,
        })
    }

    /// Prompts and targets `[batch, embed]` of a step.
    fn batch(&self, step: usize) -> (Vec<Vec<u32>>, Vec<f32>) {
        let (pool, slot) = (step / POOL_BATCHES, step % POOL_BATCHES);
        let per_pool = self.batch * POOL_BATCHES;
        let mut drawn = Vec::with_capacity(per_pool);
        let mut place = pool * per_pool;
        let mut shuffled = (usize::MAX, Vec::new());
        while drawn.len() < per_pool {
            let pass = place / self.deck.len();
            if shuffled.0 != pass {
                let mut deck = self.deck.clone();
                deck.shuffle(&mut ChaCha8Rng::seed_from_u64(
                    self.seed ^ (pass as u64) << 20,
                ));
                shuffled = (pass, deck);
            }
            drawn.push(shuffled.1[place % self.deck.len()]);
            place += 1;
        }
        let mut dice = ChaCha8Rng::seed_from_u64(self.seed ^ 0x7E47 ^ (pool as u64) << 32);
        let mut prompts: Vec<(usize, Vec<u32>)> = drawn
            .into_iter()
            .map(|i| (i, self.prompt(i, &mut dice)))
            .collect();
        prompts.sort_by_key(|(_, ids)| ids.len());
        let mut order: Vec<usize> = (0..POOL_BATCHES).collect();
        order.shuffle(&mut dice);
        let start = order[slot] * self.batch;
        let mine = &prompts[start..start + self.batch];
        let targets = mine
            .iter()
            .flat_map(|(i, _)| &self.lessons.targets[i * self.embed..(i + 1) * self.embed]);
        (
            mine.iter().map(|(_, ids)| ids.clone()).collect(),
            targets.copied().collect(),
        )
    }

    fn prompt(&self, phrase: usize, dice: &mut ChaCha8Rng) -> Vec<u32> {
        let which = if dice.random_bool(PROMPTED) {
            dice.random_range(1..self.frames.len())
        } else {
            0
        };
        let (before, after) = &self.frames[which];
        let words = &self.words[phrase];
        let room = self.context.saturating_sub(before.len() + after.len());
        let mut ids = before.clone();
        ids.extend_from_slice(&words[..words.len().min(room)]);
        ids.extend_from_slice(after);
        ids
    }
}
