"""How fast the networks embed, and what share of the machine's matrix peak that is.

``python -m benchmarks.models [--device auto] [--out FILE.md]``

Networks have random weights and six channels; speed does not depend on the weights. A crop is one
field of the model's own size with all its channels, uint8, on the host; crops a second are those of
``embed_crops``, with the way to the device and back. The operations are those of the matrix products
and of attention on one crop, counted by torch. The peak is the best of square matrix products of the
same precision on the same device in the same run. Ratios of one run are comparable; crops a
second are those of one machine, and of whatever else it did.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.markdown import table
from benchmarks.peaks import matrix_peak, shortest
from phenobench.errors import InputError
from phenobench.models import load_model
from phenobench.models.device import pick_device
from phenobench.models.gpu_batches import MOST_ROWS
from phenobench.models.torch_adapter import TorchAdapter

MODELS = ("openphenom", "cwa-msn", "dinov2-small")
CHANNELS = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
PRECISIONS = (torch.float32, torch.bfloat16)
# Few on a CPU, which they keep busy, so that one of the repeats is likely to have it for itself.
CPU_BATCH = 2
HEADER = ("model", "precision", "crops/s", "GFLOP/crop", "GFLOP/s", "peak", "share")
# Other work on the machine comes and goes: everything is measured in turn, so often, and the best counts.
ROUNDS = 3


def operations(model: TorchAdapter) -> int:
    """Floating point operations of one crop, a multiplication and an addition being two."""
    crop = torch.zeros((1, len(CHANNELS), model.crop or 0, model.crop or 0), dtype=torch.uint8, device=model.device)
    # Attention as plain products: torch counts nothing for the fused kernel of the CPU.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.forward(crop)
    return int(counter.get_total_flops())


def speed(model: TorchAdapter, dtype: torch.dtype, seconds: float) -> float:
    """Crops a second of a batch of noise, the best within so many seconds."""
    batch, side = {"cpu": CPU_BATCH, "cuda": MOST_ROWS}.get(model.device.type, model.batch), model.crop or 0
    crops = np.random.default_rng(0).integers(0, 256, (batch, len(CHANNELS), side, side), dtype=np.uint8)
    model.dtype = dtype
    return batch / shortest(lambda: model.embed_crops(crops, CHANNELS), model.device, seconds)


def table_rows(models: Sequence[TorchAdapter], device: torch.device, seconds: float) -> list[tuple[str, ...]]:
    """Each model in each precision, as ``HEADER`` says; each measurement takes so many seconds in all."""
    peaks = dict.fromkeys(PRECISIONS, 0.0)
    speeds = dict.fromkeys(product(range(len(models)), PRECISIONS), 0.0)
    for _ in range(ROUNDS):
        for number, dtype in speeds:
            peaks[dtype] = max(peaks[dtype], matrix_peak(device, dtype, seconds / ROUNDS))
            speeds[number, dtype] = max(speeds[number, dtype], speed(models[number], dtype, seconds / ROUNDS))
    rows = []
    for (number, dtype), crops in speeds.items():
        counted = operations(models[number])
        rate, peak = crops * counted, peaks[dtype]
        numbers = (f"{value / 1e9:,.1f}" for value in (counted, rate, peak))
        precision = str(dtype).removeprefix("torch.")
        rows.append((models[number].id, precision, f"{crops:.3g}", *numbers, f"{rate / peak:.0%}"))
    return rows


def loaded(names: Sequence[str], device: torch.device, console: Console) -> Iterator[TorchAdapter]:
    """The models with random weights; one that cannot be had is named with the reason."""
    for name in names:
        try:
            model = load_model(name, random_init=0, device=str(device), channels=CHANNELS)
        except InputError as error:
            console.print(f"skipped {name}: {error}", markup=False)
            continue
        if isinstance(model, TorchAdapter):
            yield model
        else:
            console.print(f"skipped {name}: it is no torch network", markup=False)


def machine(device: torch.device) -> str:
    """Where it ran, in a line."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{platform.machine()} {device.type}, threads: {torch.get_num_threads()}"
    return f"{name}, torch {torch.__version__}; peak in GFLOP/s"


def markdown(title: str, rows: Sequence[Sequence[str]]) -> str:
    """The table, with the machine above it."""
    return f"{title}\n\n" + table(HEADER, rows, 2)


def main(
    models: Annotated[list[str] | None, typer.Option("--model", help="A model's id or card. Repeats.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    seconds: Annotated[float, typer.Option(help="For each measurement.")] = 2.0,
    out: Annotated[Path | None, typer.Option(help="A Markdown file for the table.")] = None,
) -> None:
    """Crops a second of the networks, and their share of the machine's matrix peak."""
    console, place = Console(), pick_device(device)
    rows = table_rows(list(loaded(models or MODELS, place, console)), place, seconds)
    shown = Table(title=machine(place), box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(HEADER):
        shown.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    if out is not None:
        out.write_text(markdown(machine(place), rows), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
