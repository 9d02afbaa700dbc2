"""The renderer: the same bytes everywhere, and each parameter seen in the picture where it should be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from phenobench.screens.optics import Optics
from phenobench.screens.rendering import CHANNELS, PARAMETERS, render_field

NONE = np.zeros(len(PARAMETERS))
DARK = 8  # grey levels: below it is background


def phenotype(**change: float) -> np.ndarray:
    mean = NONE.copy()
    for name, value in change.items():
        mean[PARAMETERS.index(name.replace("_", " "))] = value
    return mean


def fields(mean: np.ndarray, n: int = 6, penetrance: float = 1.0, optics: Optics | None = None) -> np.ndarray:
    made = [render_field(mean, penetrance, optics or Optics(), 1.0, np.random.default_rng(seed)) for seed in range(n)]
    return np.stack(made).astype(np.float32)


def of(channel: str, images: np.ndarray) -> np.ndarray:
    return images[:, CHANNELS.index(channel)]


def nuclei(images: np.ndarray) -> np.ndarray:
    return of("DNA", images) > 30


def bodies(images: np.ndarray) -> np.ndarray:
    return of("ER", images) > 20


def fineness(plane: np.ndarray, mask: np.ndarray, fine: float, coarse: float) -> float:
    """The share of a texture's variation that is as small as a pixel or two."""
    small = ndimage.gaussian_filter(plane, (0, fine, fine))
    middle = ndimage.gaussian_filter(plane, (0, coarse, coarse))
    large = ndimage.gaussian_filter(plane, (0, 3 * coarse, 3 * coarse))
    return float((small - middle)[mask].std() / (middle - large)[mask].std())


def around(images: np.ndarray, near: int, far: int) -> np.ndarray:
    """Pixels between two distances from a nucleus, inside cells."""
    away = np.stack([ndimage.distance_transform_edt(~mask) for mask in nuclei(images)])
    return (away > near) & (away <= far) & bodies(images)


def near_to_far(channel: str, images: np.ndarray) -> float:
    plane = of(channel, images)
    return float(plane[around(images, 1, 5)].mean() / plane[around(images, 9, 18)].mean())


def aspects(images: np.ndarray) -> float:
    """The median ratio of the axes of nuclei."""
    found = []
    for mask in nuclei(images):
        labels, n = ndimage.label(mask)
        for number in range(1, n + 1):
            rows, columns = np.nonzero(labels == number)
            if 80 < len(rows) < 600:
                short, long_ = np.linalg.eigvalsh(np.cov(rows, columns))
                found.append(np.sqrt(long_ / short))
    return float(np.median(found))


def spots(images: np.ndarray) -> float:
    """The share of the light of nuclei in the RNA channel that stands out: nucleoli."""
    plane, inside = of("RNA", images), ndimage.binary_erosion(nuclei(images), np.ones((1, 3, 3), dtype=bool))
    return float(np.percentile(plane[inside], 97) / np.median(plane[inside]))


def count(images: np.ndarray) -> float:
    return float(
        np.mean(
            [ndimage.label(mask)[1] for mask in ndimage.binary_opening(nuclei(images), np.ones((1, 5, 5), dtype=bool))]
        )
    )


def mean_size(mask: np.ndarray) -> float:
    labels, n = ndimage.label(mask, np.pad(np.ones((1, 3, 3)), ((1, 1), (0, 0), (0, 0))))
    sizes = np.bincount(labels.ravel())[1:]
    return float(sizes[sizes > 20].mean()) if n else 0.0


def bright(images: np.ndarray) -> np.ndarray:
    return of("Golgi", images) > 28


def golgi_distance(images: np.ndarray) -> float:
    away = np.stack([ndimage.distance_transform_edt(~mask) for mask in nuclei(images)])
    return float(away[bright(images) & ~nuclei(images)].mean())


def edges(images: np.ndarray) -> float:
    """Border of cells for their area, which jagged outlines have more of."""
    mask = ndimage.gaussian_filter(of("ER", images), (0, 1, 1)) > 12
    return float((mask ^ ndimage.binary_erosion(mask, np.ones((1, 3, 3), dtype=bool))).sum() / mask.sum())


# Parameter -> what must grow with it.
SEEN: dict[str, Callable[[np.ndarray], float]] = {
    "nucleus size": lambda x: mean_size(nuclei(x)),
    "nucleus eccentricity": aspects,
    "DNA intensity": lambda x: of("DNA", x).mean(),
    "chromatin contrast": lambda x: float(
        np.std(of("DNA", x)[m := ndimage.binary_erosion(nuclei(x), np.ones((1, 7, 7), dtype=bool))])
        / of("DNA", x)[m].mean()
    ),
    "cell size": lambda x: bodies(x).mean(),
    "cell elongation": aspects,
    "cell irregularity": edges,
    "ER intensity": lambda x: of("ER", x).mean(),
    "ER granularity": lambda x: fineness(of("ER", x), bodies(x), 0.5, 1.3),
    "ER slope": lambda x: near_to_far("ER", x),
    "actin fibres": lambda x: float(np.percentile(of("Actin", x), 99) / np.median(of("Actin", x)[bodies(x)])),
    "actin cortex": lambda x: of("Actin", x).mean(),
    "actin intensity": lambda x: of("Actin", x).mean(),
    "nucleoli": spots,
    "RNA intensity": lambda x: of("RNA", x).mean(),
    "mito intensity": lambda x: of("Mito", x).mean(),
    "mito radial": lambda x: near_to_far("Mito", x),
    "mito fragmentation": lambda x: fineness(of("Mito", x), bodies(x), 1.0, 2.5),
    "Golgi intensity": lambda x: float(np.percentile(of("Golgi", x), 99)),
    "Golgi dispersal": lambda x: bright(x).mean(),
    "Golgi distance": golgi_distance,
    "density": count,
}


