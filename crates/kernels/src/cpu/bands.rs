//! Maps written in bands of rows.

use super::memory::zeros;
use super::parallel::map_jobs;

/// Maps `[images, planes, pixels]` that `f(image, band, parts)` writes band by band, in parallel
/// where `is_parallel`. `parts` are the band's pixels of each plane; a band has `pixels_of(band)`.
/// Every thread writes to the planes themselves: copying bands together afterwards would be
/// sequential.
pub(super) fn write_bands(
    [images, planes, pixels]: [usize; 3],
    bands: usize,
    is_parallel: bool,
    pixels_of: impl Fn(usize) -> usize,
    f: impl Fn(usize, usize, &mut [&mut [f32]]) + Send + Sync,
) -> Vec<f32> {
    let mut out = zeros(images * planes * pixels);
    let counts: Vec<usize> = (0..bands).map(pixels_of).collect();
    let jobs = split_bands(&mut out, [planes, pixels], &counts);
    map_jobs(jobs, is_parallel, |(job, mut parts)| {
        f(job / bands, job % bands, &mut parts);
    });
    out
}

/// Splits maps `[images, planes, pixels]` into bands of `counts` pixels of each plane: the index
/// `image · bands + band` and the band's pixels of each plane.
pub(super) fn split_bands<'a>(
    maps: &'a mut [f32],
    [planes, pixels]: [usize; 2],
    counts: &[usize],
) -> Vec<(usize, Vec<&'a mut [f32]>)> {
    let images = maps.len() / (planes * pixels).max(1);
    let mut jobs: Vec<(usize, Vec<&mut [f32]>)> = (0..images * counts.len())
        .map(|job| (job, Vec::with_capacity(planes)))
        .collect();
    for (map, mut rest) in maps.chunks_exact_mut(pixels.max(1)).enumerate() {
        for (band, &count) in counts.iter().enumerate() {
            let (part, others) = rest.split_at_mut(count);
            jobs[map / planes * counts.len() + band].1.push(part);
            rest = others;
        }
    }
    jobs
}
