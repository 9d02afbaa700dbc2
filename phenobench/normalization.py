"""Normalization: pure functions from profiles to profiles, fitted on negative controls, and named chains of them.

Every step records what it was fitted on, on how many wells and, where it rotates, how many
components it kept; the record travels with the profiles into every result.

A feature that does not vary among the controls is centred and left unscaled everywhere, so that
collapsed embeddings pass through every chain without a division by zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from phenobench.errors import InputError, unknown
from phenobench.fitting import (
    By,
    Change,
    Controls,
    change_groups,
    fit_groups,
    mean_sd,
    mean_sd_varied,
    shift_and_scale,
    standardize_in_place,
    varying,
)
from phenobench.profiles import Profiles

# From so many wells on, products are in float32 if they err by less than this of a feature's spread among the controls.
_MANY, _ROUNDING = 2**14, 1e-4
# Makes the median absolute deviation estimate the standard deviation of a normal distribution.
_MAD_TO_SD = 1.4826


def center(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Subtract the mean of the controls, by group.

    Args:
        profiles: features (n, d).
        by: what a group is; None takes all wells together.
        controls: fit on negative controls, or on all wells (which the record then says).

    Raises:
        InputError: no negative control, or fewer than two in a group.
    """
    fit = fit_groups(profiles, "center", by, controls)
    return profiles.transformed(
        shift_and_scale(profiles, fit, lambda c: (c.mean(axis=0), np.ones(c.shape[1]))), fit.record
    )


