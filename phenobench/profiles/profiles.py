"""Profiles: one row a well, metadata beside features, with the record of what was done to them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.files import atomic
from phenobench.profiles.feature_columns import is_no_feature
from phenobench.profiles.finite import require_finite
from phenobench.profiles.precision import loses
from phenobench.profiles.roles import METADATA_PREFIX, OWN, PROVENANCE_KEY, ROLE_PREFIX, ROLES, Role


@dataclass(frozen=True, eq=False)
class Profiles:
    """Well-level embeddings with their metadata.

    Attributes:
        metadata: n rows; columns named as in ``ROLES`` have that role, all are ``Metadata_``.
        features: float32 (n, d), finite.
        feature_names: d names, ``feature_0`` and so on where none are given.
        steps: what normalization did so far, one record a step (see ``normalization.py``).
        dropped: wells left out on the way here, counted by reason.
        notes: what a reader of the scores should know about these profiles.
        key: the hash of what the features were computed from; empty where that is not known.
        left_out: wells left out, with the reason (see ``left_out.py``); those that a file only counts are not among
            them, and it is not written.
        exact: the features in float64 (n, d), where float32 loses what varies in one; normalization starts from these.

    Raises:
        InputError: the shapes do not fit, a name occurs twice, or a feature is NaN or infinite.
    """

    metadata: pd.DataFrame
    features: np.ndarray
    feature_names: tuple[str, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    key: str = ""
    left_out: pd.DataFrame | None = None
    exact: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.exact is None and getattr(self.features, "dtype", None) == np.float64:
            object.__setattr__(self, "exact", _exact(self.features))
        features = _as_float32(self.features)
        if features.ndim != 2 or len(features) != len(self.metadata):
            raise InputError(
                f"features of shape {features.shape} do not fit {len(self.metadata)} rows of metadata; "
                "give a matrix with one row a well"
            )
        names = self.feature_names or tuple(f"feature_{i}" for i in range(features.shape[1]))
        if len(names) != features.shape[1]:
            raise InputError(f"{len(names)} feature names for {features.shape[1]} features; give one name a column")
        for name, count in Counter([*names, *map(str, self.metadata.columns)]).items():
            if count > 1:
                raise InputError(f"the column '{name}' occurs twice; rename or remove one")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "feature_names", tuple(names))
        metadata = self.metadata.copy(deep=False)
        metadata.index = pd.RangeIndex(len(metadata))
        object.__setattr__(self, "metadata", metadata)
        require_finite(self.features, self.feature_names)

    def __len__(self) -> int:
        return len(self.metadata)

    @property
    def roles(self) -> frozenset[str]:
        """The roles that a column with at least one value plays."""
        return frozenset(
            role for role, name in ROLES.items() if name in self.metadata and self.metadata[name].notna().any()
        )

    def role(self, role: Role) -> pd.Series:
        """The column that plays a role.

        Raises:
            InputError: no column plays it; the message says how to name one.
        """
        name = ROLES[role]
        if name not in self.metadata:
            known = ", ".join(map(str, self.metadata.columns)) or "none"
            raise InputError(
                f"no column for the {role} (default {name}); name one with --column {role}=NAME; "
                f"metadata columns here: {known}"
            )
        return self.metadata[name]

    @property
    def negative_controls(self) -> np.ndarray:
        """Boolean (n,): the wells whose ``pert_type`` is ``negcon``."""
        return self._pert_type("negcon")

    @property
    def treated(self) -> np.ndarray:
        """Boolean (n,): the wells under test, ``trt`` or ``poscon``; all where no type is given."""
        if ROLES["pert_type"] not in self.metadata:
            return np.ones(len(self), dtype=bool)
        return self._pert_type("trt", "poscon")

    def _pert_type(self, *types: str) -> np.ndarray:
        if ROLES["pert_type"] not in self.metadata:
            return np.zeros(len(self), dtype=bool)
        return self.metadata[ROLES["pert_type"]].isin(types).to_numpy()

    def groups(self, by: Literal["plate", "batch"] | None) -> tuple[np.ndarray, list[str]]:
        """Group codes (n,) int and group names; one group of all wells where ``by`` is None.

        Plates and batches of different sources are different; the batch is the plate where a well has none.

        Raises:
            InputError: there is no column for the plate where it is needed.
        """
        if by is None:
            return np.zeros(len(self), dtype=np.intp), ["all wells"]
        role: Role = "plate" if by == "batch" and "batch" not in self.roles else by
        labels = self.role(role).map(str, na_action="ignore").radd(f"{role} ")
        if labels.isna().any() and role == "batch":
            labels = labels.where(labels.notna(), self.role("plate").map(str).radd("plate "))
        labels = labels.fillna(f"{role} None")
        if "source" in self.roles:
            sources = self.metadata[ROLES["source"]]
            kinds, own = labels.str.split(" ", n=1, expand=True)[0], labels.str.split(" ", n=1).str[1]
            # Doubled within a source, so that two sources and their plates never make one name.
            within = (
                kinds + " " + sources.map(lambda name: str(name).replace("/", "//"), na_action="ignore") + "/" + own
            )
            labels = within.where(sources.notna(), labels)
        codes, names = pd.factorize(labels, sort=True)
        return codes, [str(name) for name in names]

    def select(self, keep: np.ndarray, reason: str | None = None) -> Profiles:
        """The wells where ``keep`` (n,) is true; the others are counted and listed under ``reason``."""
        from phenobench.profiles.left_out import joined, left_out

        lost = int(len(self) - np.count_nonzero(keep))
        if not lost:
            return self
        exact = None if self.exact is None else self.exact[keep]
        kept = replace(self, metadata=self.metadata[keep], features=self.features[keep], exact=exact)
        if not reason:
            return kept
        dropped = {**self.dropped, reason: self.dropped.get(reason, 0) + lost}
        listed = joined([self.left_out, left_out(self.metadata[~keep], reason)])
        return replace(kept, dropped=dropped, left_out=listed)

    @property
    def values(self) -> np.ndarray:
        """The features as exactly as they are known, float32 or float64 (n, d)."""
        return self.features if self.exact is None else self.exact

    def transformed(
        self, features: np.ndarray, step: Mapping[str, Any], names: Iterable[str] = (), notes: Iterable[str] = ()
    ) -> Profiles:
        """The same wells with new features, the step that made them added to the record."""
        names = tuple(names) or (self.feature_names if features.shape[1] == len(self.feature_names) else ())
        return replace(
            self,
            features=features,
            feature_names=names,
            steps=(*self.steps, step),
            exact=None,
            notes=(*self.notes, *(note for note in notes if note not in self.notes)),
        )

    @classmethod
    def read(cls, path: str | Path, columns: Mapping[str, str] | None = None) -> Profiles:
        """Read a parquet, csv, csv.gz or h5ad file, a folder of them, or a glob.

        Args:
            path: what to read; several files become one table with the features they share.
            columns: role -> column name, for files that do not use the names of ``ROLES``.

        Raises:
            InputError: see ``reading.read_profiles``, which has the other options.
        """
        from phenobench.profiles.reading import Reading, read_profiles

        return read_profiles([str(path)], Reading(columns=dict(columns or {})))

    def write(self, path: str | Path) -> None:
        """Write parquet: sorted by plate and well, float32, zstd, atomically, with the record inside.

        All metadata columns keep their names. Where a column of the file has the name of a role that another column
        plays, it keeps that name too, and the record says which column plays the role.

        Raises:
            InputError: the file cannot be written or has another suffix, a feature is called as metadata are, or a
                column holds what parquet cannot.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if Path(path).suffix.lower() != ".parquet":
            raise InputError(f"{path}: profiles are written as parquet; give a name that ends in .parquet")
        wrong = [name for name in self.feature_names if name.startswith(METADATA_PREFIX)]
        if wrong:
            raise InputError(f"feature '{wrong[0]}' would be read as metadata; rename it")
        metadata, roles = self._as_written()
        keys = [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in self.metadata]
        order = self.metadata[keys].astype(str).sort_values(keys, kind="stable").index if keys else self.metadata.index
        try:
            table = pa.Table.from_pandas(metadata.loc[order], preserve_index=False)
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"metadata cannot be written ({reason}); give each column values of one type") from error
        features = self.features[order.to_numpy()]
        for name, column in zip(self.feature_names, features.T, strict=True):
            table = table.append_column(name, pa.array(np.ascontiguousarray(column)))
        record: dict[str, Any] = {"steps": list(self.steps), "dropped": dict(self.dropped), "notes": list(self.notes)}
        if self.key:
            record["key"] = self.key
        if roles:
            record["roles"] = roles
        foreign = [name for name in metadata.columns if not str(name).startswith(METADATA_PREFIX)]
        if foreign:
            record["metadata"] = foreign
        kept = [name for name in self.feature_names if is_no_feature(name)]
        if kept:
            record["features"] = kept
        table = table.replace_schema_metadata({PROVENANCE_KEY: json.dumps(record, sort_keys=True).encode()})
        with atomic(Path(path)) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def _as_written(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """The metadata under the names of the file, and which column plays a role that is not the role's own."""
        own = {name: role for role, name in ROLES.items()}
        aside = {name: name.removesuffix(OWN) for name in map(str, self.metadata.columns) if name.endswith(OWN)}
        roles = {role: name for name, role in own.items() if name in self.metadata}
        moved: dict[str, str] = {}
        for name in aside.values():
            if name in own and name in self.metadata:
                roles[own[name]] = f"{ROLE_PREFIX}{own[name]}"
                moved[name] = roles[own[name]]
            elif name in own:
                # The role has no column: what has its name is not to be taken for it.
                roles[own[name]] = ""
        # One of an earlier writing makes room.
        metadata = self.metadata.drop(columns=[name for name in moved.values() if name in self.metadata])
        return metadata.rename(columns={**moved, **aside}), roles


def _exact(features: np.ndarray) -> np.ndarray | None:
    """Features in float64 (n, d), if float32 loses what varies in one; else None."""
    if features.ndim != 2 or not any(loses(column) for column in features.T):
        return None
    return features


def _as_float32(values: object) -> np.ndarray:
    """A matrix of float32; what is too large for it becomes infinite.

    Raises:
        InputError: it does not hold numbers.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"they are {array.dtype}")
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"features must be numbers ({error})") from error
