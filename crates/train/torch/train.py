"""Runs the stage `optical` or `segment` of the default model in PyTorch, for a graphics card: samples, draws and
constants come from `mmovseg train feed` (crates/train/src/feed.rs), losses and schedule are those of the stage
itself (crates/train/src/vision.rs), and the run's later stages go on from what it gives.

    python train.py optical|segment --run DIR --data DIR --steps N --batch N --learning-rate R --seed N

Resumes from its last checkpoint. Needs PyTorch, NumPy and safetensors.
"""

import argparse
import json
import math
import queue
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from network import Network
from safetensors.torch import load_file, save_file

LOG_STEPS = 10
CHECKPOINT_STEPS = 500
EUROSAT = 1


# -- what the program sends --


class Feed:
    """Batches in the order of their steps, read ahead by a thread."""

    AHEAD = 4

    def __init__(self, options, first):
        command = [options.mmovseg, "train", "feed", options.stage, "--device", "cpu", "--first", str(first)]
        for name in ("run", "data", "steps", "batch", "learning_rate", "seed"):
            command += ["--" + name.replace("_", "-"), str(getattr(options, name))]
        # A pipe of the usual size would be emptied five hundred times a batch.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, pipesize=1 << 20)
        self.folder = Path(options.run) / options.stage
        self.batch = options.batch
        self.full = queue.Queue()
        self.empty = queue.Queue()

    def start(self):
        """The stage's constants and its first weights."""
        first_byte = self.process.stdout.read(1)
        if not first_byte:
            raise SystemExit("mmovseg sent no samples; see its message above")
        told = json.loads((self.folder / "feed.json").read_text())
        config = told["config"]
        self.classes = [len(weights) for weights in told["class_weights"]]
        self.embed = config["clip"]["embed"]
        self.keep = (config["input_px"] // config["dino"]["patch_px"] // 2) ** 2
        self.record = 4 + 7 * config["input_px"] ** 2
        self.head = 4 + 4 * self.keep + 4 * self.embed * sum(self.classes)
        pinned = torch.cuda.is_available()
        for _ in range(self.AHEAD):
            size = self.head + self.batch * self.record
            self.empty.put(torch.empty(size, dtype=torch.uint8, pin_memory=pinned))
        threading.Thread(target=self.read, args=(first_byte,), daemon=True).start()
        return told, load_file(self.folder / "start.safetensors")

    def read(self, known):
        while True:
            block = self.empty.get()
            view = memoryview(block.numpy())
            done = len(known)
            view[:done] = known
            known = b""
            while done < len(view):
                count = self.process.stdout.readinto(view[done:])
                if not count:
                    self.full.put(None)
                    return
                done += count
            self.full.put(block)

    def next(self):
        block = self.full.get()
        if block is None:
            raise SystemExit("mmovseg ended before the last step; see its message above")
        return block


class Batch:
    """A step's samples and draws on the device, sorted by kind: scenes and pairs, collages, whole tiles."""

    def __init__(self, block, feed, told, device):
        config = told["config"]
        side, grid = config["input_px"], config["head"]["grid"]
        raw = block[: feed.head].numpy()
        split = 4 + 4 * feed.keep
        numbers, words = raw[:split].view(np.uint32), raw[split:].view(np.float32).reshape(-1, feed.embed)
        self.roll = int(numbers[0])
        self.keep = torch.from_numpy(numbers[1:].astype(np.int64)).to(device)
        self.text = torch.from_numpy(words.copy()).to(device).split(feed.classes)
        records = block[feed.head :].view(feed.batch, feed.record)
        flags = records[:, :4].numpy().copy()
        kinds = flags[:, 2] + flags[:, 3]
        order = np.argsort(kinds, kind="stable")
        flags = flags[order]
        self.any_sar = bool(flags[:, 0].any())
        self.any_both = bool((flags[:, 0] & flags[:, 1]).any())
        # Of scenes and pairs, of collages, of whole tiles.
        self.counts = [int((kinds == kind).sum()) for kind in range(3)]
        records = records.to(device, non_blocking=True)
        self.arrived = torch.cuda.Event() if device.type == "cuda" else None
        if self.arrived:
            self.arrived.record()
        records = records[torch.from_numpy(order).to(device)]
        area = side * side
        mean, std = (told[name].view(1, 3, 1, 1) for name in ("pixel_mean", "pixel_std"))

        def tile(first):
            return (records[:, first : first + 3 * area].view(-1, 3, side, side).float() - mean) / std

        self.has_sar = records[:, 0].float().view(-1, 1, 1, 1)
        self.both_see = (records[:, 0] * records[:, 1]).float()
        self.optical = tile(4)
        self.sar = tile(4 + 3 * area) * self.has_sar
        label = records[:, 4 + 6 * area :].view(-1, side, side)
        self.groups = []
        first = 0
        for kind, count in enumerate(self.counts):
            if count:
                legend = min(kind, EUROSAT)
                group = Group(label[first : first + count], told["class_weights"][legend], side, grid)
                group.legend, group.is_whole, group.share = legend, kind == 2, count / feed.batch
                self.groups.append(group)
            first += count

    def legends(self):
        """Each legend here with the number of its samples."""
        counts = [self.counts[0], self.counts[1] + self.counts[2]]
        return [(legend, count) for legend, count in enumerate(counts) if count]


class Group:
    """The labels of samples of one kind."""

    def __init__(self, label, class_weights, side, grid):
        self.count = label.shape[0]
        self.cells, self.cell_weight = (x.flatten(2) for x in shares(label, class_weights, side // grid))
        self.pixels, self.pixel_weight = shares(label, class_weights, side // (4 * grid))


def shares(label, class_weights, cell_px):
    """Share of each class, `[N, T, g, g]`, and of labelled pixels weighted by class, `[N, 1, g, g]`, a cell."""
    classes = torch.arange(len(class_weights), device=label.device)
    each = (label[:, None] == classes[None, :, None, None]).float()
    share = F.avg_pool2d(each, cell_px)
    labelled = share.sum(1, keepdim=True)
    weight = (share * class_weights.view(1, -1, 1, 1)).sum(1, keepdim=True)
    return share / labelled.clamp_min(1e-12), weight


# -- losses --


def cross_entropy(scores, share, weight):
    each = -(share * F.log_softmax(scores, 1)).sum(1, keepdim=True) * weight
    return each.sum() / (weight.sum() + 1e-6)


def with_the_whole(each, scores, group):
    if not group.is_whole:
        return each
    share, weight = group.cells[:, :, :1], group.cell_weight[:, :, :1]
    return (each + cross_entropy(scores.mean(2, keepdim=True), share, weight)) / 2


def dense_loss(cosines, group, temperature):
    scores = cosines / temperature
    share, weight = group.cells, group.cell_weight
    if group.is_whole:
        count = scores.shape[2]
        share, weight = share[:, :, :1].expand(-1, -1, count), weight[:, :, :1].expand(-1, -1, count)
    return with_the_whole(cross_entropy(scores, share, weight), scores, group)


def place_loss(sar, optical, weight, temperature):
    optical = F.normalize(optical, dim=2).detach()
    likeness = F.normalize(sar, dim=2) @ optical.transpose(1, 2) / temperature
    each = -F.log_softmax(likeness, 2).diagonal(dim1=1, dim2=2).mean(1)
    return (each * weight).sum() / (weight.sum() + 1e-6)


def tokens(maps):
    return maps.flatten(2).transpose(1, 2)


def optical_loss(model, batch, told):
    """The loss, and the terms of each group with its share."""
    loose = batch.counts[0] + batch.counts[1]
    parts = []
    if loose:
        clip = model.clip(batch.optical[:loose])[0]
        deepest = model.dino_taps(batch.optical[:loose], "dino_model.")[2]
        parts += zip(*(x.split([n for n in batch.counts[:2] if n]) for x in (clip, deepest)))
    if batch.counts[2]:
        clip = model.clip(batch.optical[loose:], batch.keep)
        parts.append((clip, model.dino_taps(batch.optical[loose:], "dino_model.", batch.keep)[2]))
    told_terms = []
    for group, (clip, deepest) in zip(batch.groups, parts):
        side = math.isqrt(deepest.shape[1])
        deepest = deepest.transpose(1, 2).reshape(group.count, -1, side, side)
        dino = tokens(model.patches(deepest, "dino_down_sample"))
        words = F.normalize(batch.text[group.legend], dim=1)
        of = " of tiles" if group.is_whole else ""
        terms = {
            name + of: dense_loss(model.cosine(features, words), group, told["temperature"])
            for name, features in (("clip", clip), ("dino", dino))
        }
        told_terms.append((sum(terms.values()), terms, group.share))
    return told_terms


def segment_loss(model, batch, told):
    """The same for `segment`. The towers read all samples at once, the head those of a legend."""
    legends = batch.legends()
    counts = [count for _, count in legends]
    scenes = batch.counts[0]
    sensors = "both"
    if not batch.any_sar or batch.roll < 15:
        sensors = "optical"
    elif batch.roll < 40:
        sensors = "sar"
    # EuroSAT's samples are read by the optical towers alone.
    blind = scenes if sensors == "sar" else 0
    seen = torch.cat([torch.zeros_like(batch.optical[:blind]), batch.optical[blind:]])
    clip = [part.split(counts) for part in model.clip(seen)]
    optical = radar = None
    if blind < len(batch.optical):
        optical = model.dino(batch.optical[blind:], False)
    if sensors != "optical":
        has_sar = batch.has_sar[:scenes]
        *maps, pixels = model.dino(batch.sar[:scenes], True)
        radar = [part * has_sar for part in maps] + [pixels * has_sar[:, 0]]
    temperature, dense_weight = told["temperature"], told["dense_weight"]
    told_terms = []
    for at, (legend, count) in enumerate(legends):
        text = batch.text[legend]
        words = F.normalize(text, dim=1)
        dense, coarse, fine = (part[at] for part in clip)
        by_both = legend != EUROSAT and sensors == "both"
        if legend != EUROSAT and sensors == "sar":
            dino = radar
        else:
            dino = [part.split([count] if blind else counts)[0 if blind else at] for part in optical]
            own = dino[0]
            dino = [a + b for a, b in zip(dino, radar)] if by_both else dino
        of_tokens = model.cosine(tokens(dino[0]), words)
        of_clip = model.cosine(dense, words)
        of_pixels = model.pixel_cosine(dino[3], text)
        logits = model.head((dense, coarse, fine), dino, text)
        mine = [group for group in batch.groups if group.legend == legend]
        sizes = [group.count for group in mine]
        for group, (of_tokens, of_clip, of_pixels, logits) in zip(
            mine, zip(*(x.split(sizes) for x in (of_tokens, of_clip, of_pixels, logits)))
        ):
            weight = group.pixel_weight
            loss = dense_loss(of_tokens, group, temperature)
            if legend != EUROSAT and sensors == "sar":
                weight = weight * batch.has_sar[:scenes]
            else:
                loss = loss + dense_loss(of_clip, group, temperature)
            flat = weight.flatten(2)
            sight = cross_entropy(of_pixels / temperature, group.pixels.flatten(2), flat)
            bce = F.binary_cross_entropy_with_logits(logits, group.pixels, reduction="none").mean(1, keepdim=True)
            bce = (bce * weight).sum() / (weight.sum() + 1e-6)
            scores = logits.flatten(2)
            ce = with_the_whole(cross_entropy(scores, group.pixels.flatten(2), flat), scores, group)
            terms = {"bce": bce, "ce": ce, "dense": loss, "pixels": sight}
            total = bce * 4 + ce + (loss + sight) * dense_weight
            if by_both and batch.any_both:
                both_see = batch.both_see[:scenes]
                place = place_loss(tokens(radar[0]), tokens(own), both_see, temperature)
                terms["place"] = place
                total = total + place * told["place_weight"]
            told_terms.append((total, terms, group.share))
    return told_terms


# -- the loop --


def learning_rate(step, options, told):
    at = (step + 1) / options.steps
    warm_up, last = told["warm_up"], told["last"]
    if at < warm_up:
        return options.learning_rate * at / warm_up
    turn = math.pi * (at - warm_up) / (1 - warm_up)
    return options.learning_rate * 0.5 * (1 + last + (1 - last) * math.cos(turn))


def train(options):
    folder = Path(options.run) / options.stage
    saved = folder / "outside.pt"
    state = torch.load(saved, map_location="cpu", weights_only=True) if saved.exists() else None
    asked = {name: getattr(options, name) for name in ("steps", "batch", "learning_rate", "seed")}
    if state and state["asked"] != asked:
        raise SystemExit(f"{saved} belongs to another run, {state['asked']}: name another run folder")
    first = state["step"] if state else 0
    if first == options.steps:
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    feed = Feed(options, first)
    told, tensors = feed.start()
    told |= {name: torch.tensor(told[name], device=device) for name in ("pixel_mean", "pixel_std")}
    told["class_weights"] = [torch.tensor(weights, device=device) for weights in told["class_weights"]]
    model = Network(tensors, told["config"], set(told["learned"])).to(device)
    learned = {name.replace("~", "."): parameter for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(
        learned.values(),
        lr=0.0,
        betas=(0.9, told["beta_2"]),
        eps=1e-8,
        weight_decay=told["weight_decay"],
        fused=device.type == "cuda",
    )
    average = [parameter.detach().clone() for parameter in learned.values()]
    if state:
        # The feed writes its start anew each time; what was learned so far is in the checkpoint.
        with torch.no_grad():
            for name, parameter in learned.items():
                parameter.copy_(state["model"][name])
        optimizer.load_state_dict(state["optimizer"])
        average = [tensor.to(device) for tensor in state["average"]]
    loss_of = optical_loss if options.stage == "optical" else segment_loss
    started = time.monotonic()
    log = (folder / "losses.jsonl").open("a")
    for step in range(first, options.steps):
        block = feed.next()
        batch = Batch(block, feed, told, device)
        logs = step % LOG_STEPS == 0 or step + 1 == options.steps
        optimizer.zero_grad(set_to_none=True)
        told_terms = loss_of(model, batch, told)
        sum(total * share for total, _, share in told_terms).backward()
        if batch.arrived:
            batch.arrived.synchronize()
        feed.empty.put(block)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options, told)
        optimizer.step()
        if (step + 1) % told["average_every"] == 0:
            looks = (step + 1) // told["average_every"]
            share = 1 / min(looks, told["average_looks"])
            torch._foreach_lerp_(average, [parameter.detach() for parameter in learned.values()], share)
        if logs:
            line = {"step": step, "seconds": time.monotonic() - started} | means(told_terms)
            print(json.dumps(line), file=log, flush=True)
            print(line, flush=True)
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == options.steps:
            save(folder, tensors, learned, optimizer, average, step + 1, asked)


def means(told_terms):
    """Of each term over the samples that have it."""
    sums = {}
    for _, terms, share in told_terms:
        for name, term in terms.items():
            value, of = sums.get(name, (0.0, 0.0))
            sums[name] = (value + term.item() * share, of + share)
    return {name: value / of for name, (value, of) in sums.items()}


def save(folder, tensors, learned, optimizer, average, step, asked):
    result = dict(tensors) | {name: mean.cpu() for name, mean in zip(learned, average)}
    state = {
        "step": step,
        "asked": asked,
        "model": {name: parameter.detach().cpu() for name, parameter in learned.items()},
        "optimizer": optimizer.state_dict(),
        "average": [mean.cpu() for mean in average],
    }
    # Written beside and renamed: a stop leaves the last whole checkpoint.
    save_file(result, folder / "weights.part")
    torch.save(state, folder / "outside.part")
    (folder / "weights.part").rename(folder / "weights.safetensors")
    (folder / "outside.part").rename(folder / "outside.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("optical", "segment"))
    parser.add_argument("--run", required=True, help="folder of the run, as of mmovseg train")
    parser.add_argument("--data", required=True, help="folder with eurosat_rgb and s1s2_pairs")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--mmovseg", default="mmovseg", help="the program, where it is not on the path")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
