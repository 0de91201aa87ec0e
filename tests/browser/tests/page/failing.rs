//! When the ground gives way: a lost device, a refused shader, memory that is not there, a Worker
//! that the browser ends, another tab. The page says what happened, starts a fresh engine and keeps
//! what it was given.

use anyhow::Result;
use mmovseg_browser_tests::{Page, dist, test_id, with_page};
use serde_json::json;
use xtask::paths::copy_tree;

use crate::common::*;

/// Runs in the Worker ahead of its own script. A test says over the channel what shall fail.
const FAULTS: &str = "
const devices = [];
const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...wanted) {
  const device = await request.apply(this, wanted);
  devices.push(device);
  return device;
};
new BroadcastChannel('faults').onmessage = ({ data }) => {
  if (data === 'lose') for (const device of devices) device.destroy();
  if (data === 'close') self.close();
};
";

/// Script under which the GPU refuses a shader: a keyword of the fourth one is misspelt.
const REFUSED_SHADER: &str = "
const shader = GPUDevice.prototype.createShaderModule;
let shaders = 0;
GPUDevice.prototype.createShaderModule = function (given) {
  shaders += 1;
  const code = shaders === 4 ? given.code.replace('fn ', 'fun ') : given.code;
  return shader.call(this, { ...given, code });
};
";

/// Script under which the GPU has no memory for one buffer: it becomes an error, as WebGPU
/// specifies.
const NO_MEMORY: &str = "
const buffer = GPUDevice.prototype.createBuffer;
let buffers = 0;
GPUDevice.prototype.createBuffer = function (given) {
  buffers += 1;
  const size = buffers === 40 ? 2 ** 40 : given.size;
  return buffer.call(this, { ...given, size });
};
";

/// The same after [`CATCH_MEMORY`], where the Worker's memory can be filled: it then has what it
/// already took and no byte more.
const FULL_MEMORY: &str = "
const faults = new BroadcastChannel('faults');
faults.onmessage = ({ data }) => {
  if (data !== 'fill') return;
  for (let pages = 32768; pages >= 1; pages /= 2) {
    try { for (;;) memory.grow(pages); } catch { /* no room for so many */ }
  }
  faults.postMessage('full');
};
";

async fn fail(page: &Page, how: &str) -> Result<()> {
    let script = format!(
        "new BroadcastChannel('faults').postMessage({});",
        json!(how)
    );
    page.execute(&script, vec![]).await.map(drop)
}

/// Waits until the page says that the engine stopped, and has a new one that passed its self-test.
async fn recovered(page: &Page, tier: &str) -> Result<()> {
    page.wait_until(&format!("{ERROR}.includes('The engine stopped')"), LONG)
        .await?;
    page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
        .await?;
    let shown = value(
        page,
        "document.querySelector('[data-testid=tier]').textContent",
    )
    .await?;
    assert!(
        shown.as_str().is_some_and(|shown| shown.contains(tier)),
        "runs on {shown}, not on {tier}"
    );
    Ok(())
}

/// What was given to the page: its words and the optical picture.
async fn inputs(page: &Page) -> Result<(serde_json::Value, (usize, Vec<[u8; 3]>))> {
    let words = "Array.from(document.querySelectorAll('[data-testid=class-chip]'), (chip) => chip.dataset.class)";
    page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
        .await?;
    Ok((value(page, words).await?, canvas(page, "rgb-canvas").await?))
}

/// The class of every pixel as the page shows it.
async fn mask(page: &Page) -> Result<Vec<[u8; 3]>> {
    run_again(page).await?;
    Ok(canvas(page, "mask-canvas").await?.1)
}

/// Waits for the mask, with a yes where the page asks; messages of earlier failures may still
/// stand.
async fn run_again(page: &Page) -> Result<()> {
    page.wait_until(
        &format!(
            "(document.querySelector('[data-testid=compute]')?.click(), {PAGE}.current === 'true')"
        ),
        LONG,
    )
    .await
}

#[test]
fn a_worker_that_the_browser_ended_is_replaced_and_the_inputs_stay() -> Result<()> {
    with_worker_script("failing-worker", FAULTS, async |page| {
        ready_scene(page, "scene=7").await?;
        type_classes(page, "lake, woods, town").await?;
        let before = (inputs(page).await?, mask(page).await?);
        fail(page, "close").await?;
        recovered(page, "CPU").await?;
        assert!((inputs(page).await?, mask(page).await?) == before);
        Ok(())
    })
}

