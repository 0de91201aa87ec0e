//! Names of parameters: from paths in the module tree to the names of the released checkpoints
//! (docs/network.md §13) and back. Training's record files use module paths.

/// Module path to checkpoint name: the first matching prefix is replaced. `fusion` is the head of
/// MM-OVSeg and GSNet, `clip_fusion` that of CAT-Seg, whose checkpoints call its parts otherwise.
const RENAMES: [(&str, &str); 24] = [
    (
        "clip.visual.resblocks.",
        "sem_seg_head.predictor.clip_model.visual.transformer.resblocks.",
    ),
    ("clip.visual.", "sem_seg_head.predictor.clip_model.visual."),
    (
        "clip.text.resblocks.",
        "sem_seg_head.predictor.clip_model.transformer.resblocks.",
    ),
    ("clip.text.", "sem_seg_head.predictor.clip_model."),
    (
        "fusion.guidance_projection.",
        "sem_seg_head.predictor.transformer.guidance_projection.0.",
    ),
    (
        "fusion.text_guidance_projection.",
        "sem_seg_head.predictor.transformer.text_guidance_projection.0.",
    ),
    (
        "fusion.clip_decoder_guidance_projection.0.",
        "sem_seg_head.predictor.transformer.CLIP_decoder_guidance_projection.0.0.",
    ),
    (
        "fusion.clip_decoder_guidance_projection.1.",
        "sem_seg_head.predictor.transformer.CLIP_decoder_guidance_projection.1.0.",
    ),
    (
        "fusion.dino_decoder_guidance_projection.0.",
        "sem_seg_head.predictor.transformer.DINO_decoder_guidance_projection.0.0.",
    ),
    (
        "fusion.dino_decoder_guidance_projection.1.",
        "sem_seg_head.predictor.transformer.DINO_decoder_guidance_projection.1.0.",
    ),
    (
        "fusion.decoder1.up.",
        "sem_seg_head.predictor.transformer.Fusiondecoder1.up.",
    ),
    (
        "fusion.decoder2.up.",
        "sem_seg_head.predictor.transformer.Fusiondecoder2.up.",
    ),
    (
        "fusion.decoder1.",
        "sem_seg_head.predictor.transformer.Fusiondecoder1.conv.double_conv.",
    ),
    (
        "fusion.decoder2.",
        "sem_seg_head.predictor.transformer.Fusiondecoder2.conv.double_conv.",
    ),
    ("fusion.", "sem_seg_head.predictor.transformer."),
    (
        "clip_fusion.guidance_projection.",
        "sem_seg_head.predictor.transformer.guidance_projection.0.",
    ),
    (
        "clip_fusion.text_guidance_projection.",
        "sem_seg_head.predictor.transformer.text_guidance_projection.0.",
    ),
    (
        "clip_fusion.clip_decoder_guidance_projection.0.",
        "sem_seg_head.predictor.transformer.decoder_guidance_projection.0.0.",
    ),
    (
        "clip_fusion.clip_decoder_guidance_projection.1.",
        "sem_seg_head.predictor.transformer.decoder_guidance_projection.1.0.",
    ),
    (
        "clip_fusion.decoder1.up.",
        "sem_seg_head.predictor.transformer.decoder1.up.",
    ),
    (
        "clip_fusion.decoder2.up.",
        "sem_seg_head.predictor.transformer.decoder2.up.",
    ),
    (
        "clip_fusion.decoder1.",
        "sem_seg_head.predictor.transformer.decoder1.conv.double_conv.",
    ),
    (
        "clip_fusion.decoder2.",
        "sem_seg_head.predictor.transformer.decoder2.conv.double_conv.",
    ),
    ("clip_fusion.", "sem_seg_head.predictor.transformer."),
];

/// The checkpoint name of the parameter at a module path such as `fusion.decoder1.conv2.weight`.
pub(crate) fn checkpoint_name(path: &str) -> String {
    let name = RENAMES
        .iter()
        .find_map(|(from, to)| path.strip_prefix(from).map(|rest| format!("{to}{rest}")))
        .unwrap_or_else(|| path.to_owned());
    if name.contains("double_conv") {
        // Positions in the authors' Sequential: conv, norm, ReLU, conv, norm, ReLU.
        for (from, to) in [
            (".conv1.", ".0."),
            (".norm1.", ".1."),
            (".conv2.", ".3."),
            (".norm2.", ".4."),
        ] {
            if name.contains(from) {
                return name.replace(from, to);
            }
        }
    }
    name.replace(".attention.mlp_in.", ".attention.MLP.0.")
        .replace(".attention.mlp_out.", ".attention.MLP.2.")
}

/// The module path, without a final period, at which parameters with this checkpoint prefix lie.
pub(crate) fn module_path(prefix: &str) -> &str {
    RENAMES
        .iter()
        .find(|(_, to)| *to == prefix)
        .map_or(prefix, |(from, _)| from)
        .trim_end_matches('.')
}
