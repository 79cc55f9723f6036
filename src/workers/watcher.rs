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
    /// Looks at the workers that `mine` selects, unless this process was held up itself, perhaps with the whole
    /// machine: then the others get time to catch up.
    pub fn round(&mut self, registry: &Registry, mine: impl Fn(&View) -> bool) {
        let now = clock::now();
        let pause = clock::between(self.last_round, now);
        self.last_round = now;
        if pause <= settings::worker_heartbeat_timeout().max(3 * PERIOD) {
            look(registry, now, mine);
        }
    }
}

/// Tells the silent ones among the workers that `mine` selects to end, and gives up lost starts.
pub fn look(registry: &Registry, now: i64, mine: impl Fn(&View) -> bool) {
    let timeout = settings::worker_heartbeat_timeout();
    for view in registry.views().iter().filter(|view| mine(view)) {
        let Some(slot) = registry.slot(view.slot) else { continue };
        let verdict = watch::judge(view, now, timeout);
        let lost = matches!(verdict, Verdict::NotStarted(_));
        if lost || (view.pid != 0 && !process::is_server_process(view.pid)) {
            slot.leave(State::Stopped);
        } else if watch::should_signal(view, verdict, now, timeout) {
            slot.signalled(now);
            report(view, verdict);
            process::terminate(view.pid);
        }
    }
}

fn report(view: &View, verdict: Verdict) {
    let who = describe(view);
    match verdict {
        Verdict::Stalled(time) => {
            let job = view.job.and_then(jobs::name).unwrap_or("its loop");
            pgrx::log!(
                "{who} (PID {}) has made no progress in {job} for {} s; terminating it",
                view.pid,
                time.as_secs()
            );
        }
        Verdict::Silent(time) => {
            pgrx::log!("{who} (PID {}) has given no sign of life for {} s; terminating it", view.pid, time.as_secs());
        }
        _ => {}
    }
}
