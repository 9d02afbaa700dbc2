"""Which columns of a file are features, which are metadata, and which numbers are known to be neither."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from phenobench.errors import InputError
from phenobench.profiles.roles import METADATA_PREFIX

# Columns that a data frame's index leaves behind in a file.
_UNNAMED_INDEX = re.compile(r"|Unnamed: \d+(\.\d+)*|__index_level_\d+__")
_INDEX = re.compile(r"index|level_\d+|row_?names?|row_?(number|index|nr|no)", re.IGNORECASE)
# What CellProfiler and its exports write beside measurements: numbers of objects and where they lie in the field.
_BOOKKEEPING = re.compile(
    r"(^|_)(ImageNumber|ObjectNumber|Object_Number|TableNumber|ImageSet_?(ImageSet|Number)|Group_(Index|Number))(_|$)"
    r"|(^|_)(Parent|Location)_|^(Image_)?Count_|_Center_|(^|_)Children_.*_Count$"
)
_IDENTIFIER = re.compile(r"((^|[\W_])[iI][dD]|(^|[\W_])(ID|UUID|uuid|[bB]arcode|identifier)|[a-z](ID|Id|Barcode))$")
# A name says what a well is or got where all of its words are known, and one of them is of these.
_SAID_OF_WELLS = frozenset(
    [
        "plate",
        "well",
        "batch",
        "source",
        "perturbation",
        "gene",
        "target",
        "pert",
        "type",
        "row",
        "col",
        "column",
        "site",
        "field",
        "fov",
        "replicate",
        "rep",
        "passage",
        "cycle",
        "zstep",
        "time",
        "timepoint",
        "timepoints",
        "hours",
        "hour",
        "hrs",
        "day",
        "days",
        "dose",
        "dosage",
        "concentration",
        "conc",
        "molarity",
        "mmoles",
        "count",
        "counts",
        "cellcount",
        "moa",
        "treatment",
        "compound",
        "control",
        "label",
    ]
)
# Of what, when, how many, and in which unit.
_QUALIFIERS = frozenset(
    [
        "cell",
        "cells",
        "nuclei",
        "object",
        "objects",
        "number",
        "num",
        "no",
        "nr",
        "n",
        "total",
        "of",
        "the",
        "per",
        "in",
        "at",
        "final",
        "nominal",
        "initial",
        "drug",
        "treat",
        "incubation",
        "post",
        "pre",
        "after",
        "exposure",
        "view",
        "value",
        "level",
        "index",
        "idx",
        "unit",
        "units",
        "log",
        "log10",
        "log2",
        "um",
        "μm",
        "μg",
        "nm",
        "mm",
        "m",
        "pm",
        "mg",
        "ml",
        "ug",
        "ng",
        "g",
        "h",
        "hr",
        "min",
        "minutes",
        "s",
        "sec",
        "d",
        "l",
        "mol",
        "mmol",
        "umol",
        "nmol",
        "micromolar",
        "nanomolar",
        "millimolar",
        "liter",
        "metadata",
    ]
)
_HOW_MANY, _OBJECTS = frozenset(["n", "num", "number", "no"]), frozenset(["cell", "cells", "nuclei", "objects"])
# Groups of features by what their names start with: a column of a group as small as this stands alone, where most
# columns are of larger ones.
_LONER_SHARE, _MOST_LONERS = 0.02, 0.2


@dataclass(frozen=True)
class ColumnRules:
    """How columns are told apart.

    Attributes:
        prefixes: what the names of metadata columns start with.
        metadata: columns that have a role or are in a condition.
        feature_prefixes: what the names of features start with; without one, all that is no metadata may be one.
        keep: columns that are features although they look like none.
    """

    prefixes: tuple[str, ...] = (METADATA_PREFIX,)
    metadata: frozenset[str] = frozenset()
    feature_prefixes: tuple[str, ...] = ()
    keep: frozenset[str] = field(default_factory=frozenset)


def split_columns(
    names: Sequence[str], rules: ColumnRules, recorded: Iterable[str] = (), kept: Iterable[str] = ()
) -> tuple[list[str], list[str]]:
    """The columns of a file that are metadata (or known to be no features), and those that may be features.

    Args:
        names: all columns, each once.
        rules: how they are told apart.
        recorded: metadata columns by the record that phenobench wrote.
        kept: features by the same.
    """
    told = {*rules.metadata, *recorded}
    keep = {name.strip() for name in (*rules.keep, *kept)}
    metadata, features = [], []
    for name in names:
        if name in told or name.strip() in told or name.strip().startswith(rules.prefixes):
            metadata.append(name)
        elif name.strip() in keep:
            features.append(name)
        elif _UNNAMED_INDEX.fullmatch(name):
            continue
        elif rules.feature_prefixes:
            (features if name.strip().startswith(rules.feature_prefixes) else metadata).append(name)
        else:
            (metadata if is_no_feature(name, names) else features).append(name)
    return metadata, features


def unnamed_index(names: Iterable[str]) -> tuple[str, ...]:
    """A note on columns that a data frame's index left behind, but for the one without a name."""
    found = [name for name in names if name and _UNNAMED_INDEX.fullmatch(name)]
    return (f"{listed(found)} is what an index left behind, and was left out",) if found else ()


def is_no_feature(name: str, names: Sequence[str] = ()) -> bool:
    """Whether a number under this name is known not to be a feature; ``names`` are all columns of the file."""
    bare = "".join(name.split())
    if bare != name and bare in names:
        return True
    patterns = (_INDEX.fullmatch(bare), _BOOKKEEPING.search(bare), _IDENTIFIER.search(name.strip()))
    return any(patterns) or _said_of_wells(name)


def _said_of_wells(name: str) -> bool:
    # The sign for micro and the Greek letter are one here.
    name = unicodedata.normalize("NFKC", name)
    if METADATA_PREFIX.rstrip("_") in name:
        return True
    known = _SAID_OF_WELLS | _QUALIFIERS
    for words in (name, re.sub(r"([a-z])([A-Z])", r"\1 \2", name)):
        tokens = {token for token in re.split(r"[\W_]+", words.lower()) if token}
        if tokens <= known and (tokens & _SAID_OF_WELLS or (tokens & _HOW_MANY and tokens & _OBJECTS)):
            return True
    return False


def require_unique(names: Iterable[str], path: object) -> None:
    """Refuse a name that occurs twice.

    Raises:
        InputError: naming it.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{path}: the column '{printable(name)}' occurs twice; rename or remove one")


def loners(features: Sequence[str]) -> list[str]:
    """Features that share no prefix with the rest, where most do share one; none where names have no such order."""
    start = {name: _start(name) for name in features}
    size = Counter(start.values())
    alone = [name for name in features if size[start[name]] <= max(1, int(_LONER_SHARE * len(features)))]
    return alone if len(alone) <= _MOST_LONERS * len(features) else []


def feature_prefixes(features: Sequence[str], others: Iterable[str]) -> list[str]:
    """Prefixes by which a user may name the features: those of many columns, and of none of the others."""
    size = Counter(name.partition("_")[0] + "_" for name in features if "_" in name)
    taken = tuple(others)
    found = [start for start, count in size.most_common(6) if count >= max(2, 0.05 * len(features))]
    return [start for start in found if not any(name.startswith(start) for name in taken)]


def _start(name: str) -> str:
    """What a name begins with, up to the first digit, blank or underscore."""
    return re.split(r"[\d_\W]", name.strip(), maxsplit=1)[0]


def printable(text: str) -> str:
    """The start of a text that may be anything, for a message of one line."""
    return "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in text[:120])


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for a message: the first few, and how many more there are."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
