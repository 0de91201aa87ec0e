// The engine's Worker starts here: it loads the wasm and hands over.
//
// A page may post its first request before the wasm has arrived. Such messages are kept and
// handed on in order once the engine has set its own handler, so that the page need not wait.
import init from "./mmovseg_worker.js";

const early = [];
const keep = (event) => early.push(event);
self.addEventListener("message", keep);
try {
  await init();
} catch (error) {
  self.postMessage({ bootFailed: String(error) });
  throw error;
}
self.removeEventListener("message", keep);
for (const { data, ports } of early) {
  self.dispatchEvent(new MessageEvent("message", { data, ports: [...ports] }));
}
