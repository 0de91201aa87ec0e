//! Checks the restart markers of a JPEG: a decoder goes on after a lost one with all later rows
//! wrong.

/// What is wrong with the restart markers of a JPEG file (ITU-T T.81, B.2.1 and E.1.4), if
/// anything: in each scan they count 0 to 7 over and over, and in a scan of all components their
/// number follows from the frame's size.
pub(super) fn damage(bytes: &[u8]) -> Option<String> {
    let mut frame = Frame::default();
    let mut interval = 0_usize;
    let mut at = 2;
    loop {
        let (marker, body, next) = segment(bytes, at)?;
        match marker {
            // Frames with the sizes of the picture and of its components.
            0xc0..=0xc2 => frame = Frame::read(body)?,
            0xdd => interval = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?])),
            0xda => {
                let components = usize::from(*body.first()?);
                let (found, end) = restarts(bytes, next);
                if let Some(problem) = check(&found, interval, components, &frame) {
                    return Some(problem);
                }
                at = end;
                continue;
            }
            0xd9 => return None,
            _ => {}
        }
        at = next;
    }
}

/// The marker at a position, the bytes of its segment, and where the next one begins.
fn segment(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    if *bytes.get(at)? != 0xff {
        return None;
    }
    // Any number of fill bytes may stand before a marker.
    let at = at + bytes[at..].iter().take_while(|&&b| b == 0xff).count() - 1;
    let marker = *bytes.get(at + 1)?;
    if matches!(marker, 0x01 | 0xd0..=0xd9) {
        return Some((marker, &[], at + 2));
    }
    let length = usize::from(u16::from_be_bytes([
        *bytes.get(at + 2)?,
        *bytes.get(at + 3)?,
    ]));
    let body = bytes.get(at + 4..at + 2 + length)?;
    Some((marker, body, at + 2 + length))
}

/// The numbers of the restart markers in the entropy-coded data from a position on, and where it
/// ends.
fn restarts(bytes: &[u8], from: usize) -> (Vec<u8>, usize) {
    let mut found = Vec::new();
    let mut at = from;
    while let Some(skip) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|&b| b == 0xff))
    {
        at += skip;
        match bytes.get(at + 1) {
            Some(0 | 0xff) => at += 1,
            Some(&marker @ 0xd0..=0xd7) => {
                found.push(marker - 0xd0);
                at += 2;
            }
            _ => return (found, at),
        }
    }
    (found, bytes.len())
}

fn check(found: &[u8], interval: usize, components: usize, frame: &Frame) -> Option<String> {
    if interval == 0 {
        return None;
    }
    let out_of_order = (0_u8..).zip(found).position(|(i, &marker)| marker != i % 8);
    if let Some(position) = out_of_order {
        return Some(format!(
            "restart marker {} is missing, so that all that follows is displaced",
            position + 1
        ));
    }
    let units = (components == frame.components).then(|| frame.units())?;
    let expected = units.div_ceil(interval).saturating_sub(1);
    // A marker after the last unit is not lost data.
    (found.len() < expected).then(|| {
        format!(
            "{} of {expected} restart markers are missing",
            expected - found.len()
        )
    })
}

/// Size and sampling of a frame.
#[derive(Default)]
struct Frame {
    width: usize,
    height: usize,
    components: usize,
    /// Largest sampling factors: one unit of a scan of all components covers 8 × 8 times these
    /// pixels.
    sampling: [usize; 2],
}

impl Frame {
    fn read(body: &[u8]) -> Option<Self> {
        let side = |at: usize| {
            Some(usize::from(u16::from_be_bytes([
                *body.get(at)?,
                *body.get(at + 1)?,
            ])))
        };
        let components = usize::from(*body.get(5)?);
        let factors = |shift: u32| {
            (0..components)
                .filter_map(|i| body.get(7 + 3 * i))
                .map(|&byte| usize::from(byte >> shift & 15))
                .max()
                .unwrap_or(1)
                .max(1)
        };
        Some(Self {
            height: side(1)?,
            width: side(3)?,
            components,
            // A scan of one component is not interleaved: its unit is one block.
            sampling: if components == 1 {
                [1, 1]
            } else {
                [factors(4), factors(0)]
            },
        })
    }

    fn units(&self) -> usize {
        self.width.div_ceil(8 * self.sampling[0]) * self.height.div_ceil(8 * self.sampling[1])
    }
}
