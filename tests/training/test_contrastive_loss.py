"""CLIP's loss and CWCL against the reference's values (tests/goldens/cellclip.npz), and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from phenobench.training.contrastive_loss import channel_similarities, clip_loss, cwcl_loss
from tests.tiny_cellclip import GOLDENS, golden, golden_weight

SCALE = torch.tensor(np.log(1 / 0.07), dtype=torch.float32).exp()


def losses_only(name: str) -> float:
    with np.load(GOLDENS / "cellclip.npz") as stored:
        return float(stored[f"losses_only/{name}"])


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Wells (6, 5, 32), images and texts (6, 16), as the goldens have them."""
    rng = np.random.default_rng(21)
    wells, images, texts = (
        torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for shape in ((6, 5, 32), (6, 16), (6, 16))
    )
    return wells, functional.normalize(images), functional.normalize(texts)


def test_the_losses_equal_the_references() -> None:
    wells, images, texts = drawn()
    assert clip_loss(images, texts, SCALE).item() == pytest.approx(losses_only("clip"), abs=1e-5)
    found = cwcl_loss(images, texts, channel_similarities(wells), SCALE)
    assert found.item() == pytest.approx(losses_only("cwcl"), abs=1e-5)


def test_the_losses_of_the_tiny_models_embeddings_equal_the_references() -> None:
    images, texts, pooled = (torch.from_numpy(golden(name)) for name in ("image_norm", "text_norm", "pooled"))
    assert clip_loss(images, texts, SCALE).item() == pytest.approx(float(golden("loss_clip")), abs=1e-5)
    found = cwcl_loss(images, texts, channel_similarities(pooled), SCALE)
    assert found.item() == pytest.approx(float(golden("loss_cwcl_pooled_untouched")), abs=1e-5)


def test_the_reference_compares_wells_with_the_channels_embedding_added() -> None:
    """It adds the embedding in place before its loss; ours leaves the features alone. There is no other difference."""
    images, texts, pooled = (torch.from_numpy(golden(name)) for name in ("image_norm", "text_norm", "pooled"))
    mutated = pooled + golden_weight("visual.channel_embed", [5, 64])
    found = cwcl_loss(images, texts, channel_similarities(mutated), SCALE)
    assert found.item() == pytest.approx(float(golden("loss_cwcl_as_trained_mutated")), abs=1e-5)
    assert abs(float(golden("loss_cwcl_as_trained_mutated")) - float(golden("loss_cwcl_pooled_untouched"))) > 2e-5


def written_out(images: np.ndarray, texts: np.ndarray, wells: np.ndarray, log_scale: float) -> tuple[float, float]:
    """Both losses by sums over pairs, in float64, as the description has them."""
    n, channels = wells.shape[:2]
    logits = np.exp(log_scale) * images @ texts.T

    def log_share(row: np.ndarray, i: int) -> float:
        return float(row[i] - np.log(np.exp(row - row.max()).sum()) - row.max())

    rows = [[log_share(logits[i], j) for j in range(n)] for i in range(n)]
    columns = [log_share(logits[:, i], i) for i in range(n)]
    clip = -np.mean([rows[i][i] for i in range(n)]) / 2 - np.mean(columns) / 2
    similar = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            for c in range(channels):
                one, other = wells[i, c], wells[j, c]
                cosine = one @ other / (np.linalg.norm(one) + 1e-8) / (np.linalg.norm(other) + 1e-8)
                similar[i, j] += cosine / (2 * channels)
    similar += 0.5
    similar /= similar.sum(axis=1, keepdims=True) + 1e-8
    return float(clip), float(-(similar * rows).sum() / n - np.mean(columns))


@pytest.mark.parametrize("of", ["images", "texts", "wells", "scale"])
def test_the_gradients_are_those_of_finite_differences(of: str) -> None:
    """Of the losses written out by hand, so that a constant that is cut off or a missing half would show."""
    given = dict(zip(("wells", "images", "texts"), (value.double() for value in drawn()), strict=True))
    given["scale"] = torch.tensor(np.log(1 / 0.07), dtype=torch.float64)
    given[of].requires_grad_(True)
    scale = given["scale"].exp()
    clip = clip_loss(given["images"], given["texts"], scale)
    cwcl = cwcl_loss(given["images"], given["texts"], channel_similarities(given["wells"]), scale)
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(tuple(given[of].shape)))
    for number, loss in enumerate((clip, cwcl)):
        if of == "wells" and number == 0:
            continue
        (gradient,) = torch.autograd.grad(loss, given[of], retain_graph=True)
        ends = []
        for sign in (1, -1):
            moved = {name: value.detach().numpy() for name, value in given.items()}
            moved[of] = moved[of] + sign * 1e-6 * direction.numpy()
            ends.append(written_out(moved["images"], moved["texts"], moved["wells"], float(moved["scale"]))[number])
        assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-5)


def test_similarities_go_from_0_to_1_whatever_the_lengths() -> None:
    wells, _, _ = drawn()
    found = channel_similarities(wells)
    assert torch.allclose(found, found.T, atol=1e-6)
    assert torch.allclose(found.diagonal(), torch.ones(6), atol=1e-6)
    assert torch.allclose(found, channel_similarities(3 * wells), atol=1e-6)
    assert channel_similarities(torch.stack([wells[0], -wells[0]]))[0, 1].item() == pytest.approx(0, abs=1e-6)
    # A well without anything in a channel is neither like nor unlike.
    assert torch.allclose(channel_similarities(torch.zeros(2, 5, 4)), torch.full((2, 2), 0.5))


def test_the_features_stay_as_they_are() -> None:
    wells, images, texts = drawn()
    before = wells.clone()
    cwcl_loss(images, texts, channel_similarities(wells), SCALE)
    assert torch.equal(wells, before)
