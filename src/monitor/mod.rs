//! What Orochi tells about itself: counters, health, metrics. Subsystems register their parts; this module knows
//! none of them.

pub mod counters;
pub mod health;
pub mod metrics;
mod sql;

/// Registers the reports of the module itself. Call once, in `_PG_init`.
pub fn init() {
    health::register(health::check_server);
    metrics::register(metrics::measure_counters);
}
