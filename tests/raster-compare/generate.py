"""Writes TIFFs of many kinds with GDAL and tifffile, and beside each what GDAL reads from it.

python3 generate.py FOLDER    (packages: rasterio numpy tifffile imagecodecs)

NAME.tif, NAME.json (size, bands, place, no-data, what may differ) and NAME.raw: the samples that
GDAL reads as little-endian float64, [height, width, bands], then its mask, one byte a pixel.
"""

import itertools
import json
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import tifffile
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.transform import Affine

warnings.filterwarnings("ignore")
OUT = Path(sys.argv[1])
OUT.mkdir(parents=True, exist_ok=True)
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SIZE = (101, 75)
HOLE = np.full((SIZE[1], SIZE[0]), 255, np.uint8)
HOLE[10:40, 20:33] = 0
written = []


def picture(dtype, bands=1, size=SIZE, most=None, smooth=False):
    """Values of every place and band that no shift, swap or wrong sign leaves as they are."""
    w, h = size
    b, y, x = np.meshgrid(np.arange(bands), np.arange(h), np.arange(w), indexing="ij")
    if smooth:
        return (40 + 90 * x / w + 60 * y / h + 20 * b).astype(dtype)
    v = (7 * x + 13 * y + 31 * b + x * y // 5) % 251
    dtype = np.dtype(dtype)
    if most is not None:
        return ((v * 40_503 + 7 * v) % (most + 1)).astype(dtype)
    if dtype.kind == "c":
        return (v + 1j * (v[:, ::-1, :] - 100)).astype(dtype)
    if dtype.kind == "f":
        return (v / 8 - 10 + (x == 3) * 1e-3).astype(dtype)
    if dtype.kind == "i":
        return ((v - 100) * (1 if dtype.itemsize == 1 else 10**dtype.itemsize)).astype(dtype)
    return (v * (1 if dtype.itemsize == 1 else 10**dtype.itemsize)).astype(dtype)


def gdal(
    name,
    dtype="uint8",
    bands=1,
    *,
    data=None,
    driver="GTiff",
    size=SIZE,
    transform=UTM,
    crs="EPSG:32633",
    nodata=None,
    mask=None,
    colours=None,
    palette=None,
    after=None,
    most=None,
    smooth=False,
    tags=None,
    expected=None,
    **options,
):
    """A file by GDAL; `after` may change the open data set."""
    if data is None:
        data = picture(dtype, bands, size, most, smooth)
    profile = dict(
        driver="GTiff" if driver == "COG" else driver,
        width=data.shape[2],
        height=data.shape[1],
        count=data.shape[0],
        dtype=data.dtype if dtype not in ("complex_int16", "complex_int32") else dtype,
        nodata=nodata,
    )
    if transform is not None:
        profile["transform"] = transform
    if crs is not None:
        profile["crs"] = crs
    path = OUT / f"{name}.tif"
    first = OUT / f"{name}.step.tif" if driver == "COG" else path
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(first, "w", **profile, **({} if driver == "COG" else options)) as out:
            if palette:
                out.write_colormap(1, palette)
            if colours:
                out.colorinterp = colours
            if tags:
                out.update_tags(**tags)
            if after:
                after(out)
            out.write(data)
            if mask is not None:
                out.write_mask(mask)
        if driver == "COG":
            rasterio.shutil.copy(first, path, driver="COG", **options)
            first.unlink()
    finish(name, **(expected or {}))


def finish(name, directory="", **more):
    """Records what GDAL reads; a file that GDAL cannot read is left out. `more` corrects it."""
    path = OUT / f"{name}.tif"
    for side in OUT.glob(f"{name}.tif.*"):
        side.unlink()
    try:
        with rasterio.open(f"{directory}{path}") as file:
            samples = file.read()
            points, crs = file.gcps
            crs = crs or file.crs
            epsg = crs.to_epsg() if crs else None
            # A system by parameters that GDAL finds in its tables: the code may be left out.
            by_parameters = bool(crs) and f'"{epsg}"]]' not in crs.to_wkt()[-20:]
            flags = [MaskFlags.per_dataset in f for f in file.mask_flag_enums]
            mask = file.dataset_mask() if any(flags) else np.full(file.shape, 255, np.uint8)
            placed = file.transform != Affine.identity()
            info = dict(
                size=[file.width, file.height],
                dtype=file.dtypes[0],
                transform=list(file.transform)[:6] if placed and not points else None,
                epsg=epsg,
                by_parameters=by_parameters,
                gcps=len(points),
                nodata=None if file.nodata is None else repr(file.nodata),
                scales=list(file.scales),
                offsets=list(file.offsets),
                names=list(file.descriptions),
            )
            pages = file.subdatasets
    except Exception as error:  # noqa: BLE001
        print("left out, GDAL cannot read it:", name, error)
        return
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        number = lambda tag, default: int(np.ravel(tags[tag].value)[0]) if tag in tags else default
        photometric, compression = number(262, 1), number(259, 1)
        info["bits"] = number(258, 1)
    # Pages of one band and one size are bands for this project, sub-datasets for GDAL.
    if pages:
        parts = []
        for page in pages:
            with rasterio.open(page) as file:
                parts.append(file.read())
        if all(p.shape == parts[0].shape and p.shape[0] == 1 and p.dtype == parts[0].dtype for p in parts):
            samples = np.concatenate(parts)
    # Colours that GDAL converts to RGB with an alpha of its own.
    made = photometric in (5, 8, 9, 10) or (photometric == 6 and compression != 7)
    if made:
        samples, mask = samples[:3], np.full_like(mask, 255)
    # Decoders of JPEG interpolate colours in different ways; lossy WebP does not occur here.
    info.update(
        bands=samples.shape[0],
        complex=bool(np.iscomplexobj(samples)),
        white_is_zero=photometric == 0,
        tolerance=6 if compression == 7 else 2 if made else 0,
    )
    info.update(more, kind=kind.__name__.replace("_", " "))
    (OUT / f"{name}.json").write_text(json.dumps(info))
    real = np.abs(samples) if info["complex"] else samples
    with (OUT / f"{name}.raw").open("wb") as out:
        out.write(np.ascontiguousarray(real.transpose(1, 2, 0)).astype("<f8").tobytes())
        out.write(mask.tobytes())
    written.append(name)


def tif(name, data, **options):
    """A file by tifffile."""
    tifffile.imwrite(OUT / f"{name}.tif", data, **options)
    finish(name)


def raw(name, chunks, tags, order="<", end=b""):
    """A file written tag by tag: one directory, `chunks` at the offsets of tag 273 or 324."""
    out = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0))
    offsets = []
    for chunk in chunks:
        offsets.append(len(out))
        out += chunk
    out += b"\0" * (len(out) % 2)
    kinds = {"H": 3, "I": 4, "d": 12, "s": 2, "B": 7}
    entries = []
    for tag, (kind, values) in sorted(tags.items()):
        values = offsets if values == "offsets" else [len(c) for c in chunks] if values == "sizes" else values
        packed = values if kind in "sB" else struct.pack(f"{order}{len(values)}{kind}", *values)
        count = len(values)
        if len(packed) > 4:
            at, packed = len(out), packed
            out += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack(order + "I", at)
        entries.append(struct.pack(order + "HHI", tag, kinds[kind], count) + packed.ljust(4, b"\0"))
    struct.pack_into(order + "I", out, 4, len(out))
    out += struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0\0\0\0" + end
    (OUT / f"{name}.tif").write_bytes(out)
    finish(name)


