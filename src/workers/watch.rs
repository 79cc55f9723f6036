//! How a worker is doing, judged by its slot alone. Free of PostgreSQL.

use super::clock;
use super::slot::{State, View};
use std::time::Duration;

/// A process that has been asked for shows up within this time, or is given up.
pub const START_LIMIT: Duration = Duration::from_secs(10);

/// Judgement on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lives, or is about to.
    Healthy,
    /// There is no process.
    Missing,
    /// Was asked for, but has not shown up.
    NotStarted(Duration),
    /// Gives no sign of life: stopped by a signal or a debugger, or starved.
    Silent(Duration),
    /// Lives, but its job has not got on for longer than it may.
    Stalled(Duration),
}

/// Judges a worker at time `now`.
pub fn judge(view: &View, now: i64, timeout: Duration) -> Verdict {
    let silent = clock::between(view.heartbeat, now);
    let stuck = clock::between(view.progress_at, now);
    match view.state {
        State::Free | State::Stopped | State::NoExtension => Verdict::Missing,
        State::Starting => match clock::between(view.started_at, now) {
            age if age > START_LIMIT => Verdict::NotStarted(age),
            _ => Verdict::Healthy,
        },
        _ if silent > timeout => Verdict::Silent(silent),
        State::Busy if stuck > view.stall_limit => Verdict::Stalled(stuck),
        // Between two jobs a worker reports at least once a second.
        State::Idle if stuck > timeout => Verdict::Stalled(stuck),
        _ => Verdict::Healthy,
    }
}

/// True if the process should be told to end now: it is silent or stalled, and was not told so a moment ago.
pub fn should_signal(view: &View, verdict: Verdict, now: i64, timeout: Duration) -> bool {
    matches!(verdict, Verdict::Silent(_) | Verdict::Stalled(_))
        && (view.signalled_at == 0 || clock::between(view.signalled_at, now) > timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::slot::Slot;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn seconds(n: u64) -> i64 {
        clock::micros(Duration::from_secs(n))
    }

    fn view(state: State, heartbeat_s: u64, progress_s: u64) -> View {
        let mut view = Slot::default().view(1);
        view.state = state;
        view.started_at = seconds(100);
        view.heartbeat = seconds(heartbeat_s);
        view.progress_at = seconds(progress_s);
        view.stall_limit = Duration::from_secs(60);
        view
    }

    #[test]
    fn a_beating_worker_is_healthy() {
        assert_eq!(judge(&view(State::Idle, 102, 102), seconds(103), TIMEOUT), Verdict::Healthy);
        assert_eq!(judge(&view(State::Busy, 150, 100), seconds(151), TIMEOUT), Verdict::Healthy);
    }

    #[test]
    fn silence_and_stalls_are_told_apart() {
        let silent = judge(&view(State::Busy, 102, 102), seconds(110), TIMEOUT);
        assert_eq!(silent, Verdict::Silent(Duration::from_secs(8)));
        let stalled = judge(&view(State::Busy, 199, 100), seconds(200), TIMEOUT);
        assert_eq!(stalled, Verdict::Stalled(Duration::from_secs(100)));
    }

    #[test]
    fn a_clock_set_back_is_no_silence() {
        assert_eq!(judge(&view(State::Idle, 500, 500), seconds(103), TIMEOUT), Verdict::Healthy);
    }

    #[test]
    fn a_lost_start_is_given_up() {
        assert_eq!(judge(&view(State::Starting, 0, 0), seconds(105), TIMEOUT), Verdict::Healthy);
        assert!(matches!(judge(&view(State::Starting, 0, 0), seconds(111), TIMEOUT), Verdict::NotStarted(_)));
    }

    #[test]
    fn signals_are_not_repeated_at_once() {
        let mut silent = view(State::Idle, 100, 100);
        let verdict = Verdict::Silent(Duration::from_secs(6));
        assert!(should_signal(&silent, verdict, seconds(106), TIMEOUT));
        silent.signalled_at = seconds(106);
        assert!(!should_signal(&silent, verdict, seconds(108), TIMEOUT));
        assert!(should_signal(&silent, verdict, seconds(112), TIMEOUT));
    }
}
