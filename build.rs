//! Keeps the section from which `cargo pgrx` reads the extension's SQL in the shared library.
//!
//! Only the extension is linked this way: test binaries depend on unused sections being dropped.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,--no-gc-sections");
}
