//! Temporary files of PostgreSQL: they count against `temp_file_limit`, go where `temp_tablespaces` says, and are removed when the query ends,
//! whichever way it does.

use crate::pg::error::OrochiError;
use pgrx::pg_sys;

/// A file that is written to its end, then read from its start.
pub struct TempFile {
    file: *mut pg_sys::BufFile,
}

impl TempFile {
    /// An empty file.
    ///
    /// # Safety
    /// The current memory context must live as long as the file.
    pub unsafe fn create() -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            pg_sys::PrepareTempTablespaces();
            Self { file: pg_sys::BufFileCreateTemp(false) }
        }
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        // SAFETY: the file is open; its function only reads the bytes.
        unsafe { pg_sys::BufFileWrite(self.file, bytes.as_ptr().cast_mut().cast(), bytes.len()) };
    }

    /// Goes to the start.
    pub fn rewind(&mut self) -> Result<(), OrochiError> {
        // SAFETY: the file is open.
        match unsafe { pg_sys::BufFileSeek(self.file, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(OrochiError::Internal("could not rewind a temporary file".into())),
        }
    }

    /// Fills the buffer; false at the end of the file.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<bool, OrochiError> {
        // SAFETY: the file is open and the buffer as long as stated.
        match unsafe { pg_sys::BufFileRead(self.file, buffer.as_mut_ptr().cast(), buffer.len()) } {
            0 if !buffer.is_empty() => Ok(false),
            len if len == buffer.len() => Ok(true),
            len => Err(OrochiError::Internal(format!(
                "could read only {len} of {} bytes of a temporary file",
                buffer.len()
            ))),
        }
    }

    /// Removes the file.
    pub fn close(self) {
        // SAFETY: the file is open.
        unsafe { pg_sys::BufFileClose(self.file) }
    }
}
