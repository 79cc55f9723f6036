//! Orochi.
mod columnar;
mod execution;
mod hooks;
mod monitor;
mod pg;
mod settings;
mod shmem;
mod workers;

pgrx::pg_module_magic!(name, version);

/// Called when the library is loaded: by the postmaster if preloaded, else by the first session that needs it.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::server::silence_backtraces();
    settings::init();
    shmem::init();
    monitor::init();
    columnar::init();
    workers::init();
    execution::init();
    hooks::init();
}

#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'orochi'"]
    }
}
