//! Runs of a network that compares pixels with words (docs/network.md §16): a picture in windows,
//! each word as the mean of many prompts, synonyms, and a threshold below which a pixel is
//! background.

use burn::tensor::{Tensor, TensorData};
use mmovseg_model::segearth::{Decision, WindowFeatures, Windows};
use mmovseg_model::{Observer, SegEarthConfig, Trace};
use mmovseg_raster::{Preprocess, RasterError, Rgb8, fit_long_side};
use mmovseg_text::{TextError, synonyms};
use mmovseg_types::{Sensor, Stage};

use crate::api::{Event, SegmentRequest, Segmentation, WordRule};
use crate::cache::{Cached, Key};
use crate::error::EngineError;
use crate::labels::{axis, mark_no_data, shares};
use crate::pixels::normalise_pixels;
use crate::session::Session;
use crate::stages::{Clock, Relay, read};
use crate::tiles::HashedPair;
use crate::windows::{MAP_VALUES_MAX, Tiling, WHOLE_UP_TO, map_logit};

impl Cached for WindowFeatures {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

/// How a picture is read.
struct Reading {
    /// Rows and columns of the picture as it is read.
    size: [usize; 2],
    /// Whether that is another size than its own.
    is_resized: bool,
    /// First row, first column, height and width of each window, row by row.
    windows: Vec<[usize; 4]>,
}

impl Reading {
    /// A picture as a whole has its longer side resized; a longer one, and one that is asked for in
    /// windows, is read in windows of its own pixels.
    fn new(tile: &Rgb8, request: &SegmentRequest, config: &SegEarthConfig) -> Self {
        let long = tile.width_px.max(tile.height_px);
        let Windows { crop_px, stride_px } = config.windows;
        let side = if crop_px == 0 {
            config.long_side_px
        } else {
            crop_px
        };
        let is_large = long as f64 > WHOLE_UP_TO * config.long_side_px as f64;
        let stride = match request.tiling {
            Tiling::Auto if is_large && request.preprocess == Preprocess::Aligned => {
                Some(if crop_px == 0 { side / 2 } else { stride_px })
            }
            Tiling::Auto | Tiling::Whole => None,
            Tiling::Windows { overlap_px } => Some(side - overlap_px.min(side * 3 / 4)),
        };
        let own = [tile.height_px, tile.width_px];
        match stride {
            Some(stride_px) => {
                let windows = Windows {
                    crop_px: side,
                    stride_px,
                };
                Self {
                    size: own,
                    is_resized: false,
                    windows: windows.of(own),
                }
            }
            None => {
                let scale = config.long_side_px as f64 / long.max(1) as f64;
                let size = own.map(|px| ((px as f64 * scale + 0.5) as usize).max(1));
                Self {
                    size,
                    is_resized: size != own,
                    windows: config.windows.of(size),
                }
            }
        }
    }
}

impl Session {
    /// [`Session::segment`] for a network that compares pixels with words.
    pub(crate) async fn run_by_words(
        &mut self,
        pair: &HashedPair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
        mut trace: Option<&mut Trace>,
    ) -> Result<Segmentation, EngineError> {
        let mut clock = Clock::start();
        self.begin(&request.classes)?;
        let Some(config) = self.by_words().map(|network| network.config().clone()) else {
            return Err(self.no_encoder(request.modality));
        };
        let sensor = config.visual.sensor;
        if !request.modality.uses(sensor) {
            return Err(self.no_encoder(request.modality));
        }
        let rule = request.rule.unwrap_or_default();
        let (words, decision) = decision(&request.classes, rule, &config)?;
        let tile = pair.tile(sensor);
        if tile.width_px == 0 || tile.height_px == 0 {
            return Err(RasterError::Argument(
                "a tile without pixels cannot be segmented; choose another tile".into(),
            )
            .into());
        }
        let out = [pair.rgb.height_px, pair.rgb.width_px];
        let reading = Reading::new(tile, request, &config);
        let resized;
        let picture = if reading.is_resized {
            resized = fit_long_side(tile, request.preprocess, config.long_side_px)?;
            &resized
        } else {
            tile
        };
        clock.lap(Stage::Preprocess);
        let text = self
            .encode_words(&words, on, &mut trace, &mut clock)
            .await?;
        let weight = rule.window_weight.map_or(config.cls_weight, f64::from);

        let total = reading.windows.len();
        let parts = (pair.hash_of(sensor), request.preprocess, reading.size);
        let mut average = Average::new(&reading, Labelling::new(decision, reading.size, out));
        average.labelling.keeps = trace.is_some();
        for (index, &place) in reading.windows.iter().enumerate() {
            on(Event::Stage {
                stage: Stage::Windows,
                done: index,
                total,
            });
            self.breathe().await?;
            let key = Key::new("window", (parts, place));
            let features = match self.cache.get::<WindowFeatures>(key) {
                Some(features) => features,
                None => {
                    // The stages of one window are shown, under their names.
                    let trace = trace.as_deref_mut().filter(|_| index == 0);
                    let stage = Stage::Encoder(config.visual.id.clone());
                    let quiet: &mut dyn FnMut(Event) = &mut |_| {};
                    let mut observer = Relay {
                        stage: stage.clone(),
                        on: if total == 1 { &mut *on } else { quiet },
                        trace,
                    };
                    let features = self.window(picture, place, &mut observer)?;
                    read(features.probe(), &stage).await?;
                    self.cache.insert(key, features.clone());
                    clock.lap(stage);
                    features
                }
            };
            let logits = match self.by_words() {
                Some(network) => network.logits(&features, &text, weight),
                None => return Err(self.no_encoder(request.modality)),
            };
            let logits = self.read_logits(logits).await?;
            clock.lap(Stage::Head);
            average.add(index, &logits.values);
            clock.lap(Stage::Labels);
        }
        on(Event::Stage {
            stage: Stage::Windows,
            done: total,
            total,
        });
        let mut labelling = average.labelling;
        if let Some(trace) = trace {
            let shape = [1, words.len(), reading.size[0], reading.size[1]];
            let flat = labelling.kept(words.len());
            let count = flat.len();
            let flat = Tensor::from_data(TensorData::new(flat, [count]), &self.device);
            trace.tensor("logits", &shape, flat);
        }
        let (mut labels, grid_px, logits) = labelling.finish();
        let valid = pair.valid(sensor == Sensor::Optical, sensor == Sensor::Sar);
        mark_no_data(&mut labels, valid.as_deref());
        let share = shares(&labels, request.classes.len());
        clock.lap(Stage::Labels);
        on(Event::Stage {
            stage: Stage::Labels,
            done: 1,
            total: 1,
        });
        Ok(Segmentation {
            classes: request.classes.clone(),
            width_px: out[1],
            height_px: out[0],
            labels,
            grid_px,
            logits,
            // They are those of probabilities already.
            temperature: None,
            share,
            timings: clock.timings,
            windows: total,
        })
    }

