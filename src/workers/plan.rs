//! Which workers the launcher starts and which slots it frees. Free of PostgreSQL.

use super::clock;
use super::registry::{Kicks, LAUNCHER};
use super::slot::{State, View};
use std::collections::HashMap;
use std::time::Duration;

/// A database without the extension is looked at again after this time even if nobody asks: a crash may have lost
/// the request that CREATE EXTENSION makes.
const RECHECK: Duration = Duration::from_secs(60);
/// A worker that ends soon after its start is started again this long after that start.
const RESTART_GAP: Duration = Duration::from_secs(3);
/// Processes that may be starting at the same time: `max_worker_processes` is small.
const STARTING_LIMIT: usize = 2;

/// Something for the launcher to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a worker for a database, in the slot that it has, or else in a free one.
    Start { database: u32, slot: Option<usize> },
    /// Free a slot.
    Free { slot: usize },
}

/// What the launcher sees.
pub struct Situation<'a> {
    /// Now.
    pub now: i64,
    /// OIDs of the databases that can be connected to.
    pub databases: &'a [u32],
    /// Slots in use.
    pub slots: &'a [View],
    /// Databases whose worker is held back.
    pub held: &'a [u32],
}

/// What the launcher remembers from one round to the next.
#[derive(Debug, Default)]
pub struct Planner {
    /// Databases without the extension, and when the process started that found this.
    absent: HashMap<u32, i64>,
    /// When somebody last asked for a look at a database. A process that started earlier may have looked too early.
    asked: HashMap<u32, i64>,
    /// When somebody last asked for a look at all.
    asked_for_all: Option<i64>,
}

impl Planner {
    /// Notes that somebody asks for a look at databases.
    pub fn note(&mut self, kicks: &Kicks, now: i64) {
        self.asked.extend(kicks.databases.iter().map(|database| (*database, now)));
        self.asked_for_all = if kicks.all { Some(now) } else { self.asked_for_all };
    }

    /// Decides what to do now.
    pub fn plan(&mut self, situation: &Situation) -> Vec<Action> {
        self.absent.retain(|database, _| situation.databases.contains(database));
        self.asked.retain(|database, _| situation.databases.contains(database));
        let mut actions = Vec::new();
        let mut starting = situation.slots.iter().filter(|view| view.state == State::Starting).count();
        let mut start = |database: u32, slot: Option<usize>| {
            let allowed = starting < STARTING_LIMIT && !situation.held.contains(&database);
            starting += usize::from(allowed);
            allowed.then_some(Action::Start { database, slot })
        };
        for view in situation.slots.iter().filter(|view| view.slot != LAUNCHER) {
            match view.state {
                State::NoExtension => {
                    self.absent.insert(view.database, view.started_at);
                    actions.push(Action::Free { slot: view.slot });
                }
                State::Stopped if !situation.databases.contains(&view.database) => {
                    actions.push(Action::Free { slot: view.slot });
                }
                State::Stopped if clock::between(view.started_at, situation.now) >= RESTART_GAP => {
                    actions.extend(start(view.database, Some(view.slot)));
                }
                _ => {}
            }
        }
        for database in self.candidates(situation) {
            actions.extend(start(database, None));
        }
        actions
    }

