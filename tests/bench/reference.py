"""The bench's graphs in PyTorch, written from the specification alone: exported to ONNX for onnxruntime and
onnxruntime-web, and timed natively beside ours.

    python reference.py export DIR GRAPH…   ONNX files, and PyTorch's outputs as raw f32
    python reference.py time DIR GRAPH RUNS milliseconds of each run, of PyTorch and onnxruntime, as JSON
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
from network import Network

class Graph(Network):
    """One graph with its inputs as forward's arguments; its output is one flat vector."""

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


def resized_tables(tensors, config):
    """Position tables at the size of the input, once: a run need not do it."""
    for name, table in tensors.items():
        is_clip = name.endswith("visual.positional_embedding")
        if not is_clip and not name.endswith(".pos_embed"):
            continue
        part = config["clip" if is_clip else "dino"]
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


def load(folder, name):
    tensors = load_file(folder / f"{name}.safetensors")
    inputs = [tensors.pop(key) for key in ("optical", "sar", "text")]
    config = json.loads((folder / f"{name}.json").read_text())
    resized_tables(tensors, config)
    return Graph(name, tensors, config).eval(), inputs


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
    told = {"torch": [], "onnxruntime": []}
    for _ in range(runs):
        for engine, run in (("torch", lambda: graph(*inputs)), ("onnxruntime", lambda: session.run(None, feed)[0])):
            started = time.perf_counter()
            out = run()
            told[engine].append((time.perf_counter() - started) * 1e3)
            out = np.asarray(out)
    ours = folder / f"{name}.ours.f32"
    if ours.exists():
        told["difference"] = float(np.abs(np.fromfile(ours, np.float32) - out).max() / np.abs(out).max())
    told["threads"] = torch.get_num_threads()
    print(json.dumps(told))


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "export":
        export(Path(folder), rest)
    else:
        times(Path(folder), rest[0], int(rest[1]))
