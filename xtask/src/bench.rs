//! `cargo xtask bench`: times parts of the network beside PyTorch and onnxruntime on the same
//! cores, and beside onnxruntime-web on the same page and adapter. All run the same graphs with the
//! same weights and inputs; outputs are compared before anything is timed. The page's own engine is
//! timed by stage.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xtask::browser::{Adapter, Browser};
use xtask::paths;
use xtask::{BROWSER_TESTS, HEAVY};

use crate::run::{Toolchain, cargo, run};
use crate::setup::{self, WebTools};
use crate::web;

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Graphs, separated by commas [default: all of them natively, the default model's in the
    /// browser]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    graphs: Vec<String>,
    /// Timed runs of each engine, after the warm-ups
    #[arg(long, default_value_t = 10, value_name = "N")]
    runs: usize,
    /// Runs before them that are not counted
    #[arg(long, default_value_t = 3, value_name = "N")]
    warm_ups: usize,
    /// Where to measure
    #[arg(
        long,
        default_value = "native,cpu,threads,gpu,commands,page",
        value_delimiter = ','
    )]
    on: Vec<Place>,
    /// Firefox must be installed, as geckodriver must
    #[arg(long, default_value = "chromium", value_name = "chromium|firefox", value_parser = Browser::of)]
    browser: Browser,
    /// What WebGPU runs on in Chromium: SwiftShader on the CPU, or the machine's own graphics card
    #[arg(long, default_value = "software", value_name = "software|hardware", value_parser = Adapter::of)]
    adapter: Adapter,
    /// Where to write the figures
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

/// Where graphs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// On this machine's cores.
    Native,
    /// In the browser, one thread.
    Cpu,
    /// In the browser, as many threads as the page takes.
    Threads,
    /// In the browser, WebGPU.
    Gpu,
    /// In the browser, WebGPU's commands alone: they are recorded and dropped, and outputs are not
    /// compared.
    Commands,
    /// The page's engine by stage, on the CPU and on a graphics card.
    Page,
}

/// Rounds in which the native engines take turns: each runs in a process of its own.
const ROUNDS: usize = 3;
/// Largest difference of two engines' outputs, as a share of the largest value.
const APART_MOST: f64 = 1e-3;
/// Version of onnxruntime-web in npm.
const ORT_WEB_VERSION: &str = "1.30.0";
/// Packages from PyPI.
const PYTHON_PACKAGES: [&str; 5] = [
    "torch==2.3.1",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "safetensors",
    "numpy<2",
];

