// The engine's Worker starts here: it loads the wasm and hands over.
//
// A page may post requests before the wasm has arrived. Such messages are kept and handed on in order once the
// engine listens, so that the page need not wait. One of them says which engine is wanted: the one for several
// threads knows the CPU only (web/worker/src/threads.rs).
const crashed = (reason) => {
  const message = String(reason?.message ?? reason);
  self.postMessage({ msg: { Crashed: { message } }, buffers: [] });
};
// A trap inside asynchronous Rust arrives here and nowhere else: the page's `onerror` stays silent.
self.addEventListener("unhandledrejection", (event) => crashed(event.reason));

const early = [];
let keep;
const plan = new Promise((planned) => {
  keep = ({ data }) => {
    early.push(data);
    if (data?.msg?.Open) planned(data.msg.Open.plan);
  };
});
self.addEventListener("message", keep);

const instance = async (engine) => {
  const wasm = await engine.default();
  // Once, and not before each call from here (build.rs).
  wasm.__wasm_call_ctors();
  return engine;
};

const forOneThread = async () => instance(await import("./mmovseg_worker.js"));

// This Worker is one of the threads, and the only one that the page and the browser's events reach.
const forThreads = async (count) => {
  const engine = await instance(await import("./threads/mmovseg_worker.js"));
  const helpers = [];
  try {
    await Promise.all(Array.from({ length: count - 1 }, () => new Promise((ready, failed) => {
      const helper = new Worker(new URL("helper.js", import.meta.url), { type: "module", name: self.name });
      helpers.push(helper);
      helper.onmessage = ({ data }) => (data === "ready" ? ready() : failed(new Error(data)));
      helper.onerror = (event) => failed(new Error(event.message ?? "engine/helper.js could not be loaded"));
      helper.postMessage(engine.program());
    })));
    engine.share_work(count);
  } catch (error) {
    for (const helper of helpers) helper.terminate();
    throw error;
  }
  return engine;
};

try {
  // Held as long as this Worker lives. The page waits for the same lock: a browser that ends a Worker, for want of
  // memory or otherwise, tells nobody.
  if (self.name && navigator.locks) {
    await new Promise((held) => {
      navigator.locks.request(self.name, () => {
        held();
        return new Promise(() => {});
      });
    });
  }
  const { threads } = await plan;
  let engine;
  if (threads > 1) {
    try {
      engine = await forThreads(threads);
    } catch (error) {
      console.warn("The engine for several threads does not start here; one thread serves.", error);
    }
  }
  engine ??= await forOneThread();
  engine.start();
  self.removeEventListener("message", keep);
  for (const data of early) {
    self.dispatchEvent(new MessageEvent("message", { data }));
  }
} catch (error) {
  crashed(error);
}
