//! When to look again at something that takes the longer the more there is.

use std::time::{Duration, Instant};

/// So much longer than a look takes nobody looks again: looking costs a twentieth of a processor at the most.
const REST: u32 = 19;
/// What takes less needs no rest.
const SHORT: Duration = Duration::from_millis(50);
/// The longest rest.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks at one thing, in several parts.
#[derive(Clone, Copy, Default)]
pub struct Pace {
    spent: Duration,
    until: Option<Instant>,
}

impl Pace {
    /// Whether it is time to look, or to go on.
    pub fn due(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// Does a part of a look.
    pub fn spend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.spent += started.elapsed();
        result
    }

    /// What was done since the last rest was not part of a look.
    pub fn forget(&mut self) {
        self.spent = Duration::ZERO;
    }

    /// All has been looked at.
    pub fn rest(&mut self) {
        let rest = rest_after(std::mem::take(&mut self.spent));
        self.until = (!rest.is_zero()).then(|| Instant::now() + rest);
    }
}

fn rest_after(spent: Duration) -> Duration {
    if spent < SHORT { Duration::ZERO } else { (spent * REST).min(LONGEST) }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn rests_are_in_proportion_and_bounded() {
        assert_eq!(rest_after(Duration::from_millis(49)), Duration::ZERO);
        assert_eq!(rest_after(Duration::from_millis(100)), Duration::from_millis(1900));
        assert_eq!(rest_after(Duration::from_secs(1000)), LONGEST);
    }

    #[test]
    fn short_looks_are_always_due() {
        let mut pace = Pace::default();
        assert!(pace.due());
        assert_eq!(pace.spend(|| 7), 7);
        pace.rest();
        assert!(pace.due());
        pace.spent = Duration::from_secs(1);
        pace.rest();
        assert!(!pace.due() && pace.spent.is_zero());
    }
}
