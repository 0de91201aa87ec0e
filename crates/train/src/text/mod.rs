//! `train text`: distils a small text tower, with a vocabulary of its own, from a real sentence
//! encoder over WordNet and land-cover phrases, so that words that never label a pixel still
//! mean something.

mod added;
mod corpus;
mod landcover;
mod measure;
mod options;
mod projection;
mod student;
mod teacher;

use std::collections::HashMap;
use std::path::Path;

use mmovseg_text::Tokenizer;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::tensors;
pub use added::{AddedWord, add_words};
use corpus::{Kind, Phrase, fnv1a};
use landcover::{ADDED_WORDS, EVERYDAY, VIEW};
pub use measure::Nearest;
pub use options::TextOptions;
use projection::Projection;
use teacher::{Teacher, WIDTH};

/// Weight of a land-cover phrase, against 1 for any other, when directions are chosen.
const LAND_COVER_WEIGHT: f64 = 8.0;

/// What came of it; also written to `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextReport {
    /// Phrases trained on.
    pub phrases: usize,
    /// WordNet nouns kept from training and measured on.
    pub held_out_nouns: usize,
    /// Spearman correlation of their pairwise similarities with the teacher's own.
    pub spearman_teacher: f64,
    /// The same with the reduced embeddings that the student was taught.
    pub spearman_target: f64,
    /// The reduced embeddings' correlation with the teacher's own: the student's ceiling.
    pub spearman_ceiling: f64,
    /// Mean cosine between student and target on the held-out nouns.
    pub held_out_cosine: f64,
    /// Everyday words that training may have seen, by the student.
    pub nearest_known: Nearest,
    /// Everyday words that training has not seen, by the student.
    pub nearest_held_out: Nearest,
    /// All everyday words by the targets, for comparison.
    pub nearest_teacher: Nearest,
}

/// Builds vocabulary and targets, trains the student, measures it.
///
/// Writes to `options.out`: `tokenizer.json`; `text.safetensors` (the tower under the checkpoint
/// names of docs/network.md §13, f32); `report.json`; `losses.jsonl`; `teacher.safetensors` (a
/// cache) and the last checkpoint (`model.bpk`, `optimizer.bpk`, `state.json`).
///
/// # Errors
/// [`TrainError`] when a source is missing or damaged, or `out` cannot be written.
pub fn train_text(options: &TextOptions) -> Result<TextReport, TrainError> {
    let say = options.progress;
    std::fs::create_dir_all(&options.out).map_err(TrainError::file(
        &options.out,
        "give a folder that can be written",
    ))?;
    let phrases = corpus::build(&options.wordnet)?;
    say(&format!("{} phrases", phrases.len()));
    let trained = |phrase: &&Phrase| !phrase.held_out && phrase.kind != Kind::HeldOut;

    let path = options.out.join("tokenizer.json");
    let tokenizer = match std::fs::read(&path) {
        Ok(json) => Tokenizer::from_json(&json)?,
        Err(_) => {
            let texts: Vec<&str> = phrases
                .iter()
                .filter(trained)
                .map(|phrase| phrase.text.as_str())
                .collect();
            let teacher = Teacher::open(&options.teacher, &options.device)?;
            // Start and end mark are not among the pieces.
            let pieces = teacher.pieces(&texts, options.tower.vocab.saturating_sub(2))?;
            let tokenizer = Tokenizer::from_pieces(pieces, options.tower.context)
                .map_err(TrainError::content(&path))?;
            write(&path, &tokenizer.to_json())?;
            tokenizer
        }
    };
    if tokenizer.vocab_size() != options.tower.vocab || tokenizer.context() != options.tower.context
    {
        return Err(TrainError::Content {
            path,
            what: "it belongs to a tower of another size".into(),
        });
    }
    say("vocabulary ready");

    let embeddings = teach(options, &phrases)?;
    let weights: Vec<f64> = phrases
        .iter()
        .map(|phrase| match phrase.kind {
            Kind::LandCover => LAND_COVER_WEIGHT,
            Kind::Noun | Kind::Gloss if !phrase.held_out => 1.0,
            _ => 0.0,
        })
        .collect();
    let projection = Projection::fit(&embeddings, &weights, options.tower.embed);
    let targets = projection.apply(&embeddings);
    say("targets ready");

    let width = options.tower.embed;
    let chosen: Vec<usize> = (0..phrases.len())
        .filter(|&i| trained(&&phrases[i]))
        .collect();
    let lessons = student::Lessons {
        texts: chosen.iter().map(|&i| phrases[i].text.as_str()).collect(),
        targets: chosen
            .iter()
            .flat_map(|&i| &targets[i * width..(i + 1) * width])
            .copied()
            .collect(),
        land_cover: chosen
            .iter()
            .map(|&i| phrases[i].kind == Kind::LandCover)
            .collect(),
    };
    let table = token_table(options, &tokenizer, &projection)?;
    let tower = student::train(options, &tokenizer, &lessons, table)?;
    export(&tower, &options.out.join("text.safetensors"))?;

    let report = examine(&phrases, &embeddings, &targets, width, &|texts| {
        student::embed(&tower, &tokenizer, texts)
    })?;
    let path = options.out.join("report.json");
    write(
        &path,
        &serde_json::to_vec_pretty(&report).map_err(TrainError::content(&path))?,
    )?;
    Ok(report)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    std::fs::write(path, bytes).map_err(TrainError::file(path, "give a folder that can be written"))
}

