//! Borders between labels as arcs that both neighbours share, and the rings they make up.
//!
//! Arcs run along pixel edges from node to node, where a node is a corner at which more than two
//! borders meet, or a corner of the picture. A region is a set of pixels of one label that touch by
//! their edges; its rings are simple: where one would touch itself at a corner it becomes two.
//! Positions are pixel corners, columns to the right and rows down.

use std::collections::HashMap;
use std::ops::Range;

use crate::RasterError;

/// A pixel corner: column, row.
pub(super) type Corner = [u16; 2];

/// Most positions traced: noise of 4 million pixels, or 200 MB of text.
const MAX_CORNERS: usize = 1 << 24;

/// East, south, west, north, so that adding one turns right.
const STEPS: [[i32; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/// A label that lies outside the picture.
const OUTSIDE: u16 = 256;

/// A ring: half-arcs in order, each `2 · arc`, plus one when it runs backwards.
pub(super) type Ring = Vec<u32>;

/// All borders of a label map.
pub(super) struct Outline {
    /// Positions of all arcs; ends are given in each arc, corners between them where it turns.
    pub corners: Vec<Corner>,
    /// Positions of each arc. A ring without a node begins and ends at the same corner.
    pub arcs: Vec<Range<usize>>,
    /// Label and rings of each region: its outer ring, which runs clockwise on the screen, and its
    /// holes, which run the other way.
    pub regions: Vec<(u8, Vec<Ring>)>,
}

struct Picture<'a> {
    labels: &'a [u8],
    width: i32,
    height: i32,
}

impl Picture<'_> {
    fn label(&self, x: i32, y: i32) -> u16 {
        if x < 0 || y < 0 || x >= self.width || y >= self.height {
            return OUTSIDE;
        }
        self.labels[(y * self.width + x) as usize].into()
    }

    /// The pixel to the right of a step from a corner.
    fn right(x: i32, y: i32, direction: usize) -> [i32; 2] {
        match direction {
            0 => [x, y],
            1 => [x - 1, y],
            2 => [x - 1, y - 1],
            _ => [x, y - 1],
        }
    }

    /// Whether a border leaves a corner in each direction.
    fn borders(&self, x: i32, y: i32) -> [bool; 4] {
        let [nw, ne] = [self.label(x - 1, y - 1), self.label(x, y - 1)];
        let [sw, se] = [self.label(x - 1, y), self.label(x, y)];
        [ne != se, sw != se, nw != sw, nw != ne]
    }

    fn is_node(&self, x: i32, y: i32, borders: [bool; 4]) -> bool {
        let frame = (x == 0 || x == self.width) && (y == 0 || y == self.height);
        frame || borders.iter().filter(|&&b| b).count() > 2
    }
}

impl Outline {
    /// Traces the labels `[height_px, width_px]`.
    ///
    /// # Errors
    /// When a side is longer than 65 535 px or the labels are too detailed for polygons.
    pub fn trace(labels: &[u8], width_px: usize, height_px: usize) -> Result<Self, RasterError> {
        if width_px.max(height_px) > usize::from(u16::MAX) {
            return Err(RasterError::Argument(format!(
                "{width_px} x {height_px} px are too many for polygons; export a GeoTIFF instead"
            )));
        }
        let picture = Picture {
            labels,
            width: width_px as i32,
            height: height_px as i32,
        };
        let mut outline = Self {
            corners: Vec::new(),
            arcs: Vec::new(),
            regions: Vec::new(),
        };
        outline.trace_arcs(&picture)?;
        outline.join(&picture);
        Ok(outline)
    }

