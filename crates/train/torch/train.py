"""Runs the stage `optical`, `align` or `segment` of the default model in PyTorch: samples, draws and constants come
from `mmovseg train feed` (crates/train/src/feed.rs), losses and schedule are those of crates/train/src/losses.rs and
stages, and the later stages of the run continue from the weights that it writes.

    python train.py optical|align|segment --run DIR --data DIR --steps N --batch N --learning-rate R --seed N

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
CHECKPOINT_STEPS = 50


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
        self.embed = config["text"]["embed"]
        self.keep = (config["head"]["grid"] // 2) ** 2
        self.record = Batch.FLAGS + 10 * config["input_px"] ** 2
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
    """A step's samples and draws on the device. Samples of one kind are neighbours: a group."""

    # Bytes before the tiles of a sample: label set, has an optical tile, has a SAR tile, is labelled as a whole,
    # candidate classes.
    FLAGS = 5

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
        flags = records[:, : self.FLAGS].numpy().astype(np.int64)
        kinds = np.concatenate([flags[:, :4], flags[:, 4:] > 0], 1)
        order = np.lexsort(kinds.T[::-1])
        flags, kinds = flags[order], kinds[order]
        records = records.to(device, non_blocking=True)
        self.arrived = torch.cuda.Event() if device.type == "cuda" else None
        if self.arrived:
            self.arrived.record()
        records = records[torch.from_numpy(order).to(device)]
        area = side * side
        mean, std = (told[name].view(1, 3, 1, 1) for name in ("pixel_mean", "pixel_std"))

        def tile(index):
            first = self.FLAGS + 3 * area * index
            return (records[:, first : first + 3 * area].view(-1, 3, side, side).float() - mean) / std

        self.optical, self.clear, self.sar = (tile(index) for index in range(3))
        label = records[:, self.FLAGS + 9 * area :].view(-1, side, side)
        self.groups = []
        first = 0
        while first < len(kinds):
            count = int((kinds[first:] == kinds[first]).all(1).cumprod().sum())
            rows = slice(first, first + count)
            group = Group(label[rows], told["class_weights"][kinds[first, 0]], side, grid)
            group.rows, group.share = rows, count / feed.batch
            group.label_set = int(kinds[first, 0])
            group.has_optical, group.has_sar, group.is_whole, group.is_taught = (bool(x) for x in kinds[first, 1:])
            bits = torch.from_numpy(flags[rows, 4:] >> np.arange(len(told["class_weights"][group.label_set])) & 1)
            group.candidates = bits.to(device).float()[:, :, None, None]
            self.groups.append(group)
            first += count


