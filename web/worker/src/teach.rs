//! What the model makes of a tile on the way to its mask.

use std::rc::Rc;

use js_sys::ArrayBuffer;
use mmovseg_engine::{EngineError, Session};
use mmovseg_protocol::{Event, Explained, Modality, Run, Similar};

use crate::link::{numbers, post, post_with};
use crate::report::relay;
use crate::run::{refused, request};
use crate::state::while_wanted;
use crate::tiles::{OpenTiles, side};

/// Every stage of a run as maps. False when the device is not to be used again.
pub async fn explain(session: &mut Session, tiles: &Rc<OpenTiles>, run: Run) -> bool {
    let request = request(&run, run.modality);
    let mut on = relay;
    let resampled = tiles.resampled(session.manifest().gsd_m);
    let pair = resampled.as_ref().map_or(&tiles.shown, |found| &found.pair);
    let work = session.explain(pair, &request, &mut on);
    answer(while_wanted(work, |_| false).await, |stages| {
        let parts: Vec<ArrayBuffer> = stages.iter().map(|map| numbers(&map.values)).collect();
        let event = Event::Explained(Explained {
            classes: run.classes,
            modality: run.modality,
            stages: stages
                .into_iter()
                .map(|map| (map.name, map.side_px.map(side)))
                .collect(),
        });
        post_with(&event, parts);
    })
}

/// How alike all patches are to one. False when the device is not to be used again.
pub async fn similar(session: &mut Session, tiles: &Rc<OpenTiles>, id: u32, at: [f64; 2]) -> bool {
    // Classes and sensors play no part.
    let run = Run {
        id,
        classes: Vec::new(),
        modality: Modality::Fused,
        windows: false,
    };
    let request = request(&run, run.modality);
    let mut on = relay;
    let resampled = tiles.resampled(session.manifest().gsd_m);
    let pair = resampled.as_ref().map_or(&tiles.shown, |found| &found.pair);
    let work = session.similar_patches(pair, &request, at, &mut on);
    answer(while_wanted(work, |_| false).await, |found| {
        let grid = side(found.grid);
        let event = Event::Similar(Similar {
            id,
            grid: [grid, grid],
            at,
        });
        post_with(&event, vec![numbers(&found.optical), numbers(&found.sar)]);
    })
}

/// How close class names are. False when the device is not to be used again.
pub async fn vocabulary(session: &mut Session, classes: Vec<String>) -> bool {
    let mut on = relay;
    let work = session.vocabulary(&classes, &mut on);
    let found = while_wanted(work, |_| false).await;
    answer(found, |cosines| {
        post(&Event::Vocabulary { classes, cosines })
    })
}

fn answer<T>(found: Option<Result<T, EngineError>>, send: impl FnOnce(T)) -> bool {
    match found {
        None => {}
        Some(Ok(found)) => send(found),
        Some(Err(error)) => return refused(&error),
    }
    true
}
