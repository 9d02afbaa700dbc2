"""How a tail of fixed size ties annotated pairs to each other: one that comes in pushes another one out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Around the edge of a tail, so much of its width on either side.
_BAND = 0.25
# No more than this is taken from the variance of a share, however crowded the edge.
_MOST = 0.5


@dataclass(frozen=True)
class Edge:
    """What stands at the edges of both tails of a map's cosines.

    Attributes:
        annotated: share of the pairs there that are annotated, from 0 to 1/2.
        others: pairs in the tails that are not annotated.
    """

    annotated: float = 0.0
    others: float = 0.0


def edge_of_tails(below: np.ndarray, upto: np.ndarray, n_pairs: int, tails: tuple[float, float], n_hits: float) -> Edge:
    """The edge of the tails of a map, from where its annotated pairs stand.

    Args:
        below: pairs of the map below each annotated one (m,).
        upto: pairs up to each (m,).
        n_pairs: all pairs of the map.
        tails: shares of the pairs below which the lower tail ends and the upper one begins.
        n_hits: annotated pairs in the tails.
    """
    place = (below + upto) / 2
    found = width = slots = 0.0
    for from_end, share in ((place, tails[0]), (n_pairs - place, 1 - tails[1])):
        edge = share * n_pairs
        slots += edge
        width += 2 * _BAND * edge
        found += float((np.abs(from_end - edge) < _BAND * edge).sum())
    return Edge(min(_MOST, found / width) if width else 0.0, max(0.0, slots - n_hits))
