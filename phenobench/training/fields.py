"""Fields of wells by row, kept in memory as far as a limit allows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from phenobench.cards import SixteenBit
from phenobench.errors import InputError
from phenobench.images import to_eight_bit
from phenobench.profiles import ROLES
from phenobench.screens import Screen

_log = logging.getLogger("phenobench")


class Fields:
    """The fields of some wells of a screen.

    Memory-mapped fields, which a simulated screen has, count for nothing. What does not fit is read again each time.
    A damaged field is left out with a line in the log.

    Attributes:
        channels: in the order of the fields' first axis.
    """

    def __init__(
        self,
        screen: Screen,
        rows: Sequence[int],
        channels: Sequence[str] | None,
        sixteen_bit: SixteenBit,
        kept_bytes: int,
    ) -> None:
        """Read fields until the limit.

        Raises:
            InputError: the screen has no images or lacks a channel, or a well has no image that can be used.
        """
        if screen.images is None:
            raise InputError(f"the screen {screen.id} has no images; train on one that has")
        self.channels = tuple(channels or screen.channels)
        for name in self.channels:
            if name not in screen.channels:
                raise InputError(
                    f"the configuration asks for the channel '{name}' and {screen.id} has "
                    f"{', '.join(screen.channels)}; leave channels out to take those of the screen"
                )
        self._order = None
        if self.channels != screen.channels:
            self._order = [screen.channels.index(name) for name in self.channels]
        self._screen = screen
        self._read_images = screen.images
        self._sixteen_bit = sixteen_bit
        self._kept: dict[int, list[np.ndarray]] = {}
        self._damaged: set[tuple[int, str]] = set()
        self._keep(sorted(rows), kept_bytes)

    def of(self, rows: Sequence[int]) -> dict[int, list[np.ndarray]]:
        """The fields (c, h, w) of each row, uint8, or float32 on the 0-255 scale where they have 16 bits."""
        found = {row: self._kept[row] for row in rows if row in self._kept}
        absent = sorted(set(rows) - set(found))
        if absent:
            found |= self._read(absent)
        return found

    def _keep(self, rows: Sequence[int], kept_bytes: int) -> None:
        wells = self._screen.wells
        names = wells[ROLES["plate"]].astype(str)
        plates: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            plates[names.iloc[row]].append(row)
        for of_plate in plates.values():
            if kept_bytes <= 0:
                return
            read = self._read(of_plate)
            kept_bytes -= sum(
                field.nbytes for fields in read.values() for field in fields if not isinstance(field, np.memmap)
            )
            self._kept |= read

    def _read(self, rows: Sequence[int]) -> dict[int, list[np.ndarray]]:
        found: dict[int, list[np.ndarray]] = {row: [] for row in rows}
        for site in self._read_images(self._screen.wells.iloc[list(rows)]):
            if site.damage is None:
                found[site.row].append(self._field(site.pixels))
            elif (site.row, site.site) not in self._damaged:
                self._damaged.add((site.row, site.site))
                _log.warning("%s, field %s is left out: %s", self._place(site.row), site.site, site.damage)
        for row, fields in found.items():
            if not fields:
                raise InputError(f"{self._place(row)} has no image that can be used; exclude it")
        return found

    def _place(self, row: int) -> str:
        well = self._screen.wells.iloc[row]
        return f"{self._screen.id}: well {well[ROLES['well']]} of plate {well[ROLES['plate']]}"

    def _field(self, pixels: np.ndarray) -> np.ndarray:
        selected = pixels if self._order is None else pixels[self._order]
        return to_eight_bit(selected[None], self._sixteen_bit)[0] if selected.dtype == np.uint16 else selected
