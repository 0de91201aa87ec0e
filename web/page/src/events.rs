//! What the Worker reports, moved into the state.

use std::sync::Arc;

use js_sys::{Array, ArrayBuffer, Float32Array, Uint8Array, Uint8ClampedArray};
use leptos::prelude::*;
use mmovseg_protocol::{Activity, Event, Failure, Segmented, Step, Tiles};
use wasm_bindgen::prelude::*;
use web_sys::{Blob, BlobPropertyBag, HtmlAnchorElement, ImageData, Url};

use crate::actions::{compare, has_run, is_newest, run_now, stopped};
use crate::client::describe;
use crate::engine::{crashed, succeeded};
use crate::state::{Alike, Engine, Explanation, Maps, Outcome, State, Vocabulary};
use crate::words;

/// Moves one event into the state.
pub fn take(state: State, event: Event, buffers: &Array) {
    if let Err(error) = try_take(state, event, buffers) {
        crashed(state, &describe(&error));
    }
}

fn try_take(state: State, event: Event, buffers: &Array) -> Result<(), JsValue> {
    match event {
        Event::Opened(opened) => {
            let named = opened.named_colours.clone();
            state.take_package_classes(&opened.default_classes, named);
            state.engine.set(Engine::Ready(opened));
            run_now(state);
        }
        Event::SelfTest(test) => {
            state.progress.set(None);
            if !test.passed {
                state.report(
                    "The self-test failed",
                    test.detail.clone(),
                    "Results on this device may be wrong; add ?device=cpu to the page's address to use the CPU.",
                );
            }
            state.window_ms.update_value(|ms| {
                ms.get_or_insert(test.ms);
            });
            state.self_test.set(Some(test));
            if !has_run(state) && !state.running.get_untracked() {
                run_now(state);
            }
        }
        Event::Tiles(tiles) => {
            let rgb = picture(buffers, 0, &tiles)?;
            let sar = picture(buffers, 1, &tiles)?;
            state.rgb.set(Some(rgb));
            state.sar.set(Some(sar));
            state.reading.set(false);
            state.status.set(format!(
                "Tiles ready, {} × {} px.",
                tiles.width_px, tiles.height_px
            ));
            state.tiles.set(Some(tiles));
            run_now(state);
        }
        Event::Optical => {
            if let Some(tiles) = state.tiles.get_untracked() {
                state.rgb.set(Some(picture(buffers, 0, &tiles)?));
            }
        }
        Event::Progress(progress) => {
            let finished = progress.total > 0 && progress.done >= progress.total;
            let last = matches!(progress.step, Step::SelfTest) && finished;
            if progress.done == 0 {
                state.progress_since_ms.set_value(js_sys::Date::now());
            }
            state.progress.set((!last).then_some(progress));
        }
        Event::Segmented(report) => {
            if is_newest(report.id) {
                finished(state, report, buffers)?;
            }
        }
        Event::Compared(reports) => {
            if reports.first().is_some_and(|report| is_newest(report.id)) {
                compared(state, reports, buffers)?;
            }
        }
        Event::Explained(found) => {
            let mut stages = Vec::with_capacity(found.stages.len());
            for (index, (name, side_px)) in (0..).zip(found.stages) {
                stages.push(Maps {
                    name,
                    side_px,
                    values: numbers(buffers, index)?,
                });
            }
            let classes = found.classes;
            state.progress.set(None);
            state
                .panels
                .explained
                .set(Some(Explanation { classes, stages }));
        }
        Event::Similar(found) => {
            let map = |index, name: &str| {
                Ok::<_, JsValue>(Maps {
                    name: name.into(),
                    side_px: found.grid,
                    values: numbers(buffers, index)?,
                })
            };
            let maps = [map(0, "optical")?, map(1, "sar")?];
            state.progress.set(None);
            state.panels.alike.set(Some(Alike { at: found.at, maps }));
        }
        Event::Vocabulary { classes, cosines } => {
            state.progress.set(None);
            state
                .panels
                .vocabulary
                .set(Some(Vocabulary { classes, cosines }));
        }
        Event::File { name, mime, notes } => {
            save(&buffers.get(0), &name, &mime)?;
            if mime == "application/zip" {
                state.running.set(false);
                state.in_batch.set_value(false);
                state.progress.set(None);
            }
            let notes = notes.iter().map(|note| format!(" {note}"));
            state
                .status
                .set(format!("Saved {name}.{}", notes.collect::<String>()));
        }
        Event::Stopped => stopped(state),
        Event::Failed(failure) => failed(state, failure),
        Event::Crashed { message } => crashed(state, &message),
    }
    Ok(())
}

