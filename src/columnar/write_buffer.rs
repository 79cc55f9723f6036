//! Rows of large statements on their way into stripes (docs/storage.md, "Writing").
//!
//! A buffer belongs to one table, one subtransaction and one command. Its rows have numbers out of an interval that a
//! reservation in the companion announces to others before the first number is used. When somebody in a nested
//! subtransaction has to read the rows, the stripe is written there, under the nested transaction's id, and kept in memory
//! as well: if that one aborts, the stripe is written again later.

use super::encoding::{EncodingError, Finished, Limits};
use super::key::RowNumber;
use super::numbers::{self, Interval};
use super::options::Options;
use super::store::Store;
use super::stripe_builder::StripeBuilder;
use super::{insert, stripe, transaction};
use crate::monitor::counters::{self, Counter};
use crate::pg::error::OrochiError;
use crate::pg::relation::FileId;
use crate::pg::{OpenRel, Rel, heap};
use crate::settings;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// Virtual blocks of the first reservations of a statement; later ones hold a whole stripe.
const FIRST_RESERVATIONS: [u32; 2] = [16, 64];
/// Rows between two looks at the memory budget.
const BUDGET_EVERY: usize = 64;

enum Content {
    Filling(Box<StripeBuilder>),
    /// Complete; `written_in` is the subtransaction under which it was written, if it was.
    Finished {
        stripe: Rc<Finished>,
        written_in: Option<pg_sys::SubTransactionId>,
    },
    /// It could not be completed, so its transaction must not commit.
    Failed,
}

struct Buffer {
    table: pg_sys::Oid,
    file: FileId,
    owner: pg_sys::SubTransactionId,
    cid: pg_sys::CommandId,
    next: u64,
    last: u64,
    first: u64,
    reservation: pg_sys::ItemPointerData,
    row_limit: u32,
    content: Content,
}

thread_local! {
    static BUFFERS: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

fn current_subtransaction() -> pg_sys::SubTransactionId {
    // SAFETY: callers run inside a transaction.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// Turns an error of the writer into one for the user.
pub fn writer_error(table: Rel, error: &EncodingError) -> OrochiError {
    match error {
        EncodingError::OutOfMemory { bytes } => OrochiError::OutOfMemory {
            detail: format!(
                "{bytes} bytes for a stripe of columnar table \"{}\" could not be allocated.",
                table.name()
            ),
        },
        other => {
            OrochiError::Internal(format!("could not write a stripe of columnar table \"{}\": {other}", table.name()))
        }
    }
}

/// Appends rows until their stripe is complete, some at a time. `stripes_before` says how many stripes the statement has written to the
/// table.
///
/// # Safety
/// `slots` must be non-empty slots of the table's row type, and one at least.
pub unsafe fn push(
    table: Rel,
    slots: &[*mut pg_sys::TupleTableSlot],
    cid: pg_sys::CommandId,
    stripes_before: usize,
) -> Pushed {
    let owner = current_subtransaction();
    let file = table.file();
    let position = BUFFERS.with_borrow(|buffers| {
        buffers.iter().position(|b| {
            b.file == file && b.owner == owner && b.cid == cid && matches!(b.content, Content::Filling(_))
        })
    });
    let position = position.unwrap_or_else(|| begin(table, cid, owner, stripes_before));
    // SAFETY: the caller's promise.
    let (pushed, rows) = unsafe { append(table, position, slots) };
    if pushed.closed {
        flush_at(position, table);
    } else if rows as usize % BUDGET_EVERY < pushed.count {
        keep_budget();
    }
    pushed
}

/// What became of appended rows.
pub struct Pushed {
    /// The number of the first; the others follow.
    pub first: RowNumber,
    /// How many rows were appended.
    pub count: usize,
    /// Whether their stripe is complete.
    pub closed: bool,
}

/// Stripes of a statement for which less than a whole one's numbers are reserved.
pub const FIRST_STRIPES: usize = FIRST_RESERVATIONS.len();

/// Reserves an interval and starts a buffer for it; returns its position.
fn begin(table: Rel, cid: pg_sys::CommandId, owner: pg_sys::SubTransactionId, stripes_before: usize) -> usize {
    transaction::touch();
    let store = Store::open_for_write(table);
    let options = Options::of(table);
    let whole = numbers::whole_stripe(options.stripe_row_limit());
    let blocks = FIRST_RESERVATIONS.get(stripes_before).copied().unwrap_or(whole).min(whole);
    let Interval { first, last, reservation } = numbers::reserve(&store, blocks, cid);
    let limits = Limits { stripe_bytes: settings::write_buffer_bytes(), ..Limits::default() };
    let builder = StripeBuilder::new(table, &options, limits).unwrap_or_else(|e| writer_error(table, &e).raise());
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.push(Buffer {
            table: table.oid(),
            file: table.file(),
            owner,
            cid,
            next: first,
            first,
            last,
            reservation,
            row_limit: options.stripe_row_limit(),
            content: Content::Filling(Box::new(builder)),
        });
        buffers.len() - 1
    })
}