/// One line of the table: an engine's median beside ours.
struct Row {
    place: String,
    graph: String,
    ours_ms: f64,
    theirs: Vec<(&'static str, f64)>,
}

/// Sets up, measures, prints the table.
///
/// # Errors
/// When a tool is missing, or outputs differ.
pub fn bench(options: &Options) -> Result<()> {
    let folder = paths::cache().join("bench");
    let mut raw = Vec::new();
    if options.on.iter().any(|place| *place != Place::Page) {
        raw.extend(beside_others(options, &folder)?);
    }
    if options.on.contains(&Place::Page) {
        let dist = folder.join("page");
        web::build(&setup::web_tools()?, &dist)?;
        let reports = options.in_browser(&dist, &options.stages()?)?;
        tell_stages(&reports)?;
        raw.extend(reports);
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&raw)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Runs the graphs in all engines, prints the table and returns the raw reports.
fn beside_others(options: &Options, folder: &Path) -> Result<Vec<Value>> {
    let graphs = folder.join("graphs");
    run(cargo(&Toolchain::Active)
        .args(["build", "--release"])
        .args(HEAVY))?;
    let ours = paths::target().join("release/mmovseg-bench");
    let known = read(Command::new(&ours).arg("list"))?;
    let names = options.graphs(&known, |_| true);
    run(Command::new(&ours).arg("write").arg(&graphs).args(&names))?;
    let python = python(folder)?;
    let reference = paths::project().join("tests/bench/reference.py");
    run(Command::new(&python)
        .arg("-W")
        .arg("ignore")
        .arg(&reference)
        .arg("export")
        .arg(&graphs)
        .args(&names))?;

    let mut rows = Vec::new();
    let mut raw = Vec::new();
    if options.on.contains(&Place::Native) {
        for graph in names {
            let report = native(options, &graph, &graphs, &ours, (&python, &reference))?;
            rows.push(Row {
                place: "native".into(),
                graph,
                ours_ms: median(&report["ours"])?,
                theirs: NATIVE
                    .into_iter()
                    .filter(|(key, _)| report[key].is_array())
                    .map(|(key, name)| Ok((name, median(&report[key])?)))
                    .collect::<Result<_>>()?,
            });
            raw.push(report);
        }
    }
    let jobs = options.jobs(&known, &graphs)?;
    if !jobs.is_empty() {
        let site = site(&setup::web_tools()?, folder, &graphs)?;
        for report in options.in_browser(&site, &jobs)? {
            if let Some(graph) = report["graph"].as_str() {
                let commands_alone = report["commandsAlone"] == true;
                if !commands_alone {
                    same(&report)?;
                }
                rows.push(Row {
                    place: match report["threads"].as_u64() {
                        Some(0) | None if commands_alone => "WebGPU's commands alone".into(),
                        Some(0) | None => "WebGPU".into(),
                        Some(1) => "browser's CPU".into(),
                        Some(threads) => format!("browser's CPU, {threads} threads"),
                    },
                    graph: graph.to_owned(),
                    ours_ms: median(&report["ours"])?,
                    theirs: vec![("onnxruntime-web", median(&report["ort"])?)],
                });
            }
            raw.push(report);
        }
    }
    tell(&rows);
    Ok(raw)
}

impl Options {
    /// The graphs of the command line, else those of the bench's list for which `wanted` holds.
    fn graphs(&self, known: &Value, wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        if !self.graphs.is_empty() {
            return self.graphs.clone();
        }
        let known = known.as_array().into_iter().flatten();
        known
            .filter(|graph| wanted(graph))
            .filter_map(|graph| Some(graph["name"].as_str()?.to_owned()))
            .collect()
    }

    /// The jobs for the page's engine: on one thread, on as many as it uses, and on the GPU.
    fn stages(&self) -> Result<Vec<Value>> {
        let threads = threads()?;
        let mut plans = vec![("Cpu", 1)];
        if threads > 1 {
            plans.push(("Cpu", threads));
        }
        if self.adapter == Adapter::Hardware {
            plans.push(("Gpu", 1));
        }
        let job = |(tier, threads)| {
            json!({
                "stages": true, "model": "nano", "scenes": self.runs,
                "plan": { "tier": tier, "threads": threads, "adapter": null, "note": null },
            })
        };
        Ok(plans.into_iter().map(job).collect())
    }

    /// The jobs for the bench's page. By default the default model's graphs: an emulated GPU runs
    /// them within minutes.
    fn jobs(&self, known: &Value, folder: &Path) -> Result<Vec<Value>> {
        let mut jobs = Vec::new();
        let threads = threads()?;
        // The engine for WebGPU has one thread.
        let places = [
            (Place::Cpu, 1),
            (Place::Threads, threads),
            (Place::Gpu, 0),
            (Place::Commands, 0),
        ];
        for (place, threads) in places {
            if !self.on.contains(&place) {
                continue;
            }
            for graph in self.graphs(known, |graph| graph["nano"] == true) {
                let file = folder.join(format!("{graph}.json"));
                let text =
                    fs::read(&file).with_context(|| format!("there is no graph `{graph}`"))?;
                let config: Value = serde_json::from_slice(&text)?;
                let text = fs::metadata(folder.join(format!("{graph}.text.f32")))?.len();
                let embed = config["clip"]["embed"].as_u64().context("no `embed`")?;
                jobs.push(json!({
                    "graph": graph, "gpu": threads == 0, "commandsAlone": place == Place::Commands, "threads": threads,
                    "side": config["input_px"], "embed": embed, "classes": text / 4 / embed, "warmUps": self.warm_ups, "runs": self.runs,
                }));
            }
        }
        Ok(jobs)
    }

    /// Runs each job in a browser of its own.
    fn in_browser(&self, site: &Path, jobs: &[Value]) -> Result<Vec<Value>> {
        let browser = setup::browser(self.browser)?;
        let mut command = cargo(&Toolchain::Active);
        command
            .args([
                "run",
                "--release",
                "--quiet",
                "-p",
                BROWSER_TESTS,
                "--bin",
                "bench",
                "--",
            ])
            .arg(self.adapter.name())
            .arg(site)
            .arg(Value::from(jobs).to_string())
            .envs(browser.variables());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut reports = Vec::new();
        // An emulated GPU takes minutes for each: print them as they come.
        for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
            let line = line?;
            eprintln!("{line}");
            reports.push(serde_json::from_str(&line)?);
        }
        if !child.wait()?.success() {
            bail!("the bench's page failed");
        }
        Ok(reports)
    }
}

/// Number of threads that the page uses on this machine.
fn threads() -> Result<u32> {
    let processors = std::thread::available_parallelism()?;
    Ok(mmovseg_types::browser_threads(
        true,
        processors.get().try_into()?,
    ))
}

/// The other engines on the same cores, by the names that they have in `tests/bench/reference.py`
/// and in the table.
const NATIVE: [(&str, &str); 3] = [
    ("torch", "PyTorch"),
    ("onnxruntime", "onnxruntime"),
    ("released", "PyTorch, DINO as released"),
];

/// Our engine and the others in turn, the runs of all rounds together.
fn native(
    options: &Options,
    graph: &str,
    folder: &Path,
    ours: &Path,
    (python, reference): (&Path, &Path),
) -> Result<Value> {
    let each = options.runs.div_ceil(ROUNDS);
    let count = (options.warm_ups + each).to_string();
    let mut report = json!({ "graph": graph });
    for _ in 0..ROUNDS {
        let mine = read(
            Command::new(ours)
                .arg("run")
                .arg(folder)
                .args([graph, &count]),
        )?;
        let theirs = read(
            Command::new(python)
                .arg(reference)
                .arg("time")
                .arg(folder)
                .args([graph, &count]),
        )?;
        same(&theirs)?;
        let engines = NATIVE.iter().map(|(key, _)| (*key, &theirs[*key]));
        for (engine, times) in std::iter::once(("ours", &mine)).chain(engines) {
            let times = match times.as_array() {
                Some(times) => times,
                // Not every graph has this tower.
                None if engine == "released" => continue,
                None => bail!("no times of {engine}"),
            };
            let all = report[engine].as_array().cloned().unwrap_or_default();
            let counted = times.iter().skip(options.warm_ups).cloned();
            report[engine] = all.into_iter().chain(counted).collect();
        }
        report["threads"] = theirs["threads"].clone();
        report["difference"] = theirs["difference"].clone();
    }
    Ok(report)
}

/// Checks that both engines computed the same outputs.
fn same(report: &Value) -> Result<()> {
    match report["difference"].as_f64() {
        Some(apart) if apart <= APART_MOST => Ok(()),
        apart => bail!("outputs differ by {apart:?} of the largest value: {report}"),
    }
}

/// The JSON that a program prints.
fn read(command: &mut Command) -> Result<Value> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} failed");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A Python with PyTorch and onnxruntime: `MMOVSEG_PYTHON`, or an environment of our own.
fn python(folder: &Path) -> Result<PathBuf> {
    if let Some(own) = std::env::var_os("MMOVSEG_PYTHON") {
        return Ok(own.into());
    }
    let place = folder.join("python");
    let python = place.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&place))
            .context("the bench needs Python 3 with venv; or set MMOVSEG_PYTHON")?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PYTHON_PACKAGES))?;
    }
    Ok(python)
}

