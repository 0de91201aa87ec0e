//! Writes a PNG of generated scenes, each as optical | SAR | label, three scenes a row.
//!
//! `cargo run --release -p mmovseg-scene --example contact_sheet -- OUT.png [FIRST_SEED] [COUNT]
//! [SIZE_PX] [world]`
//!
//! Pixels without a class are black in the label.

use std::time::Instant;

const COLOURS: [[u8; 3]; 7] = [
    [20, 60, 200],
    [10, 90, 30],
    [220, 40, 40],
    [255, 255, 255],
    [240, 200, 60],
    [140, 220, 90],
    [150, 110, 80],
];
const ACROSS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let out = args.next().ok_or("name the PNG to write")?;
    let first: u64 = args.next().map_or(Ok(0), |a| a.parse())?;
    let count: usize = args.next().map_or(Ok(12), |a| a.parse())?;
    let size: usize = args.next().map_or(Ok(192), |a| a.parse())?;
    let generate = match args.next().as_deref() {
        None => mmovseg_scene::generate,
        Some("world") => mmovseg_scene::generate_world,
        Some(other) => {
            return Err(format!("{other}: the only kind that can be named is world").into());
        }
    };
    let (width, height) = (ACROSS.min(count) * 3 * size, count.div_ceil(ACROSS) * size);
    let mut sheet = vec![0_u8; width * height * 3];
    let mut spent = 0.0;
    let mut seen = [0_usize; 7];
    for i in 0..count {
        let start = Instant::now();
        let scene = generate(first + i as u64, size);
        spent += start.elapsed().as_secs_f64();
        for (p, &label) in scene.label.iter().enumerate() {
            if let Some(count) = seen.get_mut(usize::from(label)) {
                *count += 1;
            }
            let (x, y) = (p % size, p / size);
            let pixels = [
                scene.rgb.pixel(x, y),
                scene.sar.pixel(x, y),
                COLOURS.get(usize::from(label)).copied().unwrap_or_default(),
            ];
            for (panel, pixel) in pixels.iter().enumerate() {
                let column = (i % ACROSS * 3 + panel) * size + x;
                let at = ((i / ACROSS * size + y) * width + column) * 3;
                sheet[at..at + 3].copy_from_slice(pixel);
            }
        }
    }
    let sheet = mmovseg_raster::Rgb8 {
        width_px: width,
        height_px: height,
        data: sheet,
    };
    std::fs::write(&out, mmovseg_raster::write_rgb_png(&sheet)?)?;
    println!("{:.1} ms a scene of {size} px", spent * 1e3 / count as f64);
    for (class, n) in mmovseg_scene::CLASSES.iter().zip(seen) {
        println!(
            "{:10} {:5.2} %",
            class.name,
            n as f64 * 100.0 / (count * size * size) as f64
        );
    }
    Ok(())
}
