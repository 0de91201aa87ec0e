//! Has the linker export the module's constructors, which `threads.js` calls once. A module that
//! does not export them is linked as a command, in which every exported function runs all
//! constructors first. Burn's compiler registers about five thousand parts that way, so that each
//! call from JavaScript took milliseconds.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("wasm32") {
        println!("cargo::rustc-link-arg=--export=__wasm_call_ctors");
    }
}