def basic(w=SIZE[0], h=SIZE[1], bands=1, bits=8, photometric=1, **more):
    """Tags of a picture in one strip."""
    tags = {
        256: ("I", [w]),
        257: ("I", [h]),
        258: ("H", [bits] * bands),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", "offsets"),
        277: ("H", [bands]),
        278: ("I", [h]),
        279: ("I", "sizes"),
    }
    tags.update({int(k[1:]): v for k, v in more.items()})
    return {tag: value for tag, value in tags.items() if value is not None}


LAYOUTS = {
    "strips": dict(interleave="pixel", blockysize=16),
    "planes": dict(interleave="band", blockysize=20),
    "tiles": dict(interleave="pixel", tiled=True, blockxsize=32, blockysize=48),
    "plane_tiles": dict(interleave="band", tiled=True, blockxsize=64, blockysize=16),
}
TILES = LAYOUTS["tiles"]


def compressions():
    for compress, (layout, options) in itertools.product(
        ["none", "lzw", "deflate", "zstd", "packbits"], LAYOUTS.items()
    ):
        gdal(f"u8x3_{compress}_{layout}", "uint8", 3, compress=compress, **options)
    for compress in ["lerc", "lerc_deflate", "lerc_zstd", "lzma"]:
        for dtype, bands, layout in [("uint8", 3, "strips"), ("float32", 2, "plane_tiles"), ("uint16", 1, "tiles")]:
            gdal(f"{dtype}x{bands}_{compress}_{layout}", dtype, bands, compress=compress, **LAYOUTS[layout])
    for bands, layout in [(3, "tiles"), (4, "tiles"), (3, "strips")]:
        gdal(
            f"u8x{bands}_webp_{layout}",
            "uint8",
            bands,
            compress="webp",
            webp_lossless=True,
            photometric="rgb",
            **LAYOUTS[layout],
        )
    gdal(
        "u8x3_webp_lossy",
        "uint8",
        3,
        compress="webp",
        webp_level=75,
        photometric="rgb",
        smooth=True,
        expected=dict(tolerance=6),
        **TILES,
    )
    gaps = picture("float32", 3)
    gaps[1][HOLE == 0] = np.nan
    gdal("float32x3_lerc_nan", data=gaps, compress="lerc", nodata=float("nan"), **LAYOUTS["strips"])
    gdal(
        "float32x3_lerc_lossy",
        data=picture("float32", 3),
        compress="lerc",
        max_z_error=0.01,
        expected=dict(tolerance=0),
        **TILES,
    )
    gdal(
        "u8x4_lerc_zstd_alpha",
        data=np.concatenate([picture("uint8", 3), HOLE[None]]),
        compress="lerc_zstd",
        photometric="rgb",
        alpha="yes",
        **TILES,
    )
    for fax in ["ccittrle", "ccittfax3", "ccittfax4"]:
        gdal(f"bits1_{fax}", "uint8", most=1, nbits=1, compress=fax)
    gdal("u16x4_deflate_one_row_strips", "uint16", 4, compress="deflate", blockysize=1, interleave="pixel")
    gdal("u8_zstd_level22", "uint8", compress="zstd", zstd_level=22)
    gdal(
        "u16x13_lzw_planes",
        "uint16",
        13,
        compress="lzw",
        predictor=2,
        interleave="band",
        tiled=True,
        blockxsize=64,
        blockysize=64,
    )


