// Shares a program's work among `count` threads, of which the Worker that runs this is one (src/lib.rs).
//
// `program` is what wasm-bindgen wrote, started; `script` is its address.
export const share = async (program, script, count) => {
  const [module, memory] = program.program();
  const helpers = [];
  const start = () => new Promise((ready, failed) => {
    const helper = new Worker(new URL("helper.js", import.meta.url), { type: "module", name: self.name });
    helpers.push(helper);
    helper.onmessage = ({ data }) => (data === "ready" ? ready() : failed(new Error(data)));
    helper.onerror = (event) => failed(new Error(event.message ?? "helper.js could not be loaded"));
    helper.postMessage({ script, module, memory });
  });
  try {
    await Promise.all(Array.from({ length: count - 1 }, start));
    program.share_work(count);
  } catch (error) {
    for (const helper of helpers) helper.terminate();
    throw error;
  }
};