    /// What a window gives before any word is known.
    fn window(
        &self,
        picture: &Rgb8,
        [top, left, height, width]: [usize; 4],
        observer: &mut dyn Observer,
    ) -> Result<WindowFeatures, EngineError> {
        let cut = picture.crop([left, top], [width, height]);
        let planes = TensorData::new(normalise_pixels(&cut), [1, 3, height, width]);
        let pixels = Tensor::<4>::from_data(planes, &self.device);
        let Some(network) = self.by_words() else {
            return Err(EngineError::NoHead(self.config.variant().to_owned()));
        };
        Ok(network.features(&pixels, observer))
    }

    /// Embeddings of words, `[T, E]`, each the mean over the package's templates.
    async fn encode_words(
        &mut self,
        words: &[String],
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<Tensor<2>, EngineError> {
        let stage = Stage::Text;
        let own = std::slice::from_ref(&self.manifest.prompt_template);
        let templates = match self.manifest.prompt_templates.as_slice() {
            [] => own.to_vec(),
            templates => templates.to_vec(),
        };
        let mut rows = Vec::with_capacity(words.len());
        let mut is_new = false;
        for (done, word) in words.iter().enumerate() {
            let key = Key::new("word", word);
            if let Some(row) = self.cache.get::<Vec<f32>>(key) {
                rows.push(row);
                continue;
            }
            is_new = true;
            on(Event::Stage {
                stage: stage.clone(),
                done,
                total: words.len(),
            });
            self.breathe().await?;
            let prompts = templates
                .iter()
                .map(|template| self.prompt_ids(template, word))
                .collect::<Result<Vec<_>, TextError>>()?;
            let Some(network) = self.by_words() else {
                return Err(EngineError::NoHead(self.config.variant().to_owned()));
            };
            let row = network.encode_words(&[prompts], &mut mmovseg_model::Silent);
            let row = read(row.reshape([self.config.text().embed]), &stage).await?;
            self.cache.insert(key, row.clone());
            rows.push(row);
        }
        let text = self.text_tensor(&rows);
        if let Some(trace) = trace.as_deref_mut() {
            let shape = text.dims();
            trace.tensor(
                "text.features",
                &shape,
                text.clone().reshape([shape[0] * shape[1]]),
            );
        }
        if is_new {
            on(Event::Stage {
                stage: stage.clone(),
                done: words.len(),
                total: words.len(),
            });
            clock.lap(stage);
        }
        Ok(text)
    }
}

/// The words of all classes, and how their logits become classes.
fn decision(
    classes: &[String],
    rule: WordRule,
    config: &SegEarthConfig,
) -> Result<(Vec<String>, Decision), EngineError> {
    if rule.background >= classes.len() {
        return Err(EngineError::NoBackground {
            class: rule.background + 1,
            count: classes.len(),
        });
    }
    let mut words = Vec::new();
    let mut class_of_word = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        for word in synonyms(name) {
            words.push(word.to_owned());
            class_of_word.push(class);
        }
    }
    let decision = Decision {
        scale: config.logit_scale,
        threshold: rule.threshold,
        background: rule.background,
        class_of_word,
    };
    Ok((words, decision))
}

/// The mean of windows' logits. Windows come row by row; what no later window overlaps is
/// labelled, so that only one row of windows is in memory.
struct Average<'a> {
    reading: &'a Reading,
    /// One over the number of windows over each row and each column of pixels.
    scale: [Vec<f32>; 2],
    /// Sums `[rows, T, columns]` from row `top` on.
    band: Vec<f32>,
    top: usize,
    labelling: Labelling,
}

