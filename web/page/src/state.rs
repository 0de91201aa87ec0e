//! Everything that the page shows or the user entered, as signals. It outlives every Worker.

use std::collections::BTreeSet;
use std::sync::Arc;

use leptos::prelude::*;
use mmovseg_protocol::{
    Cloud, DeviceChoice, Modality, Opened, Outline, Progress, Reading, Segmented, SelfTest, Tiles,
};
use mmovseg_raster::{PRESETS, class_colours};
use web_sys::{File, ImageData};

use crate::view::View;

/// Side of a generated scene in pixels; one pixel is 10 m.
pub const SCENE_SIDE_PX: u32 = 256;

/// The scene that a page opens with. Its tiles, mask and stages are stored with the page
/// (`first_scene`).
pub const FIRST_SEED: u32 = 11;

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

/// Why a run that could begin waits for the user's word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Waiting {
    /// The user stopped it.
    Stopped,
    /// The engine failed during it.
    Failed,
    /// It would take long.
    Long {
        /// Expected seconds.
        seconds: f64,
    },
}

/// Something that went wrong, for the alert region.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What, in a few words.
    pub title: String,
    /// Where and why.
    pub detail: String,
    /// What happens next or what to do.
    pub advice: String,
    /// Outlines of the optical and of the SAR file, when they have no ground in common.
    pub outlines: Option<[Outline; 2]>,
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
    /// Whether this is the result that is stored with the page, not one of this visit.
    pub stored: bool,
}

impl Outcome {
    /// Class names in the order of the labels.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let classes = self.report.classes.iter();
        classes.map(|class| class.name.clone()).collect()
    }
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

/// Similarity of all patches to a chosen one.
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

/// The panels below the pictures, of which one at most is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panel {
    /// The three choices of sensors side by side.
    Compare,
    /// Stages of the network as heat maps.
    Stages,
    /// Patches similar to the pinned one.
    Alike,
    /// Cosines between class names.
    Words,
    /// Files of the result.
    Save,
    /// Decisions on reading the files.
    Reading,
    /// Several pairs in one go.
    Batch,
    /// The model in use.
    Model,
}

/// What the panels show. Each is kept up to date while it is open.
#[derive(Clone, Copy)]
pub struct Panels {
    /// The open one.
    pub open: RwSignal<Option<Panel>>,
    /// The stages of the last run.
    pub explained: RwSignal<Option<Explanation>, LocalStorage>,
    /// Which stage is shown large.
    pub stage: RwSignal<usize>,
    /// Whose map; `None` is the class under the cursor.
    pub class: RwSignal<Option<String>>,
    /// Similarity to the pinned patch.
    pub alike: RwSignal<Option<Alike>, LocalStorage>,
    /// Cosines between the class names.
    pub vocabulary: RwSignal<Option<Vocabulary>>,
}

impl Panels {
    fn new() -> Self {
        Self {
            open: RwSignal::new(None),
            explained: RwSignal::new_local(None),
            stage: RwSignal::new(0),
            class: RwSignal::new(None),
            alike: RwSignal::new_local(None),
            vocabulary: RwSignal::new(None),
        }
    }

