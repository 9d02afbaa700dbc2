"""From a name in a card, ``module:attribute``, to the object: imported when it is used and not before."""

from __future__ import annotations

import importlib
from typing import Any

from phenobench.errors import InputError


def resolve(target: str, origin: object) -> Any:
    """Import ``module:attribute``; ``origin`` (the card's path) is named in errors.

    Raises:
        InputError: the module cannot be imported or has no such attribute.
    """
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{origin} names '{target}', which cannot be loaded ({error}); mend the card or install its package"
        ) from error
    if not callable(found):
        raise InputError(f"{origin} names '{target}', which is neither a class nor a function; mend the card")
    return found
