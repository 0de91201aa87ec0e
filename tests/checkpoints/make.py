"""Writes the checkpoint fixtures beside this file: b.pth and l.pth in MM-OVSeg's released layout, clip.pt as OpenAI
distributes CLIP, jbu.ckpt as SimFeatUp is distributed, all at tiny sizes.

    python3 tests/checkpoints/make.py

Needs no packages. The names, ranks and the shapes that tell the variants apart are those of released files
(docs/network.md, section 13); the values are this project's own arithmetic (`value` below), so that a test can
compute what it should read (`fixture_value` in tests/support). A `.pth` or `.ckpt` is what `torch.save` writes: a zip
of stored entries with a pickle of `{"model": OrderedDict, "iteration": int, "trainer": {...}}` and one entry for each
storage. `clip.pt` is what `torch.jit.save` writes: modules within modules, code and constants beside them.
"""

import collections
import io
import pathlib
import pickle
import struct
import sys
import types
import zipfile

CLIP = "sem_seg_head.predictor.clip_model."
HEAD = "sem_seg_head.predictor.transformer."
VOCABULARY, CONTEXT = 49_408, 77
E = 8  # joint width of text and image
TEXT = 2  # width of the text tower: two heads of one channel keep the token table small
WIDTH = 8  # of CLIP's and DINO's image towers
HIDDEN, GUIDE = 8, 4  # cost volume; projected guidance


def linear(name, out, inputs):
    return {f"{name}.weight": [out, inputs], f"{name}.bias": [out]}


def norm(name, width):
    return {f"{name}.weight": [width], f"{name}.bias": [width]}


def conv(name, out, inputs, kernel, bias=True):
    shapes = {f"{name}.weight": [out, inputs, kernel, kernel]}
    return shapes | ({f"{name}.bias": [out]} if bias else {})


def clip_blocks(prefix, width, count):
    shapes = {}
    for i in range(count):
        block = f"{prefix}resblocks.{i}."
        for matrix in "qkv":
            shapes[f"{block}attn.{matrix}_proj_weight"] = [width, width]
        shapes[f"{block}attn.in_proj_bias"] = [3 * width]
        shapes |= linear(f"{block}attn.out_proj", width, width)
        shapes |= norm(f"{block}ln_1", width) | norm(f"{block}ln_2", width)
        shapes |= linear(f"{block}mlp.c_fc", 4 * width, width)
        shapes |= linear(f"{block}mlp.c_proj", width, 4 * width)
    return shapes


def clip(patch, grid, layers):
    visual = f"{CLIP}visual."
    return {
        f"{CLIP}positional_embedding": [CONTEXT, TEXT],
        f"{CLIP}text_projection": [TEXT, E],
        f"{CLIP}logit_scale": [],
        f"{CLIP}token_embedding.weight": [VOCABULARY, TEXT],
        **norm(f"{CLIP}ln_final", TEXT),
        **clip_blocks(f"{CLIP}transformer.", TEXT, 2),
        f"{visual}class_embedding": [WIDTH],
        f"{visual}positional_embedding": [1 + grid * grid, WIDTH],
        f"{visual}proj": [WIDTH, E],
        **conv(f"{visual}conv1", WIDTH, 3, patch, bias=False),
        **norm(f"{visual}ln_pre", WIDTH),
        **norm(f"{visual}ln_post", WIDTH),
        **clip_blocks(f"{visual}transformer.", WIDTH, layers),
    }


