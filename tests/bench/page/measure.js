// Times both engines in one Worker and on one adapter: the same graph and inputs, in alternating turns. Each run ends when
// its whole output has been read back.

import * as ort from "./ort/ort.webgpu.bundle.min.mjs";
import { start } from "./threads.js";

ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;

const bytes = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
};

// Each run starts in a task of its own, as a run that a click starts.
const timed = async (work) => {
  await new Promise((task) => setTimeout(task));
  const started = performance.now();
  const value = await work();
  return [performance.now() - started, value];
};

// Kernel launches so far. With short kernels their number determines the time of a run.
let launches = 0;
const encoder = globalThis.GPUComputePassEncoder?.prototype;
if (encoder) {
  const dispatch = encoder.dispatchWorkgroups;
  encoder.dispatchWorkgroups = function (...groups) {
    launches += 1;
    return dispatch.apply(this, groups);
  };
}

// Whether submitted commands are dropped: a run then takes the time of recording and submitting its commands, which is the
// time on an infinitely fast GPU.
let isIdle = false;
const queue = globalThis.GPUQueue?.prototype;
if (queue) {
  const submit = queue.submit;
  queue.submit = function (commands) {
    if (!isIdle) submit.call(this, commands);
  };
}

// Turns of each engine. The first run of a turn is not counted, because the threads of the other engine spin for a while
// after its last run.
const TURNS = 3;

// The largest difference, relative to the largest value.
const difference = (a, b) => {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let most = 0;
  let apart = 0;
  for (let i = 0; i < a.length; i += 1) {
    most = Math.max(most, Math.abs(b[i]));
    apart = Math.max(apart, Math.abs(a[i] - b[i]));
  }
  return apart / most;
};

// `threads` is 0 for the build with both devices, which has one thread. With `commandsAlone` nothing is computed, so that the
// outputs are not compared.
const measure = async ({ graph, side, classes, embed, gpu, commandsAlone, threads, warmUps, runs }) => {
  const script = new URL(threads ? "./cpu/mmovseg_bench.js" : "./mmovseg_bench.js", location.href).href;
  const program = await start(script, threads);
  ort.env.wasm.numThreads = threads || 1;
  const ours = await program.Bench.open(graph, await bytes(`./graphs/${graph}.safetensors`), gpu);
  const session = await ort.InferenceSession.create(await bytes(`./graphs/${graph}.onnx`), {
    executionProviders: [gpu ? "webgpu" : "wasm"],
  });
  const shapes = { optical: [1, 3, side, side], sar: [1, 3, side, side], text: [classes, embed] };
  const feed = {};
  for (const name of session.inputNames) {
    const raw = await bytes(`./graphs/${graph}.${name}.f32`);
    feed[name] = new ort.Tensor("float32", new Float32Array(raw.buffer), shapes[name]);
  }
  const engines = {
    ours: () => ours.run(),
    ort: async () => (await session.run(feed)).out.data,
  };
  const report = { graph, gpu, commandsAlone, threads, device: ours.device(), cold: {}, launches: {}, ours: [], ort: [] };
  isIdle = commandsAlone;
  const values = {};
  for (const [name, run] of Object.entries(engines)) [report.cold[name], values[name]] = await timed(run);
  if (!commandsAlone) report.difference = difference(values.ours, values.ort);
  for (let i = 0; i < warmUps; i += 1) for (const run of Object.values(engines)) await timed(run);
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const [name, run] of Object.entries(engines)) {
      const before = launches;
      await timed(run);
      report.launches[name] = launches - before;
      for (let i = 0; i < runs / TURNS; i += 1) report[name].push((await timed(run))[0]);
    }
  }
  await session.release();
  ours.free();
  return report;
};

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ report: await measure(data) });
  } catch (error) {
    self.postMessage({ error: String(error?.stack ?? error) });
  }
};