def predictors():
    turn = itertools.cycle(["lzw", "deflate", "zstd"])
    layout = itertools.cycle(LAYOUTS)
    for dtype in ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]:
        compress, at = next(turn), next(layout)
        gdal(f"{dtype}x2_{compress}_predictor2_{at}", dtype, 2, compress=compress, predictor=2, **LAYOUTS[at])
    for dtype, compress, at in itertools.product(
        ["float32", "float64"], ["lzw", "deflate", "zstd"], ["tiles", "planes"]
    ):
        gdal(f"{dtype}x3_{compress}_predictor3_{at}", dtype, 3, compress=compress, predictor=3, **LAYOUTS[at])
    gdal("float16_predictor3", "float32", 2, nbits=16, compress="deflate", predictor=3, **TILES)
    gdal("float16_predictor2", "float32", 2, nbits=16, compress="deflate", predictor=2, **TILES)


def types():
    for dtype in [
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ]:
        gdal(f"{dtype}_plain", dtype)
    gdal("complex_int16_plain", "complex_int16", data=picture("complex64"))
    special = picture("float32")
    special[0, :5, :7] = np.nan
    special[0, 10, 10:13] = [np.inf, -np.inf, 1e-42]
    gdal("float32_special_values", data=special, compress="deflate", predictor=3)
    for bits in [1, 2, 3, 4, 5, 6, 7]:
        gdal(f"bits{bits}", "uint8", most=2**bits - 1, nbits=bits, compress="deflate" if bits % 2 else "none")
    for bits in [9, 10, 11, 12, 13, 14, 15]:
        gdal(f"bits{bits}", "uint16", most=2**bits - 1, nbits=bits, compress="lzw" if bits % 2 else "none")
    gdal("bits12x3_pixel_tiles", "uint16", 3, most=4095, nbits=12, compress="deflate", **TILES)
    gdal("bits12x3_planes", "uint16", 3, most=4095, nbits=12, **LAYOUTS["planes"])
    gdal("bits4x3_pixel", "uint8", 3, most=15, nbits=4, interleave="pixel")
    gdal("bits1x3_plane_tiles", "uint8", 3, most=1, nbits=1, compress="packbits", **LAYOUTS["plane_tiles"])
    for bits in [17, 20, 24, 31]:
        gdal(f"bits{bits}", "uint32", most=2**bits - 1, nbits=bits, compress="deflate")
    gdal("float16_plain", "float32", nbits=16)


