//! Everything that the page shows or the user entered, as signals: the one place of truth. It outlives
//! every Worker.

use std::collections::BTreeSet;
use std::sync::Arc;

use leptos::prelude::*;
use mmovseg_protocol::{
    Cloud, DeviceChoice, Modality, Opened, Progress, Reading, Segmented, SelfTest, Tiles,
};
use mmovseg_raster::PRESETS;
use web_sys::{File, ImageData};

use crate::view::View;

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

/// Where the model comes from.
#[derive(Clone)]
pub enum Package {
    /// A folder of this server, by its address.
    Url(String),
    /// Files of the user's.
    Files(Vec<File>),
}

/// How far the engine is.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    /// A Worker is loading it.
    Starting,
    /// It answers.
    Ready(Opened),
    /// It could not be loaded, or the user stopped it; the user may try again.
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
    /// Class of each shown pixel.
    pub labels: Arc<Vec<u8>>,
    /// `[classes, rows, columns]`; empty when the run kept none.
    pub logits: Arc<Vec<f32>>,
}

/// A map of numbers for each class, `[classes, rows, columns]`, over the whole tile.
#[derive(Clone)]
pub struct Maps {
    /// The engine's name of what they show.
    pub name: String,
    /// Rows and columns.
    pub side_px: [u32; 2],
    /// Numbers.
    pub values: Arc<Vec<f32>>,
}

/// The stages of a run.
#[derive(Clone)]
pub struct Explanation {
    /// Class names.
    pub classes: Vec<String>,
    /// Stages in order.
    pub stages: Vec<Maps>,
}

/// How alike all patches are to a chosen one.
#[derive(Clone)]
pub struct Alike {
    /// The chosen place, 0 to 1 from the top left.
    pub at: [f64; 2],
    /// Cosines with the optical and with the SAR patches, one "class" each.
    pub maps: [Maps; 2],
}

/// Cosines between class names.
#[derive(Clone, PartialEq)]
pub struct Vocabulary {
    /// Names.
    pub classes: Vec<String>,
    /// `[classes, classes]`.
    pub cosines: Vec<f32>,
}

/// The views that explain the model. Each is kept up to date while it is open.
#[derive(Clone, Copy)]
pub struct Teach {
    /// Whether the stages are open.
    pub stages_open: RwSignal<bool>,
    /// The stages of the last run.
    pub explained: RwSignal<Option<Explanation>, LocalStorage>,
    /// Which one is shown large.
    pub stage: RwSignal<usize>,
    /// Whose map; `None` is the class under the cursor.
    pub class: RwSignal<Option<String>>,
    /// Whether patch similarity is open.
    pub alike_open: RwSignal<bool>,
    /// Similarity to the pinned patch.
    pub alike: RwSignal<Option<Alike>, LocalStorage>,
    /// Whether the table of words is open.
    pub words_open: RwSignal<bool>,
    /// The table.
    pub vocabulary: RwSignal<Option<Vocabulary>>,
    /// Step of the guided tour that is on, from 0.
    pub tour: RwSignal<Option<usize>>,
}

impl Teach {
    fn new() -> Self {
        Self {
            stages_open: RwSignal::new(false),
            explained: RwSignal::new_local(None),
            stage: RwSignal::new(0),
            class: RwSignal::new(None),
            alike_open: RwSignal::new(false),
            alike: RwSignal::new_local(None),
            words_open: RwSignal::new(false),
            vocabulary: RwSignal::new(None),
            tour: RwSignal::new(None),
        }
    }

    /// Forgets what belongs to one tile.
    pub fn reset(&self) {
        self.explained.set(None);
        self.alike.set(None);
    }
}

/// What lies under the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The optical picture.
    Optical,
    /// The SAR picture.
    Sar,
}

