//! One typed error for everything Orochi reports, and the single place that turns it into an ERROR.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What Orochi reports to a user. Each variant has one SQLSTATE.
#[derive(Debug, thiserror::Error)]
pub enum OrochiError {
    /// Stored bytes that cannot be right.
    #[error("columnar table \"{relation}\" is corrupted: {what}")]
    Corrupted { relation: String, what: String },
    /// The table was rewritten by a transaction that this snapshot does not see.
    #[error("could not read columnar table \"{relation}\" with a snapshot older than its last rewrite")]
    RewrittenSince { relation: String },
    /// The table's metapage has a format version that this library does not know.
    #[error(
        "columnar table \"{relation}\" has format version {found}, but this version of Orochi reads version {known}"
    )]
    UnknownFormat { relation: String, found: u16, known: u16 },
    /// A numbering space is used up.
    #[error("columnar table \"{relation}\" has used up its {what}")]
    Exhausted { relation: String, what: &'static str },
    /// The library is not in shared_preload_libraries.
    #[error("columnar tables need Orochi in \"shared_preload_libraries\"")]
    NotPreloaded,
    /// The feature does not exist on columnar tables.
    #[error("{what}")]
    Unsupported { what: String, hint: Option<&'static str> },
    /// An option has no such name or value.
    #[error("{what}")]
    InvalidOption { what: String, hint: String },
    /// The object exists but is not of the kind asked for.
    #[error("{what}")]
    WrongObject { what: String },
    /// Memory that was asked for could not be had.
    #[error("out of memory")]
    OutOfMemory { detail: String },
    /// A sum of floats that are finite is not. The words are PostgreSQL's.
    #[error("value out of range: overflow")]
    FloatOverflow,
    /// The machinery met a state that it should never meet.
    #[error("{0}")]
    Internal(String),
}

impl OrochiError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            Self::Corrupted { .. } => ERRCODE_DATA_CORRUPTED,
            Self::RewrittenSince { .. } => ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::UnknownFormat { .. } | Self::Unsupported { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Exhausted { .. } => ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::NotPreloaded => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::InvalidOption { .. } => ERRCODE_INVALID_PARAMETER_VALUE,
            Self::WrongObject { .. } => ERRCODE_WRONG_OBJECT_TYPE,
            Self::OutOfMemory { .. } => ERRCODE_OUT_OF_MEMORY,
            Self::FloatOverflow => ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            Self::Internal(_) => ERRCODE_INTERNAL_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::OutOfMemory { detail } => Some(detail.clone()),
            Self::RewrittenSince { .. } => {
                Some("VACUUM FULL or CLUSTER has numbered its rows anew after the snapshot was taken.".into())
            }
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Corrupted { .. } => Some("Restore the table from a backup.".into()),
            Self::RewrittenSince { .. } => Some("Retry the transaction.".into()),
            Self::UnknownFormat { .. } => Some("Use the version of Orochi that wrote the table.".into()),
            Self::Exhausted { .. } => Some("VACUUM FULL numbers the rows anew.".into()),
            Self::NotPreloaded => {
                Some("Add orochi to shared_preload_libraries in postgresql.conf and restart the server.".into())
            }
            Self::Unsupported { hint, .. } => hint.map(str::to_owned),
            Self::InvalidOption { hint, .. } => Some(hint.clone()),
            _ => None,
        }
    }

    /// Raises the error. Rust frames above unwind; PostgreSQL sees an ordinary ERROR.
    pub fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.sqlstate(), self.to_string(), "orochi");
        if let Some(detail) = self.detail() {
            report = report.set_detail(detail);
        }
        if let Some(hint) = self.hint() {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR report returned")
    }
}

/// Raises `Err`, passes `Ok` on.
pub trait OrRaise<T> {
    /// Returns the value or raises the error.
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T, OrochiError> {
    #[inline]
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => error.raise(),
        }
    }
}