    fn trace_arcs(&mut self, picture: &Picture<'_>) -> Result<(), RasterError> {
        let stride = picture.width as usize + 1;
        // Bit 0: the edge to the east of this corner is traced; bit 1: the one to the south.
        let mut traced = vec![0_u8; stride * (picture.height as usize + 1)];
        let edge = |x: i32, y: i32, direction: usize| {
            let [dx, dy] = STEPS[direction];
            // An edge belongs to its western or northern end.
            let (x, y) = (x + dx.min(0), y + dy.min(0));
            (y as usize * stride + x as usize, 1 << (direction % 2))
        };
        for nodes in [true, false] {
            for y in 0..=picture.height {
                for x in 0..=picture.width {
                    let borders = picture.borders(x, y);
                    if borders == [false; 4] || nodes != picture.is_node(x, y, borders) {
                        continue;
                    }
                    for start in 0..4 {
                        let (at, bit) = edge(x, y, start);
                        if !borders[start] || traced[at] & bit != 0 {
                            continue;
                        }
                        let first = self.corners.len();
                        let (mut cx, mut cy, mut direction) = (x, y, start);
                        self.corners.push([cx as u16, cy as u16]);
                        loop {
                            let (at, bit) = edge(cx, cy, direction);
                            traced[at] |= bit;
                            cx += STEPS[direction][0];
                            cy += STEPS[direction][1];
                            let borders = picture.borders(cx, cy);
                            if (cx, cy) == (x, y) || picture.is_node(cx, cy, borders) {
                                break;
                            }
                            // Two borders meet: the one that we did not come by leads on.
                            let back = (direction + 2) % 4;
                            let next = (0..4).find(|&d| d != back && borders[d]);
                            let next = next.unwrap_or(back);
                            if next != direction {
                                self.corners.push([cx as u16, cy as u16]);
                                direction = next;
                            }
                        }
                        self.corners.push([cx as u16, cy as u16]);
                        self.arcs.push(first..self.corners.len());
                        if self.corners.len() > MAX_CORNERS {
                            return Err(RasterError::Argument(
                                "the labels are too detailed for polygons; export a GeoTIFF, or segment with fewer classes".into(),
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// First corner, last corner and the directions of the first and the last step of a half-arc.
    fn ends(&self, half: u32) -> (Corner, Corner, usize, usize) {
        let corners = &self.corners[self.arcs[half as usize / 2].clone()];
        let direction = |from: Corner, to: Corner| {
            if from[1] == to[1] {
                if to[0] > from[0] { 0 } else { 2 }
            } else if to[1] > from[1] {
                1
            } else {
                3
            }
        };
        let last = corners.len() - 1;
        if half.is_multiple_of(2) {
            (
                corners[0],
                corners[last],
                direction(corners[0], corners[1]),
                direction(corners[last - 1], corners[last]),
            )
        } else {
            (
                corners[last],
                corners[0],
                direction(corners[last], corners[last - 1]),
                direction(corners[1], corners[0]),
            )
        }
    }

    /// Joins half-arcs to rings with their region on the right, and sorts the rings by region.
    fn join(&mut self, picture: &Picture<'_>) {
        let mut leaving: HashMap<(Corner, usize), u32> = HashMap::new();
        let halves = 2 * self.arcs.len() as u32;
        for half in 0..halves {
            let (start, _, first, _) = self.ends(half);
            leaving.insert((start, first), half);
        }
        let mut parts = Parts::of(picture);
        let mut region_of_part: HashMap<u32, usize> = HashMap::new();
        let mut done = vec![false; halves as usize];
        for begin in 0..halves {
            let ([x, y], _, direction, _) = self.ends(begin);
            let [x, y] = Picture::right(x.into(), y.into(), direction);
            let label = picture.label(x, y);
            let (Ok(label), false) = (u8::try_from(label), done[begin as usize]) else {
                continue;
            };
            let part = parts.root_at(x, y);
            let region = *region_of_part.entry(part).or_insert_with(|| {
                self.regions.push((label, Vec::new()));
                self.regions.len() - 1
            });
            // Where the walk returns to a node before its end, the part since then is a ring.
            let mut walk: Vec<u32> = Vec::new();
            let mut seen: HashMap<Corner, usize> = HashMap::new();
            let mut half = begin;
            loop {
                done[half as usize] = true;
                let (start, end, _, arrival) = self.ends(half);
                seen.insert(start, walk.len());
                walk.push(half);
                if let Some(&from) = seen.get(&end) {
                    let ring: Ring = walk.split_off(from);
                    for &half in &ring {
                        seen.remove(&self.ends(half).0);
                    }
                    self.regions[region].1.push(ring);
                }
                // The sharpest turn around the same pixel keeps to pixels that touch by an edge.
                let next = [1, 0, 3].iter().find_map(|turn| {
                    let direction = (arrival + turn) % 4;
                    leaving.get(&(end, direction)).copied()
                });
                match next {
                    Some(next) if !done[next as usize] => half = next,
                    _ => break,
                }
            }
        }
    }

    /// Twice the area a ring encloses, in pixels: positive when it runs clockwise on the screen.
    pub fn double_area(corners: &[Corner]) -> i64 {
        let next = corners.iter().cycle().skip(1);
        corners
            .iter()
            .zip(next)
            .map(|(a, b)| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]))
            .sum()
    }
}

/// Regions as runs of equal labels that are joined over rows: far smaller than a number a pixel.
struct Parts {
    /// First column of each run.
    starts: Vec<u16>,
    /// First run of each row, and the end.
    rows: Vec<u32>,
    /// A run of the same region; itself for the one that stands for it.
    parents: Vec<u32>,
}

impl Parts {
    fn of(picture: &Picture<'_>) -> Self {
        let mut parts = Self {
            starts: Vec::new(),
            rows: vec![0],
            parents: Vec::new(),
        };
        let width = picture.width as usize;
        let mut above: &[u8] = &[];
        for row in picture.labels.chunks_exact(width) {
            // Runs of the row above from here on may touch.
            let mut upper = parts.rows.iter().rev().nth(1).map_or(0, |&r| r as usize);
            let upper_end = parts.starts.len();
            let mut x = 0;
            while x < width {
                let label = row[x];
                let len = row[x..].iter().take_while(|&&l| l == label).count();
                let run = parts.starts.len() as u32;
                parts.starts.push(x as u16);
                parts.parents.push(run);
                while upper < upper_end {
                    let from = usize::from(parts.starts[upper]);
                    let to = match parts.starts.get(upper + 1) {
                        Some(&next) if upper + 1 < upper_end => usize::from(next),
                        _ => width,
                    };
                    if from >= x + len {
                        break;
                    }
                    if to > x && above[from] == label {
                        parts.unite(upper as u32, run);
                    }
                    if to > x + len {
                        break;
                    }
                    upper += 1;
                }
                x += len;
            }
            parts.rows.push(parts.starts.len() as u32);
            above = row;
        }
        parts
    }

    fn root(&mut self, mut run: u32) -> u32 {
        while self.parents[run as usize] != run {
            let parent = self.parents[run as usize];
            self.parents[run as usize] = self.parents[parent as usize];
            run = parent;
        }
        run
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// The region of a pixel of the picture.
    fn root_at(&mut self, x: i32, y: i32) -> u32 {
        let row = self.rows[y as usize] as usize..self.rows[y as usize + 1] as usize;
        let first = row.start;
        let before = self.starts[row].partition_point(|&start| i32::from(start) <= x);
        self.root((first + before - 1) as u32)
    }
}