class Group:
    """The labels of samples of one kind."""

    def __init__(self, label, class_weights, side, grid):
        self.count = label.shape[0]
        self.cells, self.cell_weight = (x.flatten(2) for x in shares(label, class_weights, side // grid))
        self.pixels, self.pixel_weight = shares(label, class_weights, side // (4 * grid))

    def teach(self, logits, told):
        """Takes labels from a teacher's logits: sharpened, among the candidate classes, where it is confident."""
        share = torch.softmax(logits / told["teacher_temperature"], 1) * self.candidates
        share = share / (share.sum(1, keepdim=True) + 1e-12)
        weight = (share.amax(1, keepdim=True) > told["teacher_confidence"]).float()
        cell_weight = F.avg_pool2d(weight, 4)
        cells = F.avg_pool2d(share * weight, 4) / cell_weight.clamp_min(1e-12)
        self.pixels, self.pixel_weight = share, weight
        self.cells, self.cell_weight = cells.flatten(2), cell_weight.flatten(2)


def shares(label, class_weights, cell_px):
    """Share of each class, `[N, T, g, g]`, and of labelled pixels weighted by class, `[N, 1, g, g]`, a cell."""
    classes = torch.arange(len(class_weights), device=label.device)
    each = (label[:, None] == classes[None, :, None, None]).float()
    share = F.avg_pool2d(each, cell_px)
    labelled = share.sum(1, keepdim=True)
    weight = (share * class_weights.view(1, -1, 1, 1)).sum(1, keepdim=True)
    return share / labelled.clamp_min(1e-12), weight


# -- losses, as in crates/train/src/losses.rs --


def cross_entropy(scores, share, weight):
    each = -(share * F.log_softmax(scores, 1)).sum(1, keepdim=True) * weight
    return each.sum() / (weight.sum() + 1e-6)


def with_mean_of_tile(each, scores, group):
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
    return with_mean_of_tile(cross_entropy(scores, share, weight), scores, group)


def region_means(features, cells):
    """Unit means of regions of `cells` × `cells`, `[N · regions, W]`; what fills no whole region is left out."""
    side = math.isqrt(features.shape[1])
    maps = features.transpose(1, 2).reshape(len(features), -1, side, side)
    return F.normalize(F.avg_pool2d(maps, cells).flatten(2).transpose(1, 2).flatten(0, 1), dim=1)


def info_nce(features, fixed, told):
    samples = len(features)
    features, fixed = (region_means(x, told["region_cells"]) for x in (features, fixed))
    scores = features @ fixed.T / told["temperature"]
    sample = torch.arange(len(scores), device=scores.device) // (len(scores) // samples)
    own = sample[:, None] == sample[None]
    own.fill_diagonal_(False)
    return -F.log_softmax(scores.masked_fill(own, -1e9), 1).diagonal().mean()


def l1(features, fixed, _):
    difference = F.normalize(features, dim=2) - F.normalize(fixed, dim=2)
    return difference.abs().mean() * features.shape[2]


# -- stages: each gives the loss, the named terms and the share of every group --


def tokens(maps):
    return maps.flatten(2).transpose(1, 2)


def optical_loss(model, batch, told, _):
    result = []
    for whole in (False, True):
        groups = [group for group in batch.groups if group.is_whole == whole]
        if not groups:
            continue
        optical = torch.cat([batch.optical[group.rows] for group in groups])
        keep = batch.keep if whole else None
        dense = model.clip(optical, keep)
        dense = dense if whole else dense[0]
        deepest = model.dino_taps(optical, "dino_model.", keep)[2]
        counts = [group.count for group in groups]
        for group, clip, deepest in zip(groups, dense.split(counts), deepest.split(counts)):
            side = math.isqrt(deepest.shape[1])
            deepest = deepest.transpose(1, 2).reshape(group.count, -1, side, side)
            dino = tokens(model.patches(deepest, "dino_down_sample"))
            words = F.normalize(batch.text[group.label_set], dim=1)
            of = " of tiles" if whole else ""
            terms = {
                name + of: dense_loss(model.cosine(features, words), group, told["temperature"])
                for name, features in (("clip", clip), ("dino", dino))
            }
            result.append((sum(terms.values()), terms, group.share))
    return result


def align_loss(model, batch, told, options):
    with torch.no_grad():
        fixed = model.dino_taps(batch.clear, "dino_model.")
    loss_of = {"info-nce": info_nce, "l1": l1}[options.loss]
    taps = model.dino_taps(batch.sar, "dino_sarmodel.")
    total = sum(loss_of(tap, other, told) for tap, other in zip(taps, fixed)) / len(taps)
    return [(total, {"align": total}, 1.0)]


def sensors(group, roll):
    """Whether the optical and whether the SAR tile of a group's samples are read, as in stages/segment.rs."""
    if not group.has_sar or not group.has_optical:
        return group.has_optical, group.has_sar
    return not 15 <= roll < 40, roll >= 15


def read_by_groups(read, tiles, groups, uses):
    """What a tower makes of the groups that use it, all at once: for each group its maps, or `None`."""
    used = [group for group in groups if uses[group.rows.start]]
    if not used:
        return {}
    maps = read(torch.cat([tiles[group.rows] for group in used]))
    parts = zip(*(part.split([group.count for group in used]) for part in maps))
    return {group.rows.start: part for group, part in zip(used, parts)}


def read_sensors(model, optical, sar, groups, roll):
    """For each group CLIP's maps, whether it read the optical tile, and the sum of both DINOs' maps."""
    reads = {group.rows.start: sensors(group, roll) for group in groups}
    uses_optical = {start: use[0] for start, use in reads.items()}
    uses_sar = {start: use[1] for start, use in reads.items()}
    clips = read_by_groups(model.clip, optical, groups, uses_optical)
    optical_maps = read_by_groups(lambda tiles: model.dino(tiles, False), optical, groups, uses_optical)
    sar_maps = read_by_groups(lambda tiles: model.dino(tiles, True), sar, groups, uses_sar)
    if len(clips) < len(groups):
        blank = model.clip(torch.zeros_like(optical[:1]))
    result = []
    for group in groups:
        start = group.rows.start
        maps = [maps[start] for maps in (optical_maps, sar_maps) if start in maps]
        dino = maps[0] if len(maps) == 1 else [a + b for a, b in zip(*maps)]
        clip = clips.get(start) or [part.expand(group.count, *part.shape[1:]) for part in blank]
        result.append((clip, start in clips, dino))
    return result


# The moved view of a batch: the largest shift, and what the reflection at its edges disturbs, both in pixels; the
# largest change of gain and offset, in standard deviations of the pixels.
MOVED_PX = 64
REFLECTED_PX = 16
MOVED_GAIN, MOVED_OFFSET = 0.05, 0.05


class Move:
    """Moves tiles by an even number of pixels, reflected at the edges, and changes their radiometry a little."""

    def __init__(self, draws):
        self.px = [2 * int(draws.integers(-MOVED_PX // 2, MOVED_PX // 2 + 1)) for _ in range(2)]
        self.draws = draws

    def tiles(self, tiles):
        count, channels = tiles.shape[:2]
        gain = 1 + MOVED_GAIN * torch.tensor(self.draws.uniform(-1, 1, (count, 1, 1, 1)), dtype=tiles.dtype)
        offset = MOVED_OFFSET * torch.tensor(self.draws.uniform(-1, 1, (count, channels, 1, 1)), dtype=tiles.dtype)
        side = tiles.shape[2]
        wide = F.pad(tiles, (MOVED_PX,) * 4, mode="reflect")
        y, x = (MOVED_PX + px for px in self.px)
        return wide[:, :, y : y + side, x : x + side] * gain.to(tiles) + offset.to(tiles)

    def disagreement(self, logits, moved):
        """Jensen-Shannon divergence of the class probabilities of both views where they show the same ground, weighted
        as windows are blended: by the squared sine of the position in each view."""
        side = logits.shape[2]
        taper = torch.sin((torch.arange(side, device=logits.device) + 0.5) / side * math.pi) ** 2
        cells, weights = [], []
        for px in self.px:
            shift, disturbed = px // 2, REFLECTED_PX // 2
            first = max(0, shift) + (disturbed if shift < 0 else 0)
            last = min(side, side + shift) - (disturbed if shift > 0 else 0)
            cells.append((slice(first, last), slice(first - shift, last - shift)))
            weights.append(taper[first:last] * taper[first - shift : last - shift])
        (y, moved_y), (x, moved_x) = cells
        a, b = F.log_softmax(logits[:, :, y, x], 1), F.log_softmax(moved[:, :, moved_y, moved_x], 1)
        middle = torch.logaddexp(a, b) - math.log(2)
        each = (a.exp() * (a - middle) + b.exp() * (b - middle)).sum(1) / 2
        weight = weights[0][:, None] * weights[1][None]
        return (each * weight).sum() / (weight.sum() * len(each))


def segment_loss(model, batch, told, options):
    groups = batch.groups
    for group in groups:
        if group.is_taught:
            with torch.no_grad():
                clear = batch.clear[group.rows]
                text = batch.text[group.label_set]
                group.teach(model.head(model.clip(clear), model.dino(clear, False), text), told)
    move = moved = None
    if options.consistency:
        move = Move(np.random.default_rng([options.seed, batch.step]))
        tiles = move.tiles(batch.optical), move.tiles(batch.sar)
        moved = read_sensors(model, *tiles, groups, batch.roll)
    temperature, dense_weight = told["temperature"], told["dense_weight"]
    result = []
    for at, (group, (clip, has_clip, dino)) in enumerate(
        zip(groups, read_sensors(model, batch.optical, batch.sar, groups, batch.roll))
    ):
        text = batch.text[group.label_set]
        words = F.normalize(text, dim=1)
        dense = dense_loss(model.cosine(tokens(dino[0]), words), group, temperature)
        if has_clip:
            dense = dense + dense_loss(model.cosine(clip[0], words), group, temperature)
        logits = model.head(clip, dino, text)
        share, weight = group.pixels.flatten(2), group.pixel_weight.flatten(2)
        pixels = cross_entropy(model.pixel_cosine(dino[3], text) / temperature, share, weight)
        bce = F.binary_cross_entropy_with_logits(logits, group.pixels, reduction="none").mean(1, keepdim=True)
        bce = (bce * group.pixel_weight).sum() / (group.pixel_weight.sum() + 1e-6)
        scores = logits.flatten(2)
        ce = with_mean_of_tile(cross_entropy(scores, share, weight), scores, group)
        terms = {"bce": bce, "ce": ce, "dense": dense, "pixels": pixels}
        total = bce * told["binary_weight"] + ce + (dense + pixels) * dense_weight
        if move:
            clip, _, dino = moved[at]
            terms["moved"] = move.disagreement(logits, model.head(clip, dino, text))
            total = total + terms["moved"] * options.consistency
        result.append((total, terms, group.share))
    return result


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
    saved = folder / "checkpoint.pt"
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
    loss_of = {"optical": optical_loss, "align": align_loss, "segment": segment_loss}[options.stage]
    started = time.monotonic()
    log = (folder / "losses.jsonl").open("a")
    for step in range(first, options.steps):
        block = feed.next()
        batch = Batch(block, feed, told, device)
        batch.step = step
        logs = step % LOG_STEPS == 0 or step + 1 == options.steps
        optimizer.zero_grad(set_to_none=True)
        told_terms = loss_of(model, batch, told, options)
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
    torch.save(state, folder / "checkpoint.part")
    (folder / "weights.part").rename(folder / "weights.safetensors")
    (folder / "checkpoint.part").rename(folder / "checkpoint.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("optical", "align", "segment"))
    parser.add_argument("--run", required=True, help="folder of the run, as of mmovseg train")
    parser.add_argument("--data", required=True, help="the data folder, as of mmovseg train")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--loss", choices=("info-nce", "l1"), default="info-nce", help="what `align` minimises")
    parser.add_argument(
        "--consistency",
        type=float,
        default=0.0,
        help="weight of the disagreement of `segment` with itself on a moved view of each tile",
    )
    parser.add_argument("--mmovseg", default="mmovseg", help="the program, where it is not on the path")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
