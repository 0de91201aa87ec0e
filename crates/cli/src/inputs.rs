//! What several subcommands are given: a model and a device, a tile pair, class names.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mmovseg_engine::{
    DeviceChoice, Event, FolderSource, Modality, PrecisionChoice, Preprocess, Session, TilePair,
    half_precision, open_device,
};
use mmovseg_raster::{ByteSource, OpticalOptions, SarOptions, SarScale, open_optical, open_pair};
use mmovseg_weights::verify_hashes;
use serde::de::DeserializeOwned;

use crate::checkpoint::{ClipOptions, Released};

/// Ends the note of a tile that was resampled.
pub const HOW_TO_KEEP_PIXELS: &str = "(--resolution native leaves pixels as they are)";

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
    /// Folder of a model package, or a released checkpoint (.pth or .safetensors), which runs in
    /// f32 unless told otherwise
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
    /// Numbers of the image towers: f16 needs a GPU that has them; auto takes them on a hardware
    /// GPU for large models whose self-test passes so
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
            let released = Released::open(&self.model, &ClipOptions::default())?;
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

/// Which tiles a run uses, and how they are resized.
#[derive(clap::Args)]
pub struct ModeArgs {
    /// Which tiles the model uses
    #[arg(long, default_value = "fused", value_parser = choice::<Modality>(&["fused", "optical", "sar"]))]
    pub modality: Modality,
    /// How tiles are resized to the model's input; parity repeats the authors' loader
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
    #[command(flatten)]
    pub reading: ReadingArgs,
}

impl TileArgs {
    /// Reads both files and brings them onto one grid.
    pub fn open(&self) -> anyhow::Result<TilePair> {
        self.reading.open(&self.rgb, Some(&self.sar))
    }
}

/// How tiles are read.
#[derive(clap::Args)]
pub struct ReadingArgs {
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

impl ReadingArgs {
    /// What to read of each sensor.
    pub fn options(&self) -> (OpticalOptions, SarOptions) {
        let optical = OpticalOptions {
            bands: self.bands,
            ..OpticalOptions::default()
        };
        let sar = SarOptions {
            polarisation: self.sar_band,
            scale: self.sar_scale,
        };
        (optical, sar)
    }

    /// Reads both files as a whole and brings them onto one grid, or the optical file alone.
    pub fn open(&self, rgb: &Path, sar: Option<&Path>) -> anyhow::Result<TilePair> {
        let (optical, sar_options) = self.options();
        let (rgb_bytes, rgb_name) = (read(rgb)?, rgb.display().to_string());
        let Some(sar) = sar else {
            return Ok(open_optical((&rgb_bytes, &rgb_name), &optical)?);
        };
        let (sar_bytes, sar_name) = (read(sar)?, sar.display().to_string());
        Ok(open_pair(
            (&rgb_bytes, &rgb_name),
            (&sar_bytes, &sar_name),
            &optical,
            &sar_options,
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

/// Reads a file that the user named.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        anyhow::anyhow!(
            "{}: cannot be read ({error}); check the path and the file's rights",
            path.display()
        )
    })
}

/// A file that is read in parts.
pub struct FileBytes {
    file: std::sync::Mutex<std::fs::File>,
    len: u64,
}

impl FileBytes {
    /// Opens a file that the user named.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let opened = std::fs::File::open(path).and_then(|file| {
            let len = file.metadata()?.len();
            Ok((file, len))
        });
        let (file, len) = opened.map_err(|error| {
            anyhow::anyhow!(
                "{}: cannot be read ({error}); check the path and the file's rights",
                path.display()
            )
        })?;
        Ok(Self {
            file: std::sync::Mutex::new(file),
            len,
        })
    }
}

impl ByteSource for FileBytes {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        // A reader that panicked while it held the lock has left no half-done work in the file.
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
