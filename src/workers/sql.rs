//! SQL functions that concern workers.
