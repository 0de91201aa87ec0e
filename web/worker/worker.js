// The engine's Worker starts here: it loads the wasm and hands over.
//
// A page may post requests before the wasm has arrived. Such messages are kept and handed on in order once the
// engine listens, so that the page need not wait. One of them says on what the engine is to run.
import { start } from "./threads.js";

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

// On the CPU a smaller engine serves, whose threads share memory; where that cannot be had, the one for the GPU.
const engineFor = async ({ tier, threads }) => {
  if (tier === "Cpu") {
    try {
      return await start(new URL("cpu/mmovseg_worker.js", import.meta.url).href, threads);
    } catch (error) {
      console.warn("The engine for the CPU does not start here; the other one serves.", error);
    }
  }
  return start(new URL("mmovseg_worker.js", import.meta.url).href);
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
  const engine = await engineFor(await plan);
  engine.start();
  self.removeEventListener("message", keep);
  for (const data of early) {
    self.dispatchEvent(new MessageEvent("message", { data }));
  }
} catch (error) {
  crashed(error);
}
