"""Scores as pure functions of arrays; what the rest of phenobench exists for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenobench.metrics.consistency import perturbation_consistency
    from phenobench.metrics.ranking import average_precision
    from phenobench.metrics.relationships import RelationshipRecall, relationship_recall
    from phenobench.metrics.retrieval import CrossModalRecall, cross_modal_recall

__all__ = [
    "CrossModalRecall",
    "RelationshipRecall",
    "average_precision",
    "cross_modal_recall",
    "perturbation_consistency",
    "relationship_recall",
]

# Imported when they are used (PEP 562): comparing stored results needs neither pandas nor the ranking.
_LAZY = {
    "CrossModalRecall": "retrieval",
    "RelationshipRecall": "relationships",
    "average_precision": "ranking",
    "cross_modal_recall": "retrieval",
    "perturbation_consistency": "consistency",
    "relationship_recall": "relationships",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
