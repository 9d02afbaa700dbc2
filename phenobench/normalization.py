"""Normalization: pure functions from profiles to profiles, fitted on negative controls, and named chains of them.

Every step records what it was fitted on, on how many wells and, where it rotates, how many
components it kept; the record travels with the profiles into every result.

A feature that does not vary among the controls is centred and left unscaled everywhere, so that
collapsed embeddings pass through every chain without a division by zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from phenobench.errors import InputError, unknown
from phenobench.profiles import Profiles

By = Literal["plate", "batch"] | None
Controls = Literal["negcon", "all"]

# Makes the median absolute deviation estimate the standard deviation of a normal distribution.
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class _Fit:
    """The groups a step is fitted in: for each, its rows and the rows it is fitted on."""

    rows: list[np.ndarray]
    fitted: list[np.ndarray]
    record: dict[str, Any]


def _fit_groups(profiles: Profiles, step: str, by: By, controls: Controls) -> _Fit:
    codes, names = profiles.groups(by)
    usable = np.ones(len(profiles), dtype=bool) if controls == "all" else profiles.negative_controls
    if not usable.any():
        raise InputError(
            f"{step}: there is no negative control to fit on; name them with --negcon Column=Value "
            "(or --label Column=Value:negcon), or use --normalization none"
        )
    counts = np.bincount(codes[usable], minlength=len(names))
    if counts.min() < 2:
        group = names[int(counts.argmin())]
        raise InputError(
            f"{step}: {group} has {counts.min()} negative controls and needs at least 2; name more with --negcon, "
            "leave the wells out with --exclude, or use a normalization that is fitted on larger groups"
        )
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(codes, minlength=len(names)))[:-1])
    record = {
        "step": step,
        "fitted_on": "all wells" if controls == "all" else "negative controls",
        "by": by or "all wells together",
        "n_groups": len(names),
        "n_fitted": int(counts.sum()),
        "n_fitted_min": int(counts.min()),
    }
    return _Fit(rows, [index[usable[index]] for index in rows], record)


def _shift_and_scale(
    profiles: Profiles, fit: _Fit, statistics: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(x - location) / scale within each group, float32 (n, d)."""
    features = np.empty(profiles.features.shape, dtype=np.float32)
    for rows, fitted in zip(fit.rows, fit.fitted, strict=True):
        location, scale = statistics(profiles.features[fitted].astype(np.float64))
        features[rows] = (profiles.features[rows] - location) / scale
    return features


def _varying(scale: np.ndarray, location: np.ndarray) -> np.ndarray:
    """``scale`` with 1 where the controls do not vary beyond rounding (scikit-learn's convention)."""
    return np.where(scale > 10 * np.finfo(np.float32).eps * np.abs(location), scale, 1.0)


