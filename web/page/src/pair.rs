//! The user's files become a pair: which is optical, which is SAR.

use leptos::prelude::*;
use web_sys::File;

use crate::actions;
use crate::files::{first_is_sar, looks_like_sar};
use crate::state::{Source, State};

/// Puts one or two files where they belong: two by their names, one by its name alone.
pub fn take_files(state: State, files: &[File]) {
    match files {
        [one] => choose(state, looks_like_sar(&one.name()), one.clone()),
        [first, second] => {
            let (rgb, sar) = if first_is_sar(&first.name(), &second.name()) {
                (second, first)
            } else {
                (first, second)
            };
            state.rgb_file.set(Some(rgb.clone()));
            choose(state, true, sar.clone());
        }
        _ => {}
    }
}

/// Takes one file for its sensor; when both are there, they are read.
pub fn choose(state: State, is_sar: bool, file: File) {
    let slot = if is_sar {
        state.sar_file
    } else {
        state.rgb_file
    };
    slot.set(Some(file));
    match (
        state.rgb_file.get_untracked(),
        state.sar_file.get_untracked(),
    ) {
        (Some(rgb), Some(sar)) => actions::open_tiles(state, Source::Files { rgb, sar }),
        (None, _) => state
            .status
            .set("Now choose the optical tile of the same ground.".into()),
        (_, None) => state
            .status
            .set("Now choose the SAR tile of the same ground.".into()),
    }
}
