//! Answers each request of the page: at once, or as a job that waits for the model.

use std::mem::discriminant;
use std::rc::Rc;

use js_sys::Array;
use mmovseg_engine::Session;
use mmovseg_protocol::{Activity, Event, ModelPlace, Request};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::MessageEvent;

use crate::js::explain;
use crate::link::{breathe, post, receive, scope};
use crate::report::{failed, gpu_failed};
use crate::source::{FileSource, UrlSource};
use crate::state::{Batch, Job, with};
use crate::tiles::OpenTiles;
use crate::{batch, export, open, pair, run, teach};

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
            work().await;
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
    with(|state| {
        state
            .jobs
            .retain(|waiting| discriminant(waiting) != discriminant(&job));
        state.jobs.push_back(job);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    });
    spawn_local(work());
}

fn stop() {
    let busy = with(|state| {
        state.jobs.clear();
        state.stop = state.busy;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        state.busy
    });
    if !busy {
        post(&Event::Stopped);
    }
}

/// Does the jobs that wait, while the session is there and free.
async fn work() {
    loop {
        // A newer request may be on its way, and a Stop.
        breathe().await;
        let job = with(|state| {
            if state.jobs.is_empty() {
                return None;
            }
            let session = state.session.take()?;
            state.busy = true;
            state.stop = false;
            Some((session, state.jobs.pop_front()?, state.tiles.clone()))
        });
        let Some((mut session, job, tiles)) = job else {
            return;
        };
        let healthy = perform(&mut session, job, tiles).await && !gpu_failed();
        let stopped = with(|state| {
            state.busy = false;
            state.waker = None;
            if healthy {
                state.session = Some(session);
            }
            std::mem::take(&mut state.stop)
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
