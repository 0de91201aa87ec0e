//! What the user does, as requests to the Worker.

use std::cell::Cell;

use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use mmovseg_protocol::{Format, Request, Run};
use wasm_bindgen::JsValue;

use crate::client::{generation, has_worker, restart, send, start};
use crate::state::{Engine, Package, SCENE_SIDE_PX, Source, State};

/// How long the Worker may take to stop before it is replaced, in milliseconds.
const STOP_MS: u32 = 1500;

/// How long the user must pause before a changed input runs, in milliseconds.
const PAUSE_MS: u32 = 350;

/// How long a slider must rest before its cloud is drawn, in milliseconds.
const CLOUD_PAUSE_MS: u32 = 60;

thread_local! {
    /// Number of the newest run: what an older one gives is not shown.
    static NEWEST: Cell<u32> = const { Cell::new(0) };
    /// A run that waits for the user to pause.
    static SOON: Cell<Option<Timeout>> = const { Cell::new(None) };
    /// The Worker's replacement, unless it stops before.
    static REPLACE: Cell<Option<Timeout>> = const { Cell::new(None) };
    /// A cloud that waits for the slider to rest.
    static CLOUD_SOON: Cell<Option<Timeout>> = const { Cell::new(None) };
}

/// Whether a run's answer is the one that is waited for.
pub fn is_newest(id: u32) -> bool {
    NEWEST.get() == id
}

/// Asks for the pair that `source` names.
pub fn open_tiles(state: State, source: Source) {
    if state.running.get_untracked() {
        state
            .status
            .set("A run is going on; wait for it or cancel it first.".into());
        return;
    }
    state.source.set(Some(source));
    state.outcome.set(None);
    state.compared.set(None);
    state.problem.set(None);
    state.look.reset();
    state.teach.reset();
    state.status.set("Reading the tiles…".into());
    if has_worker() {
        // Also when it has no model: tiles are shown all the same.
        send_tiles(state);
    } else {
        // A fresh one is given the state's tiles as it starts.
        start(state);
    }
}

/// Asks for the current pair again, read in another way.
pub fn read_again(state: State) {
    if let Some(source @ Source::Files { .. }) = state.source.get_untracked() {
        open_tiles(state, source);
    }
}

/// Exchanges the two files.
pub fn swap(state: State) {
    let (rgb, sar) = (
        state.rgb_file.get_untracked(),
        state.sar_file.get_untracked(),
    );
    state.rgb_file.set(sar.clone());
    state.sar_file.set(rgb.clone());
    if let (Some(rgb), Some(sar)) = (sar, rgb) {
        open_tiles(state, Source::Files { rgb, sar });
    }
}

/// Sends the pair to a Worker.
pub fn send_tiles(state: State) {
    let cloud = state.cloud.get_untracked();
    let Some(source) = state.source.get_untracked() else {
        return;
    };
    state.reading.set(true);
    match source {
        Source::Files { rgb, sar } => {
            let request = Request::Files {
                rgb_name: rgb.name(),
                sar_name: sar.name(),
                reading: state.read_as.get_untracked(),
                cloud,
            };
            send(state, &request, &[rgb.into(), sar.into()]);
        }
        Source::Scene { seed } => {
            let request = Request::Scene {
                seed,
                size_px: SCENE_SIDE_PX,
                cloud,
            };
            send(state, &request, &[]);
        }
    }
}

/// Lays the state's cloud over the tile, once its sliders rest.
pub fn change_cloud(state: State) {
    let timer = Timeout::new(CLOUD_PAUSE_MS, move || {
        if state.tiles.with_untracked(Option::is_some) {
            send(state, &Request::SetCloud(state.cloud.get_untracked()), &[]);
            run_soon(state);
        }
    });
    CLOUD_SOON.set(Some(timer));
}

/// Like [`change_cloud`], with a run even before the first mask.
pub fn change_cloud_and_run(state: State) {
    state.live.set(true);
    change_cloud(state);
}

/// Runs again by itself after a change, once the user pauses; only after a first mask.
pub fn run_soon(state: State) {
    if !state.live.get_untracked() {
        return;
    }
    SOON.set(Some(Timeout::new(PAUSE_MS, move || ask(state))));
}

/// Watches what a run depends on.
pub fn follow(state: State) {
    Effect::new(move |before: Option<()>| {
        state.classes.track();
        state.modality.track();
        if before.is_some() {
            run_soon(state);
        }
    });
}

/// Asks for a run with what the state holds, as the user wishes it.
pub fn run(state: State) {
    if untrack(|| state.can_run()) {
        ask(state);
    }
}

