//! Connected regions of a label map: which region each pixel belongs to, and what is measured of
//! each.

/// Regions of pixels of one label that touch by their edges.
pub(super) struct Regions {
    /// Region of each pixel, `[height_px, width_px]`.
    ids: Vec<u32>,
    measures: Vec<Measure>,
    width_px: usize,
}

/// What is measured of one region.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measure {
    pub pixels: u64,
    /// Sum of pixel centres.
    sums: [f64; 2],
    /// Sum of confidences, 0 to 254 each, and how many pixels have one.
    confidence: [u64; 2],
}

impl Measure {
    /// Mean position in pixels from the top-left corner.
    pub fn centre(&self) -> [f64; 2] {
        self.sums.map(|sum| sum / self.pixels.max(1) as f64)
    }

    /// Mean confidence, 0 to 1.
    pub fn confidence(&self) -> Option<f64> {
        let [sum, pixels] = self.confidence;
        (pixels > 0).then(|| sum as f64 / pixels as f64 / 254.0)
    }
}

impl Regions {
    /// Finds the regions of labels `[height_px, width_px]`. `confidence` has 0 to 254 for 0 to 1,
    /// and 255 where it is not known.
    pub fn find(labels: &[u8], width_px: usize, confidence: Option<&[u8]>) -> Self {
        // Each pixel points to an earlier one of its region, or to itself.
        let mut ids: Vec<u32> = Vec::with_capacity(labels.len());
        let root = |ids: &[u32], mut at: u32| {
            while ids[at as usize] != at {
                at = ids[at as usize];
            }
            at
        };
        for (i, &label) in labels.iter().enumerate() {
            let left = (i % width_px > 0 && labels[i - 1] == label).then(|| root(&ids, ids[i - 1]));
            let up = (i >= width_px && labels[i - width_px] == label)
                .then(|| root(&ids, ids[i - width_px]));
            let id = match (left, up) {
                (Some(a), Some(b)) => {
                    let (low, high) = (a.min(b), a.max(b));
                    ids[high as usize] = low;
                    low
                }
                (Some(only), None) | (None, Some(only)) => only,
                (None, None) => i as u32,
            };
            ids.push(id);
        }
        let mut measures = Vec::new();
        for i in 0..ids.len() {
            let before = ids[i] as usize;
            // Earlier pixels already hold the number of their region.
            let id = if before == i {
                measures.push(Measure::default());
                measures.len() as u32 - 1
            } else {
                ids[before]
            };
            ids[i] = id;
            let measure = &mut measures[id as usize];
            measure.pixels += 1;
            measure.sums[0] += (i % width_px) as f64 + 0.5;
            measure.sums[1] += (i / width_px) as f64 + 0.5;
            if let Some(&value) = confidence.and_then(|all| all.get(i)).filter(|&&v| v < 255) {
                measure.confidence[0] += u64::from(value);
                measure.confidence[1] += 1;
            }
        }
        Self {
            ids,
            measures,
            width_px,
        }
    }

    /// The region of a pixel.
    pub fn of_pixel(&self, x_px: usize, y_px: usize) -> Measure {
        self.measures[self.ids[y_px * self.width_px + x_px] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::Regions;

    #[test]
    fn regions_that_join_late_are_one_and_corners_do_not_join() {
        #[rustfmt::skip]
        let labels = [
            1, 0, 1, 2,
            1, 0, 1, 0,
            1, 1, 1, 2,
        ];
        let confidence = [254, 0, 254, 127, 254, 0, 254, 0, 254, 254, 254, 255];
        let regions = Regions::find(&labels, 4, Some(&confidence));
        let ring = regions.of_pixel(0, 0);
        assert_eq!((ring.pixels, regions.of_pixel(2, 0).pixels), (7, 7));
        assert_eq!(ring.confidence(), Some(1.0));
        assert_eq!(regions.of_pixel(1, 0).pixels, 2);
        assert_eq!(regions.of_pixel(3, 0).confidence(), Some(0.5));
        assert_eq!(regions.of_pixel(3, 2).confidence(), None);
        assert_eq!(regions.of_pixel(3, 1).centre(), [3.5, 1.5]);
    }
}