/// How pictures are looked at.
#[derive(Clone, Copy)]
pub struct Look {
    /// The window that all panes show.
    pub view: RwSignal<View>,
    /// The pixel that is read: column and row.
    pub cursor: RwSignal<Option<[u32; 2]>>,
    /// Whether the cursor stays when the pointer moves on.
    pub pinned: RwSignal<bool>,
    /// What lies under the mask.
    pub base: RwSignal<Base>,
    /// Opacity of the mask, percent.
    pub opacity: RwSignal<u32>,
    /// Where the mask begins, percent of the pane from the left.
    pub swipe: RwSignal<u32>,
    /// Whether classes have patterns besides colours.
    pub hatched: RwSignal<bool>,
    /// Names of classes that are not drawn.
    pub hidden: RwSignal<BTreeSet<String>>,
}

impl Look {
    fn new() -> Self {
        Self {
            view: RwSignal::new(View::WHOLE),
            cursor: RwSignal::new(None),
            pinned: RwSignal::new(false),
            base: RwSignal::new(Base::Optical),
            opacity: RwSignal::new(100),
            swipe: RwSignal::new(0),
            hatched: RwSignal::new(false),
            hidden: RwSignal::new(BTreeSet::new()),
        }
    }

    /// Forgets what belongs to one tile.
    pub fn reset(&self) {
        self.view.set(View::WHOLE);
        self.cursor.set(None);
        self.pinned.set(false);
    }
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
    /// How files become pictures.
    pub read_as: RwSignal<Reading>,
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
    /// One with each choice of sensors.
    pub compared: RwSignal<Option<Vec<Outcome>>, LocalStorage>,
    /// Whether the comparison is kept up to date.
    pub comparing: RwSignal<bool>,
    /// Whether a changed input runs again by itself: after the first mask.
    pub live: RwSignal<bool>,
    /// Where the model comes from.
    pub package: RwSignal<Package, LocalStorage>,
    /// How far the engine is.
    pub engine: RwSignal<Engine>,
    /// The golden self-test, once it ran.
    pub self_test: RwSignal<Option<SelfTest>>,
    /// Work going on.
    pub progress: RwSignal<Option<Progress>>,
    /// When its first part began, in the browser's milliseconds.
    pub progress_since_ms: StoredValue<f64>,
    /// Whether a run was asked for and has not ended.
    pub running: RwSignal<bool>,
    /// One sentence on what just happened, read out by screen readers.
    pub status: RwSignal<String>,
    /// What went wrong last.
    pub problem: RwSignal<Option<Problem>>,
    /// Device from the page's address.
    pub wanted_device: DeviceChoice,
    /// How pictures are looked at.
    pub look: Look,
    /// What explains the model.
    pub teach: Teach,
    /// Pairs of files to segment in one go: name, optical, SAR.
    pub batch: RwSignal<Vec<(String, File, File)>, LocalStorage>,
}

impl State {
    /// The state of a freshly opened page.
    #[must_use]
    pub fn new(wanted_device: DeviceChoice, package: Package) -> Self {
        Self {
            classes: RwSignal::new(PRESETS[0].prompts()),
            modality: RwSignal::new(Modality::Fused),
            cloud: RwSignal::new(Cloud::NONE),
            read_as: RwSignal::new(Reading::default()),
            rgb_file: RwSignal::new_local(None),
            sar_file: RwSignal::new_local(None),
            source: RwSignal::new_local(None),
            reading: RwSignal::new(false),
            tiles: RwSignal::new(None),
            rgb: RwSignal::new_local(None),
            sar: RwSignal::new_local(None),
            outcome: RwSignal::new_local(None),
            compared: RwSignal::new_local(None),
            comparing: RwSignal::new(false),
            live: RwSignal::new(false),
            package: RwSignal::new_local(package),
            engine: RwSignal::new(Engine::Starting),
            self_test: RwSignal::new(None),
            progress: RwSignal::new(None),
            progress_since_ms: StoredValue::new(0.0),
            running: RwSignal::new(false),
            status: RwSignal::new("Choose two tiles, or make a new scene.".into()),
            problem: RwSignal::new(None),
            wanted_device,
            look: Look::new(),
            teach: Teach::new(),
            batch: RwSignal::new_local(Vec::new()),
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

    /// Whether a class is drawn.
    #[must_use]
    pub fn is_shown(&self, class: &str) -> bool {
        self.look.hidden.with(|hidden| !hidden.contains(class))
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
