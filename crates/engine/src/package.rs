//! Where a package's files come from.

use std::future::Future;

use crate::error::EngineError;

/// Gives the files of one package: a folder natively, a URL in a browser.
pub trait PackageSource {
    /// Reads a whole file. `on_bytes` gets the number of bytes that have arrived so far.
    fn read(
        &self,
        file: &str,
        on_bytes: &mut dyn FnMut(u64),
    ) -> impl Future<Output = Result<Vec<u8>, EngineError>>;

    /// Called when a file arrived damaged: drops any stored copy and says whether reading it again
    /// may help.
    fn discard(&self, file: &str) -> impl Future<Output = bool>;
}

/// A package in a folder.
#[cfg(not(target_arch = "wasm32"))]
pub struct FolderSource(pub std::path::PathBuf);

#[cfg(not(target_arch = "wasm32"))]
impl PackageSource for FolderSource {
    async fn read(
        &self,
        file: &str,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, EngineError> {
        let path = self.0.join(file);
        let bytes = std::fs::read(&path).map_err(|error| EngineError::Read {
            file: path.display().to_string(),
            reason: error.to_string(),
        })?;
        on_bytes(bytes.len() as u64);
        Ok(bytes)
    }

    async fn discard(&self, _file: &str) -> bool {
        // The file itself is what is damaged.
        false
    }
}

/// The shipped package.
#[cfg(test)]
pub(crate) fn nano() -> FolderSource {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    FolderSource(std::path::Path::new(&own).join("../../models/nano"))
}
