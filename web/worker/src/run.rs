//! Runs on the open pair: one, or one with each choice of sensors.

use std::rc::Rc;

use mmovseg_engine::{EngineError, Preprocess, SegmentRequest, Segmentation, Session, Tiling};
use mmovseg_protocol::{Activity, ClassResult, Event, Modality, Run, Segmented, Step};

use crate::link::{numbers, post_with, thinned};
use crate::report::{failed, progress, relay};
use crate::state::{Job, LastRun, WorkerState, while_wanted, with};
use crate::tiles::{OpenTiles, side};

/// One run; a newer one makes it pointless. False when the device is not to be used again.
pub async fn segment(session: &mut Session, tiles: &Rc<OpenTiles>, run: Run) -> bool {
    let request = request(&run, run.modality);
    let mut on = relay;
    let work = tiles.segment(session, &request, &mut on);
    let Some(result) = while_wanted(work, has_newer_run).await else {
        return true;
    };
    match result {
        Ok(found) => {
            let told = describe(session, &found, tiles, &run, run.modality);
            let step = tiles.step_px();
            let parts = vec![
                thinned(&found.labels, found.width_px, step),
                numbers(&found.logits),
            ];
            let event = Event::Segmented(told.clone());
            let last = LastRun {
                found,
                told,
                tiles: Rc::clone(tiles),
            };
            with(|state| state.last = Some(Rc::new(last)));
            post_with(&event, parts);
            true
        }
        Err(error) => refused(&error),
    }
}

/// Whether another run waits, which makes the one that is going on pointless.
fn has_newer_run(state: &WorkerState) -> bool {
    state.jobs.iter().any(|job| matches!(job, Job::Segment(_)))
}

/// A run for each choice of sensors; a newer run makes it pointless. False when the device is not
/// to be used again.
pub async fn compare(session: &mut Session, tiles: &Rc<OpenTiles>, run: Run) -> bool {
    let (mut told, mut parts) = (Vec::new(), Vec::new());
    for (index, modality) in Modality::ALL.into_iter().enumerate() {
        progress(Step::Stage("compare".into()), index as u64, 3);
        let request = request(&run, modality);
        let mut silent = |_| {};
        let work = tiles.segment(session, &request, &mut silent);
        match while_wanted(work, has_newer_run).await {
            None => return true,
            Some(Err(error)) => return refused(&error),
            Some(Ok(found)) => {
                told.push(describe(session, &found, tiles, &run, modality));
                parts.push(thinned(&found.labels, found.width_px, tiles.step_px()));
            }
        }
        crate::link::breathe().await;
    }
    post_with(&Event::Compared(told), parts);
    true
}

/// Tells the page; the device may be used again.
pub fn refused(error: &EngineError) -> bool {
    failed(Activity::Segment, error);
    true
}

/// The engine's request for a run with other sensors.
pub fn request(run: &Run, modality: Modality) -> SegmentRequest {
    SegmentRequest {
        classes: run.classes.clone(),
        modality,
        preprocess: Preprocess::default(),
        tiling: if run.windows {
            Tiling::Auto
        } else {
            Tiling::Whole
        },
        rule: None,
    }
}

/// What the page is told of a run.
pub fn describe(
    session: &Session,
    found: &Segmentation,
    tiles: &OpenTiles,
    run: &Run,
    modality: Modality,
) -> Segmented {
    let ious = match &tiles.truth {
        Some(truth) => mmovseg_scene::ious(&found.classes, &found.labels, truth),
        None => vec![None; found.classes.len()],
    };
    let classes = found
        .classes
        .iter()
        .zip(&found.share)
        .zip(ious)
        .map(|((name, &share), iou)| ClassResult {
            name: name.clone(),
            share,
            iou,
            unknown_words: session.unknown_words(name),
        })
        .collect();
    let step = tiles.step_px();
    Segmented {
        id: run.id,
        width_px: side(found.width_px.div_ceil(step)),
        height_px: side(found.height_px.div_ceil(step)),
        grid_px: found.grid_px.map(side),
        temperature: found.temperature,
        resampled: tiles
            .resampled(session.manifest().gsd_m)
            .map(|resampled| resampled.note.clone()),
        classes,
        timings: found.timings.clone(),
        modality,
        windows: side(found.windows),
    }
}
