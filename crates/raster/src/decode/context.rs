//! The bytes and the name of a TIFF that is being read, and errors that name it.

use super::source::ByteSource;
use crate::RasterError;
use crate::raster::MAX_DECODED_BYTES;

/// What reading needs to know of the file.
pub(super) struct Context<'a> {
    pub source: &'a dyn ByteSource,
    pub name: &'a str,
}

impl Context<'_> {
    pub fn damaged(&self, what: impl Into<String>) -> RasterError {
        RasterError::Damaged {
            name: self.name.into(),
            format: "TIFF",
            what: what.into(),
        }
    }

    pub fn unsupported(&self, what: impl Into<String>, advice: &str) -> RasterError {
        RasterError::Unsupported {
            name: self.name.into(),
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// Bytes that must all be there.
    pub fn exactly(&self, offset: u64, size: u64) -> Result<Vec<u8>, RasterError> {
        let bytes = self.bytes(offset, size)?;
        if bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(self.damaged("it ends early"))
        }
    }

    /// Bytes of the file; those that are past its end are left out.
    pub fn bytes(&self, offset: u64, size: u64) -> Result<Vec<u8>, RasterError> {
        let size = size.min(self.source.len().saturating_sub(offset));
        if size > MAX_DECODED_BYTES {
            return Err(self.damaged("impossible strip or tile size"));
        }
        let mut buffer = vec![0; size as usize];
        self.source
            .read_at(offset, &mut buffer)
            .map_err(|error| self.damaged(error.to_string()))?;
        Ok(buffer)
    }
}
