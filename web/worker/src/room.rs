//! The Worker's state, and which part of it answers each request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem::discriminant;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use js_sys::Array;
use mmovseg_engine::{Event as EngineEvent, Session};
use mmovseg_protocol::{
    Activity, Event, Failure, ModelPlace, Progress, Reading, Request, Run, Step,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::MessageEvent;

use crate::link::{breathe, post, receive, scope};
use crate::run::Last;
use crate::source::{FileSource, UrlSource, explain};
use crate::tiles::OpenTiles;
use crate::watch::take_gpu_error;
use crate::{batch, export, open, pair, run, teach};

/// Work that needs the model.
pub enum Job {
    Segment(Run),
    Compare(Run),
    Explain(Run),
    Similar { id: u32, at: [f64; 2] },
    Vocabulary(Vec<String>),
    Batch(Batch),
}

/// Pairs of files to segment into one archive.
pub struct Batch {
    /// Name, optical file name, SAR file name.
    pub pairs: Vec<[String; 3]>,
    pub files: Array,
    pub reading: Reading,
    pub run: Run,
}

/// What the Worker knows.
#[derive(Default)]
pub struct Room {
    /// Absent while it loads, and while a job has taken it.
    pub session: Option<Session>,
    /// Jobs that wait for the session, oldest first, one of a kind.
    pub jobs: VecDeque<Job>,
    /// Whether a job has the session.
    pub busy: bool,
    /// Whether the running job is to stop.
    pub stop: bool,
    /// Wakes the running job, so that it notices.
    pub waker: Option<Waker>,
    pub tiles: Option<Rc<OpenTiles>>,
    /// The last run on these tiles.
    pub last: Option<Rc<Last>>,
    /// What reports say about model and device.
    pub about: serde_json::Value,
    /// Counts requests for tiles, so that a slow file cannot replace a newer choice.
    pub tiles_asked: u32,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Looks at the state or changes it.
pub fn with<T>(change: impl FnOnce(&mut Room) -> T) -> T {
    ROOM.with_borrow_mut(change)
}

/// Starts answering the page.
pub fn listen() -> Result<(), JsValue> {
    let on_message =
        Closure::<dyn Fn(MessageEvent)>::new(|event: MessageEvent| match receive(&event.data()) {
            Ok((request, buffers)) => answer(request, buffers),
            Err(error) => post(&Event::Crashed {
                message: format!(
                    "a message from the page cannot be read: {}",
                    explain(&error)
                ),
            }),
        });
    // `addEventListener`, so that the loader's own listener is left alone.
    scope()?.add_event_listener_with_callback("message", on_message.as_ref().unchecked_ref())?;
    // The Worker listens until it is terminated.
    on_message.forget();
    Ok(())
}

fn answer(request: Request, buffers: Array) {
    match request {
        Request::Open { plan, model } => spawn_local(async move {
            match model {
                ModelPlace::Url(url) => open::open(plan, UrlSource::new(url)).await,
                ModelPlace::Files(names) => {
                    open::open(plan, FileSource::new(&names, &buffers)).await;
                }
            }
        }),
        Request::Files {
            rgb_name,
            sar_name,
            reading,
            cloud,
        } => spawn_local(pair::files([rgb_name, sar_name], buffers, reading, cloud)),
        Request::Scene {
            seed,
            size_px,
            cloud,
        } => pair::scene(seed, size_px, cloud),
        Request::SetCloud(cloud) => pair::set_cloud(cloud),
        Request::Export { format } => export::last(format),
        Request::Stop => stop(),
        Request::Segment(run) => enqueue(Job::Segment(run)),
        Request::Compare(run) => enqueue(Job::Compare(run)),
        Request::Explain(run) => enqueue(Job::Explain(run)),
        Request::Similar { id, at } => enqueue(Job::Similar { id, at }),
        Request::Vocabulary { classes } => enqueue(Job::Vocabulary(classes)),
        Request::Batch {
            pairs,
            reading,
            run,
        } => enqueue(Job::Batch(Batch {
            pairs,
            files: buffers,
            reading,
            run,
        })),
    }
}

fn enqueue(job: Job) {
    with(|room| {
        room.jobs
            .retain(|waiting| discriminant(waiting) != discriminant(&job));
        room.jobs.push_back(job);
        if let Some(waker) = room.waker.take() {
            waker.wake();
        }
    });
    spawn_local(work());
}

fn stop() {
    let busy = with(|room| {
        room.jobs.clear();
        room.stop = room.busy;
        if let Some(waker) = room.waker.take() {
            waker.wake();
        }
        room.busy
    });
    if !busy {
        post(&Event::Stopped);
    }
}

/// Does the jobs that wait, while the session is there and free.
pub async fn work() {
    loop {
        // A newer request may be on its way, and a Stop.
        breathe().await;
        let job = with(|room| {
            if room.jobs.is_empty() {
                return None;
            }
            let session = room.session.take()?;
            room.busy = true;
            room.stop = false;
            Some((session, room.jobs.pop_front()?, room.tiles.clone()))
        });
        let Some((mut session, job, tiles)) = job else {
            return;
        };
        let healthy = perform(&mut session, job, tiles).await && !gpu_failed();
        let stopped = with(|room| {
            room.busy = false;
            room.waker = None;
            if healthy {
                room.session = Some(session);
            }
            std::mem::take(&mut room.stop)
        });
        if !healthy {
            return;
        }
        if stopped {
            post(&Event::Stopped);
        }
    }
}

/// One job. False when the device is not to be used again.
async fn perform(session: &mut Session, job: Job, tiles: Option<Rc<OpenTiles>>) -> bool {
    match (job, tiles) {
        (Job::Vocabulary(classes), _) => teach::vocabulary(session, classes).await,
        (Job::Batch(batch), _) => batch::batch(session, batch).await,
        (Job::Segment(request), Some(tiles)) => run::segment(session, &tiles, request).await,
        (Job::Compare(request), Some(tiles)) => run::compare(session, &tiles, request).await,
        (Job::Explain(request), Some(tiles)) => teach::explain(session, &tiles, request).await,
        (Job::Similar { id, at }, Some(tiles)) => teach::similar(session, &tiles, id, at).await,
        (_, None) => {
            failed(
                Activity::Segment,
                "there are no tiles yet; choose two files or make a new scene",
            );
            true
        }
    }
}

/// Does `work` to its end, or gives `None` when the user stopped it or `pointless` holds. Looked at
/// whenever the work waits for the device or lets messages in.
pub async fn while_wanted<T>(
    work: impl Future<Output = T>,
    pointless: impl Fn(&Room) -> bool,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let end = with(|room| {
            room.waker = Some(context.waker().clone());
            room.stop || pointless(room)
        });
        if end {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// Tells the page that a request went wrong.
pub fn failed(during: Activity, message: impl ToString) {
    post(&Event::Failed(Failure {
        during,
        message: message.to_string(),
    }));
}

/// Tells the page how far some work is.
pub fn progress(step: Step, done: u64, total: u64) {
    post(&Event::Progress(Progress { step, done, total }));
}

/// Passes the engine's events on.
pub fn relay(event: EngineEvent) {
    match event {
        EngineEvent::Download {
            done_bytes,
            total_bytes,
        } => progress(Step::Download, done_bytes, total_bytes),
        EngineEvent::Stage { stage, done, total } => {
            progress(Step::Stage(stage.name().into()), done as u64, total as u64);
        }
        // A refused kernel in half precision says nothing of the others.
        EngineEvent::HalfPrecisionLeft { .. } => drop(take_gpu_error()),
    }
}

/// Whether the GPU layer logged an error. The page is told that this Worker is not to be trusted.
pub fn gpu_failed() -> bool {
    let Some(message) = take_gpu_error() else {
        return false;
    };
    post(&Event::Crashed { message });
    true
}