/// The page with both engines and the graphs.
fn site(tools: &WebTools, folder: &Path, graphs: &Path) -> Result<PathBuf> {
    let site = folder.join("site");
    if site.exists() {
        fs::remove_dir_all(&site)?;
    }
    fs::create_dir_all(&site)?;
    web::build_bench(tools, &site)?;
    let modules = setup::npm_package("onnxruntime-web", ORT_WEB_VERSION)?;
    fs::create_dir_all(site.join("ort"))?;
    for entry in fs::read_dir(modules.join("dist"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "ort.webgpu.bundle.min.mjs"
            || name.ends_with(".wasm")
            || name.starts_with("ort-wasm")
        {
            fs::copy(entry.path(), site.join("ort").join(name))?;
        }
    }
    fs::create_dir_all(site.join("graphs"))?;
    for entry in fs::read_dir(graphs)? {
        let entry = entry?;
        fs::copy(entry.path(), site.join("graphs").join(entry.file_name()))?;
    }
    Ok(site)
}

fn median(times: &Value) -> Result<f64> {
    let mut times: Vec<f64> = times
        .as_array()
        .context("no times")?
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    times.sort_by(f64::total_cmp);
    let middle = times.len().checked_sub(1).context("no runs")?;
    Ok(f64::midpoint(times[middle / 2], times[times.len() / 2]))
}

fn tell(rows: &[Row]) {
    println!("| where | graph | mmovseg, ms | other | other, ms | ratio |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        for (engine, ms) in &row.theirs {
            println!(
                "| {} | {} | {:.1} | {engine} | {ms:.1} | {:.2} |",
                row.place,
                row.graph,
                row.ours_ms,
                row.ours_ms / ms
            );
        }
    }
}

/// A line for each kind of pass on each device: medians of the stages and of the whole.
fn tell_stages(reports: &[Value]) -> Result<()> {
    const STAGES: [&str; 8] = [
        "preprocess",
        "text",
        "clip",
        "dino-optical",
        "dino-sar",
        "head",
        "labels",
        "total",
    ];
    println!("| the page's engine, ms | pass | {} |", STAGES.join(" | "));
    println!("|---|---|{}", "---|".repeat(STAGES.len()));
    for report in reports.iter().filter(|report| report["stages"] == true) {
        for (pass, name) in [("full", "a new scene"), ("word", "a changed word")] {
            let runs = report[pass].as_array().context("no passes")?;
            let cells = STAGES.map(|stage| {
                let times: Value = runs
                    .iter()
                    .filter_map(|run| run.get(stage))
                    .cloned()
                    .collect();
                // Stages that a pass leaves out have no time.
                median(&times).map_or_else(|_| "–".into(), |ms| format!("{ms:.1}"))
            });
            let device = report["device"].as_str().unwrap_or_default();
            println!("| {device} | {name} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{median, same};
    use serde_json::json;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&json!([3.0, 1.0, 2.0])).unwrap(), 2.0);
        assert_eq!(median(&json!([4.0, 1.0, 2.0, 3.0])).unwrap(), 2.5);
        assert!(median(&json!([])).is_err());
    }

    #[test]
    fn what_cannot_be_compared_is_not_the_same() {
        assert!(same(&json!({ "difference": 1e-5 })).is_ok());
        assert!(same(&json!({ "difference": 0.1 })).is_err());
        assert!(same(&json!({})).is_err());
    }
}
