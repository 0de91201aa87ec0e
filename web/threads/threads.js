// Loads the program that wasm-bindgen wrote at the address `script`. With `threads`, starts a thread pool of that size,
// of which the Worker that runs this is one member (src/lib.rs).
export const start = async (script, threads) => {
  const program = await import(script);
  const wasm = await program.default();
  // The constructors run once here instead of before each call into the module (web/worker/build.rs).
  wasm.__wasm_call_ctors();
  if (threads) await share(program, script, threads);
  return program;
};

const share = async (program, script, threads) => {
  const [module, memory] = program.program();
  const helpers = [];
  const help = () => new Promise((ready, failed) => {
    const helper = new Worker(new URL("helper.js", import.meta.url), { type: "module", name: self.name });
    helpers.push(helper);
    helper.onmessage = ({ data }) => (data === "ready" ? ready() : failed(new Error(data)));
    helper.onerror = (event) => failed(new Error(event.message ?? "helper.js could not be loaded"));
    helper.postMessage({ script, module, memory });
  });
  try {
    await Promise.all(Array.from({ length: threads - 1 }, help));
    program.share_work(threads);
  } catch (error) {
    for (const helper of helpers) helper.terminate();
    throw error;
  }
};
