// Computes what the page shows before its model has arrived, with the engine of the finished page: the messages of its
// Worker as they are, labels as runs, stages in 256 steps. `job.seed` names the scene.
const worker = new Worker("engine/worker.js", { type: "module", name: "first-scene" });
const asked = (msg, answer) => new Promise((done, failed) => {
  worker.onmessage = ({ data }) => {
    const [kind, event] = typeof data.msg === "string" ? [data.msg] : Object.entries(data.msg)[0];
    if (kind === "Failed" || kind === "Crashed") failed(new Error(event.message));
    if (kind === answer) done({ event, buffers: data.buffers });
  };
  worker.postMessage({ msg, buffers: [] });
});

const plan = { tier: "cpu", threads: 2, adapter: null, note: null };
const model = { Url: new URL("models/nano/", location).href };
const opened = (await asked({ Open: { plan, model } }, "Opened")).event;
const cloud = { opacity: 0, cover: 0.7, seed: 1 };
const tiles = await asked({ Scene: { seed: job.seed, size_px: 256, cloud } }, "Tiles");
const run = { id: 0, classes: opened.default_classes, modality: "fused", windows: true };
const segmented = await asked({ Segment: run }, "Segmented");
const explained = await asked({ Explain: run }, "Explained");

const { width_px, height_px } = tiles.event;
const jpeg = async (buffer) => {
  const canvas = new OffscreenCanvas(width_px, height_px);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(buffer), width_px, height_px), 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.6 });
  return Array.from(new Uint8Array(await blob.arrayBuffer()));
};
const label_runs = [];
for (const label of new Uint8Array(segmented.buffers[0])) {
  const last = label_runs.at(-1);
  if (last?.[0] === label) last[1] += 1;
  else label_runs.push([label, 1]);
}
const stages = explained.event.stages.map(([name, side_px], index) => {
  const values = new Float32Array(explained.buffers[index]);
  const [low, high] = values.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [Infinity, -Infinity]);
  const step = (high - low) / 255 || 1;
  return { name, side_px, low, high, values: Array.from(values, (v) => Math.round((v - low) / step)) };
});
// Times are of the machine that made the files.
segmented.event.timings = [];
return {
  optical: await jpeg(tiles.buffers[0]),
  sar: await jpeg(tiles.buffers[1]),
  scene: { tiles: tiles.event, segmented: segmented.event, named_colours: opened.named_colours, label_runs },
  stages: { classes: opened.default_classes, stages },
};
