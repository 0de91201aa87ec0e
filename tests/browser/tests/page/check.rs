//! Checking one's own tiles: recognised, adjusted, cut into windows, saved, in numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mmovseg_browser_tests::{Page, dist, test_id, with_page};
use mmovseg_raster::{
    GeoKeys, GeoRef, class_colours, decode, default_palette, label_geotiff, read_label_png,
    write_rgb_png,
};
use serde_json::Value;

use crate::common::*;

/// A file that the page saved, once it is whole.
async fn saved(page: &Page, ending: &str) -> Result<(String, Vec<u8>)> {
    let start = Instant::now();
    while start.elapsed() < SOON {
        for entry in fs::read_dir(page.downloads())? {
            let path = entry?.path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(ending) {
                return Ok((name, fs::read(&path)?));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("no file that ends with {ending} was saved")
}

/// A georeferenced pair: an optical GeoTIFF in UTM with pixels of `pixel_m`, and a SAR PNG of the
/// same size.
fn placed_files(folder: &Path, pixel_m: f64) -> [PathBuf; 2] {
    let scene = mmovseg_scene::generate(11, 256);
    let place = GeoRef {
        transform: [pixel_m, 0.0, 500_000.0, 0.0, -pixel_m, 4_000_000.0],
        epsg: Some(32_611),
        keys: GeoKeys::default(),
        control_points: Vec::new(),
    };
    // A palette file shows its colours, so a label map serves as an optical tile with a place.
    let names: Vec<String> = mmovseg_scene::CLASSES
        .iter()
        .map(|c| c.name.to_owned())
        .collect();
    let colours = default_palette(names.len());
    let tiff = label_geotiff(&scene.label, 256, 256, &colours, &names, Some(&place)).unwrap();
    let files = ["a_rgb.tif", "a_sar.png"].map(|name| folder.join(name));
    fs::write(&files[0], tiff).unwrap();
    fs::write(&files[1], write_rgb_png(&scene.sar).unwrap()).unwrap();
    files
}

#[test]
fn every_export_holds_the_mask_and_the_place() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let folder = Folder::new("exports");
    let files = placed_files(&folder.0, 10.0);
    with_page("check-exports", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        upload_pair(page, &files).await?;
        run_to_mask(page).await?;
        let (width, shown) = canvas(page, "mask-canvas").await?;
        let named = package_colours()?;
        let names: Vec<&String> = named.iter().map(|(name, _)| name).collect();
        let palette = class_colours(&names, &named);
        let wanted: Vec<u8> = shown
            .iter()
            .map(|pixel| palette.iter().position(|colour| colour == pixel).unwrap() as u8)
            .collect();
        open_tab(page, "save").await?;
        for kind in [
            "colour",
            "indexed",
            "geotiff",
            "geojson",
            "probabilities",
            "entropy",
            "report",
        ] {
            page.click(&test_id(&format!("export-{kind}"))).await?;
            status(page, "Saved", SOON).await?;
        }

        let (name, bytes) = saved(page, "-labels.png").await?;
        assert_eq!(read_label_png(&bytes, &name)?.data, wanted);
        let (name, bytes) = saved(page, "-colours.png").await?;
        let colours = decode(&bytes, &name)?;
        let drawn: Vec<u8> = shown.iter().flatten().copied().collect();
        assert!((0..drawn.len()).all(|i| colours.samples.get(i) == f64::from(drawn[i])));
        assert_eq!((colours.width_px, colours.bands), (width, 3));
        let (name, bytes) = saved(page, "-labels.tif").await?;
        let tiff = decode(&bytes, &name)?;
        let georef = tiff.georef.context("the GeoTIFF has no place")?;
        assert_eq!(georef.epsg, Some(32_611));
        assert!((georef.transform[2] - 500_000.0).abs() < 1e-6);
        assert!((0..wanted.len()).all(|i| tiff.samples.get(i) == f64::from(wanted[i])));

        let (name, bytes) = saved(page, "-probabilities.tif").await?;
        let shares = decode(&bytes, &name)?;
        assert_eq!((shares.width_px, shares.bands), (width, names.len()));
        let likeliest = (0..wanted.len()).filter(|&i| {
            let of = |class: usize| shares.samples.get(i * names.len() + class);
            (0..names.len()).all(|class| of(class) <= of(usize::from(wanted[i])))
        });
        assert!(likeliest.count() * 100 >= wanted.len() * 99);
        let (name, bytes) = saved(page, "-entropy.tif").await?;
        let entropy = decode(&bytes, &name)?;
        assert_eq!((entropy.width_px, entropy.bands), (width, 1));
        let values: Vec<f64> = (0..wanted.len()).map(|i| entropy.samples.get(i)).collect();
        assert!(values.iter().any(|&value| value > 0.0 && value < 254.0));

        let (_, bytes) = saved(page, ".geojson").await?;
        let polygons: Value = serde_json::from_slice(&bytes)?;
        let features = polygons["features"].as_array().context("no features")?;
        assert!(!features.is_empty());
        // UTM zone 11 lies around 117 degrees west.
        let text = polygons.to_string();
        assert!(
            text.contains("-117.") || text.contains("-116."),
            "{}",
            &text[..400]
        );

        let (_, bytes) = saved(page, "-report.json").await?;
        let report: Value = serde_json::from_slice(&bytes)?;
        let manifest: Value =
            serde_json::from_slice(&fs::read(dist()?.join("models/nano/model.json"))?)?;
        assert_eq!(report["model"]["name"], manifest["name"]);
        assert_eq!(
            report["model"]["shards"][0]["sha256"],
            manifest["shards"][0]["sha256"]
        );
        assert_eq!(report["settings"]["modality"], "fused");
        assert_eq!(report["classes"].as_array().map(Vec::len), Some(7));
        let sum: f64 = report["classes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["share"].as_f64())
            .sum();
        assert!((sum - 1.0).abs() < 1e-6);
        page.expect_clean_console().await
    })
}

#[test]
fn pixels_far_from_the_models_are_resampled_with_a_note_and_a_switch() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let folder = Folder::new("resampled");
    let files = placed_files(&folder.0, 5.0);
    with_page("check-resampled", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        upload_pair(page, &files).await?;
        run_to_mask(page).await?;
        // The mask has the tile's own grid, the model saw half of it.
        assert_eq!(canvas(page, "mask-canvas").await?.0, 256);
        open_tab(page, "reading").await?;
        let noted = "document.querySelector('[data-testid=notes]')?.textContent.includes('resampled to 10.00 m')";
        page.wait_until(noted, SOON).await?;
        set(page, "resolution", "native").await?;
        page.wait_until(&format!("!{noted}"), SOON).await?;
        run_to_mask(page).await?;
        page.wait_until(&format!("!{noted}"), SOON).await?;
        page.expect_clean_console().await
    })
}

