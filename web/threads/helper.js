// A thread of the Worker that started it (threads.js): it gets the Worker's program and memory, reports "ready" and then
// runs work until the Worker ends. It never returns to its event loop, so it receives no further messages.
const words = (error) => String(error?.message ?? error);

self.onmessage = async ({ data: { script, module, memory } }) => {
  let program;
  try {
    program = await import(script);
    await program.default({ module_or_path: module, memory });
  } catch (error) {
    self.postMessage(words(error));
    return;
  }
  self.postMessage("ready");
  try {
    program.help();
  } catch (error) {
    // To the page directly: the Worker is blocked while it waits for this thread.
    const crash = { msg: { Crashed: { message: words(error) } }, buffers: [] };
    new BroadcastChannel(self.name).postMessage(crash);
  }
};
