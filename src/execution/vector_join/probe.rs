//! Looking for the rows of the probe side in the table.

use super::build::Contexts;
use super::pairs::{Lefts, Pairs, Rights};
use super::plan::Way;
use super::state::{Joined, Phase, State};
use crate::columnar::encoding::Selection;
use crate::execution::batch::{Column, MAX_ROWS};
use crate::execution::batches::Batch;
use crate::execution::join::NONE;
use crate::pg::error::OrochiError;
use std::rc::Rc;

/// Rows come out where they lie if at least one of so many does; otherwise they are put together.
const SPARSE: usize = 8;

/// A batch of the probe side that is being looked for.
pub struct Probing {
    batch: Rc<Batch>,
    /// The first match of each row.
    first: Box<[u32; MAX_ROWS]>,
    /// Rows that have one.
    found: Selection,
    /// Rows that are in a pair which meets all conditions.
    matched: Selection,
    /// Where the next pair begins: its row, and its match.
    next: Option<(usize, u32)>,
    /// Only rows without a pair are left.
    paired: bool,
}

impl State {
    /// The next rows; `None` when there are no more.
    ///
    /// # Safety
    /// The node must be running, in these contexts.
    pub unsafe fn next_joined(&mut self, contexts: Contexts) -> Result<Option<Joined>, OrochiError> {
        loop {
            pgrx::check_for_interrupts!();
            match self.phase {
                Phase::Build => {
                    // SAFETY: the caller's promise.
                    unsafe { self.read_build(contexts)? };
                    self.phase = self.first_phase();
                    if self.spill.is_open() {
                        // SAFETY: as above.
                        unsafe { self.write_probe_side(contexts)? };
                        // SAFETY: as above.
                        unsafe { self.next_part(contexts)? };
                    }
                }
                Phase::Probe => {
                    if let Some(mut probing) = self.probing.take() {
                        // SAFETY: as above.
                        if let Some(joined) = unsafe { contexts.in_batch(|| self.step(&mut probing))? } {
                            self.probing = Some(probing);
                            return Ok(Some(joined));
                        }
                        continue;
                    }
                    // SAFETY: as above.
                    match unsafe { self.next_probe_batch()? } {
                        // SAFETY: as above.
                        Some(batch) => self.probing = Some(unsafe { contexts.in_batch(|| self.begin(batch))? }),
                        None if self.shape.way.marks() => self.phase = Phase::Rest(0),
                        // SAFETY: as above.
                        None => unsafe { self.next_part(contexts)? },
                    }
                }
                Phase::Rest(from) => match self.rest(from) {
                    Some(joined) => return Ok(Some(joined)),
                    // SAFETY: as above.
                    None => unsafe { self.next_part(contexts)? },
                },
                Phase::Done => return Ok(None),
            }
        }
    }

    /// Looks for the keys of a batch.
    fn begin(&mut self, batch: Batch) -> Result<Probing, OrochiError> {
        let keys = self.probe.keys(&batch)?;
        let keys: Vec<&Column> = keys.iter().map(|key| &**key).collect();
        let mut first = Box::new([NONE; MAX_ROWS]);
        let found = self.table.first(&keys, &batch.rows, &mut first);
        let next = found.at_or_after(0).map(|row| (row, first[row]));
        Ok(Probing { batch: Rc::new(batch), first, found, matched: Selection::none(), next, paired: false })
    }

    /// The next rows of a batch; `None` when there are no more.
    fn step(&mut self, probing: &mut Probing) -> Result<Option<Joined>, OrochiError> {
        let way = self.shape.way;
        if !probing.paired && matches!(way, Way::ProbeSemi | Way::ProbeAnti) {
            let (matched, rights) = self.matched(probing)?;
            probing.paired = true;
            let without = probing.batch.rows.and_not(&matched);
            probing.matched = probing.batch.rows;
            // What stands above may take a key from either side.
            return Ok(match way {
                Way::ProbeAnti => self.lone(probing, without),
                _ if matched.is_empty() => None,
                _ => Some(Joined { pairs: self.in_place(probing, Rights::Some(rights)), rows: matched }),
            });
        }
        if !probing.paired && way.gives_pairs() && self.is_single(probing) {
            probing.paired = true;
            return self.single(probing);
        }
        while !probing.paired {
            pgrx::check_for_interrupts!();
            let pairs = self.some_pairs(probing)?;
            if let Some(joined) = pairs.filter(|joined| way.gives_pairs() && !joined.rows.is_empty()) {
                return Ok(Some(joined));
            }
        }
        if !way.gives_lone_probe() {
            return Ok(None);
        }
        let rows = probing.batch.rows.and_not(&probing.matched);
        probing.matched = probing.batch.rows;
        Ok(self.lone(probing, rows))
    }

    /// Rows of the probe side as they lie, without the build side.
    fn lone(&mut self, probing: &Probing, rows: Selection) -> Option<Joined> {
        (!rows.is_empty()).then(|| Joined { pairs: self.in_place(probing, Rights::None), rows })
    }

    /// Whether no row has a second match, and the pairs may be given where the rows lie.
    fn is_single(&self, probing: &Probing) -> bool {
        let dense = probing.found.count() * SPARSE >= probing.batch.len || self.shape.way.gives_lone_probe();
        let last = |row| self.table.following(row, probing.first[row]) == NONE;
        dense && (self.table.is_unique() || probing.found.iter().all(last))
    }

