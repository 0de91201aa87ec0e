// The engine's Worker starts here: it loads the wasm and hands over.
//
// A page may post its first request before the wasm has arrived. Such messages are kept and
// handed on in order once the engine listens, so that the page need not wait.
import init, { start } from "./mmovseg_worker.js";

const crashed = (reason) => {
  const message = String(reason?.message ?? reason);
  self.postMessage({ msg: { Crashed: { message } }, buffers: [] });
};
// A trap inside asynchronous Rust arrives here and nowhere else: the page's `onerror` stays silent.
self.addEventListener("unhandledrejection", (event) => crashed(event.reason));

const early = [];
const keep = (event) => early.push(event.data);
self.addEventListener("message", keep);
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
  const wasm = await init();
  // Once, and not before each call from here (build.rs).
  wasm.__wasm_call_ctors();
  start();
  self.removeEventListener("message", keep);
  for (const data of early) {
    self.dispatchEvent(new MessageEvent("message", { data }));
  }
} catch (error) {
  crashed(error);
}
