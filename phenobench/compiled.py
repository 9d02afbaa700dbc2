"""Functions compiled by numba, which run without Python's lock.

What is compiled is kept in a folder beside the source. A function is compiled anew when its own file changes, and
not when only that of a function it calls does: then delete ``__pycache__``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound=Callable[..., Any])

    def compiled(function: F) -> F:
        """Compile a function whose sums may be taken in vectors; nothing else about numbers changes, NaN least."""

    def compiled_to_the_bit(function: F) -> F:
        """Compile a function that computes in the very order it is written in."""

else:
    import numba

    def compiled_to_the_bit(function, fastmath=False):  # noqa: D103 (above)
        options = {"nogil": True, "fastmath": fastmath}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            # There is no folder that compiled code could be kept in.
            return numba.njit(**options)(function)

    compiled = partial(compiled_to_the_bit, fastmath={"reassoc", "contract"})