/// Appends rows up to the next look at the budget; also says how many the stripe has.
///
/// # Safety
/// As for [`push`].
unsafe fn append(table: Rel, position: usize, slots: &[*mut pg_sys::TupleTableSlot]) -> (Pushed, u32) {
    let outcome = BUFFERS.with_borrow_mut(|buffers| {
        let buffer = &mut buffers[position];
        let mut pushed = Pushed { first: RowNumber(buffer.next), count: 0, closed: true };
        let Content::Filling(builder) = &mut buffer.content else { return Ok((pushed, 0)) };
        for slot in slots.iter().take(BUDGET_EVERY) {
            // SAFETY: the caller's promise.
            if let Err(error) = unsafe { builder.push(buffer.next, *slot) } {
                buffer.content = Content::Failed;
                return Err(error);
            }
            pushed.count += 1;
            pushed.closed = buffer.next == buffer.last || builder.should_flush(buffer.row_limit);
            buffer.next += 1;
            if pushed.closed {
                break;
            }
        }
        Ok((pushed, builder.rows()))
    });
    outcome.unwrap_or_else(|error| writer_error(table, &error).raise())
}

/// Writes the largest buffers of this subtransaction while all buffers together exceed the budget.
fn keep_budget() {
    let limit = settings::write_buffer_bytes();
    let owner = current_subtransaction();
    loop {
        let largest = BUFFERS.with_borrow(|buffers| {
            let memory = |b: &Buffer| match &b.content {
                Content::Filling(builder) => builder.memory(),
                Content::Finished { stripe, .. } => stripe.pieces.iter().map(Vec::len).sum(),
                Content::Failed => 0,
            };
            if buffers.iter().map(memory).sum::<usize>() <= limit {
                return None;
            }
            let own = buffers.iter().enumerate().filter(|(_, b)| b.owner == owner && memory(b) > 0);
            own.max_by_key(|(_, b)| memory(b)).map(|(i, b)| (i, b.table))
        });
        let Some((position, table)) = largest else { return };
        flush_opening(position, table);
    }
}

fn flush_opening(position: usize, table: pg_sys::Oid) {
    let open = OpenRel::table(table, pg_sys::RowExclusiveLock);
    flush_at(position, open.rel());
}

/// Writes a buffer's stripe under the current subtransaction; a buffer of this subtransaction is then done with.
fn flush_at(position: usize, table: Rel) {
    let Some((finished, cid, reservation)) = finish(position, table) else { return };
    let store = Store::open_for_write(table);
    stripe::write(&store, &finished, cid);
    // The reservation was made by this command, so only a later one may delete it. During a parallel operation nothing may
    // be deleted at all; once committed a reservation means nothing, and the mover removes it.
    // SAFETY: a plain test of this process's state.
    if unsafe { !pg_sys::IsInParallelMode() } {
        heap::delete(store.companion(), reservation, cid + 1, std::ptr::null_mut(), true, false);
    }
    let current = current_subtransaction();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers[position].owner == current {
            counters::add(Counter::RowsInsertedStripe, u64::from(finished.summary.row_count));
            buffers.swap_remove(position);
        } else {
            buffers[position].content = Content::Finished { stripe: finished.clone(), written_in: Some(current) };
        }
    });
}

type ToWrite = (Rc<Finished>, pg_sys::CommandId, pg_sys::ItemPointerData);