def orders_and_containers():
    gdal("big_endian_u16x3", "uint16", 3, endianness="big", interleave="pixel")
    gdal("big_endian_i32_deflate_planes", "int32", 2, endianness="big", compress="deflate", **LAYOUTS["planes"])
    gdal("big_endian_u16_lzw_predictor2", "uint16", 2, endianness="big", compress="lzw", predictor=2, **TILES)
    gdal("big_endian_f32_deflate_predictor3", "float32", 2, endianness="big", compress="deflate", predictor=3, **TILES)
    gdal("big_endian_f64_zstd", "float64", endianness="big", compress="zstd")
    gdal("big_endian_bits24", "uint32", most=2**24 - 1, nbits=24, endianness="big")
    gdal("big_endian_bits12", "uint16", most=4095, nbits=12, endianness="big")
    gdal("big_endian_float16", "float32", nbits=16, endianness="big")
    gdal("big_endian_bigtiff", "int16", 2, endianness="big", bigtiff="yes", **TILES)
    gdal("bigtiff_u8x3", "uint8", 3, bigtiff="yes", interleave="pixel")
    gdal("bigtiff_f32_deflate_tiles", "float32", 3, bigtiff="yes", compress="deflate", predictor=3, **TILES)
    gdal("bigtiff_mask", "uint8", 3, bigtiff="yes", mask=HOLE, compress="deflate", **TILES)
    gdal("tiles_larger_than_the_picture", "uint16", 2, tiled=True, blockxsize=256, blockysize=256, compress="zstd")
    gdal("tiles_of_16", "uint8", 3, tiled=True, blockxsize=16, blockysize=16, compress="lzw", interleave="pixel")
    gdal("one_pixel", "uint16", size=(1, 1))
    gdal("one_column", "uint8", 3, size=(1, 90), compress="lzw", predictor=2, interleave="pixel")
    gdal("one_row", "float32", size=(300, 1), compress="deflate", predictor=3)
    gdal("streamable", "uint8", 3, streamable_output="yes", interleave="pixel")
    many = picture("uint8", 1, (1024, 1024))
    gdal("thousands_of_tiles", data=many, tiled=True, blockxsize=16, blockysize=16, compress="deflate")


def cogs():
    big = (520, 390)
    for compress in ["lzw", "deflate", "zstd", "none", "jpeg", "webp", "lerc", "lzma"]:
        gdal(
            f"cog_{compress}",
            "uint8",
            3,
            size=big,
            driver="COG",
            compress=compress,
            blocksize=128,
            smooth=compress == "jpeg",
            **({"quality": 100} if compress == "webp" else {}),
        )
    hole = np.full(big[::-1], 255, np.uint8)
    hole[100:200, 50:333] = 0
    gdal("cog_default_options", "uint8", 3, size=big, driver="COG")
    gdal("cog_mask", "uint8", 3, size=big, driver="COG", blocksize=128, mask=hole, compress="deflate")
    gdal("cog_jpeg_mask", "uint8", 3, size=big, driver="COG", blocksize=128, mask=hole, compress="jpeg", smooth=True)
    gdal(
        "cog_alpha",
        data=np.concatenate([picture("uint8", 3, big), hole[None]]),
        driver="COG",
        blocksize=128,
        colours=[ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha],
    )
    gdal("cog_u16x4_predictor", "uint16", 4, size=big, driver="COG", blocksize=128, compress="deflate", predictor="yes")
    gdal("cog_f32_nodata", "float32", 2, size=big, driver="COG", blocksize=128, nodata=-10.0, predictor="yes")
    gdal(
        "cog_sparse",
        data=np.where(np.arange(big[0]) < 260, 0, picture("uint16", 1, big)),
        driver="COG",
        blocksize=128,
        nodata=0,
        sparse_ok="true",
    )
    gdal("cog_bigtiff", "int16", 1, size=big, driver="COG", blocksize=128, bigtiff="yes", overview_compress="none")
    gdal(
        "cog_web_mercator", "uint8", 3, driver="COG", size=big, tiling_scheme="GoogleMapsCompatible", compress="deflate"
    )

    def overviews(name, **options):
        gdal(name, "uint16", 2, size=big, tiled=True, blockxsize=128, blockysize=128, **options)
        with rasterio.open(OUT / f"{name}.tif", "r+") as file:
            file.build_overviews([2, 4, 8])
        written.remove(name)
        finish(name)

    overviews("overviews_deflate", compress="deflate")
    overviews("overviews_planes", interleave="band", compress="lzw")


