// Applies the epilogue to the sum of an output channel at a pixel (or cell) and writes it. With TOKENS the results are
// [N, cells, O], else [N, O, pixels].
fn write(image: u32, channel: u32, pixel: u32, sum: f32) {
    let area = sizes.height * sizes.width;
    let size = sizes.outputs * area;
#if TOKENS
    let at = pixel * sizes.outputs + channel;
#else
    let at = channel * area + pixel;
#endif
    var y = sum;
#if BIAS
    y += bias[channel];
#endif
#if ACTIVATION
    y = activation(y);
#endif
#if ADD
    y += residual[image / sizes.repeat * size + at];
#endif
    results[image * size + at] = y;
}