    /// Whether a panel is the open one.
    #[must_use]
    pub fn is_open(&self, panel: Panel) -> bool {
        self.open.get() == Some(panel)
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

/// What the third picture shows over its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// The class of each pixel.
    Classes,
    /// Entropy of the class probabilities.
    Entropy,
    /// Highest probability less the second highest.
    Margin,
    /// Where the masks of the optical tile alone and of SAR alone differ.
    Sensors,
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
    /// The frame (by its `data-testid`) beside whose cursor the numbers are shown.
    pub probed: RwSignal<&'static str>,
    /// What lies under the mask.
    pub base: RwSignal<Base>,
    /// What lies over it.
    pub overlay: RwSignal<Overlay>,
    /// Pixels whose highest probability is below this are "none of these", percent.
    pub none_below: RwSignal<u32>,
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
            probed: RwSignal::new("mask-frame"),
            base: RwSignal::new(Base::Optical),
            overlay: RwSignal::new(Overlay::Classes),
            none_below: RwSignal::new(0),
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
    /// The class list that was set for lack of one of the user's, which a package's own list
    /// replaces.
    pub suggested: StoredValue<Vec<String>>,
    /// Class names to which the package gives a colour.
    pub named_colours: RwSignal<Vec<(String, [u8; 3])>>,
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
    /// Whether that is a batch, which no change of an input restarts.
    pub in_batch: StoredValue<bool>,
    /// Why the next run waits for the user's word.
    pub waiting: RwSignal<Option<Waiting>>,
    /// Whether the user agreed to long runs on the present pair.
    pub long_allowed: StoredValue<bool>,
    /// Measured time of one window of the model on this device, in milliseconds.
    pub window_ms: StoredValue<Option<f64>>,
    /// One sentence on what just happened, read out by screen readers.
    pub status: RwSignal<String>,
    /// What went wrong last.
    pub problem: RwSignal<Option<Problem>>,
    /// Device from the page's address.
    pub wanted_device: DeviceChoice,
    /// How pictures are looked at.
    pub look: Look,
    /// The panels below the pictures.
    pub panels: Panels,
    /// The step of the tour that is on, from 0.
    pub tour: RwSignal<Option<usize>>,
    /// Pairs of files to segment in one go: name, optical, SAR.
    pub batch: RwSignal<Vec<(String, File, File)>, LocalStorage>,
}

impl State {
    /// The state of a freshly opened page.
    #[must_use]
    pub fn new(wanted_device: DeviceChoice, package: Package) -> Self {
        Self {
            classes: RwSignal::new(PRESETS[0].prompts()),
            suggested: StoredValue::new(PRESETS[0].prompts()),
            named_colours: RwSignal::new(Vec::new()),
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
            package: RwSignal::new_local(package),
            engine: RwSignal::new(Engine::Starting),
            self_test: RwSignal::new(None),
            progress: RwSignal::new(None),
            progress_since_ms: StoredValue::new(0.0),
            running: RwSignal::new(false),
            in_batch: StoredValue::new(false),
            waiting: RwSignal::new(None),
            long_allowed: StoredValue::new(false),
            window_ms: StoredValue::new(None),
            status: RwSignal::new("Loading the model…".into()),
            problem: RwSignal::new(None),
            wanted_device,
            look: Look::new(),
            panels: Panels::new(),
            tour: RwSignal::new(None),
            batch: RwSignal::new_local(Vec::new()),
        }
    }

    /// Whether something runs or loads, which Stop ends.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.running.get() || self.engine.get() == Engine::Starting
    }

    /// Whether the three choices of sensors are to be compared with every run.
    #[must_use]
    pub fn is_comparing(&self) -> bool {
        self.panels.is_open(Panel::Compare) || self.look.overlay.get() == Overlay::Sensors
    }

    /// Whether the mask that is shown was computed on this visit for the present class names and
    /// sensors.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let classes = self.classes.get();
        let modality = self.modality.get();
        !self.running.get()
            && !self.reading.get()
            && self.outcome.with(|outcome| {
                outcome.as_ref().is_some_and(|outcome| {
                    !outcome.stored
                        && outcome.names() == classes
                        && outcome.report.modality == modality
                })
            })
    }

    /// Whether the model agrees with its package on this device; before that its results are
    /// unchecked.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.self_test
            .with(|test| test.as_ref().is_some_and(|test| test.passed))
    }

    /// The colour of each class of a list.
    #[must_use]
    pub fn colours(&self, classes: &[String]) -> Vec<[u8; 3]> {
        self.named_colours
            .with(|named| class_colours(classes, named))
    }

    /// Takes over what a package says of its classes: their colours, and the names unless the user
    /// chose their own.
    pub fn take_package_classes(&self, names: &[String], named_colours: Vec<(String, [u8; 3])>) {
        self.named_colours.set(named_colours);
        let untouched = self
            .classes
            .with_untracked(|classes| self.suggested.with_value(|suggested| classes == suggested));
        if untouched && !names.is_empty() {
            self.suggested.set_value(names.to_vec());
            if self.classes.with_untracked(|classes| classes != names) {
                self.classes.set(names.to_vec());
            }
        }
    }

    /// Whether a class is drawn.
    #[must_use]
    pub fn is_shown(&self, class: &str) -> bool {
        self.look.hidden.with(|hidden| !hidden.contains(class))
    }

    /// Shows a problem and says it in the status line too.
    pub fn report(&self, title: &str, detail: impl Into<String>, advice: &str) {
        self.report_drawn(title, detail, advice, None);
    }

    /// The same, with a drawing of where both files lie.
    pub fn report_drawn(
        &self,
        title: &str,
        detail: impl Into<String>,
        advice: &str,
        outlines: Option<[Outline; 2]>,
    ) {
        self.problem.set(Some(Problem {
            title: title.into(),
            detail: detail.into(),
            advice: advice.into(),
            outlines,
        }));
        self.status.set(title.into());
    }
}
