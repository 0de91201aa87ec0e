"""Times the stages of the network in PyTorch on a CUDA GPU, and measures the peak of that GPU in matrix products and
copies: the comparison for `mmovseg bench --device gpu`.

    python card.py WEIGHTS.safetensors MODEL.json [RUNS]

The weights are those of a released variant or of the default model under their checkpoint names. `MODEL.json` is the
one of a package, or its `architecture` alone. The inputs are random: times do not depend on them.
"""

import json
import sys
import time
from pathlib import Path

import torch
from reference import Graph, encoder, resized_tables
from safetensors.torch import load_file

CLASSES = 7


def median_ms(run, runs):
    """Median and least milliseconds of runs, each waited for."""
    for _ in range(3):
        run()
    times = []
    for _ in range(runs):
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)[len(times) // 2], min(times)


def report(name, run, runs):
    median, least = median_ms(run, runs)
    print(f"{name:28} {median:9.3f} ms median {least:9.3f} ms least", flush=True)
    return least


def peaks():
    side = 8192
    a, b = (torch.randn(side, side, device="cuda") for _ in range(2))
    for dtype in (torch.float32, torch.float16):
        x, y = a.to(dtype), b.to(dtype)
        least = report(f"product 8192 {dtype}", lambda: x @ y, 5)
        print(f"  {2 * side**3 / least / 1e9:.1f} TFLOP/s")
    big = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    to = torch.empty_like(big)
    least = report("copy of 1 GiB", lambda: to.copy_(big), 10)
    print(f"  {2 * (1 << 30) / least / 1e6:.0f} GB/s read and written")


@torch.inference_mode()
def stages(tensors, config, dtype, runs):
    graph = Graph("whole", tensors, config).eval().to("cuda", dtype)
    side = config["input_px"]
    clip_side = encoder(config, "clip-vit")["input_px"]
    tile = torch.randn(1, 3, side, side, device="cuda", dtype=dtype)
    small = torch.randn(1, 3, clip_side, clip_side, device="cuda", dtype=dtype)
    text = torch.randn(CLASSES, config["text"]["embed"], device="cuda", dtype=dtype)
    clip = graph.clip(small)
    dino = [a + b for a, b in zip(graph.dino(tile, False), graph.dino(tile, True))]
    for name, run in (
        ("clip", lambda: graph.clip(small)),
        ("dino-optical", lambda: graph.dino(tile, False)),
        ("dino-sar", lambda: graph.dino(tile, True)),
        ("head", lambda: graph.head(clip, dino, text)),
    ):
        report(f"{name} {dtype}", run, runs)

    def whole():
        both = [a + b for a, b in zip(graph.dino(tile, False), graph.dino(tile, True))]
        return graph.head(graph.clip(small), both, text)

    report(f"whole {dtype}", whole, runs)


def main():
    weights, model, *runs = sys.argv[1:]
    runs = int(runs[0]) if runs else 20
    config = json.loads(Path(model).read_text())
    config = config.get("architecture", config)
    tensors = load_file(weights)
    resized_tables(tensors, config)
    print(torch.cuda.get_device_name(), "PyTorch", torch.__version__, config["variant"])
    # Full f32, as in mmovseg.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    peaks()
    for dtype in (torch.float32, torch.float16):
        stages(tensors, config, dtype, runs)


if __name__ == "__main__":
    main()
