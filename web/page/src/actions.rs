//! What the user does, as requests to the engine. Every change of an input that can run, runs.

use std::cell::Cell;

use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use mmovseg_protocol::{Format, Request, Run};
use wasm_bindgen::JsValue;

use crate::client::{generation, has_worker};
use crate::engine::{self, send, send_tiles};
use crate::estimate;
use crate::gestures::centre;
use crate::state::{Engine, Package, Panel, Source, State, Waiting};

/// How long the Worker may take to stop before it is replaced, in milliseconds.
const STOP_MS: u32 = 1500;

/// How long the user must pause before a changed input runs, in milliseconds.
const PAUSE_MS: u32 = 250;

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

/// Asks for the pair that `source` names. A run that is going on is stopped.
pub fn open_tiles(state: State, source: Source) {
    if state.running.get_untracked() {
        if state.in_batch.get_value() {
            state
                .status
                .set("A batch is running; wait for it or stop it first.".into());
            return;
        }
        SOON.set(None);
        NEWEST.set(NEWEST.get().wrapping_add(1));
        send(state, &Request::Stop, &[]);
        state.running.set(false);
        state.progress.set(None);
    }
    state.source.set(Some(source));
    state.outcome.set(None);
    state.compared.set(None);
    state.problem.set(None);
    state.waiting.set(None);
    state.long_allowed.set_value(false);
    state.look.reset();
    state.panels.reset();
    state.status.set("Reading the tiles…".into());
    if has_worker() {
        // Also when it has no model: tiles are shown all the same.
        send_tiles(state);
    } else {
        // A fresh one is given the state's tiles as it starts.
        engine::start(state);
    }
}

