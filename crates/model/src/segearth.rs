//! `SegEarth-OV`: CLIP's patches, enlarged to pixels and compared with words; nothing is trained
//! but the upsampler (docs/network.md §16).

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_kernels::{self as kernels, Activation, Epilogue, SpinGuard};
use serde::{Deserialize, Serialize};

use crate::clip_text::TextTower;
use crate::clip_visual::{ClipVisual, LastBlock};
use crate::config::{ConfigError, EncoderConfig, TextConfig};
use crate::named::{Named, flat_module};
use crate::observe::{Observer, Silent, see};
use crate::resample::{Kernel, resample_by_axis};
use crate::upsampler::{StepWeights, Upsampler, UpsamplerConfig, see_map};

/// Which GELU a CLIP was trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gelu {
    /// `x · σ(1.702 x)`: `OpenAI`'s weights.
    #[default]
    Quick,
    /// The exact one: `AlignEarth`'s weights, and those that `open_clip` trained.
    Exact,
}

impl Gelu {
    fn activation(self) -> Activation {
        match self {
            Self::Quick => Activation::QuickGelu,
            Self::Exact => Activation::Gelu,
        }
    }
}

/// Tells such a configuration from that of a network with a head, where both are stored alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `SegEarth-OV`, of any version.
    #[default]
    SegearthOv,
}

/// The sizes of one network of this kind, and how a picture is read and decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegEarthConfig {
    /// What kind of network it is.
    pub network: Kind,
    /// Name of the variant.
    pub variant: String,
    /// CLIP's visual tower. It has no taps and no projections.
    pub visual: EncoderConfig,
    /// CLIP's text tower.
    pub text: TextConfig,
    /// The activation of both.
    pub gelu: Gelu,
    /// The last visual block.
    pub last_block: LastBlock,
    /// What enlarges the patches; without it, logits of patches are enlarged bilinearly.
    pub upsampler: Option<UpsamplerConfig>,
    /// How much of a window's CLS cosine is added to those of its pixels: -0.3 takes off what is
    /// the same everywhere, 0 leaves it.
    pub cls_weight: f64,
    /// The longer side that a picture is resized to, where it is read as a whole.
    pub long_side_px: usize,
    /// The windows in which it is read.
    pub windows: Windows,
    /// What logits are multiplied with before the softmax over words.
    pub logit_scale: f32,
}

impl SegEarthConfig {
    /// Checks what the code takes for granted.
    ///
    /// # Errors
    /// One line that names the first size that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |what: &str| Err(ConfigError(what.to_owned()));
        let (visual, text) = (&self.visual, &self.text);
        if visual.layers == 0 || visual.patch_px == 0 || visual.table_grid == 0 {
            return fail("the visual tower is empty");
        }
        for (width, heads) in [(visual.width, visual.heads), (text.width, text.heads)] {
            if heads == 0 || !width.is_multiple_of(heads) {
                return fail("a tower's width is not a multiple of its heads");
            }
        }
        let Windows { crop_px, stride_px } = self.windows;
        if self.long_side_px == 0 || (crop_px > 0 && !(1..=crop_px).contains(&stride_px)) {
            return fail("its windows leave pixels out");
        }
        if !(self.logit_scale.is_finite() && self.logit_scale > 0.0) {
            return fail("logits are multiplied with a number above 0");
        }
        match self.upsampler {
            Some(_) if visual.patch_px != 16 => fail("the upsampler needs patches of 16 pixels"),
            Some(upsampler) if upsampler.radius == 0 => fail("the upsampler's radius is zero"),
            _ => Ok(()),
        }
    }
}

/// The network.
#[derive(Clone, Debug)]
pub struct SegEarth {
    visual: Named<ClipVisual>,
    text: Named<TextTower>,
    upsampler: Option<Named<Upsampler>>,
    config: SegEarthConfig,
}

flat_module!(SegEarth { visual, text, upsampler } { config });

/// What a window gives before any word is known.
#[derive(Clone)]
pub struct WindowFeatures {
    /// The CLS token, of unit length, `[N, E]`.
    cls: Tensor<2>,
    /// The patches with the upsampler's last layer applied, `[N, h, w, E]`; without an upsampler,
    /// of unit length.
    map: Tensor<4>,
    enlarged: Option<Enlarged>,
    /// First row, first column, height and width of the window in what the tower read, which has
    /// zeros around it where the window's sides are no multiples of the patch.
    place: [usize; 4],
}

impl WindowFeatures {
    /// Bytes that they hold on the device.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let count = |x: &Tensor<4>| x.dims().iter().product::<usize>();
        let enlarged = self.enlarged.as_ref().map_or(0, |enlarged| {
            count(&enlarged.inverse_length) + enlarged.weights.values()
        });
        4 * (count(&self.map) + self.cls.dims().iter().product::<usize>() + enlarged)
    }

    /// One value of what was computed last, `[1]`.
    #[must_use]
    pub fn probe(&self) -> Tensor<1> {
        let last = self.enlarged.as_ref().map(|e| &e.inverse_length);
        let last = last.unwrap_or(&self.map).clone();
        last.slice([0..1, 0..1, 0..1, 0..1]).reshape([1])
    }
}

