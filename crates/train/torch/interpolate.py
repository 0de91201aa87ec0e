"""Weights between a stage's start and its result: after a short stage on new data they keep most of the old skill and
most of the new one (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).

    python interpolate.py RUN/STAGE SHARE

Replaces RUN/STAGE/weights.safetensors by start + SHARE · (weights − start); the result of the stage itself is kept
as `full.safetensors`. Needs PyTorch and safetensors.
"""

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", type=Path, help="folder of a stage that train.py ran")
    parser.add_argument("share", type=float, help="0 is the start, 1 the result")
    options = parser.parse_args()
    result, full = options.stage / "weights.safetensors", options.stage / "full.safetensors"
    if not full.exists():
        result.rename(full)
    start, end = load_file(options.stage / "start.safetensors"), load_file(full)
    mixed = {name: start[name].lerp(tensor, options.share).contiguous() for name, tensor in end.items()}
    part = options.stage / "weights.part"
    save_file(mixed, part)
    part.rename(result)


if __name__ == "__main__":
    main()