impl<'a> Average<'a> {
    fn new(reading: &'a Reading, labelling: Labelling) -> Self {
        // Windows are those of each row in those of each column.
        let first = reading.windows.first().copied().unwrap_or_default();
        let scale = [0, 1].map(|axis| {
            let mut covers = vec![0.0f32; reading.size[axis]];
            for window in &reading.windows {
                if window[1 - axis] == first[1 - axis] {
                    for cover in &mut covers[window[axis]..][..window[axis + 2]] {
                        *cover += 1.0;
                    }
                }
            }
            covers.into_iter().map(f32::recip).collect()
        });
        Self {
            reading,
            scale,
            band: Vec::new(),
            top: 0,
            labelling,
        }
    }

    /// Adds a window's logits `[T, h, w]`. Windows must come in order.
    fn add(&mut self, index: usize, logits: &[f32]) {
        let [top, left, h, w] = self.reading.windows[index];
        let [height, width] = self.reading.size;
        let words = self.labelling.words();
        let row_values = words * width;
        let rows = top + h - self.top;
        if self.band.len() < rows * row_values {
            self.band.resize(rows * row_values, 0.0);
        }
        for (i, from) in logits.chunks_exact(w).enumerate() {
            let (word, y) = (i / h, i % h);
            let to = (top + y - self.top) * row_values + word * width + left;
            for (sum, logit) in self.band[to..to + w].iter_mut().zip(from) {
                *sum += logit;
            }
        }
        let next = self.reading.windows.get(index + 1).map(|window| window[0]);
        let end = next.unwrap_or(height);
        if end > top || next.is_none() {
            self.settle(end, row_values);
        }
    }

    /// No window will touch the rows above `end` any more.
    fn settle(&mut self, end: usize, row_values: usize) {
        let width = self.reading.size[1];
        let rows = end - self.top;
        for (i, row) in self
            .band
            .chunks_exact_mut(row_values)
            .take(rows)
            .enumerate()
        {
            let y = self.top + i;
            for values in row.chunks_exact_mut(width) {
                for (value, scale) in values.iter_mut().zip(&self.scale[1]) {
                    *value *= scale * self.scale[0][y];
                }
            }
            self.labelling.row(y, row);
        }
        self.band.drain(..rows * row_values);
        self.top = end;
    }
}

/// Labels from the logits of words, row by row of the picture as it was read.
struct Labelling {
    decision: Decision,
    /// Rows and columns as they are read, and of the result.
    size: [usize; 2],
    out: [usize; 2],
    columns: Vec<(usize, usize, f32)>,
    rows: Vec<(usize, usize, f32)>,
    /// The last two rows, as wide as the result.
    wide: [Vec<f32>; 2],
    labels: Vec<u8>,
    /// Side of the square of pixels that one value of `map` is the mean of.
    coarser: usize,
    /// Sums of probabilities of classes, `[classes, h, w]`.
    map: Vec<f32>,
    /// Whether all rows are kept, and those, `[h, T, w]`.
    keeps: bool,
    all: Vec<f32>,
}

