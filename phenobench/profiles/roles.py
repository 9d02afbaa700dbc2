"""The roles that columns play, and what a table of wells calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Role = Literal["plate", "well", "batch", "source", "perturbation", "gene", "target", "pert_type"]

# Every stage names columns by role; a file may call them anything (role_columns.py maps them to these).
ROLES: Mapping[str, str] = {
    "plate": "Metadata_Plate",
    "well": "Metadata_Well",
    "batch": "Metadata_Batch",
    "source": "Metadata_Source",
    "perturbation": "Metadata_Perturbation",
    "gene": "Metadata_Symbol",
    "target": "Metadata_Target",
    "pert_type": "Metadata_pert_type",
}
PERT_TYPES = ("trt", "negcon", "poscon", "empty")
METADATA_PREFIX = "Metadata_"
# The key of the parquet file's own metadata under which provenance is kept.
PROVENANCE_KEY = b"phenobench"
# What a column of the file is called beside the role that has its name and that another column plays.
OWN = " (own)"
# What such a role's own column is called in a file that phenobench writes.
ROLE_PREFIX = "Metadata_role_"