def _mean_sd(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = controls.mean(axis=0)
    return mean, _varying(controls.std(axis=0), mean)


def center(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Subtract the mean of the controls, by group.

    Args:
        profiles: features (n, d).
        by: what a group is; None takes all wells together.
        controls: fit on negative controls, or on all wells (which the record then says).

    Raises:
        InputError: no negative control, or fewer than two in a group.
    """
    fit = _fit_groups(profiles, "center", by, controls)
    return profiles.transformed(_shift_and_scale(profiles, fit, lambda c: (c.mean(axis=0), np.ones(1))), fit.record)


def standardize(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Subtract the controls' mean and divide by their standard deviation (ddof 0), by group.

    Agrees with pycytominer 1.7.1 ``normalize(method="standardize")``. Arguments and errors as ``center``.
    """
    fit = _fit_groups(profiles, "standardize", by, controls)
    return profiles.transformed(_shift_and_scale(profiles, fit, _mean_sd), fit.record)


def robust_standardize(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Subtract the controls' median and divide by 1.4826 times their median absolute deviation, by group.

    Agrees with pycytominer 1.7.1 ``normalize(method="mad_robustize")`` but where the deviation is
    zero: there pycytominer divides by 1e-18, which gives values of 1e19; here the feature stays unscaled.
    Arguments and errors as ``center``.
    """

    def median_mad(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        median = np.median(controls, axis=0)
        return median, _varying(_MAD_TO_SD * np.median(np.abs(controls - median), axis=0), median)

    fit = _fit_groups(profiles, "robust_standardize", by, controls)
    return profiles.transformed(_shift_and_scale(profiles, fit, median_mad), fit.record)


def sphere(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Whiten so that the controls have identity covariance, staying close to the input axes (ZCA-cor), by group.

    pycytominer's ``Spherize`` is the engine (Kessy et al. 2018 for ZCA-cor). Its own rank check never
    fires, and collinear features then get weights of 1e7: the rank is checked here.
    Arguments as ``center``.

    Raises:
        InputError: as ``center``, and where features are collinear among enough controls to tell.
    """
    import pandas as pd
    from pycytominer.operations import Spherize

    fit = _fit_groups(profiles, "sphere", by, controls)
    features, notes, ranks = np.empty(profiles.features.shape, dtype=np.float32), [], []
    for rows, fitted in zip(fit.rows, fit.fitted, strict=True):
        reference = profiles.features[fitted].astype(np.float64)
        mean, scale = _mean_sd(reference)
        features[rows] = profiles.features[rows] - mean
        varying = _spread(reference) > 0
        rank = _rank(((reference - mean) / scale)[:, varying])
        ranks.append(rank)
        if not rank:
            continue
        if rank < min(len(fitted) - 1, varying.sum()):
            raise InputError(
                f"sphere: the {varying.sum()} features of {len(fitted)} controls span only {rank} dimensions, so "
                "some are copies or sums of others; drop those, or use --normalization tvn, which keeps what the "
                "controls span"
            )
        if len(fitted) <= varying.sum():
            notes.append(_few_controls("sphere", len(fitted), int(varying.sum())))
        engine = Spherize(method="ZCA-cor")
        engine.fit(pd.DataFrame(reference[:, varying]))
        whitened = engine.transform(pd.DataFrame(profiles.features[np.ix_(rows, varying)].astype(np.float64)))
        features[np.ix_(rows, varying)] = np.asarray(whitened)
    record = {**fit.record, "method": "ZCA-cor", "rank_min": min(ranks)}
    return profiles.transformed(features, record, notes=notes)


def pca_center_scale(profiles: Profiles, *, by: By = "batch", controls: Controls = "negcon") -> Profiles:
    """PCA fitted on all controls together, then center and scale on each group's controls.

    RxRx3-core's default ("PCA-CS"; arXiv 2503.20158 and the OpenPhenom model card).
    Components beyond the numerical rank of the controls, which scaling would blow up, are dropped:
    none where there are more controls than features, as there. Arguments and errors as ``center``.
    """
    pooled = _fit_groups(profiles, "pca", None, controls)
    features = profiles.features.astype(np.float64)
    rotated, components = _pca(features, pooled.fitted[0], _spread(features[pooled.fitted[0]]) > 0, full=False)
    fit = _fit_groups(profiles, "pca_center_scale", by, controls)
    notes = [_few_controls("pca_center_scale", pooled.record["n_fitted"], profiles.features.shape[1])]
    names = tuple(f"PC{i + 1}" for i in range(components))
    turned = profiles.transformed(rotated, {**pooled.record, "components": components}, names, filter(None, notes))
    return turned.transformed(_shift_and_scale(turned, fit, _mean_sd), fit.record)


def tvn(
    profiles: Profiles,
    *,
    by: By = "batch",
    rank: Literal["auto", "full"] = "auto",
    ridge: float = 0.5,
) -> Profiles:
    """Typical variation normalization with a per-batch covariance correction (EFAAR).

    Center and scale on the controls, rotate to the controls' principal components, center and scale
    again, then in each group multiply by (cov(controls) + ridge I)^(-1/2), covariance with ddof 1.
    Ando et al. 2017 for TVN, Sun et al. 2016 for the covariance step, and
    ``efaar_benchmarking`` 1.0 ``tvn_on_controls``, which ``rank="full"`` equals to 1e-5 where there
    are more controls than features.

    Args:
        profiles: features (n, d).
        by: the groups of the last step; None leaves that step out.
        rank: "auto" drops components beyond the numerical rank of the controls (a component with
            next to no variance would be scaled up to dominate every distance); "full" keeps all that
            a PCA of the controls has, the last one without variance where controls are fewer than features.
        ridge: added to the diagonal of each group's covariance.

    Raises:
        InputError: no negative control, fewer than two in a group, or a ridge below zero.
    """
    if ridge < 0:
        raise InputError(f"tvn: the ridge is {ridge}; give a value of at least 0")
    pooled = _fit_groups(profiles, "tvn", None, "negcon")
    groups = _fit_groups(profiles, "tvn", by, "negcon")
    controls = pooled.fitted[0]
    # Double precision throughout: a covariance squares the condition number of the features.
    features = profiles.features.astype(np.float64)
    varying = _spread(features[controls]) > 0
    mean, scale = _mean_sd(features[controls])
    features, components = _pca((features - mean) / scale, controls, varying, full=rank == "full")
    record = {**groups.record, "rank": rank, "ridge": ridge, "components": components, "n_features": len(mean)}
    notes = [_few_controls("tvn", len(controls), len(mean))]
    if not components:
        notes.append("tvn: the negative controls do not vary at all, so features were centred and nothing was whitened")
        return profiles.transformed(features, record, profiles.feature_names, filter(None, notes))
    mean, scale = _mean_sd(features[controls])
    features = (features - mean) / scale
    if by is not None:
        for rows, fitted in zip(groups.rows, groups.fitted, strict=True):
            covariance = np.atleast_2d(np.cov(features[fitted], rowvar=False)) + ridge * np.eye(components)
            values, vectors = np.linalg.eigh(covariance)
            if values[0] <= components * np.finfo(np.float64).eps * values[-1]:
                raise InputError(
                    f"tvn: {len(fitted)} controls in a {by} do not determine a covariance of {components} components "
                    "without a ridge; give a ridge above 0"
                )
            features[rows] = features[rows] @ (vectors / np.sqrt(values)) @ vectors.T
    names = tuple(f"PC{i + 1}" for i in range(components))
    return profiles.transformed(features, record, names, filter(None, notes))


def _pca(features: np.ndarray, controls: np.ndarray, varying: np.ndarray, *, full: bool) -> tuple[np.ndarray, int]:
    """Rotate float64 (n, d) features to the principal components of their ``controls`` rows.

    ``varying`` (d,) marks the features in which the controls differ by more than rounding. Returns
    the rotated features and the number of components: where ``full``, d or the number of controls
    if that is less (as scikit-learn's PCA), else the numerical rank of the controls; with rank 0
    the features come back merely centred.
    """
    centred = features - features[controls].mean(axis=0)
    if not varying.any():
        return centred, features.shape[1] if full else 0
    # The covariance route: d x d, whatever the number of controls.
    reference = np.where(varying, centred[controls], 0.0)
    values, vectors = np.linalg.eigh(reference.T @ reference)
    values, vectors = values[::-1], vectors[:, ::-1]
    # Features arrive as float32: what lies below their rounding is no variance.
    floor = values[0] * (max(reference.shape) * np.finfo(np.float32).eps) ** 2
    kept = min(reference.shape) if full else int((values > floor).sum())
    # Fixed signs, so that the same features do not flip between machines.
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    return centred @ (vectors * signs)[:, :kept], kept


def _spread(features: np.ndarray) -> np.ndarray:
    """Standard deviation by column (d,), 0 where it is rounding."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    return np.where(_varying(spread, mean) == spread, spread, 0.0)


def _rank(features: np.ndarray) -> int:
    """Numerical rank of standardised features, to the precision of the float32 they came from."""
    if not features.size:
        return 0
    values = np.linalg.svd(features, compute_uv=False)
    return int((values > values[0] * max(features.shape) * np.finfo(np.float32).eps).sum())


def _few_controls(step: str, controls: int, features: int) -> str:
    if controls > features:
        return ""
    return (
        f"{step}: {controls} negative controls for {features} features, so the whitening is not determined by the data"
    )


@dataclass(frozen=True)
class Step:
    """One step of a chain: a function of this module and its keyword arguments."""

    function: Callable[..., Profiles]
    parameters: Mapping[str, Any] = field(default_factory=dict)


# Each name is one correction the field uses; "a+b" is a, then b.
CHAINS: Mapping[str, tuple[tuple[Step, ...], str]] = {
    "none": ((), "features as they come"),
    "center": ((Step(center, {"by": "plate"}),), "subtract each plate's mean of negative controls"),
    "standardize": ((Step(standardize, {"by": "plate"}),), "z-score on each plate's negative controls"),
    "robust": ((Step(robust_standardize, {"by": "plate"}),), "median and MAD of each plate's negative controls"),
    "sphere": ((Step(sphere),), "whiten on all negative controls (ZCA-cor)"),
    "pca-cs": ((Step(pca_center_scale),), "PCA on all negative controls, then z-score by batch (RxRx3-core)"),
    "tvn": ((Step(tvn),), "typical variation normalization by batch, components beyond the controls' rank dropped"),
    "tvn-efaar": (
        (Step(tvn, {"rank": "full"}),),
        "typical variation normalization by batch, all components (EFAAR 1.0)",
    ),
}
DEFAULT = "center+tvn"


def chain(name: str) -> tuple[Step, ...]:
    """The steps of a named normalization; ``a+b`` is the steps of a, then those of b.

    Raises:
        InputError: a part of the name is unknown.
    """
    steps: tuple[Step, ...] = ()
    for part in name.split("+"):
        if part not in CHAINS:
            raise unknown("normalization", part, [*CHAINS, DEFAULT])
        steps += CHAINS[part][0]
    return steps


def keeps_axes(name: str) -> bool:
    """Whether a named normalization leaves each feature on its own axis, as a space shared with texts needs."""
    return all(step.function in (center, standardize, robust_standardize) for step in chain(name))


def normalize(profiles: Profiles, name: str) -> Profiles:
    """Apply a named normalization.

    Raises:
        InputError: the name is unknown, or a step cannot be fitted.
    """
    for step in chain(name):
        profiles = step.function(profiles, **step.parameters)
    return profiles
