"""The figures of the embedding engine: what they count, and how the report holds them against their aims."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import embedding, models
from phenobench.models import load_model
from phenobench.models.torch_adapter import TorchAdapter


def test_the_products_are_those_of_the_network() -> None:
    network = load_model("openphenom", random_init=0, device="cpu", channels=embedding.CHANNELS)
    assert isinstance(network, TorchAdapter)
    # torch counts the same but for what is no matrix product.
    assert embedding.operations(1) == pytest.approx(models.operations(network), rel=1e-3)
    assert embedding.operations(3) == 3 * embedding.operations(1)


@pytest.mark.parametrize("kind", embedding.FORMATS, ids=lambda kind: kind.name)
def test_the_made_screen_holds_what_the_decoders_decode(kind: embedding.Format, tmp_path: Path) -> None:
    screen, paths = embedding.make_screen(kind, 2, tmp_path / "screen")
    assert screen.images is not None
    sites = list(screen.images(screen.wells))
    assert [site.row for site in sites] == [0, 1]
    by_name = dict(zip(screen.channels, sites[1].pixels, strict=True))
    for decode in kind.decoders:
        for channel, path in zip(embedding.CHANNELS, paths[kind.channels :], strict=False):
            np.testing.assert_array_equal(by_name[channel], np.asarray(decode(path.read_bytes())))


def test_the_report_has_medians_and_marks_what_misses_its_aim(tmp_path: Path) -> None:
    def one(share: float, seconds: float) -> dict[str, object]:
        return {
            "decoding": [{"images": "JPEG 2000", "limit": 200.0, "engine": 200 * share, "share": share}],
            "model": {"products": 0.3, "seconds": 0.4, "rate": 1e11, "share": 0.75},
            "engine": {"seconds": seconds, "model": 8.0, "decode": 2.0, "over_slower": seconds / 8, "over_sum": 1.0},
        }

    assert embedding.section(tmp_path) == ""
    rounds = [one(0.95, 10.0), one(0.5, 9.0), one(0.89, 20.0)]
    (tmp_path / embedding.FILE).write_text(json.dumps({"machine": "a fast one", "rounds": rounds}))
    text = embedding.section(tmp_path)
    assert "median of 3 rounds on a fast one" in text
    assert "| decode, JPEG 2000 | 200 images/s | 178 images/s | 89% (!) | 90% |" in text
    assert "| OpenPhenom, bfloat16 | 300 ms a crop | 400 ms a crop | 75% | 60% |" in text
    assert "| engine, slower of the two | 8.0 s | 10.0 s | 80% (!) | 87% |" in text
