//! Writes the weights and inputs of the graphs, and times the graphs natively.
//!
//! - `mmovseg-bench list` prints the graphs as JSON.
//! - `mmovseg-bench write DIR GRAPH…` writes weights, inputs and configuration of each graph to a
//!   folder.
//! - `mmovseg-bench run DIR GRAPH RUNS` prints the milliseconds of each run as JSON, and writes the
//!   output of the last run to `DIR/GRAPH.ours.f32`.

#[cfg(target_arch = "wasm32")]
fn main() {}

/// The allocator of the command `mmovseg`.
#[cfg(not(target_arch = "wasm32"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(target_arch = "wasm32"))]
fn main() -> anyhow::Result<()> {
    // The calling thread is one of the pool's threads, as in the command `mmovseg`.
    rayon::ThreadPoolBuilder::new()
        .use_current_thread()
        .build_global()?;
    native::main()
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::collections::HashMap;
    use std::path::Path;
    use std::time::Instant;

    use anyhow::{Context, Result, anyhow, bail};
    use burn::tensor::Device;
    use mmovseg_bench::graphs::{Graph, Runner};
    use mmovseg_engine::model_pixels;
    use mmovseg_model::MmOvSeg;
    use mmovseg_raster::Preprocess;
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    /// Rows of the text input.
    const CLASSES: usize = 6;

    pub fn main() -> Result<()> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words[..] {
            ["list"] => {
                let graphs = Graph::ALL.map(
                    |graph| serde_json::json!({ "name": graph.name(), "nano": graph.is_nano() }),
                );
                println!("{}", serde_json::Value::from(graphs.to_vec()));
                Ok(())
            }
            ["write", folder, ref graphs @ ..] => {
                let graphs = graphs.iter().map(|name| graph(name));
                write(Path::new(folder), &graphs.collect::<Result<Vec<_>>>()?)
            }
            ["run", folder, graph, runs] => run(Path::new(folder), graph, runs.parse()?),
            _ => bail!("usage: mmovseg-bench list | write DIR GRAPH… | run DIR GRAPH RUNS"),
        }
    }

    /// Writes, for each graph, a safetensors file of weights and inputs and a JSON file of the
    /// configuration. The weights are random: times do not depend on them, and a wrong graph still
    /// gives wrong outputs.
    fn write(folder: &Path, graphs: &[Graph]) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let device = Device::flex();
        for &graph in graphs {
            let config = graph.config();
            device.seed(7);
            let model = MmOvSeg::new(&config, &device)?;
            let scene = mmovseg_scene::generate(1, config.input_px);
            let (optical, sar) =
                model_pixels(&scene.rgb, &scene.sar, Preprocess::Aligned, &config)?;
            let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
            for (name, shape, flat) in model.export() {
                if graph.reads(&name) {
                    let data = flat
                        .into_data()
                        .try_into_vec()
                        .map_err(|e| anyhow!("{name}: {e:?}"))?;
                    tensors.push((name, shape, with_variation(data)));
                }
            }
            let shape = vec![1, 3, config.input_px, config.input_px];
            tensors.push(("optical".into(), shape.clone(), optical));
            tensors.push(("sar".into(), shape, sar));
            // Arbitrary vectors.
            let text = (0..CLASSES * config.text.embed).map(|i| (i as f32 * 0.37).sin());
            let text: Vec<f32> = text.collect();
            tensors.push(("text".into(), vec![CLASSES, config.text.embed], text));
            let bytes: Vec<Vec<u8>> = tensors
                .iter()
                .map(|(_, _, data)| data.iter().flat_map(|x| x.to_le_bytes()).collect())
                .collect();
            let views = tensors
                .iter()
                .zip(&bytes)
                .map(|((name, shape, _), bytes)| {
                    Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
                })
                .collect::<Result<Vec<_>>>()?;
            let file = folder.join(format!("{}.safetensors", graph.name()));
            std::fs::write(&file, safetensors::serialize(views, None::<HashMap<_, _>>)?)?;
            let file = folder.join(format!("{}.json", graph.name()));
            std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
            println!("{}", graph.name());
        }
        Ok(())
    }

    /// Adds a sine to parameters that are initialised to a constant (norms, biases,
    /// zero-initialised layers), so that the order of their values matters.
    fn with_variation(mut values: Vec<f32>) -> Vec<f32> {
        if values.iter().all(|v| *v == values[0]) {
            for (i, value) in values.iter_mut().enumerate() {
                *value += 0.1 * (i as f32 * 0.7).sin();
            }
        }
        values
    }

    fn graph(name: &str) -> Result<Graph> {
        let names = || Graph::ALL.map(Graph::name).join(", ");
        Graph::of(name).with_context(|| format!("no graph `{name}`: {}", names()))
    }

    fn run(folder: &Path, name: &str, runs: usize) -> Result<()> {
        let graph = graph(name)?;
        let file = folder.join(format!("{}.safetensors", graph.name()));
        let bytes = std::fs::read(&file)
            .with_context(|| format!("{} cannot be read; run `write` first", file.display()))?;
        let runner = Runner::new(graph, &bytes, &Device::flex()).map_err(|e| anyhow!(e))?;
        let mut times_ms = Vec::new();
        let mut out = Vec::new();
        for _ in 0..runs {
            let started = Instant::now();
            out = pollster::block_on(runner.run()).map_err(|e| anyhow!(e))?;
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let bytes: Vec<u8> = out.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(folder.join(format!("{}.ours.f32", graph.name())), bytes)?;
        println!("{}", serde_json::to_string(&times_ms)?);
        Ok(())
    }
}
