// The engine's Worker starts here: it loads the wasm and hands over.
//
// A page may post requests before the wasm has arrived. Such messages are queued and passed on in order once the engine
// listens. The request `Open` names the device, which decides the program to load.
import { start } from "./threads.js";

const crashed = (reason) => {
  const message = String(reason?.message ?? reason);
  self.postMessage({ msg: { Crashed: { message } }, buffers: [] });
};
// A trap inside asynchronous Rust arrives here and not at the page's `onerror`.
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

// The CPU has a smaller program of its own with threads that share memory; where it does not start, the program for
// WebGPU computes on the CPU with one thread.
const engineFor = async ({ tier, threads }) => {
  if (tier === "cpu") {
    try {
      return await start(new URL("cpu/mmovseg_worker.js", import.meta.url).href, threads);
    } catch (error) {
      console.warn("The engine for the CPU does not start here; the other one serves.", error);
    }
  }
  return start(new URL("mmovseg_worker.js", import.meta.url).href);
};

try {
  // Held as long as this Worker lives. The page waits for the same lock, since no event reports that the browser has
  // ended a Worker, for lack of memory for example.
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