/// A thread that falls over before it has begun, the first time: the Worker then waits for it and
/// hears nothing more.
#[test]
fn a_thread_that_fails_is_told_past_the_worker_that_waits_for_it() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    const FIRST_FAILS: &str = "if (!(await caches.has('fell'))) {
      await caches.open('fell');
      throw new Error('a thread fell over');
    }
    program.help();";
    let site = Folder::new("failing-thread-site");
    copy_tree(&dist()?, &site.0)?;
    rewrite(&site.0.join("engine/helper.js"), |own| {
        let faulty = own.replace("program.help();", FIRST_FAILS);
        assert_ne!(own, faulty);
        faulty
    })?;
    with_page("failing-thread", &site.0, async |page| {
        page.goto("?device=cpu&scene=7").await?;
        if processors(page).await? == 1 {
            return Ok(());
        }
        // Told at once; the run that follows the new start takes the message away.
        page.wait_until(&format!("{ERROR}.includes('a thread fell over')"), SOON)
            .await?;
        recovered(page, "CPU").await?;
        run_again(page).await
    })
}

#[test]
fn a_worker_without_memory_is_replaced_and_the_inputs_stay() -> Result<()> {
    let faults = format!("{CATCH_MEMORY}{FULL_MEMORY}");
    with_worker_script("failing-wasm-memory", &faults, async |page| {
        ready_scene(page, "scene=7").await?;
        run_to_mask(page).await?;
        let (mut words, picture) = inputs(page).await?;
        let listen = "new BroadcastChannel('faults').onmessage = ({ data }) => { window.filled = data === 'full'; };";
        page.execute(listen, vec![]).await?;
        fail(page, "fill").await?;
        page.wait_until("window.filled", SOON).await?;
        // Far more classes than the engine has computed with: its memory does not suffice for them.
        let more: Vec<String> = (1..=60).map(|i| format!("c{i}")).collect();
        page.type_text(
            &test_id("class-input"),
            &format!("{}\u{e007}", more.join(", ")),
        )
        .await?;
        recovered(page, "CPU").await?;
        if let Some(list) = words.as_array_mut() {
            list.extend(more.iter().map(|name| json!(name)));
        }
        assert!(inputs(page).await? == (words, picture));
        // The fresh engine has room for them.
        run_again(page).await
    })
}

#[test]
fn webgpu_lost_in_the_middle_starts_again_and_the_inputs_stay() -> Result<()> {
    with_worker_script("failing-device", FAULTS, async |page| {
        page.goto("?device=gpu&scene=7").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        let before = inputs(page).await?;
        page.wait_until(
            "document.querySelector('[data-testid=progress]').textContent.includes('DINO')",
            LONG,
        )
        .await?;
        fail(page, "lose").await?;
        recovered(page, "WebGPU").await?;
        assert!(inputs(page).await? == before);
        let computed = value(
            page,
            "document.querySelector('[data-testid=mask-canvas]').dataset.ready",
        )
        .await?;
        assert_eq!(
            computed,
            json!("false"),
            "there is a mask that no device has computed"
        );
        Ok(())
    })
}

/// On the GPU the first load fails with `faults`; the page must say so and go on with the CPU.
fn falls_back(name: &str, faults: &str) -> Result<()> {
    with_worker_script(name, faults, async |page| {
        page.goto("?device=gpu&scene=7").await?;
        recovered(page, "CPU").await?;
        run_again(page).await
    })
}

#[test]
fn a_refused_shader_sends_the_engine_to_the_cpu() -> Result<()> {
    falls_back("failing-shader", REFUSED_SHADER)
}

#[test]
fn a_gpu_without_memory_sends_the_engine_to_the_cpu() -> Result<()> {
    falls_back("failing-memory", NO_MEMORY)
}

#[test]
fn two_tabs_load_run_and_clear_beside_one_another() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("failing-tabs", &dist()?, async |page| {
        let client = page.client();
        let first = client.window().await?;
        let second = client.new_window(true).await?.handle;
        // Both load at once.
        page.goto("?device=cpu&scene=7").await?;
        client.switch_to_window(second.clone()).await?;
        page.goto("?device=cpu&scene=8").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        client.switch_to_window(first.clone()).await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        // One throws away the kept files while the other runs.
        client.switch_to_window(second.clone()).await?;
        page.click(&test_id("cloud-thick")).await?;
        client.switch_to_window(first).await?;
        open_tab(page, "model").await?;
        page.click(&test_id("kept-clear")).await?;
        page.wait_until("!document.querySelector('[data-testid=kept]')", SOON)
            .await?;
        run_to_mask(page).await?;
        client.switch_to_window(second).await?;
        status(page, "Done in", LONG).await?;
        expect_no_error(page).await
    })
}