def dino(name, version, patch, layers):
    shapes = {f"{name}.cls_token": [1, 1, WIDTH]}
    if version == 1:
        shapes[f"{name}.pos_embed"] = [1, 1 + 28 * 28, WIDTH]
    else:
        shapes[f"{name}.storage_tokens"] = [1, 4, WIDTH]
        shapes[f"{name}.mask_token"] = [1, WIDTH]
        shapes[f"{name}.rope_embed.periods"] = [1]
        shapes |= norm(f"{name}.local_cls_norm", WIDTH)
    shapes |= conv(f"{name}.patch_embed.proj", WIDTH, 3, patch)
    for i in range(layers):
        block = f"{name}.blocks.{i}."
        shapes |= norm(f"{block}norm1", WIDTH) | norm(f"{block}norm2", WIDTH)
        shapes |= linear(f"{block}attn.qkv", 3 * WIDTH, WIDTH)
        shapes |= linear(f"{block}attn.proj", WIDTH, WIDTH)
        shapes |= linear(f"{block}mlp.fc1", 4 * WIDTH, WIDTH)
        shapes |= linear(f"{block}mlp.fc2", WIDTH, 4 * WIDTH)
        if version == 3:
            shapes[f"{block}attn.qkv.bias_mask"] = [3 * WIDTH]
            shapes[f"{block}ls1.gamma"] = shapes[f"{block}ls2.gamma"] = [WIDTH]
    return shapes | norm(f"{name}.norm", WIDTH)


def head():
    shapes = {}
    for i in range(2):
        layer = f"{HEAD}layers.{i}."
        for j in (1, 2):
            block = f"{layer}swin_block.block_{j}."
            shapes |= norm(f"{block}norm1", HIDDEN) | norm(f"{block}norm2", HIDDEN)
            for matrix, inputs in [("q", HIDDEN + GUIDE), ("k", HIDDEN + GUIDE), ("v", HIDDEN), ("proj", HIDDEN)]:
                shapes |= linear(f"{block}attn.{matrix}", HIDDEN, inputs)
            shapes |= linear(f"{block}mlp.fc1", 4 * HIDDEN, HIDDEN)
            shapes |= linear(f"{block}mlp.fc2", HIDDEN, 4 * HIDDEN)
        # Of the released [4, 144, 144]; inference computes the mask and passes this entry over.
        shapes[f"{layer}swin_block.block_2.attn_mask"] = [4, 3, 3]
        shapes |= norm(f"{layer}swin_block.guidance_norm", GUIDE)
        shapes[f"{layer}attention.padding_tokens"] = [1, 1, HIDDEN]
        shapes[f"{layer}attention.padding_guidance"] = [1, 1, GUIDE]
        for matrix, inputs in [("q", HIDDEN + GUIDE), ("k", HIDDEN + GUIDE), ("v", HIDDEN)]:
            shapes |= linear(f"{layer}attention.attention.{matrix}", HIDDEN, inputs)
        shapes |= linear(f"{layer}attention.MLP.0", 4 * HIDDEN, HIDDEN)
        shapes |= linear(f"{layer}attention.MLP.2", HIDDEN, 4 * HIDDEN)
        shapes |= norm(f"{layer}attention.norm1", HIDDEN) | norm(f"{layer}attention.norm2", HIDDEN)
    shapes |= conv(f"{HEAD}conv1", HIDDEN, 1, 7) | conv(f"{HEAD}conv2", HIDDEN, 1, 7)
    shapes |= conv(f"{HEAD}fusion_corr", HIDDEN, 2 * HIDDEN, 7)
    shapes |= conv(f"{HEAD}guidance_projection.0", GUIDE, E, 3)
    shapes |= linear(f"{HEAD}text_guidance_projection.0", GUIDE, E)
    for tower in ("CLIP", "DINO"):
        for i in range(2):
            shapes |= conv(f"{HEAD}{tower}_decoder_guidance_projection.{i}.0", GUIDE, HIDDEN, 3)
    for i in (1, 2):
        decoder = f"{HEAD}Fusiondecoder{i}."
        up = HIDDEN - GUIDE
        shapes[f"{decoder}up.weight"] = [HIDDEN, up, 2, 2]
        shapes[f"{decoder}up.bias"] = [up]
        shapes |= conv(f"{decoder}conv.double_conv.0", HIDDEN, up + 2 * GUIDE, 3, bias=False)
        shapes |= norm(f"{decoder}conv.double_conv.1", HIDDEN)
        shapes |= conv(f"{decoder}conv.double_conv.3", HIDDEN, HIDDEN, 3, bias=False)
        shapes |= norm(f"{decoder}conv.double_conv.4", HIDDEN)
    return shapes | conv(f"{HEAD}head", 1, HIDDEN, 3)