fn picture(buffers: &Array, index: u32, tiles: &Tiles) -> Result<ImageData, JsValue> {
    let buffer: ArrayBuffer = buffers.get(index).dyn_into()?;
    let bytes = Uint8ClampedArray::new(&buffer);
    ImageData::new_with_js_u8_clamped_array_and_sh(
        &bytes,
        tiles.shown_width_px,
        tiles.shown_height_px,
    )
}

fn bytes(buffers: &Array, index: u32) -> Result<Arc<Vec<u8>>, JsValue> {
    let buffer: ArrayBuffer = buffers.get(index).dyn_into()?;
    Ok(Arc::new(Uint8Array::new(&buffer).to_vec()))
}

fn numbers(buffers: &Array, index: u32) -> Result<Arc<Vec<f32>>, JsValue> {
    let buffer: ArrayBuffer = buffers.get(index).dyn_into()?;
    Ok(Arc::new(Float32Array::new(&buffer).to_vec()))
}

/// Hands a file to the browser to save.
fn save(buffer: &JsValue, name: &str, mime: &str) -> Result<(), JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(mime);
    let blob = Blob::new_with_buffer_source_sequence_and_options(&Array::of1(buffer), &options)?;
    let url = Url::create_object_url_with_blob(&blob)?;
    let link: HtmlAnchorElement = document().create_element("a")?.dyn_into()?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    // The browser reads the file after this; the address is given back once it surely has.
    gloo_timers::callback::Timeout::new(60_000, move || {
        let _gone = Url::revoke_object_url(&url);
    })
    .forget();
    Ok(())
}

fn finished(state: State, report: Segmented, buffers: &Array) -> Result<(), JsValue> {
    succeeded();
    state.status.set(words::finished(&report));
    measure(state, &report);
    state.outcome.set(Some(Outcome {
        report,
        labels: bytes(buffers, 0)?,
        logits: numbers(buffers, 1)?,
        stored: false,
    }));
    state.progress.set(None);
    if untrack(|| state.is_comparing()) {
        compare(state);
    } else {
        state.running.set(false);
    }
    Ok(())
}

/// Time of a window on this device, from a run that computed all of them.
fn measure(state: State, report: &Segmented) {
    let ran = |names: &[&str]| {
        let mut timings = report.timings.iter();
        timings.any(|timing| names.contains(&timing.stage.name()))
    };
    if ran(&["clip", "windows"]) {
        let ms: f64 = report.timings.iter().map(|timing| timing.ms).sum();
        let windows = f64::from(report.windows.max(1));
        state.window_ms.set_value(Some(ms / windows));
    }
}

fn compared(state: State, reports: Vec<Segmented>, buffers: &Array) -> Result<(), JsValue> {
    let mut outcomes = Vec::with_capacity(reports.len());
    for (index, report) in (0..).zip(reports) {
        outcomes.push(Outcome {
            report,
            labels: bytes(buffers, index)?,
            logits: Arc::default(),
            stored: false,
        });
    }
    // Closed while it was on its way.
    if untrack(|| state.is_comparing()) {
        state.compared.set(Some(outcomes));
    }
    state.running.set(false);
    state.progress.set(None);
    Ok(())
}

/// The Worker refused something but is well.
fn failed(state: State, failure: Failure) {
    let Failure {
        during,
        message,
        outlines,
    } = failure;
    match during {
        Activity::Open => {
            state.engine.set(Engine::Stopped);
            state.progress.set(None);
            state.running.set(false);
            state.report(
                "The model could not be loaded",
                message,
                "Press “Try again” when the connection is back. Your tiles and class names are kept.",
            );
        }
        Activity::Tiles => {
            state.reading.set(false);
            state.report_drawn(
                "The tiles could not be read",
                message,
                "Choose other files, or make a new scene.",
                outlines,
            );
        }
        Activity::Export => state.report(
            "The file could not be written",
            message,
            "Try another format.",
        ),
        Activity::Segment => {
            state.running.set(false);
            state.in_batch.set_value(false);
            state.progress.set(None);
            state.report(
                "The run stopped",
                message,
                "Change the tiles, the classes or the sensors.",
            );
        }
    }
}
