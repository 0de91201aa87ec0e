//! Exports the constructors of the wasm module, which the page calls once. A module that does not
//! export them is linked as a command: each of its exported functions runs all constructors first.
//! Burn's compiler registers some five thousand entries in constructors, so that each launch of a
//! kernel would take milliseconds.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo::rustc-link-arg=--export=__wasm_call_ctors");
    }
}