impl Labelling {
    fn new(decision: Decision, size: [usize; 2], out: [usize; 2]) -> Self {
        let taps = |i: usize| axis(size[i], out[i], size[i] as f32 / out[i] as f32);
        let values = |k: usize| decision.classes() * size[0].div_ceil(k) * size[1].div_ceil(k);
        let coarser = (1..).find(|&k| values(k) <= MAP_VALUES_MAX).unwrap_or(1);
        Self {
            rows: taps(0),
            columns: taps(1),
            wide: [Vec::new(), Vec::new()],
            labels: Vec::with_capacity(out[0] * out[1]),
            coarser,
            map: vec![0.0; values(coarser)],
            keeps: false,
            all: Vec::new(),
            decision,
            size,
            out,
        }
    }

    fn words(&self) -> usize {
        self.decision.class_of_word.len()
    }

    /// Takes row `y` of logits, `[T, w]`. Rows must come in order.
    fn row(&mut self, y: usize, logits: &[f32]) {
        let width = self.size[1];
        let probabilities = self.decision.probabilities(logits);
        let (k, map_width) = (self.coarser, width.div_ceil(self.coarser));
        let area = self.size[0].div_ceil(k) * map_width;
        for (class, row) in probabilities.chunks_exact(width).enumerate() {
            let map = class * area + y / k * map_width;
            for (x, value) in row.iter().enumerate() {
                self.map[map + x / k] += value;
            }
        }
        if self.keeps {
            self.all.extend_from_slice(logits);
        }
        self.wide.swap(0, 1);
        let last = &mut self.wide[1];
        last.clear();
        for values in logits.chunks_exact(width) {
            let taps = self.columns.iter();
            last.extend(taps.map(|&(x0, x1, fx)| values[x0] * (1.0 - fx) + values[x1] * fx));
        }
        while let Some(&(low, high, weight)) = self.rows.get(self.labels.len() / self.out[1]) {
            if high > y {
                break;
            }
            let upper = &self.wide[usize::from(low == y)];
            let between: Vec<f32> = upper
                .iter()
                .zip(&self.wide[1])
                .map(|(upper, lower)| upper * (1.0 - weight) + lower * weight)
                .collect();
            let probabilities = self.decision.probabilities(&between);
            let labels = self.decision.labels(&probabilities);
            // Classes are 255 at most.
            self.labels
                .extend(labels.into_iter().map(|class| class as u8));
        }
    }

    /// The logits of words, `[T, h, w]`, where rows are kept.
    fn kept(&mut self, words: usize) -> Vec<f32> {
        let [h, w] = self.size;
        let rows = std::mem::take(&mut self.all);
        let at = |i: usize| {
            let (word, y, x) = (i / (h * w), i / w % h, i % w);
            rows.get((y * words + word) * w + x).copied().unwrap_or(0.0)
        };
        (0..words * h * w).map(at).collect()
    }

