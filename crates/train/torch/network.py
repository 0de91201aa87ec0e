"""The network in PyTorch, written from the specification alone: what the bench compares ours with, and what
`train.py` trains on a graphics card. Every function takes `N` images at once; names and layouts are those of the
checkpoints.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

HEAD = "sem_seg_head.predictor.transformer."
CLIP = "sem_seg_head.predictor.clip_model.visual."


def size(x, axis):
    """A side as a plain number: what the exporter would otherwise compute in the graph."""
    return int(x.shape[axis])


def each(maps, classes):
    """Every image once a class, `[N T, …]`."""
    return maps.unsqueeze(1).expand(-1, classes, *maps.shape[1:]).flatten(0, 1)


def kept(table, keep):
    """The rows of a position table `[1, 1 + L, W]` that belong to the kept patches."""
    return table if keep is None else torch.cat([table[:, :1], table[:, 1:][:, keep]], 1)


def encoder(config, architecture):
    """The first encoder of this kind; packages before encoders were a list name one of each."""
    for part in config.get("encoders", ()):
        if part["architecture"] == architecture:
            return part
    return config["clip" if architecture == "clip-vit" else "dino"]


class Network(nn.Module):
    """The parts of the network over parameters that keep their checkpoint names."""

    def __init__(self, tensors, config, learned=()):
        super().__init__()
        self.config = config
        for name, tensor in tensors.items():
            if name in learned:
                self.register_parameter(name.replace(".", "~"), nn.Parameter(tensor))
            else:
                self.register_buffer(name.replace(".", "~"), tensor)

    def p(self, name):
        return getattr(self, name.replace(".", "~"), None)

    def linear(self, x, name):
        return F.linear(x, self.p(name + ".weight"), self.p(name + ".bias"))

    def layer_norm(self, x, name, eps=1e-5):
        return F.layer_norm(x, (size(x, x.dim() - 1),), self.p(name + ".weight"), self.p(name + ".bias"), eps)

    def group_norm(self, x, name, groups):
        return F.group_norm(x, groups, self.p(name + ".weight"), self.p(name + ".bias"))

    def conv(self, x, name):
        weight = self.p(name + ".weight")
        return F.conv2d(x, weight, self.p(name + ".bias"), padding=size(weight, 3) // 2)

    def patches(self, x, name):
        weight = self.p(name + ".weight")
        return F.conv2d(x, weight, self.p(name + ".bias"), stride=size(weight, 3))

    def up(self, x, name):
        weight = self.p(name + ".weight")
        return F.conv_transpose2d(x, weight, self.p(name + ".bias"), stride=size(weight, 3))

    def attend(self, q, k, v, heads, mask=None):
        def split(x):
            return x.view(size(x, 0), size(x, 1), heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask)
        return mixed.transpose(1, 2).reshape(size(q, 0), size(q, 1), -1)

    # -- towers --

    def clip(self, pixels, keep=None):
        c = encoder(self.config, "clip-vit")
        grid = c["input_px"] // c["patch_px"]
        x = self.patches(pixels, CLIP + "conv1").flatten(2).transpose(1, 2)
        if keep is not None:
            x = x[:, keep]
        width = size(x, 2)
        count = size(x, 0)
        x = torch.cat([self.p(CLIP + "class_embedding").view(1, 1, width).expand(count, -1, -1), x], 1)
        x = x + kept(self.p(CLIP + "positional_embedding")[None], keep)
        x = self.layer_norm(x, CLIP + "ln_pre")
        taps = []
        for i in range(c["layers"]):
            block = f"{CLIP}transformer.resblocks.{i}."
            n = self.layer_norm(x, block + "ln_1")
            bias = self.p(block + "attn.in_proj_bias").chunk(3)
            v = F.linear(n, self.p(block + "attn.v_proj_weight"), bias[2])
            if i + 1 == c["layers"]:
                x = self.linear(v, block + "attn.out_proj") + x[:, :1]
            else:
                q = F.linear(n, self.p(block + "attn.q_proj_weight"), bias[0])
                k = F.linear(n, self.p(block + "attn.k_proj_weight"), bias[1])
                x = x + self.linear(self.attend(q, k, v, c["heads"]), block + "attn.out_proj")
            h = self.linear(self.layer_norm(x, block + "ln_2"), block + "mlp.c_fc")
            x = x + self.linear(h * torch.sigmoid(1.702 * h), block + "mlp.c_proj")
            if i in c["taps"]:
                taps.append(x[:, 1:].transpose(1, 2))
        dense = (self.layer_norm(x, CLIP + "ln_post") @ self.p(CLIP + "proj"))[:, 1:]
        if keep is not None:
            return dense
        taps = [tap.reshape(count, width, grid, grid) for tap in taps]
        fine = self.guide(self.up(taps[1], "upsample2"), pixels, "upsample2_pixels.")
        return dense, self.up(taps[0], "upsample1"), fine

    def guide(self, fine, pixels, name):
        if self.p(name + "pairs.weight") is None:
            return fine
        x = F.relu(self.patches(pixels, name + "pairs"))
        return fine + self.conv(F.relu(self.conv(x, name + "conv1")), name + "conv2")

    def dino_taps(self, pixels, tower, keep=None):
        c = encoder(self.config, "dino-v1")
        x = self.patches(pixels, tower + "patch_embed.proj")
        x = x.flatten(2).transpose(1, 2)
        if keep is not None:
            x = x[:, keep]
        x = torch.cat([self.p(tower + "cls_token").expand(size(x, 0), -1, -1), x], 1)
        x = x + kept(self.p(tower + "pos_embed"), keep)
        taps = []
        for i in range(c["layers"]):
            block = f"{tower}blocks.{i}."
            q, k, v = self.linear(self.layer_norm(x, block + "norm1", 1e-6), block + "attn.qkv").chunk(3, 2)
            x = x + self.linear(self.attend(q, k, v, c["heads"]), block + "attn.proj")
            h = F.gelu(self.linear(self.layer_norm(x, block + "norm2", 1e-6), block + "mlp.fc1"))
            x = x + self.linear(h, block + "mlp.fc2")
            if i in c["taps"]:
                taps.append(self.layer_norm(x, tower + "norm", 1e-6)[:, 1:])
        return taps

    def dino(self, pixels, sar):
        tower = "dino_sarmodel." if sar else "dino_model."
        stem = "dino_sar" if sar else "dino_"
        maps = []
        for tap in self.dino_taps(pixels, tower):
            grid = math.isqrt(size(tap, 1))
            maps.append(tap.transpose(1, 2).reshape(size(tap, 0), -1, grid, grid))
        # Where both grids are alike, as in the default model, the first projection enlarges too.
        first = self.up if size(maps[0], 2) == self.config["head"]["grid"] else self.patches
        coarse = first(maps[0], stem + "decod_proj1")
        fine = self.up(maps[1], stem + "decod_proj2")
        down = self.patches(maps[2], stem + "down_sample")
        fine = self.guide(fine, pixels, stem + "decod_pixels.")
        if self.p(stem + "pixel_tower.pairs.weight") is None:
            return down, coarse, fine
        return down, coarse, fine, self.pixel_tower(pixels, fine, down, stem + "pixel_tower.")

    def round(self, x, name):
        return x + F.relu(self.group_norm(self.conv(x, name + ".conv"), name + ".norm", 4))

    def pixel_tower(self, pixels, fine, tokens, name):
        near = F.relu(self.patches(pixels, name + "pairs"))
        near = F.relu(self.conv(near, name + "near"))
        x = F.relu(self.patches(near, name + "down"))
        for i in range(3):
            x = self.round(x, f"{name}rounds.{i}")
        deep = F.relu(self.patches(x, name + "deep.down") + self.patches(tokens, name + "deep.tokens"))
        for i in range(2):
            deep = self.round(deep, f"{name}deep.rounds.{i}")
        x = self.round(x + self.up(deep, name + "deep.up"), name + "deep.join")
        x = self.up(x, name + "up") + near + fine
        x = F.relu(self.group_norm(self.conv(x, name + "join"), name + "norm", 4))
        return self.patches(x, name + "out").flatten(2).transpose(1, 2)

    # -- head --

    def head(self, clip, dino, text):
        """Logits `[N, T, 4g, 4g]`; maps of classes lie image by image."""
        h = self.config["head"]
        grid = h["grid"]
        dense, clip_coarse, clip_fine = clip
        down, dino_coarse, dino_fine, *pixels = dino
        images, classes = size(dense, 0), size(text, 0)
        words = F.normalize(text, dim=1)

        def volume(features):
            return self.cosine(features, words).reshape(images * classes, 1, grid, grid)

        a = torch.sigmoid(self.conv(volume(dense), HEAD + "conv1"))
        d = torch.sigmoid(self.conv(volume(down.flatten(2).transpose(1, 2)), HEAD + "conv2"))
        x = torch.sigmoid(self.conv(torch.cat([a, d], 1), HEAD + "fusion_corr")) + a
        appearance = dense.transpose(1, 2).reshape(images, -1, grid, grid)
        appearance = F.relu(self.conv(appearance, HEAD + "guidance_projection.0"))
        appearance = appearance.flatten(2).transpose(1, 2)
        guidance = F.relu(self.linear(words, HEAD + "text_guidance_projection.0"))

        def guides(kind, maps):
            name = f"{HEAD}{kind}_decoder_guidance_projection."
            return [each(F.relu(self.conv(m, f"{name}{i}.0")), classes) for i, m in enumerate(maps)]

        clip_guides = guides("CLIP", [clip_coarse, clip_fine])
        dino_guides = guides("DINO", [dino_coarse, dino_fine])
        x = x.flatten(2).transpose(1, 2)
        for i in range(h["layers"]):
            x = self.layer(x, appearance, guidance, f"{HEAD}layers.{i}.")
        x = x.transpose(1, 2).reshape(images * classes, -1, grid, grid)
        for i in range(2):
            name = f"{HEAD}Fusiondecoder{i + 1}."
            x = torch.cat([self.up(x, name + "up"), clip_guides[i], dino_guides[i]], 1)
            name += "conv.double_conv."
            x = F.relu(self.group_norm(self.conv(x, name + "0"), name + "1", h["groups"][i]))
            x = F.relu(self.group_norm(self.conv(x, name + "3"), name + "4", h["groups"][i]))
        logits = self.conv(x, HEAD + "head").reshape(images, classes, 4 * grid, 4 * grid)
        if not pixels:
            return logits
        seen = self.pixel_cosine(pixels[0], text).reshape(images, classes, 4 * grid, 4 * grid)
        return logits + seen * self.p("pixel_head.gain") * 8.0 + self.p("pixel_head.offset")

    @staticmethod
    def cosine(features, words):
        """Of `[N, L, E]` with unit vectors `[T, E]`, `[N, T, L]`."""
        return (F.normalize(features, dim=2) @ words.T).transpose(1, 2)

    def pixel_cosine(self, pixels, text):
        fine = self.linear(text, "pixel_head.text")
        return self.cosine(pixels, F.normalize(fine, dim=1))

    def layer(self, x, appearance, text, name):
        h = self.config["head"]
        swin = name + "swin_block."
        images, classes = size(appearance, 0), size(text, 0)
        guide = each(self.layer_norm(appearance, swin + "guidance_norm"), classes)
        x = self.window(x, guide, swin + "block_1.", 0)
        x = self.window(x, guide, swin + "block_2.", h["window"] // 2)
        width, half = size(x, 2), h["grid"] // 2
        pooled = F.avg_pool2d(x.transpose(1, 2).reshape(images * classes, width, 2 * half, 2 * half), 2)
        s = pooled.reshape(images, classes, width, half * half).permute(0, 3, 1, 2)
        s = self.across(s.reshape(images * half * half, classes, width), text, name + "attention.")
        back = s.reshape(images, half * half, classes, width).permute(0, 2, 3, 1)
        back = back.reshape(images * classes, width, half, half)
        back = F.interpolate(back, (2 * half, 2 * half), mode="bilinear", align_corners=True)
        return x + back.flatten(2).transpose(1, 2)

    def window(self, x, guide, name, shift):
        h = self.config["head"]
        w, grid = h["window"], h["grid"]
        n = self.layer_norm(x, name + "norm1")

        def cut(t):
            t = t.reshape(size(t, 0), grid, grid, -1)
            if shift:
                t = torch.roll(t, (-shift, -shift), (1, 2))
            t = t.reshape(size(t, 0), 2, w, 2, w, -1).permute(0, 1, 3, 2, 4, 5)
            return t.reshape(-1, w * w, size(t, 5))

        guided, values = cut(torch.cat([n, guide], 2)), cut(n)
        mask = self.shift_mask(grid, w, shift).to(x).repeat(size(x, 0), 1, 1).unsqueeze(1) if shift else None
        q, k = self.linear(guided, name + "attn.q"), self.linear(guided, name + "attn.k")
        mixed = self.attend(q, k, self.linear(values, name + "attn.v"), h["heads"], mask)
        mixed = self.linear(mixed, name + "attn.proj")
        mixed = mixed.reshape(-1, 2, 2, w, w, size(mixed, 2)).permute(0, 1, 3, 2, 4, 5)
        mixed = mixed.reshape(size(x, 0), grid, grid, -1)
        if shift:
            mixed = torch.roll(mixed, (shift, shift), (1, 2))
        x = x + mixed.reshape(size(x, 0), grid * grid, -1)
        hidden = F.gelu(self.linear(self.layer_norm(x, name + "norm2"), name + "mlp.fc1"))
        return x + self.linear(hidden, name + "mlp.fc2")

    @staticmethod
    def shift_mask(grid, w, shift):
        band = torch.zeros(grid)
        band[grid - w : grid - shift], band[grid - shift :] = 1, 2
        region = 3 * band[:, None] + band[None]
        region = region.reshape(2, w, 2, w).permute(0, 2, 1, 3).reshape(4, w * w)
        return (region[:, :, None] != region[:, None]).float() * -100.0

    def across(self, s, text, name):
        h = self.config["head"]
        heads, pads = h["heads"], h["class_pad"] - size(s, 1)
        # One row stands for all pads.
        s_all = torch.cat([s, self.p(name + "padding_tokens").expand(size(s, 0), -1, -1)], 1)
        guide = torch.cat([text[None], self.p(name + "padding_guidance")], 1).expand(size(s, 0), -1, -1)
        weight = torch.ones(size(s_all, 1), device=s.device, dtype=s.dtype)
        weight[-1] = pads
        n = self.layer_norm(s_all, name + "norm1")
        guided = torch.cat([n, guide], 2)

        def split(t):
            return t.view(size(t, 0), size(t, 1), heads, -1).transpose(1, 2)

        q = split(F.elu(self.linear(guided, name + "attention.q")) + 1)[:, :, :-1]
        k = split(F.elu(self.linear(guided, name + "attention.k")) + 1) * weight[:, None]
        v = split(self.linear(n, name + "attention.v"))
        below = q @ k.sum(2, keepdim=True).transpose(2, 3) + 1e-6
        out = (q @ (k.transpose(2, 3) @ v)) / below
        s = s + out.transpose(1, 2).reshape(size(s, 0), size(s, 1), -1)
        hidden = F.relu(self.linear(self.layer_norm(s, name + "norm2"), name + "MLP.0"))
        return s + self.linear(hidden, name + "MLP.2")
