"""Scores as pure functions of arrays; what the rest of phenobench exists for."""

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
