// A thread of the Worker that started it (threads.js): it gets the Worker's program and memory, says that it is there
// and works until the Worker ends. Its events reach nobody, for it never comes back to them.
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
    // Past the Worker, which waits for this thread.
    const crash = { msg: { Crashed: { message: words(error) } }, buffers: [] };
    new BroadcastChannel(self.name).postMessage(crash);
  }
};
