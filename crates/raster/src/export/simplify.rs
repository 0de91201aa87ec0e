//! Fewer corners for the arcs of an [`Outline`], with every border still shared and none crossing
//! another.
//!
//! Corners go one by one, the one with the smallest triangle first (Visvalingam and Whyatt, 1993),
//! as long as no corner of the original strays farther from its border than allowed. A corner stays
//! when another one lies in its triangle: if none does, the shorter way cannot meet any border.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::outline::{Corner, Outline};

/// Side of the squares by which corners are found.
const BUCKET_PX: usize = 16;

/// Removes corners so that no border moves by more than `tolerance_px`.
pub(super) fn simplify(outline: &mut Outline, tolerance_px: f64) {
    if tolerance_px.is_nan() || tolerance_px <= 0.0 {
        return;
    }
    let mut work = Work::new(outline);
    work.run(tolerance_px);
    let kept = work.kept;
    let mut corners = Vec::new();
    for arc in &mut outline.arcs {
        let first = corners.len();
        corners.extend(arc.clone().filter(|&i| kept[i]).map(|i| outline.corners[i]));
        *arc = first..corners.len();
    }
    outline.corners = corners;
}

struct Work<'a> {
    outline: &'a Outline,
    kept: Vec<bool>,
    /// Neighbours along the arc among the corners that are kept.
    before: Vec<u32>,
    after: Vec<u32>,
    arc_of: Vec<u32>,
    /// Corners between the ends that are kept, by arc.
    inner: Vec<u32>,
    /// Arcs without a corner between their ends, by ends: two of them would be the same line.
    straight: HashMap<[Corner; 2], u32>,
    buckets: Buckets,
}

impl<'a> Work<'a> {
    fn new(outline: &'a Outline) -> Self {
        let count = outline.corners.len();
        let mut arc_of = vec![0; count];
        let mut straight = HashMap::new();
        for (i, arc) in outline.arcs.iter().enumerate() {
            arc_of[arc.clone()].fill(i as u32);
            if arc.len() == 2 {
                *straight.entry(ends(outline, i)).or_insert(0) += 1;
            }
        }
        Self {
            outline,
            kept: vec![true; count],
            before: (0..count).map(|i| i.saturating_sub(1) as u32).collect(),
            after: (1..=count).map(|i| i as u32).collect(),
            arc_of,
            inner: outline
                .arcs
                .iter()
                .map(|arc| arc.len() as u32 - 2)
                .collect(),
            straight,
            buckets: Buckets::new(&outline.corners),
        }
    }

    fn run(&mut self, tolerance_px: f64) {
        let mut queue = BinaryHeap::new();
        for arc in &self.outline.arcs {
            for i in arc.start + 1..arc.end - 1 {
                queue.push(Reverse((self.size(i), i)));
            }
        }
        while let Some(Reverse((size, i))) = queue.pop() {
            if !self.kept[i] || size != self.size(i) || !self.may_go(i, tolerance_px) {
                continue;
            }
            self.kept[i] = false;
            let (before, after) = (self.before[i] as usize, self.after[i] as usize);
            self.after[before] = after as u32;
            self.before[after] = before as u32;
            let arc = self.arc_of[i] as usize;
            self.inner[arc] -= 1;
            if self.inner[arc] == 0 {
                *self.straight.entry(ends(self.outline, arc)).or_insert(0) += 1;
            }
            let range = &self.outline.arcs[arc];
            for near in [before, after] {
                if near != range.start && near != range.end - 1 {
                    queue.push(Reverse((self.size(near), near)));
                }
            }
        }
    }

    /// Twice the area of the triangle that goes with a corner.
    fn size(&self, i: usize) -> u64 {
        let [a, b, c] = self.triangle(i);
        turn(a, b, c).unsigned_abs()
    }

    fn triangle(&self, i: usize) -> [Corner; 3] {
        let at = |i: u32| self.outline.corners[i as usize];
        [
            at(self.before[i]),
            self.outline.corners[i],
            at(self.after[i]),
        ]
    }