/// Completes a buffer's stripe; `None` if it is already written. A sort may call functions that read tables, so the buffers are not held
/// meanwhile.
fn finish(position: usize, table: Rel) -> Option<ToWrite> {
    let content = BUFFERS.with_borrow_mut(|buffers| std::mem::replace(&mut buffers[position].content, Content::Failed));
    let stripe = match content {
        Content::Filling(builder) => match builder.finish() {
            Ok(built) => Rc::new(built.finished),
            Err(error) => writer_error(table, &error).raise(),
        },
        Content::Finished { stripe, written_in: None } => stripe,
        done @ Content::Finished { .. } => {
            BUFFERS.with_borrow_mut(|buffers| buffers[position].content = done);
            return None;
        }
        Content::Failed => writer_error(table, &EncodingError::WriterFailed).raise(),
    };
    BUFFERS.with_borrow_mut(|buffers| {
        let buffer = &mut buffers[position];
        buffer.content = Content::Finished { stripe: stripe.clone(), written_in: None };
        Some((stripe, buffer.cid, buffer.reservation))
    })
}

/// True if no buffer exists; the cheap test that hooks make.
#[inline]
pub fn is_empty() -> bool {
    BUFFERS.with_borrow(Vec::is_empty)
}

fn find(condition: impl Fn(&Buffer) -> bool) -> Option<(usize, pg_sys::Oid)> {
    BUFFERS.with_borrow(|buffers| {
        let unwritten = |b: &Buffer| !matches!(b.content, Content::Finished { written_in: Some(_), .. });
        buffers.iter().position(|b| unwritten(b) && condition(b)).map(|i| (i, buffers[i].table))
    })
}

/// Makes all rows of a table readable.
pub fn settle(table: Rel) {
    if is_empty() {
        return;
    }
    let file = table.file();
    while let Some((position, _)) = find(|b| b.file == file) {
        insert::note_interruption(table);
        flush_at(position, table);
    }
}

/// Makes a row readable.
pub fn settle_row(table: Rel, row: RowNumber) {
    if covers(table, row) {
        settle(table);
    }
}

/// True if the row is in memory.
#[inline]
pub fn covers(table: Rel, row: RowNumber) -> bool {
    if is_empty() {
        return false;
    }
    let file = table.file();
    BUFFERS.with_borrow(|buffers| buffers.iter().any(|b| b.file == file && (b.first..b.next).contains(&row.0)))
}

/// Writes what a command of the current subtransaction has inserted.
pub fn flush_command(cid: pg_sys::CommandId) {
    let owner = current_subtransaction();
    flush(|b| b.owner == owner && b.cid == cid);
}

/// Writes everything that belongs to the current subtransaction.
pub fn flush_current() {
    if is_empty() {
        return;
    }
    let owner = current_subtransaction();
    flush(|b| b.owner == owner);
}

/// Writes the buffers that meet a condition, and is done with them.
fn flush(condition: impl Fn(&Buffer) -> bool) {
    while let Some((position, table)) = find(&condition) {
        flush_opening(position, table);
    }
    BUFFERS.with_borrow_mut(|buffers| buffers.retain(|b| !condition(b)));
}

/// Writes everything, as far as a parallel query has to see it.
pub fn settle_all() {
    while let Some((position, table)) = find(|_| true) {
        flush_opening(position, table);
    }
}

/// A subtransaction ends well: what was written under it now belongs to its parent.
pub fn subtransaction_committed(id: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    BUFFERS.with_borrow_mut(|buffers| {
        for buffer in buffers.iter_mut() {
            if let Content::Finished { written_in: written_in @ Some(_), .. } = &mut buffer.content
                && *written_in == Some(id)
            {
                *written_in = Some(parent);
            }
        }
        buffers.retain(|b| !matches!(b.content, Content::Finished { written_in: Some(w), .. } if w == b.owner));
    });
}

/// A subtransaction is rolled back: its buffers are dropped, and what was written under it is unwritten.
pub fn subtransaction_aborted(id: pg_sys::SubTransactionId) {
    super::snapshot_stripes::changed();
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.retain(|b| b.owner != id);
        for buffer in buffers.iter_mut() {
            if let Content::Finished { written_in, .. } = &mut buffer.content
                && *written_in == Some(id)
            {
                *written_in = None;
            }
        }
    });
}

/// Drops the rows of a table that is being emptied.
pub fn discard(table: Rel) {
    let file = table.file();
    BUFFERS.with_borrow_mut(|buffers| buffers.retain(|b| b.file != file));
}

/// The transaction is over: whatever is left is dropped.
pub fn discard_all() {
    BUFFERS.with_borrow_mut(|buffers| buffers.clear());
}