#[test]
fn files_of_different_places_are_refused_with_both_outlines() -> Result<()> {
    let folder = Folder::new("apart");
    let scene = mmovseg_scene::generate(12, 64);
    let names: Vec<String> = mmovseg_scene::CLASSES
        .iter()
        .map(|c| c.name.to_owned())
        .collect();
    let colours = default_palette(names.len());
    // The same ground in two reference systems, and ground eight hundred kilometres away.
    let tile = |name: &str, epsg: u32, transform: [f64; 6]| {
        let place = GeoRef {
            transform,
            epsg: Some(epsg),
            keys: GeoKeys::default(),
            control_points: Vec::new(),
        };
        let bytes = label_geotiff(&scene.label, 64, 64, &colours, &names, Some(&place)).unwrap();
        let path = folder.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let rgb = tile(
        "p_rgb.tif",
        32_611,
        [10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0],
    );
    let far = tile(
        "far_sar.tif",
        32_611,
        [10.0, 0.0, 500_000.0, 0.0, -10.0, 4_800_000.0],
    );
    let near = tile(
        "near_sar.tif",
        4326,
        [1e-4, 0.0, -117.001, 0.0, -1e-4, 36.146],
    );
    with_page("check-apart", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_for(&test_id("rgb-file"), SOON).await?;
        // The missing model is told first: a later message would replace that of the tiles.
        page.wait_until(&format!("{ERROR}.includes('model.json')"), SOON)
            .await?;
        upload_pair(page, &[rgb.clone(), far]).await?;
        page.wait_until(&format!("{ERROR}.includes('different places')"), SOON)
            .await?;
        let shapes = "document.querySelectorAll('[data-testid=error] [data-testid=outlines] polygon').length === 2";
        page.wait_until(shapes, SOON).await?;
        upload_pair(page, &[rgb, near]).await?;
        open_tab(page, "reading").await?;
        page.wait_until(
            "/EPSG:4326 to EPSG:32611/.test(document.querySelector('[data-testid=notes]').textContent)",
            SOON,
        )
        .await?;
        page.wait_for(&test_id("outlines"), SOON).await?;
        Ok(())
    })
}

