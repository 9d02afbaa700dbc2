"""Is embedding as fast as the machine? Decoding, the network and both together, as shares of what limits them.

``python -m benchmarks.embedding [--rounds 3] [--crops 8] [--fields 8]``

The images are made here: fields of six channels of 512 x 512 as JPEG 2000, as RxRx3-core has them (about 59 KB an
image), and fields of five channels of 1080 x 1080 pixels of 16 bits as TIFF, as CPJUMP1 has them. In each round,
one after the other and so in about the same state of the machine, it measures

* the decoder on one core, from memory, the faster of imagecodecs and tifffile, times the cores;
* the engine with a model that does nothing: files, decoding, stacking, order;
* the matrix products of OpenPhenom on a crop at the network's own shapes, each alone, and the network, in bfloat16;
* the whole engine with OpenPhenom on the JPEG 2000 fields, against decoding and the network's time for as many crops.

Shares are of one round; the report has their median. On a CPU the model and the decoder share the cores, so the whole
engine is held against the sum of the two as well.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import imagecodecs
import numpy as np
import pandas as pd
import tifffile
import torch
import typer
from scipy import ndimage

from benchmarks import RESULTS
from benchmarks.markdown import table
from benchmarks.peaks import shortest
from phenobench.background import Pace, available_cores
from phenobench.cards import ModelCard, find
from phenobench.embedding import embed
from phenobench.embedding.sites import Plate, sites_of_plates
from phenobench.files import write_text
from phenobench.models import load_model
from phenobench.models.adapter import ImageAdapter
from phenobench.models.openphenom import SHAPE
from phenobench.models.torch_adapter import TorchAdapter
from phenobench.screens import Screen
from phenobench.screens.folder import TABLE, load_folder

FILE = "embedding.json"
CHANNELS = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
_DECODE_AIM, _MODEL_AIM, _ENGINE_AIM = 0.9, 0.6, 1.15
# Wells for each core: enough that the last ones, when some cores have nothing left, count for little.
_WELLS_A_CORE = 12
_INTRODUCTION = """## Embedding

`python -m benchmarks.embedding`: decoding and preparing alone as a share of cores x the decoder on one core; OpenPhenom
in bfloat16 as a share of its own matrix products, each measured alone at the network's own shapes; and the whole engine
on JPEG 2000 fields against the slower of decoding and network. The median of {rounds} rounds on {machine}.
"""


@dataclass(frozen=True)
class Format:
    """Images of one kind: how fields are made into files, and the decoders of which the faster one is the limit."""

    name: str
    suffix: str
    channels: int
    encode: Callable[[np.ndarray], bytes]
    decoders: tuple[Callable[[bytes], object], ...]
    field: Callable[[np.random.Generator], np.ndarray]


def _jpeg_2000(field: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(field, level=40))


def _lzw(field: np.ndarray) -> bytes:
    return bytes(imagecodecs.tiff_encode(field, compression="lzw", rowsperstrip=64))


def _deflate(field: np.ndarray) -> bytes:
    return bytes(imagecodecs.tiff_encode(field, compression="deflate", rowsperstrip=64))


def _tifffile(content: bytes) -> object:
    import io

    return tifffile.imread(io.BytesIO(content), maxworkers=1)


def _blobs(rng: np.random.Generator, side: int) -> np.ndarray:
    """Something smooth with values from 0 to 1."""
    smooth = ndimage.gaussian_filter(rng.normal(size=(side, side)), 3)
    scaled: np.ndarray = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return scaled


def _eight_bit(rng: np.random.Generator) -> np.ndarray:
    return np.clip(120 * _blobs(rng, 512) + rng.normal(0, 5, (512, 512)), 0, 255).astype(np.uint8)


def _sixteen_bit(rng: np.random.Generator) -> np.ndarray:
    return (6000 * _blobs(rng, 1080) + 300 + rng.normal(0, 40, (1080, 1080)).clip(-200, 200)).astype(np.uint16)


_TIFF = (imagecodecs.tiff_decode, _tifffile)
FORMATS = (
    Format("JPEG 2000, 512 x 512", ".jp2", 6, _jpeg_2000, (imagecodecs.jpeg2k_decode,), _eight_bit),
    Format("TIFF LZW, 1080 x 1080", ".tif", 5, _lzw, _TIFF, _sixteen_bit),
    Format("TIFF deflate, 1080 x 1080", ".tif", 5, _deflate, _TIFF, _sixteen_bit),
)


class Nothing(ImageAdapter):
    """A model that takes no time and no core."""

    cores = 0

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Zeros (n, 1)."""
        return np.zeros((len(crops), 1), np.float32)


