"""Profiles in AnnData: wells are ``obs``, features are ``X``, a layer, or an entry of ``obsm``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api import types

from phenobench.errors import InputError, unknown
from phenobench.profiles.feature_columns import ColumnRules, require_unique, split_columns
from phenobench.profiles.formats.table import FeatureMatrix, Table
from phenobench.profiles.labels import of_cell

if TYPE_CHECKING:
    import pyarrow as pa


def read_h5ad(path: Path, rules: ColumnRules, layer: str | None = None, obsm: str | None = None) -> Table:
    """Read an AnnData file.

    Raises:
        InputError: there is no such layer or ``obsm``, or it holds no numbers.
    """
    import anndata

    # Names that occur twice are a warning there, and old files are read with one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.read_h5ad(path)
    return table_of_anndata(data, path, rules, layer, obsm)


def table_of_anndata(
    data: Any, where: object, rules: ColumnRules, layer: str | None = None, obsm: str | None = None
) -> Table:
    """An AnnData in memory as a table; arguments and errors as ``read_h5ad``, ``where`` is for messages."""
    values, names, notes = _features(data, where, layer, obsm)
    require_unique(names, where)
    obs = list(map(str, data.obs.columns))
    require_unique([*obs, *names], where)
    others, features = split_columns(names, rules)
    index = {name: i for i, name in enumerate(names)}
    matrix = FeatureMatrix(len(values), features)
    for j, name in enumerate(features):
        matrix.fill(j, [np.ascontiguousarray(values[:, index[name]])])
    columns = {name: data.obs[name] for name in obs} | {name: pd.Series(values[:, index[name]]) for name in others}
    return Table(
        arrow_table(columns),
        matrix.values,
        matrix.names,
        notes=notes,
        exact=matrix.exact,
        coarse=tuple(matrix.coarse),
        bare=True,
    )


def _features(
    data: Any, where: object, layer: str | None, obsm: str | None
) -> tuple[np.ndarray, list[str], tuple[str, ...]]:
    if layer is not None and obsm is not None:
        raise InputError(f"{where}: --layer and --obsm both say which the features are; give one of them")
    if layer is not None and layer not in data.layers:
        raise unknown(f"layer of {where}", layer, data.layers)
    if obsm is not None and obsm not in data.obsm:
        raise unknown(f"obsm of {where}", obsm, data.obsm)
    notes: tuple[str, ...] = ()
    if layer is None and obsm is None and data.X is None and len(data.obsm) == 1:
        obsm = next(iter(data.obsm))
        notes = (f"X is empty, so the features are obsm '{obsm}'",)
    if obsm is not None:
        entry = data.obsm[obsm]
        values = _dense(entry.to_numpy() if isinstance(entry, pd.DataFrame) else entry)
        names = list(map(str, entry.columns)) if isinstance(entry, pd.DataFrame) else _numbered(obsm, values.shape[1])
    else:
        values = _dense(data.X if layer is None else data.layers[layer])
        names = list(map(str, data.var_names))
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        others = [f"--obsm {name}" for name in data.obsm] + [f"--layer {name}" for name in data.layers]
        hint = f"say where the features are: {', '.join(others)}" if others else "store the features in X"
        what = (
            "X is empty"
            if data.X is None and layer is None and obsm is None
            else f"the features are {values.dtype}, not numbers"
        )
        raise InputError(f"{where}: {what}; {hint}")
    return values, names, notes


def _numbered(name: str, n: int) -> list[str]:
    return [f"{name}_{i}" for i in range(n)]


def _dense(values: Any) -> np.ndarray:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def arrow_table(columns: dict[str, pd.Series]) -> pa.Table:
    """Columns of a data frame in memory, each of whatever its cells are; a column of mixed cells is one of labels."""
    import pyarrow as pa

    arrays = {name: _array(column) for name, column in columns.items()}
    return pa.table(arrays)


def _array(column: pd.Series) -> pa.Array:
    import pyarrow as pa

    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = np.array([*column.cat.categories, None], dtype=object)
        return _array(pd.Series(categories[column.cat.codes]))
    if _is_plain(column):
        return pa.array(column, from_pandas=True)
    return pa.array(list(map(of_cell, column)), pa.string())


def _is_plain(column: pd.Series) -> bool:
    """Whether a column is of numbers, moments or text alone, which stay so; all else is spelled cell by cell."""
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind == "O":
        return _is_text(column)
    tests = (types.is_any_real_numeric_dtype, types.is_bool_dtype, types.is_datetime64_any_dtype, types.is_string_dtype)
    return not isinstance(kind, pd.SparseDtype) and any(test(kind) for test in tests)


def _is_text(cells: Iterable[object]) -> bool:
    """Whether cells that are there are all text."""
    return all(isinstance(cell, str) for cell in cells if cell is not None and cell is not pd.NA and cell == cell)
