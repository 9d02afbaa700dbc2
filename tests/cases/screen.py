"""A small screen of our own, its scores by brute force in plain numpy, and the command line in process."""

from __future__ import annotations

import itertools
import json
import shlex
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from phenobench.cli import app

Score = tuple[float, int]
CONTROL = "DMSO"
ROLE_COLUMNS = ["Metadata_Plate", "Metadata_Well", "Metadata_Batch", "Metadata_Perturbation", "Metadata_pert_type"]


def make(
    compounds: int = 10, plates: int = 4, controls: int = 5, d: int = 8, seed: int = 71, effect: float = 0.9
) -> pd.DataFrame:
    """One row a well: each compound once a plate beside controls, in drawn places; two plates a batch."""
    rng = np.random.default_rng(seed)
    effects = effect * rng.standard_normal((compounds, d))
    rows = []
    for plate in range(plates):
        shift = 0.6 * rng.standard_normal(d)
        names = [f"c{i:02d}" for i in range(compounds)] + [CONTROL] * controls
        places = rng.choice(96, len(names), replace=False)
        for i, (name, place) in enumerate(zip(names, places, strict=True)):
            values = shift + rng.standard_normal(d) + (effects[i] if i < compounds else 0.0)
            rows.append(
                {
                    "Metadata_Plate": f"Q{plate + 1}",
                    "Metadata_Well": f"{'ABCDEFGH'[place // 12]}{place % 12 + 1:02d}",
                    "Metadata_Batch": f"week{plate // 2 + 1}",
                    "Metadata_Perturbation": name,
                    "Metadata_pert_type": "negcon" if name == CONTROL else "trt",
                    **{f"f{j}": round(float(value), 3) for j, value in enumerate(values)},
                }
            )
    return pd.DataFrame(rows)


def features_of(table: pd.DataFrame) -> list[str]:
    """The columns that ``make`` made as features."""
    return [name for name in table.columns if name[:1] == "f" and name[1:].isdigit()]


def compound_numbers(table: pd.DataFrame) -> list[int]:
    """The number of the compound in each well of ``make``, -1 in controls."""
    return [-1 if name == CONTROL else int(name[1:]) for name in table["Metadata_Perturbation"]]


def renamed(table: pd.DataFrame, names: Sequence[Any], control: Any = CONTROL) -> pd.DataFrame:
    """The same wells with other names of the compounds."""
    labels = [control if i < 0 else names[i] for i in compound_numbers(table)]
    return table.assign(Metadata_Perturbation=pd.Series(labels, dtype=object))


# Scores by their definitions


def _cosines(X: np.ndarray) -> np.ndarray:
    X = np.asarray(X, dtype=np.float64)
    lengths = np.sqrt((X * X).sum(axis=1))
    return (X @ X.T) / np.outer(lengths, lengths)


