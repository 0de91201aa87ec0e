//! A TIFF writer that writes what it is told, for files that proper writers do not make.

/// Columns and rows of the test pictures.
pub const SIZE_PX: [usize; 2] = [40, 27];

/// A value that is known for each place.
pub fn value(x: usize, y: usize, band: usize) -> u8 {
    ((7 * x + 13 * y + 31 * band) % 251) as u8
}

/// One directory with the pixels of one uncompressed strip.
#[derive(Clone)]
pub struct File {
    /// Number, type, count and values.
    tags: Vec<(u16, u16, u32, Vec<u8>)>,
    pixels: Vec<u8>,
    next: Vec<File>,
}

impl File {
    /// Chunky samples of `bits` bits each.
    pub fn new(pixels: Vec<u8>, bits: &[u16], photometric: u16) -> Self {
        let mut file = Self {
            tags: Vec::new(),
            pixels,
            next: Vec::new(),
        };
        file.longs(256, &[SIZE_PX[0] as u32]);
        file.longs(257, &[SIZE_PX[1] as u32]);
        file.shorts(258, bits);
        file.shorts(259, &[1]);
        file.shorts(262, &[photometric]);
        file.longs(273, &[0]);
        file.shorts(277, &[bits.len() as u16]);
        let size = file.pixels.len() as u32;
        file.longs(279, &[size]);
        file
    }

    pub fn remove(&mut self, tag: u16) {
        self.tags.retain(|entry| entry.0 != tag);
    }

    fn set(&mut self, tag: u16, kind: u16, count: usize, bytes: Vec<u8>) {
        self.remove(tag);
        self.tags.push((tag, kind, count as u32, bytes));
    }

    pub fn shorts(&mut self, tag: u16, values: &[u16]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.set(tag, 3, values.len(), bytes);
    }

    pub fn longs(&mut self, tag: u16, values: &[u32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.set(tag, 4, values.len(), bytes);
    }

    pub fn doubles(&mut self, tag: u16, values: &[f64]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.set(tag, 12, values.len(), bytes);
    }

    pub fn ascii(&mut self, tag: u16, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.set(tag, 2, bytes.len(), bytes);
    }

    /// Adds a further directory.
    pub fn then(&mut self, next: Self) {
        self.next.push(next);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"II\x2a\0\x08\0\0\0".to_vec();
        let chain: Vec<&Self> = std::iter::once(self).chain(&self.next).collect();
        for (i, file) in chain.iter().enumerate() {
            let mut tags = file.tags.clone();
            tags.sort_by_key(|tag| tag.0);
            let start = out.len();
            let table = 2 + 12 * tags.len() + 4;
            let values: usize = tags.iter().map(|tag| tag.3.len().next_multiple_of(2)).sum();
            let pixels = start + table + values;
            let mut extra = Vec::new();
            out.extend((tags.len() as u16).to_le_bytes());
            for (tag, kind, count, bytes) in &tags {
                out.extend(tag.to_le_bytes());
                out.extend(kind.to_le_bytes());
                out.extend(count.to_le_bytes());
                let mut field = if *tag == 273 {
                    (pixels as u32).to_le_bytes().to_vec()
                } else if bytes.len() <= 4 {
                    bytes.clone()
                } else {
                    let at = (start + table + extra.len()) as u32;
                    extra.extend(bytes);
                    extra.resize(extra.len().next_multiple_of(2), 0);
                    at.to_le_bytes().to_vec()
                };
                field.resize(4, 0);
                out.extend(field);
            }
            extra.resize(values, 0);
            let end = (pixels + file.pixels.len()).next_multiple_of(2);
            let next = if i + 1 < chain.len() { end as u32 } else { 0 };
            out.extend(next.to_le_bytes());
            out.extend(extra);
            out.extend(&file.pixels);
            if next > 0 {
                out.resize(end, 0);
            }
        }
        out
    }
}

/// A north-up place.
pub fn scale_and_tie_point(file: &mut File, pixel: f64, corner: [f64; 2]) {
    file.doubles(33_550, &[pixel, pixel, 0.0]);
    file.doubles(33_922, &[0.0, 0.0, 0.0, corner[0], corner[1], 0.0]);
}

/// `GeoKeys` of short values.
pub fn geo_keys(file: &mut File, keys: &[(u16, u16)]) {
    let mut directory = vec![1, 1, 0, keys.len() as u16];
    for (key, value) in keys {
        directory.extend([*key, 0, 1, *value]);
    }
    file.shorts(34_735, &directory);
}
