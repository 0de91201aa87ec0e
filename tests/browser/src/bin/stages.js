// The page's engine without the page: `job` is its plan, a model and how many scenes. Each scene is segmented once as it
// is new to the engine, and once more with one word changed.
const worker = new Worker("engine/worker.js", { type: "module", name: `stages-${Math.random()}` });
const waiting = {};
worker.onmessage = ({ data: { msg } }) => {
  const [[kind, told]] = Object.entries(typeof msg === "string" ? { [msg]: null } : msg);
  if (kind === "Failed" || kind === "Crashed") waiting.failed?.(new Error(told.message));
  waiting[kind]?.(told);
};
const ask = (request, kind) => new Promise((done, failed) => {
  Object.assign(waiting, { [kind]: done, failed });
  worker.postMessage({ msg: request, buffers: [] });
});

const { plan, model, scenes } = job;
const words = ["water", "forest", "city", "farmland", "bare land", "road", "meadow"];
let device;
waiting.Opened = (opened) => { device = opened.device; };
const url = new URL(`models/${model}/`, location.href).href;
const test = await ask({ Open: { plan, model: { Url: url } } }, "SelfTest");
if (!test.passed) throw new Error(`the self-test failed: ${test.detail}`);

const pass = async (id, classes) => {
  // Pictures of the pass before have left by then.
  await new Promise((rested) => setTimeout(rested, 80));
  const started = performance.now();
  const { timings } = await ask({ Segment: { id, classes, modality: "fused", windows: false } }, "Segmented");
  return { total: performance.now() - started, ...Object.fromEntries(timings.map(({ stage, ms }) => [stage, ms])) };
};
const report = { stages: true, plan, device, full: [], word: [] };
// The browser compiles during the first ones what it has run slowly.
const WARM_UPS = 2;
for (let i = 0; i < scenes + WARM_UPS; i += 1) {
  const cloud = { opacity: 0, cover: 0.7, seed: 1 };
  await ask({ Scene: { seed: 100 + i, size_px: 256, cloud } }, "Tiles");
  const full = await pass(2 * i, words);
  const word = await pass(2 * i + 1, [...words.slice(0, -1), `thing ${i}`]);
  if (i >= WARM_UPS) {
    report.full.push(full);
    report.word.push(word);
  }
}
worker.terminate();
return report;
