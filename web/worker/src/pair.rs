//! Opening a pair and changing the cloud over it.

use std::rc::Rc;

use js_sys::Array;
use mmovseg_protocol::{Cloud, Event, Reading};
use wasm_bindgen::prelude::*;

use crate::js::{explain, read_file};
use crate::link::{post_with, rgba};
use crate::report::refused_pair;
use crate::state::with;
use crate::tiles::{OpenTiles, RefusedPair};

/// Reads two files and shows them.
pub async fn files(names: [String; 2], buffers: Array, reading: Reading, cloud: Cloud) {
    let ticket = with(|state| {
        state.tiles_asked += 1;
        state.tiles_asked
    });
    let read = read_pair(&names, [buffers.get(0), buffers.get(1)], &reading, cloud).await;
    if with(|state| state.tiles_asked) != ticket {
        return;
    }
    match read {
        Ok(tiles) => show(tiles),
        Err(refusal) => refused_pair(refusal),
    }
}

/// Reads two files.
pub async fn read_pair(
    names: &[String; 2],
    files: [JsValue; 2],
    reading: &Reading,
    cloud: Cloud,
) -> Result<OpenTiles, RefusedPair> {
    let mut contents = Vec::with_capacity(2);
    for (name, file) in names.iter().zip(&files) {
        contents.push(read_file(file).await.map_err(|error| {
            let reason = explain(&error);
            let message =
                format!("{name}: the browser cannot read the file ({reason}); choose it again");
            RefusedPair {
                message,
                outlines: None,
            }
        })?);
    }
    let [rgb, sar] = [0, 1].map(|i| (contents[i].as_slice(), names[i].as_str()));
    OpenTiles::from_files(rgb, sar, reading, cloud).map_err(RefusedPair::from)
}

/// Generates a scene and shows it.
pub fn scene(seed: u32, size_px: u32, cloud: Cloud) {
    with(|state| state.tiles_asked += 1);
    show(OpenTiles::from_scene(seed, size_px, cloud));
}

fn show(tiles: OpenTiles) {
    let step = tiles.step_px();
    let pictures = vec![rgba(&tiles.shown.rgb, step), rgba(&tiles.shown.sar, step)];
    let event = Event::Tiles(tiles.describe());
    with(|state| {
        state.tiles = Some(Rc::new(tiles));
        state.last = None;
    });
    post_with(&event, pictures);
}

/// Replaces the cloud and shows the optical picture under it.
pub fn set_cloud(cloud: Cloud) {
    let picture = with(|state| {
        let tiles = Rc::make_mut(state.tiles.as_mut()?);
        tiles.set_cloud(cloud);
        Some(rgba(&tiles.shown.rgb, tiles.step_px()))
    });
    if let Some(picture) = picture {
        post_with(&Event::Optical, vec![picture]);
    }
}