def enlarging(name, inputs, out, kernel):
    return {f"{name}.weight": [inputs, out, kernel, kernel], f"{name}.bias": [out]}


def projections(variant):
    shapes = enlarging("upsample1", WIDTH, HIDDEN, 2) | enlarging("upsample2", WIDTH, HIDDEN, 4)
    for sensor in ("", "sar"):
        if variant == "b":
            shapes |= conv(f"dino_{sensor}decod_proj1", HIDDEN, WIDTH, 1)
            shapes |= enlarging(f"dino_{sensor}decod_proj2", WIDTH, HIDDEN, 2)
            shapes |= conv(f"dino_{sensor}down_sample", E, WIDTH, 2)
        else:
            shapes |= enlarging(f"dino_{sensor}decod_proj1", WIDTH, HIDDEN, 2)
            shapes |= enlarging(f"dino_{sensor}decod_proj2", WIDTH, HIDDEN, 4)
            shapes |= conv(f"dino_{sensor}down_sample", E, WIDTH, 1)
    return shapes


def shapes_of(variant):
    # Enough blocks for the taps, which follow from the variant: 3 and 7 in B, 7 and 15 in L.
    towers = dict(b=dict(patch=16, grid=14, layers=9), l=dict(patch=14, grid=24, layers=17))[variant]
    version, patch, layers = dict(b=(1, 8, 9), l=(3, 16, 17))[variant]
    return {
        **dino("dino_model", version, patch, layers),
        **dino("dino_sarmodel", version, patch, layers),
        **clip(**towers),
        **head(),
        **projections(variant),
    }


def value(name, index):
    hashed = 0x811C9DC5
    for byte in name.encode():
        hashed = ((hashed ^ byte) * 0x01000193) & 0xFFFFFFFF
    mixed = ((hashed + index) * 0x9E3779B1) & 0xFFFFFFFF
    return (mixed >> 26) / 64 - 0.5


def tensor_bytes(name, shape, letter="f"):
    count = 1
    for size in shape:
        count *= size
    return struct.pack(f"<{count}{letter}", *(value(name, i) for i in range(count)))


def global_named(module, name):
    """An object that pickles as the global `module.name`, without the module being installed."""

    def stand_in(*_):
        raise RuntimeError("only its name is pickled")

    stand_in.__module__, stand_in.__qualname__, stand_in.__name__ = module, name, name
    setattr(sys.modules.setdefault(module, types.ModuleType(module)), name, stand_in)
    return stand_in


REBUILD = global_named("torch._utils", "_rebuild_tensor_v2")
FLOAT = global_named("torch", "FloatStorage")
HALF = global_named("torch", "HalfStorage")
LONG = global_named("torch", "LongStorage")


class Storage:
    def __init__(self, key, data, kind=None, element=4):
        self.key, self.data, self.kind, self.count = key, data, kind or FLOAT, len(data) // element


class Tensor:
    def __init__(self, storage, shape):
        strides = [1] * len(shape)
        for axis in reversed(range(len(shape) - 1)):
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        self.parts = (storage, 0, tuple(shape), tuple(strides), False, collections.OrderedDict())

    def __reduce__(self):
        return REBUILD, self.parts


class Pickler(pickle.Pickler):
    def persistent_id(self, found):
        if isinstance(found, Storage):
            return "storage", found.kind, found.key, "cuda:0", found.count
        return None