    /// Databases without a slot that are to be looked at: those that were asked for, then those that are new, then
    /// those whose last look was longest ago.
    fn candidates(&self, situation: &Situation) -> Vec<u32> {
        let asked = |database: &u32| self.asked.get(database).copied().max(self.asked_for_all);
        let rank = |database: &u32| match self.absent.get(database) {
            None => Some(i64::MIN + 1),
            Some(checked) if asked(database) >= Some(*checked) => Some(i64::MIN),
            Some(checked) if clock::between(*checked, situation.now) >= RECHECK => Some(*checked),
            Some(_) => None,
        };
        let has_slot = |database: u32| situation.slots.iter().any(|view| view.database == database);
        let mut ranked: Vec<(i64, u32)> = situation
            .databases
            .iter()
            .filter(|database| !has_slot(**database))
            .filter_map(|database| rank(database).map(|rank| (rank, *database)))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, database)| database).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::slot::Slot;

    fn seconds(n: u64) -> i64 {
        clock::micros(Duration::from_secs(n))
    }

    fn slot(slot: usize, database: u32, state: State, started_s: u64) -> View {
        let mut view = Slot::default().view(slot);
        view.database = database;
        view.state = state;
        view.started_at = seconds(started_s);
        view
    }

    fn plan(planner: &mut Planner, now_s: u64, slots: &[View], held: &[u32]) -> Vec<Action> {
        planner.plan(&Situation { now: seconds(now_s), databases: &[1, 2], slots, held })
    }

    fn start(database: u32, slot: Option<usize>) -> Action {
        Action::Start { database, slot }
    }

    fn one(database: u32) -> Kicks {
        Kicks { databases: vec![database], all: false }
    }

    #[test]
    fn new_databases_are_looked_at() {
        let actions = plan(&mut Planner::default(), 100, &[], &[]);
        assert_eq!(actions, [start(1, None), start(2, None)]);
    }

    #[test]
    fn starts_are_limited() {
        let slots = [slot(1, 1, State::Starting, 99), slot(2, 9, State::Starting, 99)];
        assert!(plan(&mut Planner::default(), 100, &slots, &[]).is_empty());
    }

    /// Database 1 has been found without the extension by a process that started at second 99.
    fn absent() -> Planner {
        let mut planner = Planner::default();
        let slots = [slot(1, 1, State::NoExtension, 99), slot(2, 2, State::Idle, 50)];
        assert_eq!(plan(&mut planner, 100, &slots, &[]), [Action::Free { slot: 1 }]);
        planner
    }

    #[test]
    fn absence_is_remembered_for_a_while() {
        let (mut planner, slots) = (absent(), [slot(2, 2, State::Idle, 50)]);
        assert!(plan(&mut planner, 101, &slots, &[]).is_empty());
        assert_eq!(plan(&mut planner, 160, &slots, &[]), [start(1, None)]);
    }

    #[test]
    fn who_asks_gets_one_look() {
        let (mut planner, slots) = (absent(), [slot(2, 2, State::Idle, 50)]);
        planner.note(&one(1), seconds(101));
        assert!(plan(&mut planner, 101, &slots, &[1]).is_empty(), "held back, but not forgotten");
        assert_eq!(plan(&mut planner, 102, &slots, &[]), [start(1, None)]);
        let found = [slot(1, 1, State::NoExtension, 102), slots[0].clone()];
        plan(&mut planner, 103, &found, &[]);
        assert!(plan(&mut planner, 104, &slots, &[]).is_empty());
    }

    #[test]
    fn a_look_that_began_before_the_question_does_not_answer_it() {
        let mut planner = Planner::default();
        let idle = slot(2, 2, State::Idle, 50);
        planner.note(&one(1), seconds(99));
        let found = [slot(1, 1, State::NoExtension, 98), idle.clone()];
        plan(&mut planner, 100, &found, &[]);
        assert_eq!(plan(&mut planner, 101, &[idle], &[]), [start(1, None)]);
    }

    #[test]
    fn a_stopped_worker_comes_back_in_its_slot() {
        let mut planner = Planner::default();
        let slots = [slot(1, 1, State::Stopped, 10), slot(2, 2, State::Stopped, 99)];
        assert_eq!(plan(&mut planner, 100, &slots, &[]), [start(1, Some(1))]);
        assert_eq!(plan(&mut planner, 102, &slots, &[1]), [start(2, Some(2))]);
    }

    #[test]
    fn a_held_database_is_left_alone() {
        assert_eq!(plan(&mut Planner::default(), 100, &[], &[1]), [start(2, None)]);
    }

    #[test]
    fn the_slot_of_a_dropped_database_is_freed() {
        let slots = [slot(1, 77, State::Stopped, 99), slot(2, 1, State::Idle, 9), slot(3, 2, State::Idle, 9)];
        assert_eq!(plan(&mut Planner::default(), 100, &slots, &[]), [Action::Free { slot: 1 }]);
    }
}
