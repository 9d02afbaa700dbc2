"""Decoding image files: what is read comes back to the bit, and what is not is refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from phenobench.errors import InputError
from phenobench.images import read_image


def pixels(dtype: type[np.unsignedinteger]) -> np.ndarray:
    """Not square, and over the whole range of the type."""
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 48), endpoint=True).astype(dtype)
    image[0, :2] = 0, np.iinfo(dtype).max
    return image


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "deflate", "predictor": True},
        {"byteorder": ">"},
        {"tile": (16, 16), "compression": "lzw"},
        {"bigtiff": True, "compression": "lzw"},
    ],
    ids=["plain", "lzw", "deflate", "big-endian", "tiled", "big file"],
)
def test_tiff_comes_back_to_the_bit(tmp_path: Path, dtype: type[np.unsignedinteger], options: dict[str, Any]) -> None:
    image, path = pixels(dtype), tmp_path / "field.TIF"
    tifffile.imwrite(path, image, **options)
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "jp2"])
def test_png_and_lossless_jpeg_2000_come_back_to_the_bit(
    tmp_path: Path, dtype: type[np.unsignedinteger], suffix: str
) -> None:
    image, path = pixels(dtype), tmp_path / f"field.{suffix}"
    encoded = imagecodecs.png_encode(image) if suffix == "png" else imagecodecs.jpeg2k_encode(image, level=0)
    path.write_bytes(encoded)
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


def test_a_singleton_axis_is_no_second_channel(tmp_path: Path) -> None:
    image = pixels(np.uint16)
    tifffile.imwrite(tmp_path / "field.tif", image[None])
    np.testing.assert_array_equal(read_image(tmp_path / "field.tif"), image)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_stack_of_pages_is_refused_and_not_cut_to_its_first(tmp_path: Path, byteorder: Any) -> None:
    path = tmp_path / "field.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as pages:
        for _ in range(2):
            pages.write(pixels(np.uint16), compression="lzw", contiguous=False)
    with pytest.raises(InputError, match=r"shape \(2, "):
        read_image(path)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_colour_is_refused(tmp_path: Path, suffix: str) -> None:
    image, path = np.zeros((40, 48, 3), np.uint8), tmp_path / f"field.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, image, photometric="rgb")
    else:
        path.write_bytes(imagecodecs.png_encode(image))
    assert "(40, 48, 3)" in refusal(path)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, np.bool_])
def test_other_types_are_refused(tmp_path: Path, dtype: Any) -> None:
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, np.ones((40, 48), dtype))
    assert np.dtype(dtype).name in refusal(path)


@pytest.mark.parametrize("suffix", ["tif", "png", "jp2"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, suffix: str) -> None:
    image, path = pixels(np.uint16), tmp_path / f"field.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, image, compression="lzw")
    else:
        path.write_bytes(imagecodecs.png_encode(image) if suffix == "png" else imagecodecs.jpeg2k_encode(image))
    whole = path.read_bytes()
    for end in (0, 1, 4, 7, 9, 30, 100, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:end])
        assert "truncated" in refusal(path)


def test_a_damaged_header_never_gets_past_as_another_error(tmp_path: Path) -> None:
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, pixels(np.uint8), compression="lzw", rowsperstrip=8)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(0, 250)] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_image(path)
        except InputError:
            refused += 1
    assert refused > 50


def test_what_is_absent_a_folder_or_of_another_suffix_is_said_so(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "absent.tif")
    assert "does not exist" in refusal(tmp_path / "absent.png")
    (tmp_path / "folder.png").mkdir()
    assert "cannot be decoded" in refusal(tmp_path / "folder.png")
    (tmp_path / "field.jpg").write_bytes(b"")
    assert re.search(r"no image that is read here; use one of .*\.png", refusal(tmp_path / "field.jpg"))


def test_the_content_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    tifffile.imwrite(tmp_path / "field.tif", pixels(np.uint8))
    (tmp_path / "field.tif").rename(path)
    assert "cannot be decoded" in refusal(path)