def expected_precision(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Average precision; among equals, its mean over all orders."""
    values = [(round(float(s), 9), 1) for s in positives] + [(round(float(s), 9), 0) for s in negatives]
    above, above_positive, total = 0, 0, 0.0
    for value in sorted({s for s, _ in values}, reverse=True):
        tied = [hit for s, hit in values if s == value]
        size, hits = len(tied), sum(tied)
        for place in range(size):
            # One of the hits stands here with chance hits/size, and then the others are spread evenly over the rest.
            others = place * (hits - 1) / (size - 1) if size > 1 else 0.0
            if hits:
                total += hits / size * (above_positive + 1 + others) / (above + place + 1)
        above, above_positive = above + size, above_positive + hits
    return total / len(positives)


def replicates(
    table: pd.DataFrame, labels: Iterable[Any] | None = None, X: np.ndarray | None = None, plates: Any = None
) -> Score:
    """replicate-retrieval, across-plates: mAP and how many perturbations have one."""
    S = _cosines(table[features_of(table)].to_numpy() if X is None else X)
    names = [*(table["Metadata_Perturbation"] if labels is None else labels)]
    plate = [*(table["Metadata_Plate"] if plates is None else plates)]
    treated = [
        i
        for i, kind in enumerate(table["Metadata_pert_type"])
        if kind != "negcon" and names[i] is not None and names[i] == names[i]
    ]
    found: dict[Any, list[float]] = {}
    for i in treated:
        positives = [S[i, j] for j in treated if names[j] == names[i] and plate[j] != plate[i]]
        negatives = [S[i, j] for j in treated if names[j] != names[i] and plate[j] == plate[i]]
        if positives and negatives:
            found.setdefault(names[i], []).append(expected_precision(positives, negatives))
    return float(np.mean([np.mean(values) for values in found.values()])), len(found)


def targets_score(table: pd.DataFrame, targets: Mapping[str, Sequence[str]]) -> Score:
    """target-matching, all-perturbations: mAP and how many perturbations have one."""
    X = table[features_of(table)]
    names = sorted(targets)
    S = _cosines(np.array([X[table["Metadata_Perturbation"] == name].to_numpy().mean(axis=0) for name in names]))
    own = [set(targets[name]) for name in names]
    means = []
    for i in range(len(names)):
        of_targets = []
        for target in own[i]:
            positives = [S[i, j] for j in range(len(names)) if j != i and target in own[j]]
            negatives = [S[i, j] for j in range(len(names)) if not own[i] & own[j]]
            if positives and negatives:
                of_targets.append(expected_precision(positives, negatives))
        if of_targets:
            means.append(np.mean(of_targets))
    return float(np.mean(means)), len(means)


def centred(table: pd.DataFrame, X: np.ndarray | None = None) -> np.ndarray:
    """Features less the mean of each plate's controls."""
    values = np.array(table[features_of(table)] if X is None else X, dtype=np.float64)
    control = (table["Metadata_pert_type"] == "negcon").to_numpy()
    for plate in set(table["Metadata_Plate"]):
        here = (table["Metadata_Plate"] == plate).to_numpy()
        values[here] -= values[here & control].mean(axis=0)
    return values


def pca_scaled(table: pd.DataFrame, groups: Iterable[Any]) -> np.ndarray:
    """The axes of all controls, then the z-score by the controls of each group (``pca-cs``)."""
    X = table[features_of(table)].to_numpy().astype(np.float64)
    control = (table["Metadata_pert_type"] == "negcon").to_numpy()
    of = np.array([*groups], dtype=object)
    X = (X - X[control].mean(axis=0)) @ np.linalg.eigh(np.cov(X[control].T))[1]
    scaled = np.empty_like(X)
    for group in set(of):
        here = of == group
        scaled[here] = (X[here] - X[here & control].mean(axis=0)) / X[here & control].std(axis=0)
    return scaled


# Files


def write(table: pd.DataFrame, name: str) -> str:
    """Write to the current folder as the name says; csv and its like as text that reads back."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        table.to_parquet(name, index=False)
    elif name.endswith(".h5ad"):
        write_h5ad(table, name)
    else:
        table.to_csv(name, index=False, sep="\t" if ".tsv" in name else ",")
    return name


def write_h5ad(table: pd.DataFrame, name: str, *, categories: bool = True) -> str:
    """Features as X, all else as obs; text as categories."""
    names = features_of(table)
    obs = table.drop(columns=names).set_axis([str(i) for i in range(len(table))])
    for column in obs.columns:
        if obs[column].dtype == object and categories:
            obs[column] = obs[column].astype("category")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = anndata.AnnData(table[names].to_numpy(), obs, pd.DataFrame(index=names))
        data.write_h5ad(name)
    return name


def write_typed(table: pd.DataFrame, name: str, **types: pa.DataType) -> str:
    """Parquet by pyarrow with the types given for columns."""
    columns = {}
    for column in table.columns:
        if column in types:
            cells = [None if pd.isna(cell) else cell for cell in table[column]]
            # Integers beyond 64 bits with a sign are none that pyarrow would infer.
            unsigned = types[column] == pa.uint64()
            columns[column] = pa.array(cells, types[column] if unsigned else None).cast(types[column])
        else:
            columns[column] = pa.array(table[column], from_pandas=True)
    pq.write_table(pa.table(columns), name)
    return name


def _text_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if table[name].dtype == object]


def _typed_text(kind: pa.DataType) -> Callable[[pd.DataFrame, str], str]:
    def written(table: pd.DataFrame, stem: str) -> str:
        return write_typed(table, f"{stem}.parquet", **dict.fromkeys(_text_columns(table), kind))

    return written


def _suffixed(suffix: str) -> Callable[[pd.DataFrame, str], str]:
    return lambda table, stem: write(table, stem + suffix)


def _nullable(table: pd.DataFrame, stem: str) -> str:
    return write(table.astype(dict.fromkeys(_text_columns(table), "string")), f"{stem}.parquet")


def _pandas_categories(table: pd.DataFrame, stem: str) -> str:
    return write(table.astype(dict.fromkeys(_text_columns(table), "category")), f"{stem}.parquet")


def _hive(table: pd.DataFrame, stem: str) -> str:
    table.to_parquet(stem, partition_cols=["Metadata_Plate"], index=False)
    return stem


# Each writes a table whose labels are text, and says what to give to --profiles.
FORMATS: Mapping[str, Callable[[pd.DataFrame, str], str]] = {
    "csv": _suffixed(".csv"),
    "csv.gz": _suffixed(".csv.gz"),
    "tsv": _suffixed(".tsv"),
    "tsv.gz": _suffixed(".tsv.gz"),
    "pandas": _suffixed(".parquet"),
    "pandas-nullable": _nullable,
    "pandas-categories": _pandas_categories,
    "dictionary": _typed_text(pa.dictionary(pa.int16(), pa.string())),
    "large-string": _typed_text(pa.large_string()),
    "string-view": _typed_text(pa.string_view()),
    "partitioned": _hive,
    "h5ad": _suffixed(".h5ad"),
}
every_format = pytest.mark.parametrize("form", FORMATS)


def one_a_plate(table: pd.DataFrame, folder: str, form: str = "csv") -> str:
    """A folder with a file a plate."""
    Path(folder).mkdir()
    for i, (_, rows) in enumerate(table.groupby("Metadata_Plate", sort=True)):
        FORMATS[form](rows.reset_index(drop=True), f"{folder}/plate{i}")
    return folder


# The command line


@dataclass(frozen=True)
class Run:
    """What a command gave back; ``scores`` are (mAP, n) by subset, empty where there is no result."""

    code: int
    output: str
    scores: Mapping[str, Score] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    items: bytes = b""

    @property
    def score(self) -> Score:
        """The first score."""
        assert self.scores, self.output
        return next(iter(self.scores.values()))

    @property
    def dropped(self) -> Mapping[str, int]:
        """Wells left out, by reason."""
        found: Mapping[str, int] = self.result["screen"]["dropped"]
        return found

    def said(self, *words: str) -> bool:
        """Whether one warning of the result has all of these words."""
        return any(all(word in warning for word in words) for warning in self.warnings)


_FOLDERS = itertools.count()


def command(*arguments: object) -> Run:
    """Any command of phenobench, in process."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Run(done.exit_code, done.output)


def run(profiles: str | Sequence[str], options: str = "", task: str = "replicate-retrieval", how: str = "none") -> Run:
    """``phenobench run`` on files; ``options`` as in a shell. Results go to a folder of their own."""
    folder = Path(f"results{next(_FOLDERS)}")
    paths = [profiles] if isinstance(profiles, str) else profiles
    model = [] if "--model " in options else ["--model", "mine"]
    given = [part for path in paths for part in ("--profiles", path)]
    wanted = ["--task", task, "--normalization", how, "--results", folder]
    done = command("run", *given, *model, *wanted, *shlex.split(options))
    files = sorted(folder.glob("*/*/*/*.json"))
    if done.code or not files:
        return done
    (path,) = files
    result = json.loads(path.read_text(encoding="utf-8"))
    scores = {one["subset"]: (one["value"], one["n"]) for one in result["scores"]}
    items = path.with_name(path.name.removesuffix(".json") + ".items.parquet").read_bytes()
    return Run(done.code, done.output, scores, result["warnings"], result, items)


def same(found: Score, right: Score) -> bool:
    """Whether two scores are one: n, and mAP but for rounding."""
    return found[1] == right[1] and abs(found[0] - right[0]) < 1e-5


def assert_score(done: Run, right: Score, subset: str | None = None) -> None:
    """The run ended well, with this mAP and n."""
    assert done.code == 0, done.output
    found = done.score if subset is None else done.scores[subset]
    assert same(found, right), f"{found}, not {right}; {done.warnings}"


def assert_refused(done: Run, *words: str) -> None:
    """Exit code 2 and sentences, which have these words, without a traceback."""
    assert done.code == 2, (done.code, done.scores, done.output)
    assert "Traceback" not in done.output
    absent = [word for word in words if word not in done.output]
    assert not absent, f"not said: {absent}; said: {done.output}"