    /// Labels of all pixels, and the logits of classes' probabilities: rows and columns, and
    /// `[classes, h, w]`.
    fn finish(self) -> (Vec<u8>, [usize; 2], Vec<f32>) {
        let k = self.coarser;
        let [h, w] = self.size.map(|side| side.div_ceil(k));
        let mut map = self.map;
        for (i, value) in map.iter_mut().enumerate() {
            let (x, y) = (i % w, i / w % h);
            let pixels = k.min(self.size[1] - x * k) * k.min(self.size[0] - y * k);
            *value = map_logit(*value / pixels as f32);
        }
        (self.labels, [h, w], map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use mmovseg_types::Modality;

    fn config(crop_px: usize) -> SegEarthConfig {
        let json = serde_json::json!({
            "network": "segearth-ov", "variant": "tiny", "gelu": "quick", "cls_weight": -0.3,
            "long_side_px": 448, "windows": {"crop_px": crop_px, "stride_px": crop_px / 2},
            "logit_scale": 50.0, "upsampler": null,
            "last_block": {"attention": "queries-keys-values", "residual": false},
            "visual": {
                "id": "clip", "architecture": "clip-vit", "sensor": "optical", "width": 8,
                "layers": 2, "heads": 2, "patch_px": 16, "input_px": 224, "table_grid": 14,
                "taps": [], "prefix": "", "projections": {"coarse": "", "fine": ""},
            },
            "text": {"width": 2, "layers": 2, "heads": 2, "vocab": 9, "context": 9, "embed": 8},
        });
        serde_json::from_value(json).unwrap()
    }

    fn reading(
        size: [usize; 2],
        tiling: Tiling,
        preprocess: Preprocess,
        crop_px: usize,
    ) -> Reading {
        let request = SegmentRequest {
            classes: Vec::new(),
            modality: Modality::Fused,
            preprocess,
            tiling,
            rule: None,
        };
        let tile = Rgb8::filled(size[1], size[0], 0);
        Reading::new(&tile, &request, &config(crop_px))
    }

    #[test]
    fn pictures_are_read_as_the_authors_do_or_in_windows_of_their_own_pixels() {
        let aligned = Preprocess::Aligned;
        for (size, tiling, preprocess, read, windows) in [
            ([448, 448], Tiling::Auto, aligned, [448, 448], 9),
            ([150, 100], Tiling::Auto, aligned, [448, 299], 6),
            ([672, 300], Tiling::Auto, aligned, [448, 200], 3),
            ([1024, 1024], Tiling::Whole, aligned, [448, 448], 9),
            (
                [1024, 1024],
                Tiling::Auto,
                Preprocess::Parity,
                [448, 448],
                9,
            ),
            ([673, 300], Tiling::Auto, aligned, [673, 300], 12),
            (
                [1024, 30],
                Tiling::Windows { overlap_px: 0 },
                aligned,
                [1024, 30],
                5,
            ),
            (
                [100, 60],
                Tiling::Windows { overlap_px: 999 },
                aligned,
                [100, 60],
                1,
            ),
        ] {
            let found = reading(size, tiling, preprocess, 224);
            assert_eq!(found.size, read, "{size:?} {tiling:?}");
            assert_eq!(found.windows.len(), windows, "{size:?} {tiling:?}");
            assert_eq!(found.is_resized, read != size);
        }
        // In one pass, as AlignEarth.
        assert_eq!(
            reading([448, 100], Tiling::Auto, aligned, 0).windows.len(),
            1
        );
    }

    #[test]
    fn windows_that_agree_are_the_picture() {
        let reading = reading(
            [300, 500],
            Tiling::Windows { overlap_px: 112 },
            Preprocess::Aligned,
            224,
        );
        let [height, width] = reading.size;
        assert_eq!(reading.windows.len(), 2 * 4);
        let logit = |word: usize, y: usize, x: usize| {
            (0.02 * (y + 31 * word) as f32).sin() * (0.03 * x as f32 + word as f32).cos()
        };
        let (words, decision) = decision(
            &["a,b".into(), "c".into(), "d|e".into()],
            WordRule {
                threshold: 0.7,
                background: 2,
                window_weight: None,
            },
            &config(224),
        )
        .unwrap();
        assert_eq!(words, ["a", "b", "c", "d", "e"]);
        let whole: Vec<f32> = (0..5 * height * width)
            .map(|i| logit(i / (height * width), i / width % height, i % width))
            .collect();
        let probabilities = decision.probabilities(&whole);
        let labels = decision.labels(&probabilities);
        let labelling = Labelling::new(decision, reading.size, reading.size);
        let mut average = Average::new(&reading, labelling);
        for (index, &[top, left, h, w]) in reading.windows.iter().enumerate() {
            let values: Vec<f32> = (0..5 * h * w)
                .map(|i| logit(i / (h * w), top + i / w % h, left + i % w))
                .collect();
            average.add(index, &values);
            assert!(average.band.len() <= 5 * 224 * width, "one row of windows");
        }
        let (found, grid, logits) = average.labelling.finish();
        assert_eq!(grid, [height, width]);
        let same = found
            .iter()
            .zip(&labels)
            .filter(|&(&a, &b)| usize::from(a) == b)
            .count();
        assert!(
            same * 1000 >= labels.len() * 999,
            "{same} of {}",
            labels.len()
        );
        for (logit, p) in logits.iter().zip(&probabilities) {
            assert!((1.0 / (1.0 + (-logit).exp()) - p).abs() < 1e-4);
        }
        assert!((0..3).all(|class| found.contains(&class)));
    }

    #[test]
    fn a_background_is_one_of_the_classes() {
        let rule = WordRule {
            background: 2,
            ..WordRule::default()
        };
        let found = decision(&["a".into(), "b".into()], rule, &config(224));
        assert!(matches!(
            found,
            Err(EngineError::NoBackground { class: 3, count: 2 })
        ));
    }
}
