"""Profiles: well-level embeddings with what their wells are, and how they are read from files."""

from phenobench.profiles.profiles import Profiles
from phenobench.profiles.roles import METADATA_PREFIX, PERT_TYPES, PROVENANCE_KEY, ROLES, Role

__all__ = ["METADATA_PREFIX", "PERT_TYPES", "PROVENANCE_KEY", "ROLES", "Profiles", "Role"]
