"""A tiny CellCLIP with the weights of tests/goldens/cellclip.npz, for tests that share it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from phenobench.cards import find
from phenobench.models import dinov2, load_model
from phenobench.models.cellclip import CellClip

GOLDENS = Path(__file__).parent / "goldens"
TINY_KEYS: dict[str, list[int]] = json.loads((GOLDENS / "cellclip_tiny_keys.json").read_text())
NORMS = ("ln_1", "ln_2", "ln_pre", "ln_post", "channel_ln", "LayerNorm")
JUMP = ("DNA", "ER", "RNA", "AGP", "Mito")
RECURSION = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
# DINOv2 of the width that the tiny model takes.
DINOV2 = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "use_swiglu_ffn": 0,
    "image_size": 70,
    "patch_size": 14,
}
CARD = """
id = "{id}"
title = "Tiny"
summary = "for tests"
adapter = "phenobench.models.{adapter}"
input = "images"
status = "weights not published"
trained = true
revision = "1"
licence = "none"
crop = 224
sixteen_bit = "brightest"
{network}
"""


@cache
def golden(name: str) -> np.ndarray:
    with np.load(GOLDENS / "cellclip.npz") as stored:
        return stored[f"tiny/{name}"]


def golden_weight(key: str, shape: list[int]) -> torch.Tensor:
    if key == "logit_scale":
        return torch.tensor(np.log(1 / 0.07), dtype=torch.float32)
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    scale = np.float32(0.1 if key.startswith(("visual.", "image_pool.")) else 0.02)
    value = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * scale
    parent, leaf = key.split(".")[-2:]
    return torch.from_numpy(value + np.float32(leaf == "weight" and parent in NORMS))


@cache
def golden_state() -> Mapping[str, torch.Tensor]:
    return {key: golden_weight(key, shape) for key, shape in TINY_KEYS.items()}


@cache
def instances() -> np.ndarray:
    """Four wells of six sites, some of them padding."""
    drawn = np.random.default_rng(13).standard_normal((4, 6, 5, 64)).astype(np.float32)
    drawn[1, 4:] = 0
    drawn[2, 1:] = 0
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == str(golden("instances_sha256"))
    return drawn


def write_weights(folder: Path) -> dict[str, Path]:
    """Weights of the tiny model and of its DINOv2."""
    files = {part: folder / f"{part}.safetensors" for part in ("model", "dinov2")}
    save_file(dict(golden_state()), files["model"])
    sizes = dinov2.config_of(find().model("dinov2-small").model_copy(update={"network": DINOV2}))
    # Features of random weights hardly differ between pictures, unless these are larger.
    save_file({key: 5 * value for key, value in dinov2.random_network_state(sizes, 0).items()}, files["dinov2"])
    return files


def write_cards() -> None:
    """Cards of the two models, in the current folder."""
    Path("benchmark.toml").touch()
    Path("models").mkdir()
    write_card("tiny-dinov2", "dinov2:Dinov2", "\n".join(f"{key} = {value}" for key, value in DINOV2.items()))
    write_tiny()


def write_card(name: str, adapter: str, network: str, more: str = "") -> None:
    text = CARD.format(id=name, adapter=adapter, network=f"[network]\n{network}\n{more}")
    Path("models", f"{name}.toml").write_text(text)


def write_tiny(orders: Sequence[str] = ("jump", "rxrx3-core", "bray2017"), **changed: Any) -> None:
    """A card; its sizes are those of random weights, and smaller than the file's."""
    settings: dict[str, Any] = {
        "dinov2": "tiny-dinov2",
        "crops": 2,
        "pooling": "mil",
        "vision_width": 64,
        "vision_layers": 1,
        "text_vocabulary": 60,
        "text_width": 64,
        "text_layers": 1,
        "text_hidden": 64,
        **changed,
    }
    known = find().model("cellclip").channel_orders
    listed = "\n".join(f"{name} = {json.dumps(known[name])}" for name in orders)
    network = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    write_card("tiny", "cellclip:CellClip", network, f"[channel_orders]\n{listed}")


def tiny(weights: Any) -> CellClip:
    model = load_model("tiny", weights=weights)
    assert isinstance(model, CellClip)
    return model


def noise(n: int, channels: int, height: int, width: int) -> np.ndarray:
    """Random pixels, brighter in some channels."""
    drawn = np.random.default_rng(0).integers(0, 256, (n, channels, height, width))
    return (drawn * np.linspace(0.2, 1, channels)[:, None, None]).astype(np.uint8)