/// Shows the generated scene of a seed.
pub fn open_scene(state: State, seed: u32) {
    state.rgb_file.set(None);
    state.sar_file.set(None);
    open_tiles(state, Source::Scene { seed });
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

/// Lays the state's cloud over the tile, once its sliders rest; the mask follows.
pub fn change_cloud(state: State) {
    let timer = Timeout::new(CLOUD_PAUSE_MS, move || {
        if state.tiles.with_untracked(Option::is_some) {
            send(state, &Request::SetCloud(state.cloud.get_untracked()), &[]);
            run_soon(state);
        }
    });
    CLOUD_SOON.set(Some(timer));
}

/// Runs after a change of the user's, once they pause.
pub fn run_soon(state: State) {
    let is_held = matches!(
        state.waiting.get_untracked(),
        Some(Waiting::Failed | Waiting::Stopped)
    );
    if is_held && state.engine.get_untracked() != Engine::Stopped && !state.running.get_untracked()
    {
        state.waiting.set(None);
    }
    SOON.set(Some(Timeout::new(PAUSE_MS, move || run_now(state))));
}

/// Watches the inputs of a run that have no event of their own.
pub fn follow(state: State) {
    Effect::new(move |before: Option<()>| {
        state.classes.track();
        state.modality.track();
        if before.is_some() {
            run_soon(state);
        }
    });
    Effect::new(move |before: Option<bool>| {
        let wanted = state.is_comparing();
        if !wanted {
            state.compared.set(None);
        } else if before != Some(true) && !state.running.get_untracked() && has_run(state) {
            compare(state);
        }
        wanted
    });
}

/// The user says that what waits shall run: starts the engine where it was stopped, and asks no
/// more on this pair.
pub fn go_on(state: State) {
    state.long_allowed.set_value(true);
    state.waiting.set(None);
    if state.engine.get_untracked() == Engine::Stopped {
        engine::start(state);
    }
    run_now(state);
}

/// Asks for a run with what the state holds, unless something is missing or the user is to be asked
/// first. What is missing runs this again when it arrives: the tiles, the model.
pub fn run_now(state: State) {
    let has_input = state.tiles.with_untracked(Option::is_some)
        && !state.reading.get_untracked()
        && state.classes.with_untracked(|classes| !classes.is_empty());
    if !has_input || state.in_batch.get_value() {
        return;
    }
    let Engine::Ready(opened) = state.engine.get_untracked() else {
        return;
    };
    if matches!(
        state.waiting.get_untracked(),
        Some(Waiting::Failed | Waiting::Stopped)
    ) {
        return;
    }
    let windows = state.tiles.with_untracked(|tiles| {
        tiles
            .as_ref()
            .map_or(1, |tiles| estimate::windows(tiles, opened.input_px))
    });
    if windows > 1 && !state.long_allowed.get_value() {
        // The self-test measures one window; it is not over yet.
        let Some(window_ms) = state.window_ms.get_value() else {
            return;
        };
        let seconds = estimate::seconds(windows, window_ms);
        if seconds > estimate::ASK_ABOVE_S {
            state.waiting.set(Some(Waiting::Long { seconds }));
            return;
        }
    }
    SOON.set(None);
    state.waiting.set(None);
    state.problem.set(None);
    state.running.set(true);
    state.status.set("Segmenting…".into());
    NEWEST.set(NEWEST.get().wrapping_add(1));
    let run = this_run(state);
    send(state, &Request::Segment(run), &[]);
}

/// Whether the mask that is shown is one of this visit.
pub fn has_run(state: State) -> bool {
    state
        .outcome
        .with_untracked(|outcome| outcome.as_ref().is_some_and(|outcome| !outcome.stored))
}

/// Compares the sensors on what the last run saw.
pub fn compare(state: State) {
    state.running.set(true);
    send(state, &Request::Compare(this_run(state)), &[]);
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

/// Keeps the open panel up to date.
pub fn accompany(state: State) {
    let panels = state.panels;
    let wants_stages =
        Memo::new(move |_| panels.is_open(Panel::Stages) || state.tour.get().is_some());
    Effect::new(move || {
        let done = state
            .outcome
            .with(|outcome| outcome.as_ref().is_some_and(|outcome| !outcome.stored));
        if wants_stages.get() && done {
            send(state, &Request::Explain(untrack(|| this_run(state))), &[]);
        }
    });
    Effect::new(move || {
        state.rgb.track();
        let pinned = state.look.pinned.get() && state.tiles.with(Option::is_some);
        if let (true, true, Some(pixel)) = (
            panels.is_open(Panel::Alike),
            pinned,
            state.look.cursor.get(),
        ) && let Some(at) = centre(state, pixel)
        {
            let id = NEWEST.get();
            send(state, &Request::Similar { id, at }, &[]);
        }
    });
    Effect::new(move || {
        let classes = state.classes.get();
        if (panels.is_open(Panel::Words) || state.tour.get() == Some(0)) && !classes.is_empty() {
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
        engine::start(state);
    }
    state.problem.set(None);
    state.running.set(true);
    state.in_batch.set_value(true);
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
    NEWEST.set(NEWEST.get().wrapping_add(1));
    let request = Request::Batch {
        pairs: names,
        reading: state.read_as.get_untracked(),
        run: this_run(state),
    };
    send(state, &request, &files);
}

/// Loads another model. Tiles and class names stay.
pub fn open_package(state: State, package: Package) {
    state.package.set(package);
    state.outcome.set(None);
    state.compared.set(None);
    state.panels.reset();
    state.waiting.set(None);
    state.problem.set(None);
    state.status.set("Loading the model…".into());
    engine::start(state);
}

/// Stops what runs or loads. A Worker that does not answer in time is replaced by one that gets the
/// same pair.
pub fn stop(state: State) {
    SOON.set(None);
    NEWEST.set(NEWEST.get().wrapping_add(1));
    state.long_allowed.set_value(false);
    if !state.running.get_untracked() {
        if state.engine.get_untracked() == Engine::Starting {
            engine::end(state);
            state.waiting.set(Some(Waiting::Stopped));
            state
                .status
                .set("Loading was stopped; what arrived is kept.".into());
        }
        return;
    }
    state.status.set("Stopping…".into());
    state.waiting.set(Some(Waiting::Stopped));
    let worker = generation();
    send(state, &Request::Stop, &[]);
    let timer = Timeout::new(STOP_MS, move || {
        if generation() == worker && state.running.get_untracked() {
            engine::restart(state);
            state
                .status
                .set("Stopped. The model is being loaded again.".into());
        }
    });
    REPLACE.set(Some(timer));
}

/// The Worker has stopped as it was asked to.
pub fn stopped(state: State) {
    // A run that begins from here on is none of that timer's business.
    REPLACE.set(None);
    state.in_batch.set_value(false);
    state.progress.set(None);
    // Else other tiles have replaced those of the stopped run, and their own run may have begun.
    if state.waiting.get_untracked() == Some(Waiting::Stopped) {
        state.running.set(false);
        state.status.set("Stopped.".into());
    }
}
