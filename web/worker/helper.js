// One of the engine's threads (web/worker/src/threads.rs): it gets the Worker's program and memory, says that it is
// there and works until the Worker ends. Its events reach nobody, for it never comes back to them.
import init, { help } from "./threads/mmovseg_worker.js";

const words = (error) => String(error?.message ?? error);

self.onmessage = async ({ data: [module, memory] }) => {
  try {
    await init({ module_or_path: module, memory });
  } catch (error) {
    self.postMessage(words(error));
    return;
  }
  self.postMessage("ready");
  try {
    help();
  } catch (error) {
    // Past the Worker, which waits for this thread.
    const crash = { msg: { Crashed: { message: words(error) } }, buffers: [] };
    new BroadcastChannel(self.name).postMessage(crash);
  }
};
