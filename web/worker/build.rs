//! Has the linker export the module's constructors, which `worker.js` calls once. A module that says nothing of
//! them is linked as a command: every function that it exports, and be it the one that frees a handle, first runs
//! all of them. Burn's compiler registers some five thousand parts that way, and a launch of a kernel took milliseconds.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo::rustc-link-arg=--export=__wasm_call_ctors");
    }
}
