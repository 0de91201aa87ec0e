"""The graphs of the bench in PyTorch: exports them to ONNX for onnxruntime and onnxruntime-web, and times PyTorch and
onnxruntime natively.

    python reference.py export DIR GRAPH…     writes ONNX files, and the outputs of PyTorch as raw f32
    python reference.py time DIR GRAPH RUNS   prints the milliseconds of each run of both engines as JSON
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parents[2] / "crates/train/torch"))
from network import Network, encoder

class Graph(Network):
    """A graph whose inputs are the arguments of `forward` and whose output is one flat vector."""

    def __init__(self, name, tensors, config):
        super().__init__(tensors, config)
        self.graph = name

    def forward(self, optical, sar, text):
        if self.graph in ("nano-clip", "vit-b16-384"):
            parts = self.clip(optical)
        elif self.graph == "nano-dino-optical":
            parts = self.dino(optical, False)
        elif self.graph == "nano-dino-sar":
            parts = self.dino(sar, True)
        elif self.graph == "vit-b8-3-blocks":
            parts = self.dino_taps(optical, "dino_model.")
        else:
            both = [a + b for a, b in zip(self.dino(optical, False), self.dino(sar, True))]
            parts = [self.head(self.clip(optical), both, text)]
        return torch.cat([part.flatten() for part in parts])


class Released(Graph):
    """A graph with the attention of the DINO towers as in the authors' release of variant B: the scores of all heads
    are held in memory. Every other part is at least as fast as in the release."""

    in_dino = False

    def dino_taps(self, *inputs):
        self.in_dino = True
        taps = super().dino_taps(*inputs)
        self.in_dino = False
        return taps

    def attend(self, q, k, v, heads, mask=None):
        if not self.in_dino:
            return super().attend(q, k, v, heads, mask)
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        weights = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(3)
        return (weights @ v).transpose(1, 2).flatten(2)


# The graphs with such a tower.
RELEASED = ("b-whole", "vit-b8-3-blocks")


def resized_tables(tensors, config):
    """Resizes the position tables to the input once, so that it is not part of the timed runs."""
    for name, table in tensors.items():
        is_clip = name.endswith("visual.positional_embedding")
        if not is_clip and not name.endswith(".pos_embed"):
            continue
        part = encoder(config, "clip-vit" if is_clip else "dino-v1")
        stored, grid = part["table_grid"], config["input_px"] // part["patch_px"]
        if stored == grid:
            continue
        rows = table if is_clip else table[0]
        cells = rows[1:].view(1, stored, stored, -1).permute(0, 3, 1, 2)
        if is_clip:
            cells = F.interpolate(cells, (grid, grid), mode="bicubic", align_corners=False)
        else:
            factor = (grid + 0.1) / stored
            cells = F.interpolate(cells, scale_factor=(factor, factor), mode="bicubic")
        rows = torch.cat([rows[:1], cells.flatten(2)[0].T])
        tensors[name] = rows if is_clip else rows[None]


def load(folder, name, kind=Graph):
    tensors = load_file(folder / f"{name}.safetensors")
    inputs = [tensors.pop(key) for key in ("optical", "sar", "text")]
    config = json.loads((folder / f"{name}.json").read_text())
    resized_tables(tensors, config)
    return kind(name, tensors, config).eval(), inputs


@torch.inference_mode()
def export(folder, graphs):
    for name in graphs:
        graph, inputs = load(folder, name)
        graph(*inputs).numpy().tofile(folder / f"{name}.torch.f32")
        torch.onnx.export(
            graph,
            tuple(inputs),
            str(folder / f"{name}.onnx"),
            input_names=["optical", "sar", "text"],
            output_names=["out"],
            opset_version=17,
            do_constant_folding=True,
        )
        for key, tensor in zip(("optical", "sar", "text"), inputs):
            tensor.numpy().tofile(folder / f"{name}.{key}.f32")
        print(name, flush=True)


@torch.inference_mode()
def times(folder, name, runs):
    import onnxruntime

    graph, inputs = load(folder, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    named = {key: tensor.numpy() for key, tensor in zip(("optical", "sar", "text"), inputs)}
    feed = {node.name: named[node.name] for node in session.get_inputs()}
    # One engine after the other, onnxruntime first: after a run, PyTorch's threads spin on the cores that onnxruntime
    # would use.
    engines = {"onnxruntime": lambda: session.run(None, feed)[0], "torch": lambda: graph(*inputs)}
    if name in RELEASED:
        released, _ = load(folder, name, Released)
        engines["released"] = lambda: released(*inputs)
    report = {engine: [] for engine in engines}
    outputs = {}
    for engine, run in engines.items():
        for _ in range(runs):
            started = time.perf_counter()
            out = run()
            report[engine].append((time.perf_counter() - started) * 1e3)
            outputs[engine] = np.asarray(out)
    ours = folder / f"{name}.ours.f32"
    if ours.exists():
        ours = np.fromfile(ours, np.float32)
        report["difference"] = max(float(np.abs(ours - out).max() / np.abs(out).max()) for out in outputs.values())
    report["threads"] = torch.get_num_threads()
    print(json.dumps(report))


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "export":
        export(Path(folder), rest)
    else:
        times(Path(folder), rest[0], int(rest[1]))