/// What the student is to learn of every phrase, before reduction, `[N, WIDTH]` unit vectors: the
/// teacher's embedding, with land-cover phrases seen from above ([`VIEW`]) and each class name
/// drawn half-way to its synonyms, which it has to stand for. [`ADDED_WORDS`] mean what their
/// phrases do.
fn teach(options: &TextOptions, phrases: &[Phrase]) -> Result<Vec<f32>, TrainError> {
    let seen_from_above: Vec<usize> = (0..phrases.len())
        .filter(|&i| matches!(phrases[i].kind, Kind::LandCover | Kind::HeldOut))
        .collect();
    let views: Vec<String> = seen_from_above
        .iter()
        .map(|&i| VIEW.replace("{}", &phrases[i].text))
        .collect();
    let texts: Vec<&str> = phrases
        .iter()
        .map(|phrase| phrase.text.as_str())
        .chain(views.iter().map(String::as_str))
        .collect();
    let mut embeddings = embed_all(options, &texts)?;
    let views = embeddings.split_off(phrases.len() * WIDTH);
    let row = |i: usize| i * WIDTH..(i + 1) * WIDTH;
    for (&i, view) in seen_from_above.iter().zip(views.chunks_exact(WIDTH)) {
        add_unit(&mut embeddings[row(i)], view);
    }
    let place: HashMap<&str, usize> = phrases
        .iter()
        .enumerate()
        .map(|(i, phrase)| (phrase.text.as_str(), i))
        .collect();
    for class in mmovseg_scene::CLASSES {
        let mut synonyms = vec![0.0; WIDTH];
        for i in class.synonyms.iter().filter_map(|word| place.get(word)) {
            synonyms
                .iter_mut()
                .zip(&embeddings[row(*i)])
                .for_each(|(sum, x)| *sum += x);
        }
        add_unit(&mut synonyms, &[0.0; WIDTH]);
        if let Some(&i) = place.get(class.name) {
            add_unit(&mut embeddings[row(i)], &synonyms);
        }
    }
    for &(word, meanings) in ADDED_WORDS {
        for (i, phrase) in phrases.iter().enumerate() {
            if !phrase.text.split(' ').any(|part| part == word) {
                continue;
            }
            let meant: Vec<usize> = meanings
                .iter()
                .filter_map(|meaning| place.get(phrase.text.replace(word, meaning).as_str()))
                .copied()
                .collect();
            let mut sum = vec![0.0; WIDTH];
            for j in &meant {
                sum.iter_mut()
                    .zip(&embeddings[row(*j)])
                    .for_each(|(sum, x)| *sum += x);
            }
            if !meant.is_empty() {
                add_unit(&mut sum, &[0.0; WIDTH]);
                embeddings[row(i)].copy_from_slice(&sum);
            }
        }
    }
    Ok(embeddings)
}

/// `a` becomes the unit vector along `a + b`.
fn add_unit(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(x, y)| *x += y);
    let norm = a.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    a.iter_mut().for_each(|x| *x /= norm);
}

/// The teacher's embeddings `[texts, WIDTH]`, from the cache when it is of the same texts.
fn embed_all(options: &TextOptions, texts: &[&str]) -> Result<Vec<f32>, TrainError> {
    let key = format!("{:016x}", fnv1a(texts.join("\n").as_bytes()));
    let path = options.out.join("teacher.safetensors");
    if let Ok(bytes) = std::fs::read(&path)
        && let Ok((_, header)) = SafeTensors::read_metadata(&bytes)
        && header.metadata().as_ref().and_then(|map| map.get("corpus")) == Some(&key)
    {
        let file = SafeTensors::deserialize(&bytes).map_err(TrainError::content(&path))?;
        return Ok(teacher::floats(
            file.tensor("embeddings")
                .map_err(TrainError::content(&path))?
                .data(),
        ));
    }
    let teacher = Teacher::open(&options.teacher, &options.device)?;
    let mut told = 0;
    let embeddings = teacher.embed(texts, &mut |done| {
        if done >= told + 2000 {
            told = done;
            (options.progress)(&format!("teacher: {done} of {} phrases", texts.len()));
        }
    })?;
    let bytes: Vec<u8> = embeddings.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![texts.len(), WIDTH], &bytes)
        .map_err(TrainError::content(&path))?;
    let file = safetensors::serialize(
        [("embeddings", view)],
        Some(HashMap::from([("corpus".to_owned(), key)])),
    )
    .map_err(TrainError::content(&path))?;
    write(&path, &file)?;
    Ok(embeddings)
}