def masks():
    rgb = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    gdal("mask_strips", "uint8", 3, mask=HOLE, interleave="pixel")
    gdal("mask_deflate_tiles", "uint8", 3, mask=HOLE, compress="deflate", **TILES)
    gdal("mask_plane_tiles", "uint16", 2, mask=HOLE, compress="lzw", **LAYOUTS["plane_tiles"])
    gdal("mask_f32", "float32", mask=HOLE, compress="zstd")
    gdal("mask_jpeg", "uint8", 3, mask=HOLE, compress="jpeg", photometric="ycbcr", smooth=True, **TILES)
    rgba = np.concatenate([picture("uint8", 3), HOLE[None]])
    gdal("alpha_rgb", data=rgba, photometric="rgb", alpha="yes", interleave="pixel")
    gdal("alpha_rgb_planes", data=rgba, photometric="rgb", alpha="yes", compress="deflate", **LAYOUTS["planes"])
    gdal("alpha_premultiplied", data=rgba, photometric="rgb", alpha="premultiplied", interleave="pixel")
    soft = rgba.copy()
    soft[3] = picture("uint8", 4)[3] | 1
    gdal("alpha_graded", data=soft, photometric="rgb", alpha="yes", compress="lzw", **TILES)
    gdal("alpha_grey", data=np.stack([picture("uint8")[0], HOLE]), alpha="yes", interleave="pixel")
    gdal(
        "alpha_u16",
        data=np.concatenate([picture("uint16", 3), HOLE[None].astype("uint16") * 257]),
        photometric="rgb",
        alpha="yes",
        interleave="pixel",
    )
    gdal("four_bands_no_alpha", "uint8", 4, photometric="rgb", alpha="unspecified", interleave="pixel")
    for value, dtype in [
        (0, "uint8"),
        (255, "uint8"),
        (0, "uint16"),
        (-9999, "int16"),
        (-9999, "float32"),
        (float("nan"), "float32"),
        (-3.4028234663852886e38, "float32"),
        (1e20, "float32"),
        (-1.7976931348623157e308, "float64"),
        (0.1, "float32"),
        (-128, "int8"),
        (4294967295, "uint32"),
    ]:
        data = picture(dtype, 2)
        data[:, HOLE == 0] = value
        gdal(f"nodata_{dtype}_{value}".replace("-", "m"), data=data, nodata=value, compress="deflate")
    for text in ["-9999", "nan", "256", "0 ", "7.0"]:
        raw(
            f"nodata_text_{text.strip().replace('-', 'm')}",
            [picture("uint8")[0].tobytes()],
            basic(_42113=("s", text.encode() + b"\0")),
        )
    gdal(
        "sparse_tiles",
        data=np.where(np.arange(SIZE[0]) < 70, 0, picture("uint8", 3)).astype("uint8"),
        sparse_ok="true",
        compress="deflate",
        **TILES,
    )
    gdal(
        "sparse_nodata",
        data=np.where(np.arange(SIZE[0]) < 70, 7, picture("uint8", 3)).astype("uint8"),
        nodata=7,
        sparse_ok="true",
        **LAYOUTS["plane_tiles"],
    )
    gdal(
        "sparse_nodata_f32",
        data=np.where(np.arange(SIZE[0]) < 70, np.nan, picture("float32")).astype("float32"),
        nodata=float("nan"),
        sparse_ok="true",
        compress="lzw",
        **TILES,
    )
    gdal("sparse_all", data=np.zeros((1, SIZE[1], SIZE[0]), "int16"), sparse_ok="true", **TILES)
    gdal(
        "colours_of_bands",
        "uint16",
        4,
        colours=[ColorInterp.blue, *rgb[1:2], rgb[0], ColorInterp.undefined],
        interleave="pixel",
    )


