//! What several subcommands are given: a model and a device, a tile pair, class names.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mmovseg_engine::{
    DeviceChoice, Event, FolderSource, Modality, PrecisionChoice, Preprocess, Session, TilePair,
    half_precision, open_device,
};
use mmovseg_raster::{OpticalOptions, PRESETS, Preset, SarOptions, SarScale, open_pair};
use mmovseg_weights::verify_hashes;
use serde::de::DeserializeOwned;

use crate::checkpoint::Released;

/// Parses one of `names`, each of which is the serialised form of a value of `T`; hyphens are for
/// people only.
pub fn choice<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names)
        .try_map(|name| serde_json::from_value(name.replace('-', "").into()))
}

/// A model and where to run it.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// Folder of a model package, or a released checkpoint (.pth or .safetensors), which runs in f32 unless told otherwise
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Where to run a model, and in what numbers.
#[derive(clap::Args)]
pub struct EngineArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Numbers of the image towers: f16 needs a GPU that has them; auto takes them on a hardware GPU for large models
    /// whose self-test passes so
    #[arg(long, default_value = "auto", value_parser = choice::<PrecisionChoice>(&["auto", "f32", "f16"]))]
    pub precision: PrecisionChoice,
}

/// Where to run a model.
#[derive(clap::Args)]
pub struct DeviceArgs {
    /// auto takes a hardware GPU when there is one, else the CPU
    #[arg(long, default_value = "auto", value_parser = choice::<DeviceChoice>(&["auto", "cpu", "gpu"]))]
    pub device: DeviceChoice,
}

impl ModelArgs {
    /// Opens the device and loads the package or the checkpoint.
    pub fn load(&self, on: &mut dyn FnMut(Event)) -> anyhow::Result<Session> {
        if self.model.is_file() {
            let released = Released::open(&self.model)?;
            let mut device = pollster::block_on(open_device(self.engine.device.device))?;
            if self.engine.precision == PrecisionChoice::F16 {
                device.1.precision = half_precision(&device.0, &device.1)?;
            }
            return released.load(device, on);
        }
        load(&self.model, &self.engine, on)
    }
}

/// Opens a device and loads a package onto it.
pub fn load(
    model: &Path,
    engine: &EngineArgs,
    on: &mut dyn FnMut(Event),
) -> anyhow::Result<Session> {
    anyhow::ensure!(
        model.is_dir(),
        "{}: is not a folder; give the folder of a model package, which holds model.json",
        model.display()
    );
    // A damaged package is told before a device is opened, which takes time and whose drivers may
    // write to stderr.
    if let Some(problem) = verify_hashes(model)?.into_iter().next() {
        return Err(problem).with_context(|| model.display().to_string());
    }
    let device = pollster::block_on(open_device(engine.device.device))?;
    let source = FolderSource(model.to_owned());
    pollster::block_on(Session::load(&source, device, engine.precision, on))
        .with_context(|| model.display().to_string())
}

/// How a run listens to its tiles.
#[derive(clap::Args)]
pub struct ModeArgs {
    /// Which tiles the model listens to
    #[arg(long, default_value = "fused", value_parser = choice::<Modality>(&["fused", "optical", "sar"]))]
    pub modality: Modality,
    /// How tiles become the model's square; parity repeats the authors' loader
    #[arg(long, default_value = "aligned", value_parser = choice::<Preprocess>(&["aligned", "parity"]))]
    pub preprocess: Preprocess,
}

/// The two tiles.
#[derive(clap::Args)]
pub struct TileArgs {
    /// Optical tile: PNG, JPEG or GeoTIFF
    #[arg(long, value_name = "FILE")]
    pub rgb: PathBuf,
    /// SAR tile of the same ground: PNG, JPEG or GeoTIFF
    #[arg(long, value_name = "FILE")]
    pub sar: PathBuf,
    /// Bands of the optical tile for red, green and blue, counted from 1
    #[arg(long, value_name = "R,G,B", value_parser = bands)]
    pub bands: Option<[usize; 3]>,
    /// Band of the SAR tile, counted from 1
    #[arg(long, value_name = "N", value_parser = band)]
    pub sar_band: Option<usize>,
    /// What the values of the SAR tile measure
    #[arg(long, default_value = "auto", value_parser = choice::<SarScale>(&["auto", "linear", "decibel", "as-is"]))]
    pub sar_scale: SarScale,
}

impl TileArgs {
    /// Reads both files and brings them onto one grid.
    pub fn open(&self) -> anyhow::Result<TilePair> {
        let optical = OpticalOptions {
            bands: self.bands,
            ..OpticalOptions::default()
        };
        let sar = SarOptions {
            polarisation: self.sar_band,
            scale: self.sar_scale,
        };
        let (rgb_bytes, sar_bytes) = (read(&self.rgb)?, read(&self.sar)?);
        let (rgb_name, sar_name) = (
            self.rgb.display().to_string(),
            self.sar.display().to_string(),
        );
        Ok(open_pair(
            (&rgb_bytes, &rgb_name),
            (&sar_bytes, &sar_name),
            &optical,
            &sar,
        )?)
    }
}

fn band(text: &str) -> Result<usize, String> {
    let number = text
        .trim()
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_sub(1));
    number.ok_or_else(|| "bands are whole numbers from 1".into())
}

fn bands(text: &str) -> Result<[usize; 3], String> {
    let bands = text.split(',').map(band).collect::<Result<Vec<_>, _>>()?;
    bands
        .try_into()
        .map_err(|_| "give three bands, as in 4,3,2".into())
}

/// The class names.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct ClassArgs {
    /// Class names, separated by commas
    #[arg(long, value_name = "A,B,C")]
    pub classes: Option<String>,
    /// JSON file with a list of class names
    #[arg(long, value_name = "FILE")]
    pub classes_file: Option<PathBuf>,
    /// A ready list, with its colours
    #[arg(long, value_name = "NAME", value_parser = preset())]
    pub preset: Option<&'static Preset>,
}

fn preset() -> impl TypedValueParser<Value = &'static Preset> {
    let names = PRESETS
        .iter()
        .map(|preset| PossibleValue::new(preset.id).help(preset.about));
    PossibleValuesParser::new(names)
        .try_map(|id| Preset::by_id(&id).ok_or("there is no such preset"))
}

impl ClassArgs {
    /// The names, trimmed, none of them empty.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        if let Some(preset) = self.preset {
            return Ok(preset.prompts());
        }
        let (names, place): (Vec<String>, String) = match (&self.classes, &self.classes_file) {
            (Some(list), _) => (
                list.split(',').map(str::to_owned).collect(),
                "--classes".into(),
            ),
            (None, Some(path)) => {
                let names = serde_json::from_slice(&read(path)?).map_err(|error| {
                    anyhow::anyhow!(
                        "{}: is not a JSON list of class names ({error}); write it as [\"water\", \"forest\"]",
                        path.display()
                    )
                })?;
                (names, path.display().to_string())
            }
            (None, None) => {
                anyhow::bail!("no classes were given; name some with --classes \"water,forest\"")
            }
        };
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        anyhow::ensure!(
            (1..=255).contains(&names.len()),
            "{place}: {} classes were given; give between 1 and 255 class names",
            names.len()
        );
        if let Some(position) = names.iter().position(String::is_empty) {
            anyhow::bail!(
                "{place}: class {} has an empty name; give every class a word",
                position + 1
            );
        }
        Ok(names)
    }
}

/// Reads a file that the user named.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        anyhow::anyhow!(
            "{}: cannot be read ({error}); check the path and the file's rights",
            path.display()
        )
    })
}
