"""Which fields of a screen to look at: a negative control and a treated well of every plate."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from phenobench.errors import InputError
from phenobench.montage import montage
from phenobench.profiles import Profiles
from phenobench.screens import Screen

_log = logging.getLogger("phenobench")


def preview(screen: Screen, out: Path) -> None:
    """Draw one field of a control and one of a treated well of each plate, by channel; a damaged one is passed over.

    Raises:
        InputError: the screen has no images, none can be used, or ``out`` cannot be written.
    """
    if screen.images is None:
        raise InputError(f"the screen {screen.id} has no images to look at; name another")
    wells = Profiles(screen.wells, np.empty((len(screen.wells), 0), dtype=np.float32))
    codes, names = wells.groups("plate")
    fields = {}
    for code, name in enumerate(names):
        chosen = [np.flatnonzero((codes == code) & kind)[:1] for kind in (wells.negative_controls, wells.treated)]
        rows = screen.wells.iloc[np.concatenate(chosen)]
        first: dict[int, np.ndarray] = {}
        for image in screen.images(rows):
            if image.damage:
                _log.warning("%s: a field is left out: %s", name, image.damage)
            else:
                first.setdefault(image.row, image.pixels)
        fields[name.removeprefix("plate ")] = [first[row] for row in rows.index if row in first]
    montage(fields, screen.channels, out)
