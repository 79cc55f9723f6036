//! Entry functions of worker processes. The server looks them up by name in the library.

use pgrx::prelude::*;

/// The launcher's process.
// SAFETY: the name is unique to this library.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn orochi_launcher_main(_argument: pg_sys::Datum) {
    super::launcher::run();
}

/// The process of a maintenance worker.
// SAFETY: the name is unique to this library.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn orochi_maintenance_main(argument: pg_sys::Datum) {
    super::maintenance::run(argument.value() as u64);
}