/// Waits until the optical canvas shows exactly this. Each change of a field reads the tiles anew,
/// so that a picture may be that of a change before the last.
async fn expect_picture(page: &Page, wanted: &[[u8; 3]], or: &str) -> Result<()> {
    let start = Instant::now();
    while canvas(page, "rgb-canvas").await?.1 != wanted {
        assert!(start.elapsed() < SOON, "{or}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[test]
fn swapped_tiles_are_noticed_by_what_they_hold_and_bands_can_be_chosen() -> Result<()> {
    let folder = Folder::new("swapped");
    let scene = mmovseg_scene::generate(5, 128);
    // Names that tell nothing.
    let files = [("one.png", &scene.sar), ("two.png", &scene.rgb)].map(|(name, picture)| {
        let file = folder.0.join(name);
        fs::write(&file, write_rgb_png(picture).unwrap()).unwrap();
        file
    });
    with_page("check-swapped", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_for(&test_id("rgb-file"), SOON).await?;
        upload_pair(page, &files).await?;
        page.wait_for(&test_id("looks-swapped"), SOON).await?;
        page.click(&test_id("swap")).await?;
        page.wait_until(
            "!document.querySelector('[data-testid=looks-swapped]')",
            SOON,
        )
        .await?;
        let rgb: Vec<[u8; 3]> = scene
            .rgb
            .data
            .chunks_exact(3)
            .map(|p| [p[0], p[1], p[2]])
            .collect();
        expect_picture(page, &rgb, "the tiles were not exchanged").await?;

        // Red and blue exchanged: the picture follows.
        open_tab(page, "reading").await?;
        set(page, "band-0", "3").await?;
        set(page, "band-2", "1").await?;
        let wanted: Vec<[u8; 3]> = rgb.iter().map(|[r, g, b]| [*b, *g, *r]).collect();
        expect_picture(page, &wanted, "the bands were not exchanged").await?;
        // A band that is not there is explained.
        set(page, "band-1", "9").await?;
        page.wait_until(
            &format!("{ERROR}.includes('one.png') || {ERROR}.includes('two.png')"),
            SOON,
        )
        .await?;
        Ok(())
    })
}

/// Waits until the mean of a canvas, all colours together, is as wanted.
async fn expect_mean(page: &Page, id: &str, wanted: impl Fn(f64) -> bool, or: &str) -> Result<f64> {
    let start = Instant::now();
    loop {
        let (_, pixels) = canvas(page, id).await?;
        let mean = pixels.iter().flatten().copied().map(f64::from).sum::<f64>()
            / (3 * pixels.len()) as f64;
        if wanted(mean) {
            return Ok(mean);
        }
        if start.elapsed() > SOON {
            bail!("{or}: the mean is {mean}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn stretch_and_sar_values_change_the_preview_at_once() -> Result<()> {
    let folder = Folder::new("stretch");
    let files = scene_files(&folder.0, 5);
    with_page("check-stretch", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_for(&test_id("rgb-file"), SOON).await?;
        upload_pair(page, &files).await?;
        open_tab(page, "reading").await?;
        let any = |_| true;
        let plain = expect_mean(page, "rgb-canvas", any, "").await?;
        // Samples of 0 to 255 out of 0 to 3000 are nearly black; out of 0 to 60 they are bright.
        set(page, "stretch", "range").await?;
        let dark = |mean| mean < plain / 8.0;
        expect_mean(page, "rgb-canvas", dark, "the range is not applied").await?;
        set(page, "stretch-high", "60").await?;
        let bright = |mean| mean > plain + 20.0;
        expect_mean(page, "rgb-canvas", bright, "the end is not applied").await?;
        set(page, "stretch", "auto").await?;
        let again = |mean| mean == plain;
        expect_mean(page, "rgb-canvas", again, "the stretch stays").await?;

        let plain = expect_mean(page, "sar-canvas", any, "").await?;
        set(page, "sar-scale", "linear").await?;
        let other = |mean: f64| (mean - plain).abs() > 5.0;
        expect_mean(page, "sar-canvas", other, "the SAR values are not scaled").await?;
        set(page, "sar-scale", "as-is").await?;
        let again = |mean| mean == plain;
        expect_mean(page, "sar-canvas", again, "the SAR scale stays").await?;
        Ok(())
    })
}

#[test]
fn files_can_be_pasted_and_dropped() -> Result<()> {
    // As a file manager fills a clipboard, or what is dragged out of it.
    const PASTE: &str = "window.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));";
    const DROP: &str = "document.querySelector('main').dispatchEvent(\
         new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));";
    with_page("check-paste", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_for(&test_id("rgb-file"), SOON).await?;
        for (give, light) in [(PASTE, 90), (DROP, 120)] {
            page.execute_async(&format!(
                "const data = new DataTransfer();\
                 for (const [name, light] of [['p_rgb.png', {light}], ['p_sar.png', 160]]) {{\
                   const canvas = new OffscreenCanvas(64, 64); const pen = canvas.getContext('2d');\
                   pen.fillStyle = `rgb(${{light}} 60 20)`; pen.fillRect(0, 0, 64, 64);\
                   data.items.add(new File([await canvas.convertToBlob()], name, {{ type: 'image/png' }}));\
                 }}\
                 {give}"
            ))
            .await?;
            page.wait_until(
                &format!(
                    "(() => {{ const canvas = document.querySelector('[data-testid=rgb-canvas]');\
                     return canvas?.dataset.ready === 'true' && canvas.width === 64 &&\
                       canvas.getContext('2d').getImageData(0, 0, 1, 1).data.join() === '{light},60,20,255'; }})()"
                ),
                SOON,
            )
            .await?;
        }
        Ok(())
    })
}

#[test]
fn a_large_scene_runs_in_windows_stops_without_a_new_engine_and_runs_again() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let folder = Folder::new("large");
    let scene = mmovseg_scene::generate(11, 400);
    let files = [("l_rgb.png", &scene.rgb), ("l_sar.png", &scene.sar)].map(|(name, picture)| {
        let file = folder.0.join(name);
        fs::write(&file, write_rgb_png(picture).unwrap()).unwrap();
        file
    });
    with_page("check-large", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        run_to_mask(page).await?;
        upload_pair(page, &files).await?;
        // Sixteen windows take more than ten seconds on a small machine: then the page asks first.
        // On a fast one it begins by itself.
        page.wait_until(
            &format!("document.querySelector('[data-testid=compute]') || {PAGE}.busy === 'true'"),
            SOON,
        )
        .await?;
        if page.test_id("compute").await.is_ok() {
            let question = page.text(&test_id("question")).await?;
            assert!(question.contains("will take about"), "{question}");
            page.click(&test_id("compute")).await?;
        }
        page.wait_until(
            "document.querySelector('[data-testid=progress]').textContent.includes('window by window')",
            LONG,
        )
        .await?;
        page.wait_until(
            "/, about \\d+ s left/.test(document.querySelector('[data-testid=progress]').textContent)",
            LONG,
        )
        .await?;
        page.click(&test_id("stop")).await?;
        status(page, "Stopped.", SOON).await?;
        // The engine is the same one: its self-test need not run again.
        assert_eq!(page.text(&test_id("tier")).await?, "CPU");
        page.wait_for(
            "[data-testid=self-test][data-state=passed]",
            Duration::from_millis(500),
        )
        .await?;
        run_to_mask(page).await?;
        assert_eq!(canvas(page, "mask-canvas").await?.0, 400);
        page.expect_clean_console().await
    })
}

#[test]
fn several_pairs_come_back_as_one_archive() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let folder = Folder::new("batch");
    let mut files = Vec::new();
    for seed in [3, 4] {
        let scene = mmovseg_scene::generate(seed, 128);
        for (sensor, picture) in [("rgb", &scene.rgb), ("sar", &scene.sar)] {
            let file = folder.0.join(format!("place{seed}_{sensor}.png"));
            fs::write(&file, write_rgb_png(picture).unwrap()).unwrap();
            files.push(file);
        }
    }
    // A pair that cannot be read must not take the others with it.
    for sensor in ["rgb", "sar"] {
        let file = folder.0.join(format!("bad_{sensor}.png"));
        fs::write(&file, "no picture").unwrap();
        files.push(file);
    }
    with_page("check-batch", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        open_tab(page, "batch").await?;
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        page.upload(&test_id("batch-files"), &paths).await?;
        page.wait_until(
            "document.querySelectorAll('[data-testid=batch-pair]').length === 3",
            SOON,
        )
        .await?;
        page.click(&test_id("batch-run")).await?;
        status(page, "Saved mmovseg-results.zip", LONG).await?;
        let (_, bytes) = saved(page, ".zip").await?;
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes))?;
        let mut names: Vec<String> = archive.file_names().map(str::to_owned).collect();
        names.sort();
        let of = |name: &str| {
            [
                "-colours.png",
                "-labels.png",
                "-labels.tif",
                "-report.json",
                ".geojson",
            ]
            .map(|ending| format!("{name}{ending}"))
        };
        let mut wanted = [of("place3"), of("place4")].concat();
        wanted.push("problems.txt".into());
        wanted.sort();
        assert_eq!(names, wanted);
        let mut labels = Vec::new();
        std::io::copy(&mut archive.by_name("place3-labels.png")?, &mut labels)?;
        assert_eq!(read_label_png(&labels, "place3")?.data.len(), 128 * 128);
        let mut problems = String::new();
        std::io::Read::read_to_string(&mut archive.by_name("problems.txt")?, &mut problems)?;
        assert!(problems.contains("bad_rgb.png"), "{problems}");
        expect_no_error(page).await
    })
}
