// The test driver calls `window.measure`. Each job runs in a new Worker, so that no state of an earlier job is left.
const out = document.querySelector("[data-testid=out]");

window.measure = (job) => new Promise((done, failed) => {
  out.textContent = `${job.graph} on ${job.gpu ? "WebGPU" : "the CPU"}`;
  const worker = new Worker("./measure.js", { type: "module", name: "bench" });
  worker.onmessage = ({ data: { report, error } }) => {
    worker.terminate();
    out.textContent = error ?? "done";
    if (report) done(report);
    else failed(new Error(error));
  };
  worker.onerror = (event) => failed(new Error(event.message ?? "measure.js could not be loaded"));
  worker.postMessage(job);
});
out.dataset.ready = "yes";