/// Where the student's token table starts, `[vocab, width]`: what the teacher makes of each entry
/// alone, in the targets' own directions, and beside it the strongest directions of the teacher's
/// input vectors. A phrase then starts as the sum of its words' meanings, for words of no phrase
/// too.
fn token_table(
    options: &TextOptions,
    tokenizer: &Tokenizer,
    to_targets: &Projection,
) -> Result<Vec<f32>, TrainError> {
    // Components of about the size that the blocks add to them.
    const COMPONENT: f32 = 0.5;
    let (width, meaning) = (options.tower.width, options.tower.embed);
    let teacher = Teacher::open(&options.teacher, &options.device)?;
    let meanings = to_targets.apply(&teacher.piece_vectors(tokenizer.pieces())?);
    let inputs = teacher.input_vectors(tokenizer.pieces())?;
    let rest = width.saturating_sub(meaning);
    let inputs = Projection::fit(&inputs, &vec![1.0; inputs.len() / WIDTH], rest).apply(&inputs);
    let rows = meanings
        .chunks_exact(meaning)
        .zip(inputs.chunks_exact(rest.max(1)));
    let scaled = |part: &[f32], width: usize| -> Vec<f32> {
        let scale = COMPONENT * (width as f32).sqrt();
        part.iter().map(|x| x * scale).collect()
    };
    Ok(rows
        .flat_map(|(a, b)| [scaled(a, meaning), scaled(b, rest)].concat())
        .collect())
}

/// Writes the tower under its checkpoint names (docs/network.md §13).
fn export(tower: &mmovseg_model::clip_text::TextTower, path: &Path) -> Result<(), TrainError> {
    let named = tensors::values(tower)?
        .into_iter()
        .map(|(name, tensor)| {
            let stem = if name.starts_with("resblocks.") {
                "transformer."
            } else {
                ""
            };
            let name = format!("sem_seg_head.predictor.clip_model.{stem}{name}");
            (name, tensor)
        })
        .collect();
    tensors::write(path, &named)
}

/// Gives unit vectors `[texts, width]` of texts.
type Embed<'a> = dyn Fn(&[&str]) -> Result<Vec<f32>, TrainError> + 'a;

fn examine(
    phrases: &[Phrase],
    embeddings: &[f32],
    targets: &[f32],
    width: usize,
    embed: &Embed<'_>,
) -> Result<TextReport, TrainError> {
    let nouns: Vec<usize> = (0..phrases.len())
        .filter(|&i| phrases[i].held_out)
        .collect();
    let rows = |from: &[f32], width: usize| -> Vec<f32> {
        nouns
            .iter()
            .flat_map(|&i| &from[i * width..(i + 1) * width])
            .copied()
            .collect()
    };
    let (theirs, wanted) = (rows(embeddings, WIDTH), rows(targets, width));
    let texts: Vec<&str> = nouns.iter().map(|&i| phrases[i].text.as_str()).collect();
    let ours = embed(&texts)?;

    let classes: Vec<&str> = EVERYDAY.iter().map(|class| class.class).collect();
    let class_vectors = embed(&classes)?;
    let place: HashMap<&str, usize> = phrases
        .iter()
        .enumerate()
        .map(|(i, phrase)| (phrase.text.as_str(), i))
        .collect();
    let target = |word: &str| {
        place
            .get(word)
            .map(|&i| &targets[i * width..(i + 1) * width])
    };
    let class_targets: Vec<f32> = classes
        .iter()
        .filter_map(|&class| target(class))
        .flatten()
        .copied()
        .collect();
    let (mut nearest_known, mut nearest_held_out, mut nearest_teacher) =
        (Nearest::default(), Nearest::default(), Nearest::default());
    for (expected, class) in EVERYDAY.iter().enumerate() {
        for (words, tally) in [
            (class.known, &mut nearest_known),
            (class.held_out, &mut nearest_held_out),
        ] {
            for (word, vector) in words.iter().zip(embed(words)?.chunks_exact(width)) {
                tally.ask(word, vector, expected, &classes, &class_vectors);
                if let Some(vector) = target(word) {
                    nearest_teacher.ask(word, vector, expected, &classes, &class_targets);
                }
            }
        }
    }
    let same: f64 = ours
        .iter()
        .zip(&wanted)
        .map(|(a, b)| f64::from(a * b))
        .sum();
    Ok(TextReport {
        phrases: phrases
            .iter()
            .filter(|p| !p.held_out && p.kind != Kind::HeldOut)
            .count(),
        held_out_nouns: nouns.len(),
        spearman_teacher: measure::spearman(&ours, width, &theirs, WIDTH),
        spearman_target: measure::spearman(&ours, width, &wanted, width),
        spearman_ceiling: measure::spearman(&wanted, width, &theirs, WIDTH),
        held_out_cosine: same / nouns.len().max(1) as f64,
        nearest_known,
        nearest_held_out,
        nearest_teacher,
    })
}
