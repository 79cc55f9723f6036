//! A worker of a COPY: makes rows out of texts, and stripes out of rows.

use super::{batch, message};
use crate::columnar::encoding::{Finished, Limits};
use crate::columnar::options::Options;
use crate::columnar::stripe_builder::StripeBuilder;
use crate::columnar::write_buffer::writer_error;
use crate::pg::copy::{self, Converter, Link, Numbers, Place, RowTarget, Task};
use crate::pg::error::OrochiError;
use crate::pg::parallel::{self, Receiver, Sender};
use crate::pg::{OpenRel, Rel, error_fields};
use pgrx::{pg_guard, pg_sys};

/// Name under which PostgreSQL finds [`orochi_copy_worker`].
pub const FUNCTION: &std::ffi::CStr = c"orochi_copy_worker";

/// What a parallel worker of a COPY does.
///
/// # Safety
/// PostgreSQL calls it in a worker that `copy::prepare` has prepared.
// SAFETY: the name is unique to this library.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn orochi_copy_worker(segment: *mut pg_sys::dsm_segment, toc: *mut pg_sys::shm_toc) {
    error_fields::keep(|| {
        // SAFETY: core's arguments.
        let (task, link) = unsafe { copy::join(segment, toc) };
        work(&task, link);
    });
}

fn work(task: &Task, link: Link) {
    let open = OpenRel::table(task.table, pg_sys::AccessShareLock);
    let table = open.rel();
    // SAFETY: the table is open until the end, and the memory context stays.
    let (converter, target) =
        unsafe { (Converter::new(table, &task.columns), RowTarget::for_worker(table, &task.columns)) };
    let mut place = Place::new(table.c_name());
    place.enter();
    let options = Options::of(table);
    let limits = Limits { stripe_bytes: task.stripe_bytes, ..Limits::default() };
    let mut worker = Worker { table, options, limits, converter, target, building: None };
    let Link { receiver: mut rows, sender, numbers } = link;
    let mut results = Results { sender, numbers };
    if let Err(error) = copy::catch(|| worker.run(&mut rows, &mut place, &mut results)) {
        results.deliver(&[message::FAILED], &place.line().to_le_bytes());
        wait_for_verdict(&mut rows);
        error.raise();
    }
    results.deliver(&[message::DONE], &[]);
    place.leave();
    worker.target.end();
}

/// Waits until the session knows that no line before is wrong; lines after it do not matter any more. Where another one is, the session
/// ends this process.
fn wait_for_verdict(rows: &mut Receiver) {
    while rows.receive().is_some_and(|message| message.first() != Some(&message::RAISE)) {}
}

fn lost() -> ! {
    OrochiError::Internal("a worker of COPY has lost the session that it works for".into()).raise()
}

/// A stripe in the making, with the numbers that its rows may have.
struct Building {
    builder: StripeBuilder,
    next: u64,
    last: u64,
}

struct Worker {
    table: Rel,
    options: Options,
    limits: Limits,
    converter: Converter,
    target: RowTarget,
    building: Option<Building>,
}

impl Worker {
    /// Does all that it is sent.
    fn run(&mut self, rows: &mut Receiver, place: &mut Place, results: &mut Results) {
        loop {
            let Some(message) = rows.receive() else { lost() };
            match message.split_first() {
                Some((&message::ROWS, lines)) => self.take(lines, place, results),
                Some((&message::END, _)) => break,
                _ => OrochiError::Internal("a worker of COPY has got a message of an unknown kind".into()).raise(),
            }
        }
        if let Some(building) = self.building.take() {
            self.send(building, results);
        }
    }

    /// Puts the lines of a message into stripes.
    fn take(&mut self, lines: &[u8], place: &mut Place, results: &mut Results) {
        for row in batch::rows(lines) {
            pgrx::check_for_interrupts!();
            place.set(row.line, row.text);
            self.converter.convert(row.fields, place, &mut self.target);
            let mut building = self.building.take().unwrap_or_else(|| self.begin(results));
            if self.push(&mut building) {
                self.send(building, results);
            } else {
                self.building = Some(building);
            }
        }
        // The message's memory is used again.
        place.forget_text();
    }

    /// Begins a stripe.
    fn begin(&self, results: &mut Results) -> Building {
        let (next, last) = results.ask();
        let builder = StripeBuilder::new(self.table, &self.options, self.limits)
            .unwrap_or_else(|error| writer_error(self.table, &error).raise());
        Building { builder, next, last }
    }

    /// Adds the row in the slot; true if the stripe is complete.
    fn push(&mut self, building: &mut Building) -> bool {
        // SAFETY: the slot holds a row of the table.
        let pushed = unsafe { building.builder.push(building.next, self.target.slot()) };
        pushed.unwrap_or_else(|error| writer_error(self.table, &error).raise());
        building.next += 1;
        building.next > building.last || building.builder.should_flush(self.options.stripe_row_limit())
    }

    /// Completes a stripe and sends it.
    fn send(&self, building: Building, results: &mut Results) {
        let built = building.builder.finish().unwrap_or_else(|error| writer_error(self.table, &error).raise());
        let Finished { pieces, summary } = built.finished;
        for piece in pieces {
            piece.chunks(message::CHUNK).for_each(|chunk| results.deliver(&[message::BYTES], chunk));
        }
        results.deliver(&[message::STRIPE], &message::encode(&summary));
    }
}

/// The way to the leader.
struct Results {
    sender: Sender,
    numbers: Numbers,
}

impl Results {
    fn deliver(&mut self, head: &[u8], body: &[u8]) {
        if !self.sender.send(head, body) {
            lost();
        }
    }

    /// Asks the leader for row numbers and waits for them.
    fn ask(&mut self) -> (u64, u64) {
        self.numbers.ask();
        self.sender.wake();
        loop {
            if let Some(interval) = self.numbers.take() {
                return interval;
            }
            parallel::wait();
        }
    }
}
