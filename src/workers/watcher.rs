//! Ends workers that give no sign of life, so that they are started anew.
//!
//! The launcher watches the maintenance workers, and they watch the launcher.

use super::process::PERIOD;
use super::registry::Registry;
use super::slot::{State, View};
use super::watch::{self, Verdict};
use super::{clock, describe, jobs};
use crate::pg::server::process;
use crate::settings;

/// Watches workers from a loop that comes round at least every second.
#[derive(Default)]
pub struct Watcher {
    last_round: i64,
}

impl Watcher {
    /// Looks at the workers that `mine` selects, tells silent ones to end, and gives up lost starts.
    pub fn round(&mut self, registry: &Registry, mine: impl Fn(&View) -> bool) {
        let (now, timeout) = (clock::now(), settings::worker_heartbeat_timeout());
        let late = clock::between(self.last_round, now) > timeout.max(3 * PERIOD);
        self.last_round = now;
        if late {
            // This process was held up itself, perhaps with the whole machine: others get time to catch up.
            return;
        }
        for view in registry.views().iter().filter(|view| mine(view)) {
            let verdict = watch::judge(view, now, timeout);
            let Some(slot) = registry.slot(view.slot) else { continue };
            if let Verdict::NotStarted(_) = verdict {
                slot.leave(State::Stopped);
            } else if view.pid != 0 && !process::is_server_process(view.pid) {
                slot.leave(State::Stopped);
            } else if watch::should_signal(view, verdict, now, timeout) {
                slot.signalled(now);
                report(view, verdict);
                process::terminate(view.pid);
            }
        }
    }
}

fn report(view: &View, verdict: Verdict) {
    let who = describe(view);
    match verdict {
        Verdict::Stalled(time) => {
            let job = view.job.and_then(jobs::name).unwrap_or("its loop");
            pgrx::log!("{who} (PID {}) has made no progress in {job} for {} s; terminating it", view.pid, time.as_secs());
        }
        Verdict::Silent(time) => {
            pgrx::log!("{who} (PID {}) has given no sign of life for {} s; terminating it", view.pid, time.as_secs());
        }
        _ => {}
    }
}
