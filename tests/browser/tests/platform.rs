//! What the engine relies on in a browser, shown on an empty page: when one of these fails, no
//! test of the real page can pass, and the fault lies with the browser or its flags.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use mmovseg_browser_tests::with_page;

/// The server's policy allows no icon within the page, and without one the console names a missing
/// file.
const ICON: &str = "<svg xmlns='http://www.w3.org/2000/svg'/>";

/// A site of one page and one Worker, which doubles numbers with a compute shader.
fn site() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mmovseg-platform-site-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("index.html"),
        r#"<!doctype html><title>platform</title><link rel="icon" href="icon.svg"><p data-testid="out">waiting</p>
<input type="file" data-testid="file"><button data-testid="go">go</button>
<script type="module" src="main.js"></script>"#,
    )
    .unwrap();
    fs::write(folder.join("icon.svg"), ICON).unwrap();
    fs::write(
        folder.join("main.js"),
        r#"
  const out = document.querySelector("[data-testid=out]");
  document.querySelector("[data-testid=go]").onclick = async () => {
    const file = document.querySelector("input").files[0];
    const worker = new Worker("./worker.js", { type: "module" });
    worker.onmessage = (event) => { out.textContent = event.data; out.dataset.ready = "yes"; };
    worker.postMessage(await file.text());
  };
"#,
    )
    .unwrap();
    fs::write(
        folder.join("worker.js"),
        r"self.onmessage = async (event) => {
  try { self.postMessage(await double(JSON.parse(event.data))); }
  catch (error) { self.postMessage(String(error)); }
};
async function double(numbers) {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  const code = `@group(0) @binding(0) var<storage, read_write> v: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3u) {
      if (i.x < arrayLength(&v)) { v[i.x] = 2.0 * v[i.x]; } }`;
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } });
  const data = new Float32Array(numbers);
  const make = (usage) => device.createBuffer({ size: data.byteLength, usage });
  const U = GPUBufferUsage;
  const buffer = make(U.STORAGE | U.COPY_SRC | U.COPY_DST);
  const back = make(U.MAP_READ | U.COPY_DST);
  device.queue.writeBuffer(buffer, 0, data);
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, back, 0, data.byteLength);
  device.queue.submit([encoder.finish()]);
  await back.mapAsync(GPUMapMode.READ);
  return JSON.stringify([...new Float32Array(back.getMappedRange())]);
}",
    )
    .unwrap();
    folder
}

#[test]
fn webgpu_computes_in_a_worker_on_an_isolated_page() -> Result<()> {
    let site = site();
    let upload = site.join("numbers.json");
    fs::write(&upload, "[1, 2.5, -4]")?;
    let result = with_page("platform", &site, async |page| {
        page.goto("").await?;
        page.upload("[data-testid=file]", &[&upload]).await?;
        page.click("[data-testid=go]").await?;
        page.wait_for("[data-ready=yes]", Duration::from_secs(60))
            .await?;
        assert_eq!(page.text("[data-testid=out]").await?, "[2,5,-8]");
        // Precise timers and shared memory depend on the server's headers.
        page.wait_until("crossOriginIsolated", Duration::from_secs(1))
            .await?;
        page.expect_clean_console().await
    });
    fs::remove_dir_all(site)?;
    result
}

#[test]
fn a_failing_test_reports_the_console() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("mmovseg-console-site-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("index.html"),
        "<!doctype html><link rel=icon href=icon.svg><script src=main.js></script>",
    )?;
    fs::write(folder.join("icon.svg"), ICON)?;
    fs::write(
        folder.join("main.js"),
        "console.error('a word from the page')",
    )?;
    let result = with_page("console", &folder, async |page| {
        page.goto("").await?;
        let thrown = page.execute_async("throw new Error('on purpose')").await;
        assert!(thrown.unwrap_err().to_string().contains("on purpose"));
        let three = page.execute_async("return 1 + await 2").await?;
        assert_eq!(three, 3);
        page.wait_for("#missing", Duration::from_millis(300))
            .await
            .map(|_| ())
    });
    fs::remove_dir_all(folder)?;
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains("a word from the page"), "{message}");
    assert!(message.contains("#missing"), "{message}");
    assert!(message.contains("console.png"), "{message}");
    Ok(())
}