def colours():
    def colours_of(n):
        return {i: (i * 255 // (n - 1), 255 - i * 255 // (n - 1), (i * 37) % 256, 255) for i in range(n)}

    gdal("palette8", "uint8", photometric="palette", palette=colours_of(256))
    gdal("palette8_tiles_lzw", "uint8", palette=colours_of(256), compress="lzw", **TILES)
    for bits in [1, 2, 4]:
        gdal(
            f"palette{bits}", "uint8", most=2**bits - 1, nbits=bits, palette=colours_of(2**bits), photometric="palette"
        )
    gdal("white_is_zero8", "uint8", photometric="miniswhite")
    gdal("white_is_zero1", "uint8", most=1, nbits=1, photometric="miniswhite")
    gdal("white_is_zero4", "uint8", most=15, nbits=4, photometric="miniswhite", compress="packbits")
    gdal("white_is_zero16", "uint16", photometric="miniswhite")
    gdal("white_is_zero_f32", "float32", photometric="miniswhite")
    gdal("cmyk", "uint8", 4, photometric="cmyk", interleave="pixel")
    gdal("cmyk_deflate_tiles", "uint8", 4, photometric="cmyk", compress="deflate", **TILES)
    for name, options in {
        "jpeg_grey": dict(bands=1),
        "jpeg_rgb": dict(bands=3, photometric="rgb", interleave="pixel"),
        "jpeg_rgb_tiles": dict(bands=3, photometric="rgb", **TILES),
        "jpeg_ycbcr_tiles": dict(bands=3, photometric="ycbcr", **TILES),
        "jpeg_ycbcr_strips": dict(bands=3, photometric="ycbcr", interleave="pixel", blockysize=16),
        "jpeg_planes": dict(bands=3, interleave="band", blockysize=24),
        "jpeg_four_bands": dict(bands=4, photometric="rgb", alpha="no", **TILES),
        "jpeg_two_bands": dict(bands=2, **TILES),
        "jpeg_five_planes": dict(bands=5, **LAYOUTS["plane_tiles"]),
        "jpeg_no_tables": dict(bands=3, photometric="ycbcr", jpegtablesmode=0, **TILES),
        "jpeg_quality100": dict(bands=3, photometric="ycbcr", jpeg_quality=100, **TILES),
        "jpeg_cmyk": dict(bands=4, photometric="cmyk", interleave="pixel"),
        "jpeg_one_strip": dict(bands=3, photometric="ycbcr", interleave="pixel", blockysize=80),
    }.items():
        gdal(name, "uint8", compress="jpeg", smooth=True, **options)
    gdal("jpeg_bits12", data=(picture("uint16", 1, smooth=True) * 16).astype("uint16"), compress="jpeg", nbits=12)
    w, h = 64, 48
    yellow = picture("uint8", 3, (w, h), smooth=True)
    rows = []
    for y in range(0, h, 2):
        for x in range(0, w, 2):
            rows.append(bytes([*yellow[0, y : y + 2, x : x + 2].ravel(), yellow[1, y, x], yellow[2, y, x]]))
    raw(
        "ycbcr_2x2",
        [b"".join(rows)],
        basic(w, h, 3, photometric=6, _530=("H", [2, 2]))
        | {532: ("d", [0.0, 255, 128, 255, 128, 255])},
    )
    raw("ycbcr_1x1", [yellow.transpose(1, 2, 0).tobytes()], basic(w, h, 3, photometric=6, _530=("H", [1, 1])))
    raw("cielab", [yellow.transpose(1, 2, 0).tobytes()], basic(w, h, 3, photometric=8))
    raw(
        "rgb_two_extra",
        [picture("uint8", 5).transpose(1, 2, 0).tobytes()],
        basic(bands=5, photometric=2, _338=("H", [0, 0])),
    )


def places():
    for code in [
        4326,
        3857,
        3035,
        32711,
        32601,
        4258,
        25832,
        2154,
        31467,
        3413,
        3031,
        27700,
        5070,
        6933,
        26917,
        4269,
        2056,
        7855,
        9377,
        3006,
    ]:
        degrees = CRS.from_epsg(code).is_geographic
        at = Affine(1e-4, 0, 15, 0, -1e-4, 45) if degrees else UTM
        gdal(f"epsg_{code}", transform=at, crs=f"EPSG:{code}")
    for name, text in {
        "lambert": "+proj=lcc +lat_1=40 +lat_2=60 +lat_0=50 +lon_0=10 +x_0=4000000 +y_0=3000000 +datum=WGS84 +units=m",
        "albers": "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +datum=WGS84 +units=m",
        "laea": "+proj=laea +lat_0=46 +lon_0=12 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        "utm_by_parameters": "+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m",
        "stereo": "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84 +units=m",
        "mollweide": "+proj=moll +datum=WGS84 +units=m",
        "sinusoidal": "+proj=sinu +R=6371007.181 +units=m",
        "geographic_private": "+proj=longlat +a=6378160 +rf=298.25 +towgs84=10,20,30",
    }.items():
        gdal(f"crs_{name}", crs=text)
    # Heights are of no concern: the code of the horizontal system.
    gdal("crs_compound", crs="EPSG:32633+5773", expected=dict(epsg=32633))
    gdal("crs_geographic_3d", crs="EPSG:4979", transform=Affine(1e-4, 0, 15, 0, -1e-4, 45), expected=dict(epsg=4326))
    gdal("transform_without_crs", crs=None)
    gdal("no_place", transform=None, crs=None)
    gdal("rotated", transform=Affine(8, 2, 500_000, 3, -9, 5_000_000))
    gdal("south_up", transform=Affine(10, 0, 500_000, 0, 10, 4_000_000))
    gdal("pixel_is_point", tags=dict(AREA_OR_POINT="Point"))
    gdal("pixel_is_point_rotated", tags=dict(AREA_OR_POINT="Point"), transform=Affine(8, 2, 500_000, 3, -9, 5_000_000))
    gdal("geotiff_1_1", geotiff_version="1.1")
    gdal("flavour_esri", geotiff_keys_flavor="ESRI_PE", crs="EPSG:3035")
    gdal("rectangular_pixels", transform=Affine(10, 0, 500_000, 0, -20, 5_000_000))
    points = [
        GroundControlPoint(r, c, 500_000 + 10 * c + r, 5_000_000 - 10 * r + c / 7)
        for r in (0, 30, 75)
        for c in (0, 50, 101)
    ]
    gdal(
        "control_points",
        transform=None,
        crs=None,
        after=lambda out: setattr(out, "gcps", (points, CRS.from_epsg(32633))),
    )
    gdal(
        "control_points_point",
        transform=None,
        crs=None,
        tags=dict(AREA_OR_POINT="Point"),
        after=lambda out: setattr(out, "gcps", (points, CRS.from_epsg(4326))),
    )
    geo = dict(_34735=("H", [1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633]))
    pixels = [picture("uint8")[0].tobytes()]
    raw(
        "tie_point_elsewhere",
        pixels,
        basic(_33550=("d", [10.0, 10, 0]), _33922=("d", [5.0, 7, 0, 500_000, 5e6, 0]), **geo),
    )
    raw(
        "negative_scale", pixels, basic(_33550=("d", [10.0, -10, 0]), _33922=("d", [0.0, 0, 0, 500_000, 5e6, 0]), **geo)
    )
    raw(
        "two_tie_points_and_scale",
        pixels,
        basic(
            _33550=("d", [10.0, 10, 0]), _33922=("d", [0.0, 0, 0, 500_000, 5e6, 0, 101, 0, 0, 501_010, 5e6, 0]), **geo
        ),
    )
    raw(
        "matrix_and_scale",
        pixels,
        basic(
            _33550=("d", [10.0, 10, 0]),
            _33922=("d", [0.0, 0, 0, 500_000, 5e6, 0]),
            _34264=("d", [float(i % 5 == 0) for i in range(16)]),
            **geo,
        ),
    )
    raw(
        "keys_undefined",
        pixels,
        basic(
            _33550=("d", [10.0, 10, 0]),
            _33922=("d", [0.0, 0, 0, 500_000, 5e6, 0]),
            _34735=("H", [1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 0]),
        ),
    )
    raw(
        "utm_by_projection_key",
        pixels,
        basic(
            _33550=("d", [10.0, 10, 0]),
            _33922=("d", [0.0, 0, 0, 500_000, 5e6, 0]),
            _34735=(
                "H",
                [1, 1, 0, 5, 1024, 0, 1, 1, 2048, 0, 1, 4326, 3072, 0, 1, 32767, 3074, 0, 1, 16033, 3076, 0, 1, 9001],
            ),
        ),
    )

    def describe(out):
        out.descriptions, out.scales, out.offsets = ["B4 <red>", "Grün"], [0.001, 0.5], [-50, 3]

    gdal("scale_offset_names", "uint16", 2, after=describe)
    gdal("scale_offset_names_planes", "int16", 2, after=describe, compress="deflate", **LAYOUTS["plane_tiles"])


def pages():
    def two(name, dtypes, sizes, bands=(1, 1), **options):
        gdal(f"{name}.first", dtypes[0], bands[0], size=sizes[0], **options)
        gdal(f"{name}.second", dtypes[1], bands[1], size=sizes[1], **options)
        rasterio.shutil.copy(OUT / f"{name}.first.tif", OUT / f"{name}.tif", driver="GTiff", **options)
        rasterio.shutil.copy(
            OUT / f"{name}.second.tif", OUT / f"{name}.tif", driver="GTiff", append_subdataset="yes", **options
        )
        for part in ["first", "second"]:
            written.remove(f"{name}.{part}")
            for end in ["tif", "json", "raw"]:
                (OUT / f"{name}.{part}.{end}").unlink()
        finish(name)

    two("pages_alike", ["float32", "float32"], [SIZE, SIZE], compress="deflate")
    two("pages_of_two_sizes", ["uint8", "uint8"], [SIZE, (40, 30)])
    two("pages_of_two_types", ["uint8", "float32"], [SIZE, SIZE])
    two("pages_rgb_and_grey", ["uint8", "uint8"], [SIZE, SIZE], bands=(3, 1))
    tif("tifffile_pages", picture("uint16", 4), photometric="minisblack", compression="zlib")
    tif("tifffile_imagej", picture("uint16", 3), imagej=True, metadata=dict(axes="CYX"))
    tif("tifffile_ome", picture("uint16", 3), ome=True, photometric="minisblack", metadata=dict(axes="CYX"))
    thumb = OUT / "tifffile_thumbnail_first.tif"
    with tifffile.TiffWriter(thumb) as out:
        out.write(picture("uint8", 1, (20, 15))[0], subfiletype=1)
        out.write(picture("uint8")[0])
    finish("tifffile_thumbnail_first", directory="GTIFF_DIR:2:")


def tifffiles():
    rgb = picture("uint8", 3).transpose(1, 2, 0)
    for compression in ["lzw", "zlib", "adobe_deflate", "packbits", "zstd", "lzma", "lerc"]:
        tif(f"tifffile_{compression}", rgb, photometric="rgb", compression=compression)
    tif(
        "tifffile_planes",
        picture("uint16", 3),
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
        predictor=True,
        byteorder=">",
    )
    tif("tifffile_tiles", picture("float32", 1)[0], tile=(32, 16), compression="zlib", predictor=3)
    tif("tifffile_float16", picture("float16", 1)[0], compression="zlib", predictor=3)
    tif("tifffile_float16_plain", picture("float16", 1)[0], byteorder=">")
    tif("tifffile_bool", picture("uint8", 1, most=1)[0].astype(bool))
    tif(
        "tifffile_palette16",
        picture("uint16", 1, most=65535)[0],
        photometric="palette",
        colormap=np.tile(np.arange(65536, dtype=np.uint16), (3, 1)),
    )
    tif(
        "tifffile_bigtiff_big_endian",
        picture("uint32", 2).transpose(1, 2, 0),
        bigtiff=True,
        byteorder=">",
        photometric="minisblack",
        planarconfig="contig",
        compression="lzw",
        predictor=2,
    )
    tif(
        "tifffile_jpeg",
        picture("uint8", 3, smooth=True).transpose(1, 2, 0),
        photometric="rgb",
        compression="jpeg",
        subsampling=(2, 2),
        compressionargs=dict(level=90),
    )
    tif(
        "tifffile_jpeg_tiles_422",
        picture("uint8", 3, smooth=True).transpose(1, 2, 0),
        photometric="rgb",
        compression="jpeg",
        subsampling=(2, 1),
        tile=(32, 32),
    )


def odd_files():
    grey = picture("uint8")[0]
    rgb = picture("uint8", 3).transpose(1, 2, 0)
    rows = [grey[y : y + 16].tobytes() for y in range(0, SIZE[1], 16)]
    flip = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))
    strips = dict(_278=("I", [16]))
    raw("no_strip_size", [grey.tobytes()], basic(_279=None))
    raw("strip_size_zero", [grey.tobytes()], basic(_279=("I", [0])))
    raw("strip_sizes_too_large", [grey.tobytes()], basic(_279=("I", [1 << 20])))
    packed = [zlib.compress(row) for row in rows]
    raw("deflate_wrong_checksum", [p[:-4] + b"abcd" for p in packed], basic(_259=("H", [8]), **strips))
    raw("deflate_old_number", packed, basic(_259=("H", [32946]), **strips))
    raw("bits_reversed", [grey.tobytes().translate(flip)], basic(_266=("H", [2])))
    raw("no_samples_per_pixel", [grey.tobytes()], basic(_277=None))
    raw("no_rows_per_strip", [grey.tobytes()], basic(_278=None))
    raw("rows_per_strip_unlimited", [grey.tobytes()], basic(_278=("I", [0xFFFFFFFF])))
    raw("no_photometric", [grey.tobytes()], basic(_262=None))
    raw("bits_given_once", [rgb.tobytes()], basic(bands=3, photometric=2, _258=("H", [8])))
    raw("format_void", [picture("uint16")[0].astype("<u2").tobytes()], basic(bits=16, _339=("H", [4])))
    raw(
        "format_given_once",
        [picture("float32", 2).transpose(1, 2, 0).astype("<f4").tobytes()],
        basic(bands=2, bits=32, _339=("H", [3])),
    )
    raw("strip_offsets_short", [grey.tobytes()], basic(_273=("H", [8]), _279=("H", [grey.size])))
    raw(
        "sizes_of_big_endian",
        [picture("int16", 2).transpose(1, 2, 0).astype(">i2").tobytes()],
        basic(bands=2, bits=16, _339=("H", [2, 2])),
        order=">",
    )
    import imagecodecs

    lzw = imagecodecs.lzw_encode(grey.tobytes())
    raw("lzw_without_end", [lzw[:-1]], basic(_259=("H", [5])))
    raw("lzw_with_bytes_after", [lzw + b"\xaa" * 40], basic(_259=("H", [5])))
    tiles = [
        np.pad(grey, ((0, 5), (0, 11)))[y : y + 16, x : x + 16].tobytes()
        for y in range(0, 80, 16)
        for x in range(0, 112, 16)
    ]
    raw("tiles_in_strip_tags", tiles, basic(_278=None, _322=("H", [16]), _323=("H", [16])))
    raw("orientation_bottom_left", [grey.tobytes()], basic(_274=("H", [4])))
    raw("trailing_bytes", [grey.tobytes()], basic(), end=b"\0" * 1000)
    raw("predictor_without_compression", [grey.tobytes()], basic(_317=("H", [2])))


for kind in [
    compressions,
    predictors,
    types,
    orders_and_containers,
    cogs,
    masks,
    colours,
    places,
    pages,
    tifffiles,
    odd_files,
]:
    kind()
    print(kind.__name__, len(written))
