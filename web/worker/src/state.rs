//! The Worker's state: the model, the open pair, the last run, and the jobs that wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use js_sys::Array;
use mmovseg_engine::{Segmentation, Session};
use mmovseg_protocol::{Reading, Run, Segmented};

use crate::tiles::OpenTiles;

/// Work that needs the model.
pub enum Job {
    /// One run.
    Segment(Run),
    /// A run with each choice of sensors.
    Compare(Run),
    /// The stages of a run.
    Explain(Run),
    /// Similarity of all patches to the one at a place.
    Similar {
        /// Number of the request.
        id: u32,
        /// Column and row as parts of the scene, 0 to 1.
        at: [f64; 2],
    },
    /// Cosines between class names.
    Vocabulary(Vec<String>),
    /// Several pairs into one archive.
    Batch(Batch),
}

/// Pairs of files to segment into one archive.
pub struct Batch {
    /// Name, optical file name, SAR file name.
    pub pairs: Vec<[String; 3]>,
    /// Optical and SAR `File` of each pair in turn.
    pub files: Array,
    /// How samples become pictures.
    pub reading: Reading,
    /// Classes and sensors.
    pub run: Run,
}

/// A finished run, kept for exports.
pub struct LastRun {
    /// What was found.
    pub found: Segmentation,
    /// What the page was told.
    pub told: Segmented,
    /// On which tiles.
    pub tiles: Rc<OpenTiles>,
}

/// What the Worker knows.
#[derive(Default)]
pub struct WorkerState {
    /// Absent while it loads, and while a job has taken it.
    pub session: Option<Session>,
    /// Jobs that wait for the session, oldest first, at most one of each kind.
    pub jobs: VecDeque<Job>,
    /// Whether a job has the session.
    pub busy: bool,
    /// Whether the running job is to stop.
    pub stop: bool,
    /// Wakes the running job, so that it looks at `stop`.
    pub waker: Option<Waker>,
    /// The open pair.
    pub tiles: Option<Rc<OpenTiles>>,
    /// The last run on these tiles.
    pub last: Option<Rc<LastRun>>,
    /// What reports say about model and device.
    pub about: serde_json::Value,
    /// Class names to which the package gives a colour.
    pub named_colours: Vec<(String, [u8; 3])>,
    /// Counts requests for tiles, so that a slow file cannot replace a newer choice.
    pub tiles_asked: u32,
}

thread_local! {
    static STATE: RefCell<WorkerState> = RefCell::default();
}

/// Reads or changes the state.
pub fn with<T>(change: impl FnOnce(&mut WorkerState) -> T) -> T {
    STATE.with_borrow_mut(change)
}

/// Runs `work` to its end, or gives `None` when the user stopped it or `pointless` holds. Both are
/// checked whenever the work waits for the device or lets messages in.
pub async fn while_wanted<T>(
    work: impl Future<Output = T>,
    pointless: impl Fn(&WorkerState) -> bool,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let end = with(|state| {
            state.waker = Some(context.waker().clone());
            state.stop || pointless(state)
        });
        if end {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}
