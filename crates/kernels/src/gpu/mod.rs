//! The operations on a GPU: WGSL kernels, launched through Burn's own runtime.
//!
//! A kernel is a `.wgsl` file of this folder, expanded by [`template`] and launched by [`launch`];
//! its reference is the file of the same name in `reference`. WGSL rather than Burn's kernel
//! language, so that the text a browser compiles is the text in this folder.
//!
//! All kernels have one form. A workgroup is a row of [`launch::LANES`] threads; neighbouring
//! threads take neighbouring columns, so that their reads coalesce. All other operands (weights,
//! keys, rows of the left operand) are addressed by the workgroup and the loop alone, so that one
//! read serves all threads. A thread holds a block of results in registers ([`block`]). There are
//! no barriers and no workgroup memory outside of the norms: nothing has to be tuned to the GPU,
//! and a software GPU can map the threads to vector lanes. Large products put several rows of
//! threads into a workgroup, which then find in the first cache what one of them has read.
//!
//! With weights in half precision (f16), a product reads and writes f16, and so does a layer norm
//! with `gamma` in f16; attention has the type of its operands. All arithmetic is in f32.
//!
//! All indices are clamped to their buffers, because the kernels run without the runtime's bounds
//! checks. All buffers are bound writable, because Burn places several tensors in one buffer, which
//! WebGPU binds either read-only or writable.

mod activation;
mod attention;
mod block;
mod classes;
mod conv;
mod launch;
mod linear;
mod norm;
mod template;
mod upsample;
mod windows;

pub(crate) use activation::activate;
pub(crate) use attention::{attention, attention_packed, fits_attention};
pub(crate) use block::BlockEpilogue;
pub(crate) use classes::{class_attention, pool_classes, spread_classes};
pub(crate) use conv::{conv, patches};
pub(crate) use linear::linear;
pub(crate) use norm::{group_norm, layer_norm, unit};
pub(crate) use upsample::upsample;
pub(crate) use windows::{cut_windows, join_windows};

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Parts of kernels: files that only include directives name.
    const PARTS: [&str; 5] = [
        "activation_function",
        "block_products",
        "conv_write",
        "each_value",
        "group_norm_value",
    ];

    #[test]
    fn every_kernel_names_the_reference_it_is_compared_with() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = std::fs::read_dir(source.join("gpu")).expect("the folder of the kernels");
        let mut kernels = 0;
        for file in files {
            let path = file.expect("a file of the folder").path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let name = name.expect("a name in UTF-8");
            if path.extension().is_none_or(|kind| kind != "wgsl") || PARTS.contains(&name) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a text in UTF-8");
            // The passes of one operation share its reference.
            let operation = name.trim_end_matches("_sums").trim_end_matches("_apply");
            let reference = format!("reference/{operation}.rs");
            assert!(text.contains(&format!("Reference: {reference}")), "{name}");
            assert!(source.join(&reference).exists(), "{reference}");
            kernels += 1;
        }
        assert!(kernels > 10, "{kernels} kernels found");
    }
}
