//! COPY FROM with parallel workers (docs/storage.md, "Writing").
//!
//! The session reads the input through PostgreSQL's own code and begins like any COPY: the first rows go to the row store, the next
//! ones into the first small stripes. What comes after that is dealt out to workers, which make stripes of it.

mod batch;
mod indexing;
mod leader;
mod message;
mod output;
mod worker;

use super::{am, insert, ordering, write_buffer};
use crate::pg::copy::{self, CopyInput, RowTarget, Statement};
use crate::pg::error::OrRaise;
use crate::pg::{Rel, parallel};
use crate::{settings, shmem};
use pgrx::pg_sys;

/// Executes a COPY that fills a columnar table if workers may help with it, and returns the number of rows. `None` if it is left to
/// PostgreSQL: so are all errors about rights, tables and options.
pub fn execute(statement: &Statement) -> Option<u64> {
    if !shmem::is_preloaded() || !parallel::is_possible() || !statement.may_read() {
        return None;
    }
    let open = statement.open()?;
    let table = open.rel();
    if !am::is_columnar(table.raw()) || !copy::is_plain(table) || !statement.reads_lines() {
        return None;
    }
    let columns = statement.columns(table);
    let orders = ordering::sort_keys(table).into_iter().map(|key| key.operator);
    let safe = copy::types_are_safe(table, &columns) && copy::checks_are_safe(table) && copy::orders_are_safe(orders);
    if columns.is_empty() || !safe {
        return None;
    }
    let parse = statement.parse_state(table, &columns);
    parse.is_permitted().then(|| fill(statement, table, &columns, &parse))
}

/// Whether a setting asks for workers.
pub fn is_wanted() -> bool {
    settings::copy_workers() > 0
}

fn fill(statement: &Statement, table: Rel, columns: &[pg_sys::AttrNumber], parse: &copy::ParseState) -> u64 {
    // SAFETY: the table and the parse state live until the end.
    let (mut input, mut target) =
        unsafe { (CopyInput::begin(statement, table, parse, columns.len()), RowTarget::new(table, parse)) };
    let cid = statement.command();
    let mut rows = 0;
    let mut may_share = input.has_lines();
    loop {
        pgrx::check_for_interrupts!();
        if may_share && insert::stripes_filled(table, cid) >= write_buffer::FIRST_STRIPES {
            may_share = false;
            // Workers see nothing that is in this process's memory, and in parallel mode nothing could be flushed.
            write_buffer::settle_all();
            if let Some(loaded) = leader::load(table, columns, &mut input, target.is_constrained(), rows, cid) {
                rows += loaded.rows;
                if target.is_indexed() {
                    indexing::index(table, &mut target, &loaded.stripes).or_raise();
                }
                break;
            }
        }
        if !input.next_row(&mut target) {
            break;
        }
        // SAFETY: the slot holds a row of the table, and learns its place.
        unsafe {
            insert::insert(table, &[target.slot()], cid);
            target.index(target.slot());
        }
        rows += 1;
        input.report_rows(rows);
    }
    write_buffer::flush_current();
    target.end();
    input.end();
    rows
}