def make_screen(kind: Format, wells: int, folder: Path) -> tuple[Screen, list[Path]]:
    """A folder of images, a field a well, as a screen, and its files; all wells have the same pixels."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    contents = [kind.encode(kind.field(rng)) for _ in range(kind.channels)]
    rows, paths = [], []
    for well in range(wells):
        for channel, content in zip(CHANNELS, contents, strict=False):
            name = f"{well}_{channel}{kind.suffix}"
            paths.append(folder / name)
            paths[-1].write_bytes(content)
            place = {"Metadata_Plate": "P1", "Metadata_Well": f"{chr(65 + well // 48)}{well % 48 + 1:02d}"}
            rows.append({**place, "Metadata_Site": "1", "channel": channel, "path": name})
    pd.DataFrame(rows).to_csv(folder / TABLE, index=False)
    return load_folder(folder), paths


def decoder_rate(kind: Format, contents: Sequence[bytes]) -> float:
    """Images a second on one core, by the faster decoder."""
    rates = []
    for decode in kind.decoders:
        start = time.perf_counter()
        for content in contents:
            decode(content)
        rates.append(len(contents) / (time.perf_counter() - start))
    return max(rates)


def engine_seconds(screen: Screen, card: ModelCard) -> float:
    """Time to read, decode, order and stack all of a screen's fields."""
    plate = Plate("P1", np.arange(len(screen.wells)))
    start = time.perf_counter()
    for _ in sites_of_plates(screen, Nothing(card), [plate], Pace(), lambda plate, wells: None):
        pass
    return time.perf_counter() - start


