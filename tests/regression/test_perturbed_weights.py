"""check in a repository with a network: noise of growing size in the file of its weights."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from scipy import stats

from phenobench.results import find_results, items_path, read_result
from tests.regression.planted import annotate, phenobench

CHANNELS = ("DNA", "ER", "Mito")
# Twelve genes have their phenotype in each channel and nowhere else.
GENES = {f"{channel}{number}": channel for channel in CHANNELS for number in range(12)}
_PLATES, _CONTROLS, _SIDE, _HIDDEN = 4, 12, 16, 12
NETWORK = '''
"""One hidden layer for each channel, on three statistics of its pixels."""

import numpy as np
from safetensors.numpy import load_file

from phenobench.files import sha256_of
from phenobench.models.adapter import ImageAdapter


class Layers(ImageAdapter):
    @classmethod
    def load(cls, card, *, weights, random_init, device, channels):
        made = cls(card)
        made.layers = load_file(weights["model"])
        made.weights_kind, made.weights_by_path = "trained", True
        made.weights_sha256 = sha256_of(weights["model"])
        return made

    def embed_crops(self, crops, channels):
        pixels = crops.astype(np.float32) / 1280 - 0.1
        left, right = np.split(pixels, 2, axis=3)
        sides = left.mean(axis=(2, 3)) - right.mean(axis=(2, 3))
        inputs = np.stack([pixels.mean(axis=(2, 3)), pixels.std(axis=(2, 3)), sides], axis=2)
        return np.concatenate([
            np.tanh(inputs[:, i] @ self.layers[f"{name}.weight"].T + self.layers[f"{name}.bias"])
            for i, name in enumerate(channels)
        ], axis=1)
'''
CARD = """
id = "layers"
title = "Layers"
summary = "for tests"
adapter = "layers:Layers"
input = "images"
status = "weights not published"
trained = true
revision = "1"
licence = "none"
channels = ["DNA", "ER", "Mito"]
"""


@pytest.fixture(scope="module", name="repository")
def scored_repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A network with its weights, a screen's images, and the results of these weights as the baseline."""
    folder = tmp_path_factory.mktemp("repository")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PHENOBENCH_CACHE", str(folder / "cache"))
        Path("layers.py").write_text(NETWORK)
        Path("models").mkdir()
        Path("models/layers.toml").write_text(CARD)
        Path("benchmark.toml").write_text("")
        importlib.invalidate_caches()
        annotate()
        make_screen(Path("screen"))
        rng = np.random.default_rng(1)
        layers = {
            name: array
            for channel in CHANNELS
            for name, array in (
                (f"{channel}.weight", 50 * rng.standard_normal((_HIDDEN, 3)).astype(np.float32)),
                (f"{channel}.bias", np.zeros(_HIDDEN, dtype=np.float32)),
            )
        }
        save_file(layers, "weights.safetensors")
        run("weights.safetensors", "baseline")
        yield folder
        sys.modules.pop("layers", None)


@pytest.fixture(autouse=True)
def _inside(own_folders: None, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PHENOBENCH_CACHE", str(repository / "cache"))


def make_screen(folder: Path) -> None:
    """Wells of noise with their plate's brightness; each gene changes three statistics of one channel."""
    folder.mkdir()
    truth, noise = np.random.default_rng(2), np.random.default_rng(3)
    effects = {gene: 12 * truth.standard_normal(3) for gene in GENES}
    rows = []
    for plate in range(_PLATES):
        brightness = dict(zip(CHANNELS, 4 * truth.standard_normal(3), strict=True))
        for place, name in enumerate([*GENES, *["DMSO"] * _CONTROLS]):
            for channel in CHANNELS:
                mean, spread, side = effects[name] if GENES.get(name) == channel else np.zeros(3)
                mean, spread, side = (mean, spread, side) + 2 * noise.standard_normal(3)
                pixels = noise.normal(128 + brightness[channel] + mean, abs(30 + spread), (_SIDE, _SIDE))
                pixels += np.where(np.arange(_SIDE) < _SIDE // 2, side, -side)
                path = folder / f"{plate}-{place}-{channel}.png"
                path.write_bytes(imagecodecs.png_encode(np.clip(pixels, 0, 255).astype(np.uint8)))
                rows.append(
                    {
                        "Metadata_Plate": f"P{plate}",
                        "Metadata_Well": f"{chr(65 + place // 24)}{place % 24 + 1:02d}",
                        "Metadata_Site": "1",
                        "channel": channel,
                        "path": path.name,
                        "Metadata_Perturbation": name,
                        "Metadata_pert_type": "trt" if name in GENES else "negcon",
                    }
                )
    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)


def run(weights: str, results: str) -> None:
    shutil.rmtree(results, ignore_errors=True)
    task = ("--task", "replicate-retrieval", "--normalization", "center")
    where = ("--annotations", "annotations", "--results", results, "--device", "cpu")
    done = phenobench("run", "--screen", "screen", "--model", "layers", "--weights", weights, *task, *where)
    assert done.exit_code == 0, done.output


def perturbed(size: float, channels: Sequence[str] = CHANNELS) -> tuple[int, str]:
    """The exit code and output of check for weights with so much noise in some channels' layers."""
    rng = np.random.default_rng(4)
    layers = load_file("weights.safetensors")
    for name, array in sorted(layers.items()):
        if name.split(".")[0] in channels:
            layers[name] = array + size * rng.standard_normal(array.shape).astype(np.float32)
    save_file(layers, "noisy.safetensors")
    run("noisy.safetensors", "results")
    done = phenobench("check", "--results", "results", "--baseline", "baseline")
    return done.exit_code, done.output


def changes() -> pd.Series:
    """How much each perturbation's mean average precision changed."""
    before, after = (
        pd.read_parquet(items_path(find_results(Path(folder))[0])).groupby("perturbation")["average_precision"].mean()
        for folder in ("baseline", "results")
    )
    return after - before


def named(output: str) -> list[str]:
    line = next(line for line in output.splitlines() if "fell most: " in line)
    return [part.split()[0] for part in line.split("fell most: ")[1].split(", ")]


def test_noise_in_the_weights_passes_inside_the_interval_and_fails_beyond_it() -> None:
    score = read_result(find_results(Path("baseline"))[0]).scores[0]
    assert score.ci_low > 2 * score.chance
    codes, means = [], []
    for size in (0.001, 0.01, 0.1, 30.0, 1000.0):
        code, output = perturbed(size)
        found = changes()
        codes.append(code)
        means.append(found.mean())
        low, high = stats.ttest_rel(found, np.zeros(len(found))).confidence_interval(0.95)
        assert "not there" not in output
        if code == 0:
            assert low < 0 or found.mean() > -0.01
        else:
            assert high < 0
            assert set(named(output)) == set(found.nsmallest(5).index)
    assert codes == [0, 0, 0, 1, 1]
    assert means[-1] < means[-2] < min(means[:3])


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_genes_that_only_the_broken_channel_shows_are_named(channel: str) -> None:
    code, output = perturbed(1000.0, [channel])
    assert code == 1, output
    assert set(named(output)) == set(changes().nsmallest(5).index)
    # A third of the genes are this channel's; one of another may lose a neighbour.
    assert [GENES[gene] for gene in named(output)].count(channel) >= 4
    assert "not as in the baseline: weights" in output
