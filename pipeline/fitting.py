"""Small models fitted with numpy: a softmax classifier, a logistic model, the weights of added logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[np.int64]


def fit_classifier(
    rows: Array,
    labels: Labels,
    classes: int,
    *,
    epochs: int = 20,
    rate: float = 0.01,
    decay: float = 0.1,
    batch: int = 256,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Weights (features, classes) and bias (classes,) of a softmax classifier, by AdamW with a one-cycle rate.

    The features of ``rows`` are standardised inside, and the weights given are for rows as they are. AdamW:
    https://arxiv.org/abs/1711.05101. The same rows give the same weights.
    """
    mean, spread = rows.mean(axis=0), float(rows.std(axis=0).mean()) or 1.0
    scale = np.float32(0.25 / spread)
    dice = np.random.default_rng(seed)
    weights = dice.uniform(-1, 1, (rows.shape[1], classes)).astype(np.float32) / np.float32(np.sqrt(rows.shape[1]))
    bias = np.zeros(classes, dtype=np.float32)
    moments = [np.zeros_like(weights), np.zeros_like(weights), np.zeros_like(bias), np.zeros_like(bias)]
    steps, step = epochs * -(-len(rows) // batch), 0
    for _ in range(epochs):
        order = dice.permutation(len(rows))
        for start in range(0, len(rows), batch):
            part = order[start : start + batch]
            inputs = (rows[part] - mean) * scale
            error = _softmax(inputs @ weights + bias)
            error[np.arange(len(part)), labels[part]] -= 1
            error /= len(part)
            step += 1
            now = np.float32(rate * _one_cycle(step / steps))
            weights *= 1 - now * np.float32(decay)
            _adam(weights, inputs.T @ error, moments[0], moments[1], step, now)
            _adam(bias, error.sum(axis=0), moments[2], moments[3], step, now)
    return weights * scale, bias - (mean * scale) @ weights


def _one_cycle(done: float) -> float:
    """Share of the highest rate: up over the first 30%, then down to nothing, both along a cosine."""
    if done < 0.3:
        return float(0.04 + 0.96 * (1 - np.cos(np.pi * done / 0.3)) / 2)
    return float((1 + np.cos(np.pi * (done - 0.3) / 0.7)) / 2)


def _adam(value: Array, slope: Array, first: Array, second: Array, step: int, rate: np.float32) -> None:
    first += np.float32(0.1) * (slope - first)
    second += np.float32(0.001) * (slope * slope - second)
    size = np.sqrt(second / np.float32(1 - 0.999**step)) + np.float32(1e-8)
    value -= rate * (first / np.float32(1 - 0.9**step)) / size


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def fit_logistic(
    features: Sequence[Sequence[float]], labels: Sequence[bool], weights: Sequence[float], *, penalty: float = 1.0
) -> tuple[float, ...]:
    """Coefficients of a logistic model, the intercept last, by Newton's method on standardised features.

    ``penalty``: of the squared standardised coefficients, against the sum of ``weights``.
    """
    rows, wanted, mass = np.asarray(features, float), np.asarray(labels, float), np.asarray(weights, float)
    mean, spread = np.average(rows, axis=0, weights=mass), rows.std(axis=0)
    spread[spread < 1e-9] = 1.0
    inputs = np.hstack([(rows - mean) / spread, np.ones((len(rows), 1))])
    ridge = np.diag([*([penalty] * rows.shape[1]), 1e-6])
    found = np.zeros(inputs.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ found, -30, 30)))
        slope = inputs.T @ (mass * (chance - wanted)) + ridge @ found
        curve = (inputs * (mass * chance * (1 - chance) + 1e-9)[:, None]).T @ inputs + ridge
        move = np.linalg.solve(curve, slope)
        found -= move * min(1.0, 5.0 / max(float(np.abs(move).max()), 1e-9))
        if np.abs(move).max() < 1e-6:
            break
    own = found[:-1] / spread
    return tuple(float(value) for value in [*own, found[-1] - own @ mean])


def fit_choice(parts: Sequence[NDArray[np.float64]], chosen: Labels, *, penalty: float = 1.0) -> tuple[float, ...]:
    """Weights that make the sum of the parts, each (questions, options), the logits of the chosen options.

    A conditional logit (https://en.wikipedia.org/wiki/Discrete_choice), by gradient descent with Newton's curvature.
    """
    stacked = np.stack([part.astype(np.float64) for part in parts], axis=2)
    own = np.arange(len(chosen))
    weights = np.full(stacked.shape[2], 0.1)
    for _ in range(50):
        logits = stacked @ weights
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        mean = np.einsum("no,nof->nf", chance, stacked)
        slope = (mean - stacked[own, chosen]).sum(axis=0) + penalty * weights
        curve = np.einsum("no,nof,nog->fg", chance, stacked, stacked, optimize=True) - mean.T @ mean
        move = np.linalg.solve(curve + penalty * np.eye(len(weights)), slope)
        weights -= move * min(1.0, 2.0 / max(float(np.abs(move).max()), 1e-9))
        if np.abs(move).max() < 1e-5:
            break
    return tuple(float(value) for value in weights)
