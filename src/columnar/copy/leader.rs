//! The session of a COPY with workers: reads lines, deals them out, hands out row numbers, and writes the stripes that come back.
//!
//! It never waits for one worker alone: what cannot be sent stays in an outbox, and when there is nothing to do it waits for all of
//! them. One stripe is written at a time, for its bytes should lie together; who has another one waits in its queue.

use super::batch::{Batch, TooLarge};
use super::output::{Event, Output};
use super::{message, worker};
use crate::columnar::encoding::StripeMeta;
use crate::columnar::numbers;
use crate::columnar::options::Options;
use crate::columnar::store::Store;
use crate::monitor::counters::{self, Counter};
use crate::pg::copy::{self, CopyInput, Deferred, Link, Task};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::parallel::{self, Received, Sent, Workers};
use crate::pg::{Rel, heap};
use crate::settings;
use pgrx::pg_sys;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Memory for the stripe of a worker, below which there are rather fewer workers: small stripes are slow to read.
const LEAST_MEMORY: usize = 8 << 20;

/// For how long lines of a slow input are collected: meanwhile nobody hears of what workers find wrong.
const PATIENCE: Duration = Duration::from_millis(100);

/// What workers have loaded.
pub struct Loaded {
    /// Number of rows.
    pub rows: u64,
    /// Where they are.
    pub stripes: Vec<StripeMeta>,
}

/// Loads the rest of the input by workers; `None`, and nothing has been read, if no worker could be had. `before` rows have been loaded
/// so far. The transaction must have its id. Indexes get no entries.
pub fn load(
    table: Rel,
    columns: &[pg_sys::AttrNumber],
    input: &mut CopyInput,
    constrained: bool,
    before: u64,
    cid: pg_sys::CommandId,
) -> Option<Loaded> {
    // Opened before parallel mode, in which no companion could be made.
    let store = Store::open_for_write(table);
    let memory = settings::write_buffer_bytes();
    let wanted = settings::copy_workers().min(parallel::most_workers()).min(memory / LEAST_MEMORY).max(1);
    let stripe_bytes = memory / wanted;
    let task = Task { table: table.oid(), columns: columns.to_vec(), stripe_bytes };
    let (mut workers, mut links) = copy::prepare(worker::FUNCTION, wanted, &task);
    let launched = workers.launch();
    links.truncate(launched);
    if launched == 0 {
        workers.finish();
        return None;
    }
    pgrx::debug1!("COPY into columnar table \"{}\" uses {launched} parallel workers", table.name());
    counters::add(Counter::CopyWorkersStarted, launched as u64);
    links.iter().enumerate().for_each(|(index, link)| workers.bind(index, &link.sender, &link.receiver));
    let blocks = numbers::whole_stripe(Options::of(table).stripe_row_limit());
    let mut leader = Leader {
        output: Output::new(store, cid),
        hands: links.into_iter().map(Hand::new).collect(),
        workers,
        writing: None,
        turn: 0,
        run: Run::default(),
        longest: Run { rows: Options::of(table).stripe_row_limit(), bytes: stripe_bytes },
        rest: Some(Vec::new()),
        sent: 0,
        blocks,
        constrained,
        failed: None,
        own_error: None,
    };
    leader.run(input, before);
    Some(leader.finish(table))
}

/// A worker as the leader sees it.
struct Hand {
    link: Link,
    /// Messages that are not sent yet, the first of them perhaps in part.
    outbox: VecDeque<Vec<u8>>,
    /// It has been told, or is about to be told, that there are no more rows.
    ended: bool,
    /// It has said that nothing follows.
    done: bool,
}

impl Hand {
    fn new(link: Link) -> Self {
        Self { link, outbox: VecDeque::new(), ended: false, done: false }
    }
}

/// Rows that a worker gets one after the other.
#[derive(Clone, Copy, Default)]
struct Run {
    rows: u32,
    bytes: usize,
}

struct Leader {
    workers: Workers,
    hands: Vec<Hand>,
    output: Output,
    /// Whose stripe is being written.
    writing: Option<usize>,
    /// Whose turn it is to get rows, and how many it has got.
    turn: usize,
    run: Run,
    /// How many it gets: those of a stripe, for rows that follow each other make a smaller one than rows between which others are missing.
    /// As many may wait in memory for each worker.
    longest: Run,
    /// Memory for the next batch; `None` at the end of the input.
    rest: Option<Vec<u8>>,
    /// Rows that have been dealt out.
    sent: u64,
    /// Virtual blocks of an interval.
    blocks: u32,
    constrained: bool,
    /// The first line that a worker has found wrong, and the worker.
    failed: Option<(u64, usize)>,
    /// What is wrong with the line after all that were dealt out.
    own_error: Option<Deferred>,
}

impl Leader {
    fn run(&mut self, input: &mut CopyInput, before: u64) {
        while !self.hands.iter().all(|hand| hand.done) {
            pgrx::check_for_interrupts!();
            let mut idle = true;
            idle &= !self.hand_out_numbers();
            idle &= !self.collect();
            idle &= !self.send();
            idle &= !self.deal(input);
            if idle {
                parallel::wait();
            } else {
                input.report_rows(before + self.output.rows);
            }
        }
        if let Some((_, index)) = self.failed {
            self.raise_error_of(index);
        }
        if let Some(error) = self.own_error.take() {
            error.raise();
        }
    }

    /// Gives row numbers to those who wait for them; true if there were any.
    fn hand_out_numbers(&mut self) -> bool {
        let mut any = false;
        for hand in self.hands.iter().filter(|hand| hand.link.numbers.are_wanted()) {
            let (first, last) = self.output.reserve(self.blocks);
            hand.link.numbers.give(first, last);
            hand.link.sender.wake();
            any = true;
        }
        any
    }

