//! Orochi.
mod monitor;
mod pg;
mod settings;
mod shmem;
mod workers;

pgrx::pg_module_magic!(name, version);

/// Called when the library is loaded: by the postmaster if preloaded, else by the first session that needs it.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::init();
    shmem::init();
}

#[pgrx::pg_extern]
fn version() -> &'static str { env!("CARGO_PKG_VERSION") }

#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}
    pub fn postgresql_conf_options() -> Vec<&'static str> { vec!["shared_preload_libraries = 'orochi'"] }
}
#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;
    #[pg_test]
    fn v() { assert_eq!("0.1.0", crate::version()); }
}