def products(crops: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """The matrix products of OpenPhenom on crops of six channels: how often each occurs, and its bfloat16 factors."""
    patches = (SHAPE.image // SHAPE.patch) ** 2
    tokens, width, heads = 1 + len(CHANNELS) * patches, SHAPE.width, SHAPE.heads
    shapes = (
        (1, (crops * len(CHANNELS) * patches, SHAPE.patch**2, width)),
        (SHAPE.depth, (crops * tokens, width, SHAPE.hidden + 3 * width)),
        (SHAPE.depth, (crops * tokens, width, width)),
        (SHAPE.depth, (crops * tokens, SHAPE.hidden, width)),
    )
    for count, (rows, inner, columns) in shapes:
        yield count, _ones(rows, inner), _ones(inner, columns)
    one_head = (
        (SHAPE.depth * crops, (heads, tokens, width // heads, tokens)),
        (
            SHAPE.depth * crops,
            (heads, tokens, tokens, width // heads),
        ),
    )
    for count, (n, rows, inner, columns) in one_head:
        yield count, _ones(n, rows, inner), _ones(n, inner, columns)


def _ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bfloat16)


def operations(crops: int) -> int:
    """Additions and multiplications of ``products``."""
    return sum(count * 2 * one.numel() * other.shape[-1] for count, one, other in products(crops))


def products_seconds(crops: int) -> float:
    """The shortest time of each product, summed."""
    total, cpu = 0.0, torch.device("cpu")
    with torch.inference_mode():
        for count, one, other in products(crops):
            total += count * shortest(partial(torch.matmul, one, other), cpu, 0.3)
    return total


def _seconds(call: Callable[[], object]) -> float:
    """The shorter of two times."""
    return shortest(call, torch.device("cpu"), 0.0)


def one_round(
    folder: Path, screens: dict[str, tuple[Screen, list[Path]]], network: TorchAdapter, crops: int, fields: int
) -> dict[str, Any]:
    """Everything once, in seconds and rates."""
    cores, card = available_cores(), find().model("pixel-statistics")
    decoding: list[dict[str, Any]] = []
    for kind in FORMATS:
        screen, paths = screens[kind.name]
        # As many buffers as there are files: from one that is decoded again and again, a decoder is faster than any.
        contents = [path.read_bytes() for path in paths]
        before = decoder_rate(kind, contents)
        engine = len(paths) / engine_seconds(screen, card)
        limit = cores * (before + decoder_rate(kind, contents)) / 2
        decoding.append({"images": kind.name, "limit": limit, "engine": engine, "share": engine / limit})
    pixels = np.random.default_rng(1).integers(0, 256, (crops, len(CHANNELS), 256, 256), dtype=np.uint8)
    limit = products_seconds(crops)
    seconds = _seconds(lambda: network.embed_crops(pixels, CHANNELS))
    model = {
        "products": limit / crops,
        "seconds": seconds / crops,
        "rate": operations(crops) / seconds,
        "share": limit / seconds,
    }
    screen = screens[FORMATS[0].name][0]
    wells = screen.wells.iloc[:fields]
    small = Screen("small", "", "", wells, screen.channels, screen.images, "made here")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        embed(small, network, Path(out), "benchmark")
    whole = time.perf_counter() - start
    # Four crops a field.
    alone = {"model": 4 * len(wells) * model["seconds"], "decode": 6 * len(wells) / decoding[0]["engine"]}
    engine_figures = {
        "seconds": whole,
        **alone,
        "over_slower": whole / max(alone.values()),
        "over_sum": whole / sum(alone.values()),
    }
    return {"decoding": decoding, "model": model, "engine": engine_figures}


def section(results: Path) -> str:
    """The medians of all rounds; nothing where nothing was measured."""
    path = results / FILE
    if not path.exists():
        return ""
    figures = json.loads(path.read_text(encoding="utf-8"))
    rounds = figures["rounds"]

    def median(*names: Any) -> float:
        values = []
        for one in rounds:
            value = one
            for name in names:
                value = value[name]
            values.append(value)
        return statistics.median(values)

    rows = []
    for number, one in enumerate(rounds[0]["decoding"]):
        rates = (f"{median('decoding', number, name):,.0f} images/s" for name in ("limit", "engine"))
        rows.append((f"decode, {one['images']}", *rates, *_held(median("decoding", number, "share"), _DECODE_AIM)))
    times = (f"{1000 * median('model', name):,.0f} ms a crop" for name in ("products", "seconds"))
    rows.append(("OpenPhenom, bfloat16", *times, *_held(median("model", "share"), _MODEL_AIM)))
    over = median("engine", "over_slower")
    slower = statistics.median(max(one["engine"]["model"], one["engine"]["decode"]) for one in rounds)
    rows.append(
        (
            "engine, slower of the two",
            f"{slower:,.1f} s",
            f"{median('engine', 'seconds'):,.1f} s",
            *_held(1 / over, 1 / _ENGINE_AIM),
        )
    )
    introduction = _INTRODUCTION.format(rounds=len(rounds), machine=figures["machine"])
    return introduction + "\n" + table(("work", "limit", "reached", "share", "aim"), rows)


def _held(share: float, aim: float) -> tuple[str, str]:
    return f"{share:.0%}{'' if share >= aim else ' (!)'}", f"{aim:.0%}"


def machine() -> str:
    """The cores, and what of them counts here."""
    capabilities = torch.cpu.get_capabilities()
    there = [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]
    return f"{available_cores()} cores {platform.machine()} ({', '.join(there) or 'no bfloat16'})"


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Everything is measured so often.")] = 3,
    crops: Annotated[int, typer.Option(min=1, help="Through the network at a time.")] = 8,
    fields: Annotated[int, typer.Option(min=1, help="Fields of four crops that the whole engine embeds.")] = 8,
) -> None:
    """Measure decoding, network and engine, and print the section of the report."""
    network = load_model("openphenom", random_init=0, device="cpu", channels=CHANNELS)
    if not isinstance(network, TorchAdapter):
        raise TypeError("openphenom is no torch network")
    network.dtype = torch.bfloat16
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wells = max(fields, _WELLS_A_CORE * available_cores())
        screens = {kind.name: make_screen(kind, wells, folder / str(number)) for number, kind in enumerate(FORMATS)}
        measured = [one_round(folder, screens, network, crops, fields) for _ in range(rounds)]
    figures = {"machine": machine(), "rounds": measured}
    write_text(RESULTS / FILE, json.dumps(figures, indent=1) + "\n")
    print(section(RESULTS), end="")


if __name__ == "__main__":
    typer.run(main)