/// What enlarging a window takes.
#[derive(Clone)]
struct Enlarged {
    weights: StepWeights,
    /// One over the length of each pixel's features, `[N, 16 h, 16 w, 1]`.
    inverse_length: Tensor<4>,
}

impl SegEarth {
    /// A network whose weights are drawn at random on first use.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub fn new(config: &SegEarthConfig, device: &Device) -> Result<Self, ConfigError> {
        config.validate()?;
        let embed = config.text.embed;
        let activation = config.gelu.activation();
        let visual = ClipVisual::with_last_attention(&config.visual, embed, activation, device);
        let text = TextTower::new(&config.text, device).with_activation(activation);
        Ok(Self {
            visual: Named::new("clip.visual", visual),
            text: Named::new("clip.text", text),
            upsampler: config
                .upsampler
                .map(|sizes| Named::new("upsampler", Upsampler::new(sizes, embed, device))),
            config: config.clone(),
        })
    }

    /// The sizes this network was made with.
    #[must_use]
    pub fn config(&self) -> &SegEarthConfig {
        &self.config
    }

    /// One unit vector a word, `[T, E]`: the mean over its prompts' unit vectors. Prompts are
    /// `SOT + ids + EOT` each.
    ///
    /// # Panics
    /// When there is no word, or one without prompts: a fault of the caller.
    pub fn encode_words(&self, words: &[Vec<Vec<u32>>], observer: &mut dyn Observer) -> Tensor<2> {
        let means = words
            .iter()
            .map(|prompts| self.text.forward(prompts, &mut Silent).mean_dim(0))
            .collect();
        let words = unit(Tensor::cat(means, 0));
        see(observer, "text.features", &words.clone().unsqueeze::<3>());
        words
    }

    /// Normalised pixels `[N, 3, H, W]` of a window to what is compared with words. Where a side is
    /// no multiple of the patch, zeros are added around the pixels, the smaller half first.
    pub fn features(&self, pixels: &Tensor<4>, observer: &mut dyn Observer) -> WindowFeatures {
        let _spinning = SpinGuard::new(&pixels.device());
        let patch_px = self.config.visual.patch_px;
        let [n, channels, h, w] = pixels.dims();
        let [height, width] = [h, w].map(|length| length.next_multiple_of(patch_px));
        let [top, left] = [(height - h) / 2, (width - w) / 2];
        let place = [top, left, h, w];
        let pixels = if [height, width] == [h, w] {
            pixels.clone()
        } else {
            let inside = [0..n, 0..channels, top..top + h, left..left + w];
            Tensor::<4>::zeros([n, channels, height, width], &pixels.device())
                .slice_assign(inside, pixels.clone())
        };
        let pixels = &pixels;
        let [h, w] = [height / patch_px, width / patch_px];
        let found = self
            .visual
            .tokens(pixels.clone(), self.config.last_block, observer);
        let embed = self.config.text.embed;
        let patches = found.patches.reshape([n, h, w, embed]);
        let cls = unit(found.cls);
        let Some(upsampler) = &self.upsampler else {
            return WindowFeatures {
                cls,
                map: unit(patches),
                enlarged: None,
                place,
            };
        };
        let weights = upsampler.weights(pixels, observer);
        if observer.wants_tensors() {
            // The steps as the authors compute them: before the last layer.
            upsampler.enlarge(patches.clone(), &weights, |step, map| {
                see_map(observer, &format!("jbu.up{step}"), map);
            });
        }
        let map = upsampler.fold(patches);
        let offset = upsampler.offset().reshape([1, 1, 1, embed]);
        let enlarged = upsampler.enlarge(map.clone(), &weights, |_, _| {}) + offset;
        see_map(observer, "jbu.out", &enlarged);
        let inverse_length = enlarged.square().sum_dim(3).sqrt().recip();
        WindowFeatures {
            cls,
            map,
            enlarged: Some(Enlarged {
                weights,
                inverse_length,
            }),
            place,
        }
    }

    /// Cosines of a window's pixels with words `[T, E]`, and `cls_weight` times that of its CLS
    /// token:
    /// `[N, T, H, W]`. The upsampler treats all channels alike, so that what is enlarged has `T` of
    /// them.
    pub fn logits(
        &self,
        features: &WindowFeatures,
        words: &Tensor<2>,
        cls_weight: f64,
    ) -> Tensor<4> {
        let _spinning = SpinGuard::new(&words.device());
        let compare = |x: Tensor<4>| kernels::linear(x, words.clone(), None, Epilogue::None);
        let cosines = compare(features.map.clone());
        let logits = match (&self.upsampler, &features.enlarged) {
            (Some(upsampler), Some(enlarged)) => {
                let sums = upsampler.enlarge(cosines, &enlarged.weights, |_, _| {});
                let embed = self.config.text.embed;
                let offset = compare(upsampler.offset().reshape([1, 1, 1, embed]));
                (sums + offset) * enlarged.inverse_length.clone()
            }
            _ => {
                let [_, h, w, _] = cosines.dims();
                let patch_px = self.config.visual.patch_px;
                let [down, across] = [h, w].map(|cells| Kernel::bilinear(cells, cells * patch_px));
                resample_by_axis(cosines, &down, &across)
            }
        };
        let cls = kernels::linear(features.cls.clone(), words.clone(), None, Epilogue::None);
        let [n, count] = cls.dims();
        let cls = cls.reshape([n, 1, 1, count]) * cls_weight;
        let logits = (logits + cls).permute([0, 3, 1, 2]);
        let [top, left, h, w] = features.place;
        let [_, _, height, width] = logits.dims();
        if [height, width] == [h, w] {
            return logits;
        }
        logits.narrow(2, top, h).narrow(3, left, w)
    }

    /// Logits of a picture `[1, 3, H, W]` of any size, `[1, T, H, W]`: the mean over windows.
    pub fn picture_logits(
        &self,
        pixels: &Tensor<4>,
        words: &Tensor<2>,
        windows: Windows,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let [_, _, height, width] = pixels.dims();
        let count = words.dims()[0];
        let device = pixels.device();
        let mut sums = Tensor::<4>::zeros([1, count, height, width], &device);
        let mut covers = vec![0.0f32; height * width];
        for [top, left, h, w] in windows.of([height, width]) {
            let cut = pixels.clone().narrow(2, top, h).narrow(3, left, w);
            let features = self.features(&cut, observer);
            let logits = self.logits(&features, words, self.config.cls_weight);
            let place = [0..1, 0..count, top..top + h, left..left + w];
            let sum = sums.clone().slice(place.clone()) + logits;
            sums = sums.slice_assign(place, sum);
            for row in covers.chunks_exact_mut(width).skip(top).take(h) {
                for cover in &mut row[left..left + w] {
                    *cover += 1.0;
                }
            }
        }
        let covers = TensorData::new(covers, [1, 1, height, width]);
        let logits = sums / Tensor::from_data(covers, &device);
        see(observer, "logits", &logits);
        logits
    }
}

