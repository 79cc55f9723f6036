//! Looking into columnar tables: what their stripes hold, and whether all of it can be read.

mod check;
mod distinct;
mod salvage;
mod sql;

use super::am;
use super::store::Store;
use super::stripe::{self, Described};
use super::write_buffer;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::snapshot::LatestMvcc;
use crate::pg::{OpenRel, server};
use pgrx::pg_sys;

/// Opens a columnar table that the user owns.
fn open_owned(table_name: pg_sys::Oid) -> OpenRel {
    let table = OpenRel::table(table_name, pg_sys::AccessShareLock);
    if !am::is_columnar(table.rel().raw()) {
        OrochiError::WrongObject { what: format!("\"{}\" is not a columnar table", table.rel().name()) }.raise();
    }
    server::require_owner(table.rel());
    write_buffer::settle(table.rel());
    table
}

/// Runs `each` on every stripe of a table that its owner may look at.
fn for_each_stripe(table_name: pg_sys::Oid, mut each: impl FnMut(&Store, Described)) {
    let table = open_owned(table_name);
    let Some(store) = Store::open(table.rel()) else { return };
    let snapshot = LatestMvcc::take();
    for described in stripe::list(&store, snapshot.snap()).or_raise() {
        pgrx::check_for_interrupts!();
        each(&store, described);
    }
}
