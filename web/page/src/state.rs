//! Everything that the page shows or the user entered, as signals. It outlives every Worker.

use leptos::prelude::*;
use mmovseg_protocol::{
    Cloud, CloudKind, DeviceChoice, Modality, Opened, Progress, Segmented, SelfTest, Tiles,
};
use mmovseg_raster::PRESETS;
use web_sys::{File, ImageData};

/// Side of a generated scene; one pixel is 10 m.
pub const SCENE_SIDE_PX: u32 = 256;

/// Where the current pair comes from, so that a fresh Worker can be given it again.
#[derive(Clone)]
pub enum Source {
    /// Two files of the user's.
    Files {
        /// Optical.
        rgb: File,
        /// SAR.
        sar: File,
    },
    /// A generated scene.
    Scene {
        /// Its seed.
        seed: u32,
    },
}

/// How far the engine is.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    /// A Worker is loading it.
    Starting,
    /// It answers.
    Ready(Opened),
    /// It could not be loaded; the user may try again.
    Stopped,
}

/// Something that went wrong, for the alert region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, in a few words.
    pub title: String,
    /// Where and why.
    pub detail: String,
    /// What happens next or what to do.
    pub advice: String,
}

/// A finished run.
#[derive(Clone)]
pub struct Outcome {
    /// Numbers.
    pub report: Segmented,
    /// The mask in palette colours.
    pub mask: ImageData,
}

/// The page's signals. A handle: copies are the same state.
#[derive(Clone, Copy)]
pub struct State {
    /// Class names, in the order of the labels.
    pub classes: RwSignal<Vec<String>>,
    /// Sensors to use.
    pub modality: RwSignal<Modality>,
    /// Cloud over the optical tile.
    pub cloud: RwSignal<Cloud>,
    /// Chosen optical file.
    pub rgb_file: RwSignal<Option<File>, LocalStorage>,
    /// Chosen SAR file.
    pub sar_file: RwSignal<Option<File>, LocalStorage>,
    /// Origin of the pair that was asked for last.
    pub source: RwSignal<Option<Source>, LocalStorage>,
    /// Whether the Worker still reads that pair.
    pub reading: RwSignal<bool>,
    /// The pair that is shown.
    pub tiles: RwSignal<Option<Tiles>>,
    /// Its optical picture.
    pub rgb: RwSignal<Option<ImageData>, LocalStorage>,
    /// Its SAR picture.
    pub sar: RwSignal<Option<ImageData>, LocalStorage>,
    /// The last run on it.
    pub outcome: RwSignal<Option<Outcome>, LocalStorage>,
    /// How far the engine is.
    pub engine: RwSignal<Engine>,
    /// The golden self-test, once it ran.
    pub self_test: RwSignal<Option<SelfTest>>,
    /// Work going on.
    pub progress: RwSignal<Option<Progress>>,
    /// Whether a run was asked for and has not ended.
    pub running: RwSignal<bool>,
    /// One sentence on what just happened, read out by screen readers.
    pub status: RwSignal<String>,
    /// What went wrong last.
    pub problem: RwSignal<Option<Problem>>,
    /// Device from the page's address.
    pub wanted_device: DeviceChoice,
}

impl State {
    /// The state of a freshly opened page.
    #[must_use]
    pub fn new(wanted_device: DeviceChoice) -> Self {
        Self {
            classes: RwSignal::new(PRESETS[0].prompts()),
            modality: RwSignal::new(Modality::Fused),
            cloud: RwSignal::new(Cloud {
                kind: CloudKind::None,
                seed: 1,
            }),
            rgb_file: RwSignal::new_local(None),
            sar_file: RwSignal::new_local(None),
            source: RwSignal::new_local(None),
            reading: RwSignal::new(false),
            tiles: RwSignal::new(None),
            rgb: RwSignal::new_local(None),
            sar: RwSignal::new_local(None),
            outcome: RwSignal::new_local(None),
            engine: RwSignal::new(Engine::Starting),
            self_test: RwSignal::new(None),
            progress: RwSignal::new(None),
            running: RwSignal::new(false),
            status: RwSignal::new("Choose two tiles, or make a new scene.".into()),
            problem: RwSignal::new(None),
            wanted_device,
        }
    }

    /// Whether Run can be pressed.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.tiles.with(Option::is_some)
            && !self.reading.get()
            && !self.running.get()
            && !self.classes.with(Vec::is_empty)
    }

    /// Shows a problem and says it in the status line too.
    pub fn report(&self, title: &str, detail: impl Into<String>, advice: &str) {
        self.problem.set(Some(Problem {
            title: title.into(),
            detail: detail.into(),
            advice: advice.into(),
        }));
        self.status.set(title.into());
    }
}