def test_a_field_is_what_is_promised() -> None:
    image = render_field(NONE, 0.5, Optics(), 1.0, np.random.default_rng(0))
    assert image.shape == (6, 256, 256)
    assert image.dtype == np.uint8
    assert len(PARAMETERS) == len(set(PARAMETERS)) == 22
    assert render_field(NONE, 0.5, Optics(), 1.0, np.random.default_rng(0), size=96).shape == (6, 96, 96)
    # All of the range that matters is used, and little of it is lost above.
    for channel in image:
        assert np.percentile(channel, 5) < DARK < 40 < np.percentile(channel, 99.7)
        assert (channel == 255).mean() < 1e-3


def test_no_parameter_is_left_out() -> None:
    assert set(SEEN) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_moves_what_it_should(name: str) -> None:
    low, high = (SEEN[name](fields(phenotype(**{name: value}))) for value in (-2.5, 2.5))
    assert high > low
    untreated = SEEN[name](fields(NONE))
    assert low < untreated or untreated < high
    # The change is one of that parameter and not of chance: other cells say the same.
    step = max(abs(untreated), 1e-6)
    assert (high - low) / step > 0.04


def test_a_phenotype_that_no_cell_shows_is_none() -> None:
    loud = phenotype(**dict.fromkeys(PARAMETERS, 3.0))
    np.testing.assert_array_equal(fields(loud, 2, penetrance=0.0), fields(NONE, 2, penetrance=0.0))


def test_penetrance_is_the_share_of_cells_that_respond() -> None:
    mean = phenotype(DNA_intensity=4.0)
    none, half, all_ = (of("DNA", fields(mean, 8, penetrance=share)).mean() for share in (0.0, 0.5, 1.0))
    assert none < half < all_
    assert 0.25 < (half - none) / (all_ - none) < 0.75


def test_a_shift_moves_every_cell() -> None:
    shift = phenotype(mito_intensity=3.0)
    image = render_field(NONE, 0.0, Optics(), 1.0, np.random.default_rng(1), shift=shift)
    plain = render_field(NONE, 0.0, Optics(), 1.0, np.random.default_rng(1))
    assert image[4].mean() > 1.3 * plain[4].mean()


def test_optics_act_on_their_channel_alone() -> None:
    plain = fields(NONE, 2)
    identity = Optics()

    def changed(**settings: float) -> np.ndarray:
        values = {name: (value, *getattr(identity, name)[1:]) for name, value in settings.items()}
        image = fields(NONE, 2, optics=replace(identity, **values))
        np.testing.assert_array_equal(image[:, 1:], plain[:, 1:])
        return image[:, 0]

    dna = plain[:, 0]
    assert changed(gain=1.5).mean() > 1.2 * dna.mean()
    assert changed(background=20.0).min() > dna.min() + 10
    assert changed(blur=0.1).std() < dna.std() < changed(blur=-0.2).std()
    right = changed(gradient_x=0.5) - dna
    assert right[..., 128:].mean() > 0 > right[..., :128].mean()
    down = changed(gradient_y=0.5) - dna
    assert down[:, 128:].mean() > 0 > down[:, :128].mean()
    assert changed(vignetting=0.5).mean() < dna.mean()


def test_density_is_a_factor_of_the_number_of_cells() -> None:
    few, many = (
        np.stack([render_field(NONE, 0.0, Optics(), d, np.random.default_rng(s)) for s in range(4)]) for d in (0.6, 1.3)
    )
    assert count(few) < 0.75 * count(many)


def test_the_same_seed_gives_the_same_bytes_in_any_process_with_any_threads() -> None:
    program = (
        "import hashlib, numpy as np\n"
        "from phenobench.screens.optics import Optics\n"
        "from phenobench.screens.rendering import render_field\n"
        "optics = Optics(gain=(1.1,) * 6, gradient_x=(0.1,) * 6, blur=(0.05,) * 6)\n"
        "digest = hashlib.sha256()\n"
        "for seed in range(3):\n"
        "    mean = np.linspace(-2, 2, 22)\n"
        "    digest.update(render_field(mean, 0.6, optics, 1.1, np.random.default_rng(seed)).tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    found = set()
    for threads, hash_seed in (("1", "0"), ("2", "1")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
        found.add(done.stdout)
    assert len(found) == 1


def test_fields_differ_by_seed() -> None:
    images = fields(NONE, 3).astype(np.uint8)
    assert len({hashlib.sha256(image.tobytes()).hexdigest() for image in images}) == 3
