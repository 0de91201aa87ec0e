//! `mmovseg scene`: generated tile pairs with ground truth, in the layout that `eval` reads.

use std::fs;
use std::path::{Path, PathBuf};

use mmovseg_raster::{MAX_SIDE_PX, default_palette, indexed_png, write_rgb_png};
use mmovseg_scene::{CLASSES, class_names, generate, generate_world};

use crate::output::{folder, json, say};
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// Folder to create
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many scenes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Seed of the first scene; the others follow
    #[arg(long, value_name = "S")]
    seed: u64,
    /// Side of the tiles in pixels of 10 m
    #[arg(long, value_name = "PX", default_value_t = 192, value_parser = clap::value_parser!(u32).range(16..=MAX_SIDE_PX as i64))]
    size: u32,
    /// Ask for three of the classes by words that no training label has used, marked as unseen
    #[arg(long)]
    unseen_words: bool,
    /// Draw from all landscapes and products, as training does; pixels without a class are 255
    #[arg(long)]
    world: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let out = &args.out;
    let free = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    anyhow::ensure!(
        free,
        "{}: exists and is not an empty folder; choose another name or remove it",
        out.display()
    );
    let (Some(name), true) = (out.file_name(), folder(out).is_dir()) else {
        anyhow::bail!(
            "{}: the folder it would lie in does not exist; create it first",
            out.display()
        );
    };
    // Everything is written beside its place and renamed at the end, so that no run leaves half a
    // set.
    let building = Building(out.with_file_name(format!(
        ".{}.partial-{}",
        name.to_string_lossy(),
        std::process::id()
    )));
    let mut progress = Progress::new();
    write(&building.0, &args, &mut progress)?;
    drop(progress);
    // On some systems a rename does not replace an empty folder.
    let _ = fs::remove_dir(out);
    fs::rename(&building.0, out).map_err(failed(out))?;
    say(&format!(
        "{}: {} scenes of {} × {} px",
        out.display(),
        args.count,
        args.size,
        args.size
    ));
    Ok(())
}

fn write(to: &Path, args: &Args, progress: &mut Progress) -> anyhow::Result<()> {
    for part in ["rgb", "sar", "label"] {
        let path = to.join(part);
        fs::create_dir_all(&path).map_err(failed(&path))?;
    }
    let put = |part: &str, name: &str, bytes: Vec<u8>| {
        let path = to.join(part).join(name);
        fs::write(&path, bytes).map_err(failed(&path))
    };
    let palette = default_palette(CLASSES.len());
    for i in 0..args.count {
        let seed = args.seed.wrapping_add(u64::from(i));
        let side_px = args.size as usize;
        let scene = if args.world {
            generate_world(seed, side_px)
        } else {
            generate(seed, side_px)
        };
        let name = format!("scene-{seed:06}.png");
        put("rgb", &name, write_rgb_png(&scene.rgb)?)?;
        put("sar", &name, write_rgb_png(&scene.sar)?)?;
        put(
            "label",
            &name,
            indexed_png(&scene.label, scene.size_px, scene.size_px, &palette)?,
        )?;
        progress.step("scenes", i as usize + 1, args.count as usize);
    }
    let classes: Vec<_> = class_names(args.unseen_words)
        .into_iter()
        .map(|(name, seen)| serde_json::json!({"name": name, "seen": seen}))
        .collect();
    put(".", "classes.json", json(&classes)?)
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> anyhow::Error + '_ {
    move |error| {
        anyhow::anyhow!(
            "{}: cannot be written ({error}); check the folder's rights and the free space",
            path.display()
        )
    }
}

/// Removes the folder when writing ends early.
struct Building(PathBuf);

impl Drop for Building {
    fn drop(&mut self) {
        // Nothing to report to: after a successful rename it is gone anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}
