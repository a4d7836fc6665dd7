"""A small convolution network on made-up images, and the tolerances of its training.

A framework's adapter computes its steps; this module has the images, the first weights, and a
reference in NumPy's float64 that shares no code with a framework. Layouts are NHWC and HWIO.

Every array of the reference is made float64 by name: what float32 and a float64 number give
together differs between NumPy 1 and 2. RandomState's streams are the same in all releases.

Seen on a CPU in float32: logits within 1e-6 of the reference, losses within 2e-7 of float64.
With products rounded as TF32 rounds them the logits are 8e-4 off, so LOGITS tells the two apart.
LOSSES and WEIGHTS leave room for what follows from another order of summing: a ReLU that
switches turns a relative 1e-6 in the weights into 1e-4 in a loss after 30 steps.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import _verdict
import numpy as np
from _adapter import Adapter, Step

STEPS = 30
RATE = 0.1
CLASSES = 4
FALL = 10.0  # the last loss is at most the first one divided by this (24 seen)
LOGITS = 1e-4  # largest absolute deviation of a logit, before training
SLOPE = 1e-3  # largest relative deviation of a gradient from a difference quotient
LOSSES = 1e-3  # largest relative deviation of any step's loss
WEIGHTS = 1e-3  # largest absolute deviation of a weight after training

Weights = tuple[np.ndarray, ...]


class Problem(NamedTuple):
    """Images (N, H, W, C), labels (N,), and the first weights of the network."""

    images: np.ndarray
    labels: np.ndarray
    weights: Weights


class Training(NamedTuple):
    """The result of a run: `losses` begins before the first step and ends after the last."""

    logits: np.ndarray
    gradients: Weights
    losses: list[float]
    weights: Weights
    seconds: float
    tensors: list[Any]  # the same weights, as tensors of the framework


def problem() -> Problem:
    """Return a learnable problem: a pattern for each class under noise of the same strength."""
    draw = np.random.RandomState(20)  # a frozen stream
    labels = np.arange(96) % CLASSES
    patterns = draw.standard_normal((CLASSES, 16, 16, 3))
    images = patterns[labels] + draw.standard_normal((len(labels), 16, 16, 3))
    shapes = ((3, 3, 3, 8), (3, 3, 8, 16), (4 * 4 * 16, CLASSES))
    scales = [math.sqrt(2 / math.prod(shape[:-1])) for shape in shapes]
    weights = [
        draw.standard_normal(shape) * scale for shape, scale in zip(shapes, scales, strict=True)
    ]
    return Problem(
        images.astype(np.float32),
        labels.astype(np.int32),
        tuple(weight.astype(np.float32) for weight in weights),
    )


def train_on(framework: Adapter, given: Problem, place: str, kind: str) -> Training:
    """Train on this device, with convolutions and the matrix product in `kind`."""
    with framework.on(place):
        step = framework.step(given, place, kind)
        weights = [framework.put(weight, place) for weight in given.weights]
        return train(weights, step, framework.numpy)


def train(
    weights: list[Any], step: Step, to_numpy: Callable[[Any], np.ndarray] = np.asarray
) -> Training:
    """Train by plain gradient descent over all images at once, without random numbers.

    `step` gives the logits, the loss and the gradients under some weights.
    """
    begin = time.perf_counter()
    scores, cost, gradients = step(weights)
    first = to_numpy(scores), tuple(map(to_numpy, gradients))
    losses = [float(cost)]
    for _ in range(STEPS):
        moves = zip(weights, gradients, strict=True)
        weights = [weight - RATE * gradient for weight, gradient in moves]
        _, cost, gradients = step(weights)
        losses.append(float(cost))
    arrays = tuple(map(to_numpy, weights))
    return Training(*first, losses, arrays, time.perf_counter() - begin, weights)


def logits(images: np.ndarray, weights: Weights) -> np.ndarray:
    """Apply convolution, ReLU and 2x2 mean twice, then a matrix product; in float64."""
    value = images.astype(np.float64)
    for kernel in weights[:-1]:
        value = _halve(np.maximum(_convolve(value, kernel.astype(np.float64)), 0))
    return value.reshape(len(value), -1) @ weights[-1].astype(np.float64)


def loss(given: Problem, weights: Weights) -> float:
    """Return the mean cross entropy of the problem under these weights; in float64."""
    scores = logits(given.images, weights)
    norm = np.log(np.exp(scores).sum(axis=1))
    return float(np.mean(norm - scores[np.arange(len(scores)), given.labels]))


def judge(given: Problem, runs: dict[str, Training], **figures: object) -> None:
    """Show the figures of these runs, then fail unless each keeps every tolerance.

    The first run is the CPU's: the others have to agree with it, all with the reference.
    """
    for name, run in runs.items():
        _verdict.demand(len(run.losses) == STEPS + 1, f"{name}: {len(run.losses)} losses")
    cpu = next(iter(runs.values()))
    deviations = {
        name: _deviations(given, run, None if run is cpu else cpu) for name, run in runs.items()
    }
    _verdict.show(
        steps=STEPS,
        rate=RATE,
        losses={name: [run.losses[0], run.losses[-1]] for name, run in runs.items()},
        seconds={name: round(run.seconds, 3) for name, run in runs.items()},
        deviations={
            name: {label: deviation for label, (deviation, _) in rows.items()}
            for name, rows in deviations.items()
        },
        **figures,
    )
    for name, run in runs.items():
        _verdict.demand(
            run.losses[-1] * FALL <= run.losses[0],
            f"{name}: the loss went from {run.losses[0]:.4g} to {run.losses[-1]:.4g}, "
            f"which is no fall by a factor of {FALL:g}",
        )
        for label, (deviation, allowed) in deviations[name].items():
            # Written so that a NaN fails.
            _verdict.demand(deviation <= allowed, f"{name}: {label} {deviation:.3g} > {allowed:g}")


def _deviations(
    given: Problem, run: Training, cpu: Training | None
) -> dict[str, tuple[float, float]]:
    """Return each deviation with its tolerance."""
    start, end = loss(given, given.weights), loss(given, run.weights)
    reference = logits(given.images, given.weights)
    rows = {
        "logits off the reference": (_furthest([run.logits], [reference]), LOGITS),
        "first loss off the reference": (abs(run.losses[0] / start - 1), LOGITS),
        "last loss off the reference": (abs(run.losses[-1] / end - 1), LOSSES),
        "gradient off the reference": (slope_deviation(given, run.gradients), SLOPE),
    }
    if cpu is not None:
        ratios = np.divide(run.losses, cpu.losses)
        rows["logits off the CPU's"] = (_furthest([run.logits], [cpu.logits]), LOGITS)
        rows["losses off the CPU's"] = (float(np.max(np.abs(ratios - 1))), LOSSES)
        rows["weights off the CPU's"] = (_furthest(run.weights, cpu.weights), WEIGHTS)
    return rows


def _furthest(arrays: Iterable[np.ndarray], references: Iterable[np.ndarray]) -> float:
    pairs = zip(arrays, references, strict=True)
    return float(np.max([np.max(np.abs(array - reference)) for array, reference in pairs]))


def slope_deviation(given: Problem, gradients: Weights) -> float:
    """The length of each weight's gradient against the reference's slope along it: |1 - ratio|.

    The slope is the central difference quotient (L(w + hd) - L(w - hd)) / 2h for d = g / |g|,
    which is |g| for the gradient g.
    """
    step = 1e-5
    worst = []
    for place, gradient in enumerate(gradients):
        slope = np.asarray(gradient, np.float64)
        length = np.sqrt(np.sum(np.square(slope)))
        ahead, behind = (
            loss(given, _moved(given.weights, place, h * slope / length)) for h in (step, -step)
        )
        worst.append(abs(1 - (ahead - behind) / (2 * step * length)))
    return float(np.max(worst))


def _moved(weights: Weights, place: int, by: np.ndarray) -> Weights:
    return (*weights[:place], np.asarray(weights[place], np.float64) + by, *weights[place + 1 :])


def _convolve(value: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Cross-correlation with zeros around, stride 1, as the frameworks define it."""
    height, width = value.shape[1:3]
    padded = np.pad(value, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    ]
    return np.asarray(np.sum(shifted, axis=0))


def _halve(value: np.ndarray) -> np.ndarray:
    count, height, width, channels = value.shape
    blocks = value.reshape(count, height // 2, 2, width // 2, 2, channels)
    return np.asarray(blocks.mean(axis=(2, 4)))
