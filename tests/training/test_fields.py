"""Fields that training reads: a damaged one is left out and named once, and a well is not made of nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.screens import Screen, SiteImage
from phenobench.training.fields import Fields
from tests.training.screens import make_screen


def damaged(places: set[tuple[int, str]]) -> Screen:
    """A screen of two fields a well of which some are damaged."""
    whole = make_screen()
    assert whole.images is not None
    read = whole.images

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for field in read(rows):
            bad = (field.row, field.site) in places
            empty = np.empty((len(whole.channels), 0, 0), np.uint8)
            yield replace(field, pixels=empty, damage="x.png cannot be decoded") if bad else field

    return replace(whole, images=images)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 30], ids=["read each time", "kept"])
def test_a_damaged_field_is_left_out_and_named_once(kept_bytes: int, caplog: pytest.LogCaptureFixture) -> None:
    wells = [2, 3]
    expected = Fields(make_screen(), wells, None, "full-range", kept_bytes).of(wells)
    fields = Fields(damaged({(2, "0")}), wells, None, "full-range", kept_bytes)
    for _ in range(2):
        found = fields.of(wells)
        np.testing.assert_array_equal(found[2], expected[2][1:])
        np.testing.assert_array_equal(found[3], expected[3])
    (record,) = caplog.records
    assert record.message == "made: well A03 of plate P00, field 0 is left out: x.png cannot be decoded"


def test_a_well_of_damaged_fields_alone_is_an_error() -> None:
    with pytest.raises(InputError, match=r"made: well A03 of plate P00 has no image that can be used; exclude it"):
        Fields(damaged({(2, "0"), (2, "1")}), [2, 3], None, "full-range", 1 << 30)