    fn may_go(&self, i: usize, tolerance_px: f64) -> bool {
        let arc = self.arc_of[i] as usize;
        let line = ends(self.outline, arc);
        let least = if line[0] == line[1] {
            // A ring keeps three corners, of which its ends are one.
            2
        } else {
            u32::from(self.straight.get(&line).is_some_and(|&n| n > 0))
        };
        if self.inner[arc] <= least {
            return false;
        }
        let [a, b, c] = self.triangle(i);
        let strays = |&p: &Corner| distance(p, a, c) > tolerance_px;
        let (from, to) = (self.before[i] as usize, self.after[i] as usize);
        if self.outline.corners[from + 1..to].iter().any(strays) {
            return false;
        }
        !self.buckets.any_in([a, b, c], |j| {
            let p = self.outline.corners[j];
            self.kept[j] && j != i && p != a && p != c && in_triangle(p, [a, b, c])
        })
    }
}

/// The ends of an arc, the same for both directions.
fn ends(outline: &Outline, arc: usize) -> [Corner; 2] {
    let arc = &outline.arcs[arc];
    let (a, b) = (outline.corners[arc.start], outline.corners[arc.end - 1]);
    [a.min(b), a.max(b)]
}

/// Twice the signed area of a triangle.
fn turn(a: Corner, b: Corner, c: Corner) -> i64 {
    let [ax, ay, bx, by, cx, cy] = [a[0], a[1], b[0], b[1], c[0], c[1]].map(i64::from);
    (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
}

/// Whether a corner lies in a triangle or on its edge.
fn in_triangle(p: Corner, [a, b, c]: [Corner; 3]) -> bool {
    let sides = [turn(a, b, p), turn(b, c, p), turn(c, a, p)];
    let inside = sides.iter().all(|&s| s >= 0) || sides.iter().all(|&s| s <= 0);
    // A flat triangle is a line, and all three vanish along the whole of it.
    let between = |axis: usize| {
        let (low, high) = (
            a[axis].min(b[axis]).min(c[axis]),
            a[axis].max(b[axis]).max(c[axis]),
        );
        (low..=high).contains(&p[axis])
    };
    inside && between(0) && between(1)
}

/// Distance of a corner from a line between two others.
fn distance(p: Corner, a: Corner, b: Corner) -> f64 {
    let [px, py, ax, ay, bx, by] = [p[0], p[1], a[0], a[1], b[0], b[1]].map(f64::from);
    let (dx, dy) = (bx - ax, by - ay);
    let length = dx * dx + dy * dy;
    let share = if length > 0.0 {
        (((px - ax) * dx + (py - ay) * dy) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let (ex, ey) = (px - ax - share * dx, py - ay - share * dy);
    libm::sqrt(ex * ex + ey * ey)
}

/// Corners by the square they lie in.
struct Buckets {
    across: usize,
    starts: Vec<u32>,
    corners: Vec<u32>,
}

impl Buckets {
    fn new(corners: &[Corner]) -> Self {
        let side = |axis: usize| {
            let last = corners.iter().map(|p| usize::from(p[axis])).max();
            last.unwrap_or(0) / BUCKET_PX + 1
        };
        let (across, down) = (side(0), side(1));
        let bucket =
            |p: &Corner| usize::from(p[1]) / BUCKET_PX * across + usize::from(p[0]) / BUCKET_PX;
        let mut starts = vec![0_u32; across * down + 1];
        for p in corners {
            starts[bucket(p) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; corners.len()];
        for (i, p) in corners.iter().enumerate() {
            let slot = &mut next[bucket(p)];
            sorted[*slot as usize] = i as u32;
            *slot += 1;
        }
        Self {
            across,
            starts,
            corners: sorted,
        }
    }

    /// Whether `test` holds for any corner near a triangle.
    fn any_in(&self, triangle: [Corner; 3], test: impl Fn(usize) -> bool) -> bool {
        let range = |axis: usize| {
            let values = triangle.map(|p| usize::from(p[axis]) / BUCKET_PX);
            let [a, b, c] = values;
            a.min(b).min(c)..=a.max(b).max(c)
        };
        range(1).any(|y| {
            let row = y * self.across;
            let columns = range(0);
            // Squares of one row follow one another.
            let from = self.starts[row + columns.start()];
            let to = self.starts[row + columns.end() + 1];
            self.corners[from as usize..to as usize]
                .iter()
                .any(|&i| test(i as usize))
        })
    }
}
