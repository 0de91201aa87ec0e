//! Files and folders that are dropped on the page or pasted into it.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    ClipboardEvent, DataTransfer, DragEvent, File, FileSystemDirectoryEntry, FileSystemEntry,
    FileSystemFileEntry,
};

use crate::exports::offer;
use crate::files::all;
use crate::package::{MANIFEST, open_files};
use crate::pair::take_files;
use crate::state::State;

/// Files were dropped anywhere on the page.
pub fn dropped(state: State, event: &DragEvent) {
    let Some(data) = event.data_transfer() else {
        return;
    };
    let folders = folders(&data);
    if folders.is_empty() {
        sort(state, all(data.files()));
        return;
    }
    // Reading a folder takes turns of the event loop, after which the event is empty.
    let loose = all(data.files());
    spawn_local(async move {
        let mut files = Vec::new();
        for folder in folders {
            match read_folder(&folder).await {
                Ok(found) => files.extend(found),
                Err(error) => {
                    state.report(
                        "A folder could not be read",
                        crate::client::describe(&error),
                        "Use the folder picker instead.",
                    );
                    return;
                }
            }
        }
        if files.is_empty() {
            files = loose;
        }
        sort(state, files);
    });
}

/// Files were pasted.
pub fn pasted(state: State, event: &ClipboardEvent) {
    let files = all(event.clipboard_data().and_then(|data| data.files()));
    if !files.is_empty() {
        event.prevent_default();
        sort(state, files);
    }
}

/// A package, a pair, or many pairs?
fn sort(state: State, files: Vec<File>) {
    if files.iter().any(|file| file.name() == MANIFEST) {
        open_files(state, files);
    } else if files.len() > 2 {
        offer(state, files);
    } else {
        take_files(state, &files);
    }
}

fn folders(data: &DataTransfer) -> Vec<FileSystemDirectoryEntry> {
    let items = data.items();
    (0..items.length())
        .filter_map(|index| items.get(index))
        .filter_map(|item| item.webkit_get_as_entry().ok().flatten())
        .filter(FileSystemEntry::is_directory)
        .filter_map(|entry| entry.dyn_into().ok())
        .collect()
}

/// The files directly in a folder.
async fn read_folder(folder: &FileSystemDirectoryEntry) -> Result<Vec<File>, JsValue> {
    let reader = folder.create_reader();
    let mut files = Vec::new();
    loop {
        let promise = Promise::new(&mut |done, failed| {
            // A refusal arrives through `failed`.
            let _asked = reader.read_entries_with_callback_and_callback(&done, &failed);
        });
        let part: Array = JsFuture::from(promise).await?.dyn_into()?;
        if part.length() == 0 {
            return Ok(files);
        }
        for entry in part.iter() {
            let entry: FileSystemEntry = entry.dyn_into()?;
            if !entry.is_file() {
                continue;
            }
            let entry: FileSystemFileEntry = entry.dyn_into()?;
            let promise = Promise::new(&mut |done, failed| {
                entry.file_with_callback_and_callback(&done, &failed);
            });
            files.push(JsFuture::from(promise).await?.dyn_into()?);
        }
    }
}