def archive(path, content, storages, more=()):
    pickled = io.BytesIO()
    Pickler(pickled, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:

        def add(name, data):
            # A fixed date, so that the same script writes the same bytes.
            file.writestr(zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0)), data)

        add("data.pkl", pickled.getvalue())
        for name, data in more:
            add(name, data)
        add("byteorder", b"little")
        for storage in storages:
            add(f"data/{storage.key}", storage.data)
        add("version", b"3\n")


def saved(shapes, storages, prefix=""):
    model = collections.OrderedDict()
    for name, shape in shapes.items():
        storages.append(Storage(str(len(storages)), tensor_bytes(name, shape)))
        model[prefix + name] = Tensor(storages[-1], shape)
    # What training leaves beside the weights, and converting must pass over.
    moments = Storage(str(len(storages)), tensor_bytes("trainer", [4]))
    storages.append(moments)
    return model, {"optimizer": {"state": {0: {"exp_avg": Tensor(moments, [4])}}}, "iteration": 79_999}


def write(path, shapes):
    storages = []
    model, trainer = saved(shapes, storages)
    archive(path, {"model": model, "trainer": trainer, "iteration": 79_999}, storages)


def write_lightning(path, shapes):
    """A lightning checkpoint, whose weights lie beside the state of its training."""
    storages = []
    model, trainer = saved(shapes, storages, "upsampler.")
    content = {"epoch": 1, "loops": {"fit_loop": {}}, "callbacks": {}, "state_dict": model, "optimizer_states": [trainer]}
    archive(path, content, storages)


class Module:
    """A module of a TorchScript archive, whose classes are those of the program beside it."""


Module.__module__ = "__torch__"
sys.modules["__torch__"] = types.ModuleType("__torch__")
sys.modules["__torch__"].Module = Module


def write_torchscript(path, shapes):
    """What `torch.jit.save` writes: the modules as objects, in f16, and a program that nothing here may run."""
    storages, root = [], Module()

    def put(name, storage, shape):
        storages.append(storage)
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if part not in module.__dict__:
                module.__dict__[part] = Module()
                module.__dict__[part].__dict__["training"] = False
            module = module.__dict__[part]
        module.__dict__[leaf] = Tensor(storage, shape)

    for name, shape in shapes.items():
        put(name, Storage(str(len(storages)), tensor_bytes(name, shape, "e"), HALF, 2), shape)
    for name, number in [("input_resolution", 64), ("context_length", CONTEXT), ("vocab_size", VOCABULARY)]:
        put(name, Storage(str(len(storages)), struct.pack("<q", number), LONG, 8), [])
    program = b"raise RuntimeError('read as data, never run')\n"
    archive(path, root, storages, [("constants.pkl", pickle.dumps((), 2)), ("code/__torch__/module.py", program)])


def plain_clip():
    """CLIP's own names at tiny sizes: two blocks of width 8, patches of 16 pixels on a grid of 4."""
    shapes = {}
    for name, shape in clip(patch=16, grid=4, layers=2).items():
        name = name.removeprefix(CLIP)
        if name.endswith("q_proj_weight"):
            shapes[name.replace("q_proj", "in_proj")] = [3 * shape[0], shape[1]]
        elif not name.endswith(("k_proj_weight", "v_proj_weight")):
            shapes[name] = shape
    return shapes


def upsampler(radius):
    places = (2 * radius + 1) ** 2
    return {
        "up.range_temp": [],
        "up.sigma_spatial": [],
        **conv("up.range_proj.0", 32, 3, 1),
        **conv("up.range_proj.3", 32, 32, 1),
        **conv("up.fixup_proj.0", places, places + 3, 1),
        **conv("up.fixup_proj.3", places, places, 1),
        **conv("fixup_proj.1", E, E, 1),
    }


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    for variant in ("b", "l"):
        write(folder / f"{variant}.pth", shapes_of(variant))
    write_torchscript(folder / "clip.pt", plain_clip())
    write_lightning(folder / "jbu.ckpt", upsampler(2))