    /// The pairs of a batch whose rows have no more than one match.
    fn single(&mut self, probing: &mut Probing) -> Result<Option<Joined>, OrochiError> {
        let len = probing.batch.len;
        let mut rights = probing.first.get(..len).unwrap_or_default().to_vec();
        let mut rows = probing.found;
        let mut pairs = self.in_place(probing, Rights::Some(rights.clone()));
        self.meet(&mut rows, &mut pairs)?;
        if self.shape.way.marks() {
            rows.iter().for_each(|row| self.marks.set(probing.first[row]));
        }
        probing.matched = rows;
        if self.shape.way.gives_lone_probe() {
            let failed = probing.found.and_not(&rows);
            if !failed.is_empty() {
                failed.iter().for_each(|row| rights[row] = NONE);
                pairs = self.in_place(probing, Rights::Some(rights));
            }
            rows = probing.batch.rows;
            probing.matched = rows;
        }
        Ok((!rows.is_empty()).then_some(Joined { pairs, rows }))
    }

    /// The rows of a batch where they lie, with what they are paired with.
    fn in_place(&mut self, probing: &Probing, rights: Rights) -> Pairs {
        self.pairs(probing.batch.len, Lefts::All(probing.batch.clone()), rights)
    }

    /// New pairs, of which nothing has been evaluated.
    fn pairs(&mut self, len: usize, lefts: Lefts, rights: Rights) -> Pairs {
        self.program.next_batch();
        Pairs::new(len, lefts, rights, self)
    }

    /// Takes out the pairs that do not meet the conditions.
    fn meet(&mut self, rows: &mut Selection, pairs: &mut Pairs) -> Result<(), OrochiError> {
        for condition in &self.residual {
            self.program.filter(*condition, rows, pairs)?;
        }
        Ok(())
    }

    /// The rows of a batch that are in a pair, and the match of each. A row's matches are tried one after the other until one meets the conditions.
    fn matched(&mut self, probing: &Probing) -> Result<(Selection, Vec<u32>), OrochiError> {
        let mut current = probing.first.get(..probing.batch.len).unwrap_or_default().to_vec();
        if self.residual.is_empty() {
            return Ok((probing.found, current));
        }
        let mut matched = Selection::none();
        let mut left = probing.found;
        while !left.is_empty() {
            pgrx::check_for_interrupts!();
            let mut pairs = self.in_place(probing, Rights::Some(current.clone()));
            let mut met = left;
            self.meet(&mut met, &mut pairs)?;
            matched = matched.or(&met);
            left = left.and_not(&met);
            for row in left.iter() {
                current[row] = self.table.following(row, current[row]);
            }
            let mut more = Selection::none();
            left.iter().filter(|row| current[*row] != NONE).for_each(|row| more.insert(row));
            left = more;
        }
        Ok((matched, current))
    }

    /// Up to a batch of the pairs that are left, put together; `None` if there were only such as need not be looked at.
    fn some_pairs(&mut self, probing: &mut Probing) -> Result<Option<Joined>, OrochiError> {
        let marking = self.shape.way.marks() && !self.shape.way.gives_pairs();
        let (mut lefts, mut rights) = (Vec::with_capacity(MAX_ROWS), Vec::with_capacity(MAX_ROWS));
        let mut steps = 0;
        while let Some((row, known)) = probing.next.filter(|_| lefts.len() < MAX_ROWS && steps < 64 * MAX_ROWS) {
            steps += 1;
            // A row of the build side that was met has nothing more to find out.
            let met = marking && self.marks.contains(known);
            if !met {
                lefts.push(row as u32);
                rights.push(known);
            }
            // Without further conditions those with the same keys were met with it.
            let following = match met && self.residual.is_empty() {
                true => NONE,
                false => self.table.following(row, known),
            };
            probing.next = match following {
                NONE => probing.found.at_or_after(row + 1).map(|row| (row, probing.first[row])),
                following => Some((row, following)),
            };
        }
        probing.paired = probing.next.is_none();
        if lefts.is_empty() {
            return Ok(None);
        }
        let len = lefts.len();
        let (sides, builds) = (lefts.clone(), rights.clone());
        let mut pairs = self.pairs(len, Lefts::Some(probing.batch.clone(), lefts), Rights::Some(rights));
        let mut rows = Selection::first(len);
        self.meet(&mut rows, &mut pairs)?;
        for pair in rows.iter() {
            probing.matched.insert(sides[pair] as usize);
            if self.shape.way.marks() {
                self.marks.set(builds[pair]);
            }
        }
        Ok(Some(Joined { pairs, rows }))
    }

    /// Rows of the build side that come out at the end, from one on.
    fn rest(&mut self, from: u32) -> Option<Joined> {
        let wanted = self.shape.way == Way::BuildSemi;
        let end = self.table.len() as u32;
        let mut rows = Vec::with_capacity(MAX_ROWS);
        let mut at = from;
        while at < end && rows.len() < MAX_ROWS {
            if self.marks.contains(at) == wanted {
                rows.push(at);
            }
            at += 1;
        }
        self.phase = Phase::Rest(at);
        (!rows.is_empty()).then(|| {
            let len = rows.len();
            Joined { pairs: self.pairs(len, Lefts::None, Rights::Some(rows)), rows: Selection::first(len) }
        })
    }
}
