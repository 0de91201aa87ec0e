// The engine for pages of your own: a small interface around its Worker, which does all the work.
//
//   import { Engine } from "./engine/mmovseg.js";
//   const engine = await Engine.load({ model: "models/nano/" });
//   await engine.setTiles(opticalFile, sarFile);
//   const { labels, width, height, classes } = await engine.run(["water", "forest", "city"]);
//   engine.close();
//
// The folder `engine/` and the package must be on the page's own server. With the headers
// `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp` the CPU's work is shared
// among threads; without them there is one. Every method that fails rejects with an Error that says why.

const CLEAR = { opacity: 0, cover: 0.7, seed: 1 };
const AS_FOUND = { optical: { bands: null, stretch: "auto" }, sar: { polarisation: null, scale: "auto" } };

/** Threads for the CPU: one for each processor up to four, then half of them, eight at most. */
const threads = () => {
  if (!self.crossOriginIsolated) return 1;
  const processors = navigator.hardwareConcurrency || 1;
  return Math.min(8, processors, Math.max(4, Math.ceil(processors / 2)));
};

/** A tile as a file: a File or Blob as it is, an ImageData or a canvas as PNG. */
const asFile = async (tile, name) => {
  if (tile instanceof Blob) return new File([tile], tile.name ?? name);
  let canvas = tile;
  if (tile instanceof ImageData) {
    canvas = new OffscreenCanvas(tile.width, tile.height);
    canvas.getContext("2d").putImageData(tile, 0, 0);
  }
  const blob = canvas.convertToBlob
    ? await canvas.convertToBlob()
    : await new Promise((done) => canvas.toBlob(done));
  return new File([blob], name);
};

export class Engine {
  #worker;
  #waiting = null;
  #run = 0;
  #onProgress;

  /**
   * Loads a package.
   * @param {object} options `model`: address of the package's folder, "models/nano/" unless given. `device`: "cpu"
   *   (the default) or "gpu". `onProgress`: called with `{ step, done, total }` while something loads or runs.
   * @returns {Promise<Engine>} whose `info` names the model, the device and the package's own class names.
   */
  static async load({ model = "models/nano/", device = "cpu", onProgress } = {}) {
    const engine = new Engine(onProgress);
    const tier = device === "gpu" ? "gpu" : "cpu";
    const plan = { tier, threads: tier === "cpu" ? threads() : 1, adapter: null, note: null };
    const url = new URL(model, document.baseURI).href;
    engine.info = (await engine.#ask({ Open: { plan, model: { Url: url } } }, [], "Opened")).event;
    return engine;
  }

  /** Use `Engine.load`. */
  constructor(onProgress) {
    this.#onProgress = onProgress;
    const name = `mmovseg-engine-${Math.random()}`;
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module", name });
    const receive = ({ data }) => this.#receive(data);
    this.#worker.onmessage = receive;
    this.#worker.onerror = (event) => this.#fail(event.message ?? "engine/worker.js could not be loaded");
    // Threads report failures here.
    new BroadcastChannel(name).onmessage = receive;
  }

  /**
   * Opens a pair: File or Blob (PNG, JPEG, GeoTIFF), ImageData or canvas each.
   * @returns {Promise<object>} `width_px`, `height_px`, `crs` and `notes`, the sentences on what was decided on reading.
   */
  async setTiles(optical, sar) {
    const files = [await asFile(optical, "optical.png"), await asFile(sar, "sar.png")];
    const request = { rgb_name: files[0].name, sar_name: files[1].name, reading: AS_FOUND, cloud: CLEAR };
    return (await this.#ask({ Files: request }, files, "Tiles")).event;
  }

  /** Opens a generated scene with ground truth, for trying things out. */
  async setScene(seed, size_px = 256) {
    return (await this.#ask({ Scene: { seed, size_px, cloud: CLEAR } }, [], "Tiles")).event;
  }

  /**
   * Segments the open pair.
   * @param {string[]} words class names, 1 to 255
   * @param {"fused"|"optical"|"sar"} sensors
   * @returns {Promise<object>} `labels`: Uint8Array, row-major, position in `words` of each pixel (of every n-th one,
   *   where a side is longer than 4096 px); `width`, `height`; `classes`: `{ name, share, iou }` each; `logits`:
   *   Float32Array `[words, grid[0], grid[1]]`; `timings`.
   */
  async run(words, sensors = "fused") {
    const run = { id: ++this.#run, classes: words, modality: sensors, windows: true };
    const { event, buffers } = await this.#ask({ Segment: run }, [], "Segmented");
    return {
      labels: new Uint8Array(buffers[0]),
      logits: new Float32Array(buffers[1]),
      width: event.width_px,
      height: event.height_px,
      grid: event.grid_px,
      classes: event.classes,
      timings: event.timings,
    };
  }

  /** Ends the Worker. */
  close() {
    this.#worker.terminate();
    this.#fail("the engine was closed");
  }

  #ask(msg, buffers, answer) {
    if (this.#waiting) return Promise.reject(new Error("one request at a time: await the one before"));
    return new Promise((resolve, reject) => {
      this.#waiting = { answer, resolve, reject };
      this.#worker.postMessage({ msg, buffers });
    });
  }

  #receive({ msg, buffers }) {
    const [kind, event] = typeof msg === "string" ? [msg] : Object.entries(msg)[0];
    if (kind === "Progress") this.#onProgress?.(event);
    if (kind === "Failed" || kind === "Crashed") this.#fail(event.message);
    if (kind === "SelfTest" && !event.passed) console.warn(`mmovseg: the self-test failed: ${event.detail}`);
    if (kind === this.#waiting?.answer) {
      const { resolve } = this.#waiting;
      this.#waiting = null;
      resolve({ event, buffers });
    }
  }

  #fail(message) {
    const { reject } = this.#waiting ?? {};
    this.#waiting = null;
    reject?.(new Error(message));
  }
}