fn ask(state: State) {
    let ready = state.tiles.with_untracked(Option::is_some)
        && !state.reading.get_untracked()
        && state.classes.with_untracked(|classes| !classes.is_empty());
    if !ready {
        return;
    }
    if state.engine.get_untracked() == Engine::Stopped {
        start(state);
    }
    SOON.set(None);
    state.problem.set(None);
    state.running.set(true);
    state.status.set("Segmenting…".into());
    let run = next_run(state);
    send(state, &Request::Segment(run.clone()), &[]);
    if state.comparing.get_untracked() {
        send(state, &Request::Compare(run), &[]);
    }
}

/// Asks for a comparison of the sensors, now and with every further run.
pub fn compare(state: State) {
    state.comparing.set(true);
    run(state);
}

fn next_run(state: State) -> Run {
    NEWEST.set(NEWEST.get().wrapping_add(1));
    this_run(state)
}

/// The newest run again, for what accompanies it.
fn this_run(state: State) -> Run {
    Run {
        id: NEWEST.get(),
        classes: state.classes.get_untracked(),
        modality: state.modality.get_untracked(),
        windows: true,
    }
}

/// Keeps the views that explain the model up to date while they are open.
pub fn accompany(state: State) {
    let teach = state.teach;
    Effect::new(move || {
        let done = state.outcome.with(Option::is_some);
        if teach.stages_open.get() && done {
            send(state, &Request::Explain(untrack(|| this_run(state))), &[]);
        }
    });
    Effect::new(move || {
        state.rgb.track();
        let pinned = state.look.pinned.get() && state.tiles.with(Option::is_some);
        if let (true, true, Some(pixel)) = (teach.alike_open.get(), pinned, state.look.cursor.get())
            && let Some(at) = crate::gestures::centre(state, pixel)
        {
            let id = NEWEST.get();
            send(state, &Request::Similar { id, at }, &[]);
        }
    });
    Effect::new(move || {
        let classes = state.classes.get();
        if teach.words_open.get() && !classes.is_empty() {
            send(state, &Request::Vocabulary { classes }, &[]);
        }
    });
}

/// Asks for the last run as a file.
pub fn export(state: State, format: Format) {
    state.status.set("Writing the file…".into());
    send(state, &Request::Export { format }, &[]);
}

/// Segments the pairs of the batch into one archive.
pub fn run_batch(state: State) {
    let pairs = state.batch.get_untracked();
    if pairs.is_empty() || state.running.get_untracked() {
        return;
    }
    if state.engine.get_untracked() == Engine::Stopped {
        start(state);
    }
    state.problem.set(None);
    state.running.set(true);
    state
        .status
        .set(format!("Segmenting {} pairs…", pairs.len()));
    let names = pairs
        .iter()
        .map(|(name, rgb, sar)| [name.clone(), rgb.name(), sar.name()])
        .collect();
    let files: Vec<JsValue> = pairs
        .into_iter()
        .flat_map(|(_, rgb, sar)| [rgb.into(), sar.into()])
        .collect();
    let request = Request::Batch {
        pairs: names,
        reading: state.read_as.get_untracked(),
        run: next_run(state),
    };
    send(state, &request, &files);
}

/// Loads another model. Tiles and class names stay.
pub fn open_package(state: State, package: Package) {
    state.package.set(package);
    state.outcome.set(None);
    state.compared.set(None);
    state.teach.reset();
    state.live.set(false);
    state.problem.set(None);
    state.status.set("Loading the model…".into());
    start(state);
}

/// Stops what runs or loads. A Worker that does not answer in time is replaced by one that gets the
/// same pair.
pub fn cancel(state: State) {
    SOON.set(None);
    NEWEST.set(NEWEST.get().wrapping_add(1));
    if !state.running.get_untracked() {
        if state.engine.get_untracked() == Engine::Starting {
            crate::client::end(state);
            state.status.set(
                "Loading was stopped; what arrived is kept. Press Run or “Load” to go on.".into(),
            );
        }
        return;
    }
    state.status.set("Stopping…".into());
    let worker = generation();
    send(state, &Request::Stop, &[]);
    let timer = Timeout::new(STOP_MS, move || {
        if generation() == worker && state.running.get_untracked() {
            restart(state);
            state.status.set(
                "Cancelled. The model is being loaded again; you can press Run already.".into(),
            );
        }
    });
    REPLACE.set(Some(timer));
}

/// The Worker has stopped as it was asked to.
pub fn stopped(state: State) {
    // A run that begins from here on is none of that timer's business.
    REPLACE.set(None);
    state.running.set(false);
    state.progress.set(None);
    state.status.set("Cancelled.".into());
}
