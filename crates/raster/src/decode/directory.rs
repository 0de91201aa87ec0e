//! The directories of a TIFF or `BigTIFF`: tag numbers and their values (TIFF 6.0, section 2).
//!
//! Values are read on demand and without judging them: files in use leave out or falsify tags that
//! a strict reader needs (strip sizes above all), and `layout` decides what can do without.

use super::context::Context;
use crate::RasterError;

/// Most bytes of one tag: chunk offsets of a picture of 2²⁰ px a side in tiles of 512 fit, nonsense
/// does not.
const MAX_TAG_BYTES: u64 = 64 << 20;

/// Most directories that are looked at.
const MAX_DIRECTORIES: usize = 64;

/// Byte order and size of offsets.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub big_endian: bool,
    big: bool,
}

impl Format {
    fn number(self, bytes: &[u8]) -> u64 {
        let fold = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        if self.big_endian {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        }
    }
}

/// One entry of a directory.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the values are.
    offset: u64,
}

/// One directory.
pub(super) struct Directory {
    pub format: Format,
    entries: Vec<Entry>,
}

/// Reads the chain of directories. A break in it ends it, but for the first.
pub(super) fn read_all(context: &Context<'_>) -> Result<Vec<Directory>, RasterError> {
    let head = context.exactly(0, 8)?;
    let big_endian = head[0] == b'M';
    let mut format = Format {
        big_endian,
        big: false,
    };
    format.big = format.number(&head[2..4]) == 43;
    let mut next = if format.big {
        let rest = context.exactly(4, 12)?;
        if format.number(&rest[..2]) != 8 {
            return Err(context.damaged("a BigTIFF with offsets of other than 8 bytes"));
        }
        format.number(&rest[4..])
    } else {
        format.number(&head[4..])
    };
    let (mut directories, mut seen) = (Vec::new(), Vec::new());
    while next != 0 && directories.len() < MAX_DIRECTORIES && !seen.contains(&next) {
        seen.push(next);
        match read(context, format, next) {
            Ok((directory, after)) => {
                directories.push(directory);
                next = after;
            }
            Err(error) if directories.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    if directories.is_empty() {
        return Err(context.damaged("no picture in it"));
    }
    Ok(directories)
}

fn read(context: &Context<'_>, format: Format, at: u64) -> Result<(Directory, u64), RasterError> {
    let (count_bytes, entry_bytes, offset_bytes) = if format.big { (8, 20, 8) } else { (2, 12, 4) };
    let count = format.number(&context.exactly(at, count_bytes)?);
    if count == 0 || count > u64::from(u16::MAX) {
        return Err(context.damaged("a directory without tags"));
    }
    let from = at + count_bytes;
    let table = context.exactly(from, count * entry_bytes)?;
    let mut entries = Vec::new();
    for (i, entry) in (0_u64..).zip(table.chunks_exact(entry_bytes as usize)) {
        let (head, value) = entry.split_at(entry_bytes as usize - offset_bytes as usize);
        let kind = format.number(&head[2..4]) as u16;
        let count = format.number(&head[4..]);
        let Some(bytes) = count.checked_mul(width(kind)).filter(|&bytes| bytes > 0) else {
            continue;
        };
        let offset = if bytes <= offset_bytes {
            from + (i + 1) * entry_bytes - offset_bytes
        } else {
            format.number(value)
        };
        entries.push(Entry {
            tag: format.number(&head[..2]) as u16,
            kind,
            count,
            offset,
        });
    }
    // A file may end with its last entry.
    let after = context.exactly(from + count * entry_bytes, offset_bytes);
    let next = after.map_or(0, |bytes| format.number(&bytes));
    Ok((Directory { format, entries }, next))
}

/// Bytes of a value of a type; 0 for unknown types.
fn width(kind: u16) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 0,
    }
}

impl Directory {
    /// The bytes of a tag's values with the width of one; `None` when the directory does not have
    /// it.
    fn raw(&self, context: &Context<'_>, tag: u16) -> Result<Option<(u16, Vec<u8>)>, RasterError> {
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == tag) else {
            return Ok(None);
        };
        let bytes = entry.count * width(entry.kind);
        if bytes > MAX_TAG_BYTES {
            return Err(context.damaged(format!("tag {tag} of {bytes} bytes")));
        }
        Ok(Some((entry.kind, context.exactly(entry.offset, bytes)?)))
    }

    /// All values of a tag of whole numbers; other types count as absent.
    pub fn numbers(
        &self,
        context: &Context<'_>,
        tag: u16,
    ) -> Result<Option<Vec<u64>>, RasterError> {
        const WHOLE: [u16; 8] = [1, 3, 4, 6, 7, 8, 13, 16];
        Ok(self.raw(context, tag)?.and_then(|(kind, bytes)| {
            let values = bytes.chunks_exact(width(kind) as usize);
            WHOLE
                .contains(&kind)
                .then(|| values.map(|value| self.format.number(value)).collect())
        }))
    }

    /// The first value of a tag of whole numbers.
    pub fn number(
        &self,
        context: &Context<'_>,
        tag: u16,
        default: u64,
    ) -> Result<u64, RasterError> {
        let values = self.numbers(context, tag)?;
        Ok(values
            .and_then(|values| values.first().copied())
            .unwrap_or(default))
    }

    /// All values of a tag as floats.
    pub fn reals(&self, context: &Context<'_>, tag: u16) -> Result<Vec<f64>, RasterError> {
        let Some((kind, bytes)) = self.raw(context, tag)? else {
            return Ok(Vec::new());
        };
        let values = bytes.chunks_exact(width(kind) as usize);
        let number = |bytes: &[u8]| self.format.number(bytes);
        Ok(match kind {
            11 => values
                .map(|value| f32::from_bits(number(value) as u32).into())
                .collect(),
            12 => values.map(|value| f64::from_bits(number(value))).collect(),
            5 => values
                .map(|value| number(&value[..4]) as f64 / number(&value[4..]) as f64)
                .collect(),
            _ => values.map(|value| number(value) as f64).collect(),
        })
    }

    /// The bytes of a tag.
    pub fn bytes(&self, context: &Context<'_>, tag: u16) -> Result<Vec<u8>, RasterError> {
        Ok(self.raw(context, tag)?.map_or_else(Vec::new, |raw| raw.1))
    }

    /// The text of a tag, up to its first zero byte; what is no UTF-8 is replaced.
    pub fn text(&self, context: &Context<'_>, tag: u16) -> Result<Option<String>, RasterError> {
        let raw = self.raw(context, tag)?.filter(|(kind, _)| *kind == 2);
        Ok(raw.map(|(_, bytes)| {
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        }))
    }
}