/// Vectors along the last axis at unit length.
fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = x.clone().square().sum_dim(D - 1).sqrt();
    x / length
}

/// Windows in which a picture is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Side of a window in pixels; 0 for the whole picture at once.
    pub crop_px: usize,
    /// Pixels from one window to the next.
    pub stride_px: usize,
}

impl Windows {
    /// First row, first column, height and width of each window of a picture `[H, W]`, row by row.
    /// The last ones are moved back to have the whole size, where the picture has it.
    #[must_use]
    pub fn of(self, size: [usize; 2]) -> Vec<[usize; 4]> {
        if self.crop_px == 0 {
            return vec![[0, 0, size[0], size[1]]];
        }
        let stride = self.stride_px.max(1);
        let spans = size.map(|length| {
            let count = length.saturating_sub(self.crop_px).div_ceil(stride) + 1;
            (0..count).map(move |i| {
                let end = (i * stride + self.crop_px).min(length);
                (end.saturating_sub(self.crop_px), end)
            })
        });
        let [rows, columns] = spans;
        rows.flat_map(|(top, bottom)| {
            columns
                .clone()
                .map(move |(left, right)| [top, left, bottom - top, right - left])
        })
        .collect()
    }
}

/// How logits become classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What logits are multiplied with before the softmax.
    pub scale: f32,
    /// Pixels whose best class has less than this become background.
    pub threshold: f32,
    /// The class that they become.
    pub background: usize,
    /// The class of each word, in ascending order: synonyms have one class.
    pub class_of_word: Vec<usize>,
}

impl Decision {
    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.class_of_word.iter().max().map_or(0, |last| last + 1)
    }

    /// Probabilities of classes, `[classes, H·W]`, from logits of words `[T, H·W]`: a softmax over
    /// words, and of each class's words the largest.
    #[must_use]
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        let words = self.class_of_word.len();
        if words == 0 {
            return Vec::new();
        }
        let area = logits.len() / words;
        let mut probabilities = vec![0.0f32; self.classes() * area];
        let mut values = vec![0.0f32; words];
        for pixel in 0..area {
            let of_words = || logits.iter().skip(pixel).step_by(area);
            let largest = of_words().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            let mut sum = 0.0;
            for (value, &logit) in values.iter_mut().zip(of_words()) {
                *value = ((logit - largest) * self.scale).exp();
                sum += *value;
            }
            for (value, class) in values.iter().zip(&self.class_of_word) {
                let best = &mut probabilities[class * area + pixel];
                *best = best.max(value / sum);
            }
        }
        probabilities
    }

    /// The class of each pixel from [`Decision::probabilities`]: the first of the most probable
    /// ones, or the background.
    #[must_use]
    pub fn labels(&self, probabilities: &[f32]) -> Vec<usize> {
        let classes = self.classes();
        let area = probabilities.len().checked_div(classes).unwrap_or(0);
        (0..area)
            .map(|pixel| {
                let of = |class: usize| probabilities[class * area + pixel];
                let best = (1..classes).fold(0, |best, c| if of(c) > of(best) { c } else { best });
                if of(best) < self.threshold {
                    self.background
                } else {
                    best
                }
            })
            .collect()
    }
}