    /// Receives a message from each worker, or from the one whose stripe is being written; true if there was one.
    fn collect(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.hands.len() {
            if self.hands[index].done || self.writing.is_some_and(|writing| writing != index) {
                continue;
            }
            let event = match self.hands[index].link.receiver.try_receive() {
                Received::Nothing => continue,
                Received::Gone => self.raise_lost(),
                Received::Message(message) => self.output.take(message),
            };
            any = true;
            match event.or_raise() {
                Event::Bytes => self.writing = Some(index),
                Event::Stripe => self.writing = None,
                Event::Done => self.hands[index].done = true,
                Event::Failed(line) => self.fail(index, line),
            }
        }
        any
    }

    /// Sends what is in the outboxes as far as it can be sent; true if that was a message at least.
    fn send(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.hands.len() {
            let hand = &mut self.hands[index];
            while let Some(message) = hand.outbox.front() {
                match hand.link.sender.try_send(message) {
                    Sent::NotYet => break,
                    Sent::Yes => {
                        let memory = hand.outbox.pop_front();
                        if let (Some(rest), Some(memory)) = (&mut self.rest, memory)
                            && rest.capacity() == 0
                        {
                            *rest = memory;
                        }
                        any = true;
                    }
                    Sent::Gone => self.raise_lost(),
                }
            }
        }
        any
    }

    /// Reads lines for the worker whose turn it is; true if there is one. At the end of the input says so to all.
    fn deal(&mut self, input: &mut CopyInput) -> bool {
        let Some(memory) = &mut self.rest else { return self.end_all() };
        if self.run.rows >= self.longest.rows || self.run.bytes >= self.longest.bytes {
            let count = self.hands.len();
            let mut others = (1..=count).map(|step| (self.turn + step) % count);
            // Who has something left to be sent has enough to do.
            let Some(next) = others.find(|index| self.hands[*index].outbox.is_empty()) else { return false };
            (self.turn, self.run) = (next, Run::default());
        }
        let mut batch = Batch::new(message::ROWS, std::mem::take(memory));
        let most = self.longest.rows - self.run.rows;
        match copy::catch(|| fill(&mut batch, input, self.constrained, most)) {
            Ok(true) => {}
            Ok(false) => self.rest = None,
            Err(error) => {
                self.own_error = Some(error);
                self.give_up();
            }
        }
        self.sent += u64::from(batch.rows());
        self.run.rows += batch.rows();
        if batch.rows() > 0 {
            let message = batch.into_message();
            self.run.bytes += message.len();
            self.hands[self.turn].outbox.push_back(message);
        }
        true
    }

    /// Says to all that there are no more rows; true if they did not know.
    fn end_all(&mut self) -> bool {
        let mut any = false;
        for hand in self.hands.iter_mut().filter(|hand| !hand.ended) {
            hand.outbox.push_back(vec![message::END]);
            hand.ended = true;
            any = true;
        }
        any
    }

    /// A worker has found a line wrong. Later lines do not matter any more, so no more are read.
    fn fail(&mut self, index: usize, line: u64) {
        self.failed = Some(self.failed.map_or((line, index), |first| first.min((line, index))));
        self.hands[index].ended = true;
        self.hands[index].done = true;
        self.give_up();
    }

    /// Something is wrong, but what has been dealt out must be looked at, for an earlier line may be wrong as well.
    fn give_up(&mut self) {
        self.rest = None;
        self.output.discards = true;
    }

    /// Lets a worker raise the error that it has found.
    fn raise_error_of(&mut self, index: usize) -> ! {
        let hand = &mut self.hands[index];
        // What is sent in part has to be sent as a whole.
        for message in hand.outbox.pop_front().into_iter().chain([vec![message::RAISE]]) {
            while hand.link.sender.try_send(&message) == Sent::NotYet {
                parallel::wait();
            }
        }
        while !matches!(hand.link.receiver.try_receive(), Received::Gone) {
            parallel::wait();
        }
        self.raise_lost()
    }

    /// A worker has gone although it had not said that it is done.
    fn raise_lost(&self) -> ! {
        self.workers.raise_errors();
        OrochiError::Internal("a parallel worker of COPY has ended too early".into()).raise()
    }

    /// Ends the workers and what only they needed.
    fn finish(self, table: Rel) -> Loaded {
        self.workers.finish();
        let rows = self.output.rows;
        if rows != self.sent {
            let what = format!("workers of COPY have written {rows} of {} rows", self.sent);
            OrochiError::Internal(what).raise();
        }
        let stripes = self.output.release();
        table.count_inserted(rows);
        heap::check_serializable_write(table, None);
        counters::add(Counter::RowsInsertedStripe, rows);
        Loaded { rows, stripes }
    }
}

/// Puts up to `most` lines into a batch until it is full or as old as a batch may get; false at the end of the input.
fn fill(batch: &mut Batch, input: &mut CopyInput, constrained: bool, most: u32) -> bool {
    let columns = input.columns();
    let start = Instant::now();
    input.tidy();
    while batch.rows() < most && !batch.is_full() && start.elapsed() < PATIENCE {
        pgrx::check_for_interrupts!();
        let Some(line) = input.next_line() else { return false };
        // Only errors about a row as a whole show the line's text.
        let pushed = if constrained || line.len() != columns {
            line.with_text(|text| batch.push(line.number, Some(text), line.fields()))
        } else {
            batch.push(line.number, None, line.fields())
        };
        pushed.map_err(out_of_memory).or_raise();
    }
    true
}

fn out_of_memory(TooLarge(bytes): TooLarge) -> OrochiError {
    OrochiError::OutOfMemory { detail: format!("{bytes} bytes for a line of the input could not be allocated.") }
}
