//! Several pairs into one archive.

use std::io::{Cursor, Write as _};
use std::rc::Rc;

use mmovseg_engine::Session;
use mmovseg_protocol::{Activity, Cloud, Event, Format, Step};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::export;
use crate::link::{breathe, part, post_with};
use crate::pair::read_pair;
use crate::report::{failed, progress};
use crate::run::{describe, request};
use crate::state::{Batch, LastRun, while_wanted, with};

/// What each pair gives.
const FORMATS: [Format; 5] = [
    Format::ColourPng,
    Format::IndexedPng,
    Format::GeoTiff,
    Format::GeoJson,
    Format::Report,
];

/// Segments every pair and sends one archive. A pair that cannot be used is named in it and passed
/// over. False when the device is not to be used again.
pub async fn batch(session: &mut Session, batch: Batch) -> bool {
    let about = with(|state| state.about.clone());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut notes = Vec::new();
    let total = batch.pairs.len();
    for index in 0..total {
        progress(Step::Pair, index as u64, total as u64);
        let name = batch.pairs[index][0].clone();
        match while_wanted(one(session, &batch, index), |_| false).await {
            None => return true,
            Some(Ok(last)) => {
                for format in FORMATS {
                    let written = export::file(&last, &about, format)
                        .and_then(|(suffix, _, bytes)| add(&mut archive, &name, suffix, &bytes));
                    if let Err(error) = written {
                        notes.push(format!("{name}: {error}"));
                    }
                }
            }
            Some(Err(error)) => notes.push(format!("{name}: {error}")),
        }
        breathe().await;
    }
    if !notes.is_empty()
        && let Err(error) = add(
            &mut archive,
            "problems",
            ".txt",
            notes.join("\n").as_bytes(),
        )
    {
        notes.push(error);
    }
    match archive.finish() {
        Ok(bytes) => {
            let event = Event::File {
                name: "mmovseg-results.zip".into(),
                mime: "application/zip".into(),
                notes,
            };
            post_with(&event, vec![part(bytes.get_ref())]);
        }
        Err(error) => failed(
            Activity::Export,
            format!("the archive cannot be written ({error}); try fewer pairs"),
        ),
    }
    true
}

async fn one(session: &mut Session, batch: &Batch, index: usize) -> Result<LastRun, String> {
    let [_, rgb, sar] = &batch.pairs[index];
    let at = 2 * index as u32;
    let files = [batch.files.get(at), batch.files.get(at + 1)];
    let names = [rgb.clone(), sar.clone()];
    let tiles = read_pair(&names, files, &batch.reading, Cloud::NONE)
        .await
        .map_err(|refusal| refusal.message)?;
    let request = request(&batch.run, batch.run.modality);
    let found = tiles
        .segment(session, &request, &mut |_| {})
        .await
        .map_err(|error| error.to_string())?;
    let told = describe(session, &found, &tiles, &batch.run, batch.run.modality);
    Ok(LastRun {
        found,
        told,
        tiles: Rc::new(tiles),
    })
}

/// Adds a file. Pictures are compressed already, so everything is stored as it is.
fn add(
    archive: &mut ZipWriter<Cursor<Vec<u8>>>,
    name: &str,
    suffix: &str,
    bytes: &[u8],
) -> Result<(), String> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let file = format!("{}{suffix}", export::stem(name));
    let failed = |error: String| format!("{file} cannot be put into the archive: {error}");
    archive
        .start_file(file.clone(), options)
        .map_err(|error| failed(error.to_string()))?;
    archive
        .write_all(bytes)
        .map_err(|error| failed(error.to_string()))
}