def standardize(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Subtract the controls' mean and divide by their standard deviation (ddof 0), by group.

    Agrees with pycytominer 1.7.1 ``normalize(method="standardize")``. Arguments and errors as ``center``.
    """
    fit = fit_groups(profiles, "standardize", by, controls)
    return profiles.transformed(shift_and_scale(profiles, fit, mean_sd), fit.record)


def robust_standardize(profiles: Profiles, *, by: By = None, controls: Controls = "negcon") -> Profiles:
    """Subtract the controls' median and divide by 1.4826 times their median absolute deviation, by group.

    Agrees with pycytominer 1.7.1 ``normalize(method="mad_robustize")`` but where the deviation is
    zero: there pycytominer divides by 1e-18, which gives values of 1e19; here the feature stays unscaled.
    Arguments and errors as ``center``.
    """

    def median_mad(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        median = np.median(controls, axis=0)
        return median, varying(_MAD_TO_SD * np.median(np.abs(controls - median), axis=0), median)

    fit = fit_groups(profiles, "robust_standardize", by, controls)
    return profiles.transformed(shift_and_scale(profiles, fit, median_mad), fit.record)


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

    fit = fit_groups(profiles, "sphere", by, controls)
    features, notes, ranks = np.empty(profiles.features.shape, dtype=np.float32), [], []
    for rows, fitted in zip(fit.rows, fit.fitted, strict=True):
        reference = profiles.values[fitted].astype(np.float64)
        mean, scale, varied = mean_sd_varied(reference)
        features[rows] = profiles.values[rows] - mean
        rank = _rank(((reference - mean) / scale)[:, varied])
        ranks.append(rank)
        if not rank:
            continue
        if rank < min(len(fitted) - 1, varied.sum()):
            raise InputError(
                f"sphere: the {varied.sum()} features of {len(fitted)} controls span only {rank} dimensions, so "
                "some are copies or sums of others; drop those, or use --normalization tvn, which keeps what the "
                "controls span"
            )
        if len(fitted) <= varied.sum():
            notes.append(_few_controls("sphere", len(fitted), int(varied.sum())))
        engine = Spherize(method="ZCA-cor")
        engine.fit(pd.DataFrame(reference[:, varied]))
        whitened = engine.transform(pd.DataFrame(profiles.values[np.ix_(rows, varied)].astype(np.float64)))
        features[np.ix_(rows, varied)] = np.asarray(whitened)
    record = {**fit.record, "method": "ZCA-cor", "rank_min": min(ranks)}
    return profiles.transformed(features, record, notes=notes)


def pca_center_scale(profiles: Profiles, *, by: By = "batch", controls: Controls = "negcon") -> Profiles:
    """PCA fitted on all controls together, then center and scale on each group's controls.

    RxRx3-core's default ("PCA-CS"; arXiv 2503.20158 and the OpenPhenom model card).
    Components beyond the numerical rank of the controls, which scaling would blow up, are dropped:
    none where there are more controls than features, as there. Arguments and errors as ``center``.
    """
    pooled = fit_groups(profiles, "pca", None, controls)
    reference = profiles.values[pooled.fitted[0]].astype(np.float64)
    mean, _, varied = mean_sd_varied(reference)
    reference -= mean
    axes, components = _principal_axes(reference, varied, full=False)
    rotated = change_groups(profiles.values, pooled, axes.shape[1], lambda _: partial(_turned, mean, axes, 0.0))
    fit = fit_groups(profiles, "pca_center_scale", by, controls)
    notes = [_few_controls("pca_center_scale", pooled.record["n_fitted"], profiles.features.shape[1])]
    names = tuple(f"PC{i + 1}" for i in range(components))
    turned = profiles.transformed(rotated, {**pooled.record, "components": components}, names, filter(None, notes))
    return turned.transformed(shift_and_scale(turned, fit, mean_sd), fit.record)


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
    pooled = fit_groups(profiles, "tvn", None, "negcon")
    groups = fit_groups(profiles, "tvn", by, "negcon")
    controls = pooled.fitted[0]
    # Fitted in double precision: a covariance squares the condition number of the features.
    reference = profiles.values[controls].astype(np.float64)
    mean, scale, varied = standardize_in_place(reference)
    axes, components = _principal_axes(reference, varied, full=rank == "full")
    record = {**groups.record, "rank": rank, "ridge": ridge, "components": components, "n_features": len(mean)}
    notes = [_few_controls("tvn", len(controls), len(mean))]
    if not components:
        notes.append("tvn: the negative controls do not vary at all, so features were centred and nothing was whitened")
        centred = change_groups(profiles.values, pooled, len(mean), lambda _: lambda block, _: block - mean)
        return profiles.transformed(centred, record, profiles.feature_names, filter(None, notes))
    reference = reference @ axes
    turned_mean, turned_scale, _ = standardize_in_place(reference)
    # All up to here as one matrix, and below it what is subtracted after.
    steps = np.vstack([axes / scale[:, None], turned_mean]) / turned_scale
    precision = _precision(profiles.values, turned_scale, ridge if by else 1.0)
    if precision is np.float32:
        # What rounding takes from the mean is subtracted after.
        rounded = mean.astype(precision)
        steps[-1] += (mean - rounded) @ steps[:-1]
        mean, steps = rounded, steps.astype(precision)

    def change_of(fitted: np.ndarray) -> Change:
        whole = steps
        if by is not None:
            fault = f"tvn: {len(fitted)} controls in a {by} do not determine"
            whole = _whitened(steps, reference[np.searchsorted(controls, fitted)], ridge, fault)
        return partial(_turned, mean, whole[:-1], whole[-1])

    names = tuple(f"PC{i + 1}" for i in range(components))
    features = change_groups(profiles.values, groups, components, change_of, precision)
    return profiles.transformed(features, record, names, filter(None, notes))


def _precision(features: np.ndarray, deviations: np.ndarray, ridge: float) -> type[np.floating[Any]]:
    """float32 for the products of many rows (n, d), where these keep it.

    Rounding in a sum of d terms, which divides by the ``deviations`` of the components (k,) and by the root of the
    ridge to give what varies by 1, must stay below ``_ROUNDING``.
    """
    n, d = features.shape
    rounding = np.finfo(np.float32).eps * np.sqrt(d)
    exact = (
        features.dtype == np.float64 or n < _MANY or rounding > _ROUNDING * deviations.min() * np.sqrt(min(1.0, ridge))
    )
    return np.float64 if exact else np.float32


def _turned(
    mean: np.ndarray, axes: np.ndarray, offset: np.ndarray | float, block: np.ndarray, room: np.ndarray
) -> np.ndarray:
    block -= mean
    np.matmul(block, axes, out=room)
    room -= offset
    return room


def _whitened(rows: np.ndarray, controls: np.ndarray, ridge: float, fault: str) -> np.ndarray:
    """``rows`` (r, k) times (cov + ridge I)^(-1/2), for the covariance of the ``controls`` (m, k), with ddof 1.

    The power is found in float64, and the products with it are in the precision of the rows.

    Where the controls are few, the covariance C has no more than m - 1 directions, and the power is known from
    the m x m Gram matrix of the centred controls Y with eigenvalues s: with g(s) = 1 / (a b (a + b)), a = sqrt(ridge)
    and b = sqrt(s + ridge), C + ridge I to the power -1/2 is I / a - Y' g(Y Y' / (m - 1)) Y / (m - 1).
    """
    m, components = controls.shape
    centred = controls - controls.mean(axis=0)
    few = m <= components
    values, vectors = np.linalg.eigh((centred @ centred.T if few else centred.T @ centred) / (m - 1))
    values = np.maximum(values, 0.0) + ridge
    smallest = ridge if few else values[0]
    if smallest <= components * np.finfo(np.float64).eps * values[-1]:
        raise InputError(f"{fault} a covariance of {components} components without a ridge; give a ridge above 0")
    if not few:
        return rows @ ((vectors / np.sqrt(values)) @ vectors.T).astype(rows.dtype, copy=False)
    a, b = np.sqrt(ridge), np.sqrt(values)
    weights = 1.0 / (a * b * (a + b) * (m - 1))
    centred, vectors, weights = (each.astype(rows.dtype, copy=False) for each in (centred, vectors, weights))
    turned = vectors.T @ centred
    projected = rows @ turned.T
    projected *= weights
    whitened = projected @ turned
    return np.subtract(rows / rows.dtype.type(a), whitened, out=whitened)


def _principal_axes(controls: np.ndarray, varied: np.ndarray, *, full: bool) -> tuple[np.ndarray, int]:
    """Principal axes of centred float64 controls (c, d) as columns (d, k), and their number k.

    ``varied`` (d,) marks the features in which the controls differ by more than rounding. Where ``full``, k is d or
    the number of controls if that is less (as scikit-learn's PCA), else the numerical rank of the controls; with
    rank 0 there are no components, and the axes are those of the features.
    """
    d = controls.shape[1]
    if not varied.any():
        return np.eye(d), d if full else 0
    # The covariance route: d x d, whatever the number of controls.
    reference = controls if varied.all() else np.where(varied, controls, 0.0)
    values, vectors = np.linalg.eigh(reference.T @ reference)
    values, vectors = values[::-1], vectors[:, ::-1]
    # Features arrive as float32: what lies below their rounding is no variance.
    floor = values[0] * (max(reference.shape) * np.finfo(np.float32).eps) ** 2
    kept = min(reference.shape) if full else int((values > floor).sum())
    # Fixed signs, so that the same features do not flip between machines.
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    return (vectors * signs)[:, :kept], kept


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
