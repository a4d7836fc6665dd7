"""What a training has to show: an honest one passes, every spoilt one fails."""

import hashlib
import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.check_scripts import FAILED, code_of

convolution = importlib.import_module("_convolution")

Step = Callable[[list[Any]], tuple[Any, Any, Any]]


def small() -> Any:
    """A problem of 34 weights, whose gradient difference quotients give quickly."""
    draw = np.random.default_rng(3)
    labels = np.arange(8) % 4
    images = 2 * draw.standard_normal((4, 8, 8, 1))[labels]
    shapes = ((3, 3, 1, 1), (3, 3, 1, 1), (4, 4))
    weights = tuple(draw.standard_normal(shape).astype(np.float32) for shape in shapes)
    return convolution.Problem(images.astype(np.float32), labels, weights)


def numpy_step(given: Any) -> Step:
    """The step of a framework that computes in float64, slope by slope."""

    def slope(weights: list[Any], place: int, index: tuple[int, ...]) -> float:
        costs: list[float] = []
        for move in (1e-5, -1e-5):
            moved = [np.array(weight, np.float64) for weight in weights]
            moved[place][index] += move
            costs.append(convolution.loss(given, tuple(moved)))
        return (costs[0] - costs[1]) / 2e-5

    def step(weights: list[Any]) -> tuple[Any, Any, Any]:
        gradients = [
            np.array([slope(weights, place, index) for index in np.ndindex(weight.shape)]).reshape(
                weight.shape
            )
            for place, weight in enumerate(weights)
        ]
        scores = convolution.logits(given.images, tuple(weights))
        return scores, convolution.loss(given, tuple(weights)), gradients

    return step


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any]:
    given = small()
    return given, convolution.train(list(given.weights), numpy_step(given))


def test_an_honest_training_passes(
    trained: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given, run = trained
    convolution.judge(given, {"cpu": run, "gpu": run}, device="none")
    figures = json.loads(capsys.readouterr().out)
    assert figures["device"] == "none"
    assert figures["losses"]["cpu"][0] > 10 * figures["losses"]["cpu"][1]


def off(weights: tuple[Any, ...], by: float) -> tuple[Any, ...]:
    return (weights[0] + by, *weights[1:])


SABOTAGE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a learning rate of 0": ("no fall by", lambda run: run._replace(losses=run.losses[:1] * 31)),
    "a loss that is not a number": (
        "no fall by",
        lambda run: run._replace(losses=[*run.losses[:-1], float("nan")]),
    ),
    "a step left out": ("30 losses", lambda run: run._replace(losses=run.losses[1:])),
    "logits rounded as TF32 rounds": (
        "logits off the reference",
        lambda run: run._replace(logits=run.logits * (1 + 2**-11)),
    ),
    "a first loss made up": (
        "first loss off the reference",
        lambda run: run._replace(losses=[run.losses[0] * 1.001, *run.losses[1:]]),
    ),
    "a last loss made up": (
        "last loss off the reference",
        lambda run: run._replace(losses=[*run.losses[:-1], run.losses[-1] * 0.9]),
    ),
    "weights that never moved": (
        "last loss off the reference",
        lambda run: run._replace(weights=small().weights),
    ),
    "a gradient of nothing": (
        "gradient off the reference",
        lambda run: run._replace(gradients=tuple(0 * gradient for gradient in run.gradients)),
    ),
    "a kernel's gradient flipped": (
        "gradient off the reference",
        lambda run: run._replace(gradients=(run.gradients[0][::-1], *run.gradients[1:])),
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_training_that_proves_nothing_fails(
    name: str, device: str, trained: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given, run = trained
    reason, spoil = SABOTAGE[name]
    runs = {"cpu": run, device: spoil(run)}
    assert code_of(lambda: convolution.judge(given, runs)) == FAILED
    printed = capsys.readouterr()
    assert f"{device}: " in printed.err
    assert reason in printed.err
    assert printed.out.startswith("{") or "losses" in reason


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [
        ("weights off the CPU's", lambda run: run._replace(weights=off(run.weights, 2e-3))),
        (
            "losses off the CPU's",
            lambda run: run._replace(
                losses=[*run.losses[:9], run.losses[9] * 1.01, *run.losses[10:]]
            ),
        ),
    ],
)
def test_a_gpu_that_leaves_the_cpu_fails(
    reason: str,
    spoil: Callable[[Any], Any],
    trained: tuple[Any, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, run = trained
    assert code_of(lambda: convolution.judge(given, {"cpu": run, "gpu": spoil(run)})) == FAILED
    assert reason in capsys.readouterr().err


def test_the_reference_is_what_the_words_say() -> None:
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    shift = np.zeros((3, 3, 1, 1))
    shift[1, 2] = 1  # the right neighbour: a flipped kernel would take the left one
    scores = convolution.logits(image, (shift, np.eye(4)))
    # Rows 0 and 1 become 1 2 3 0 and 5 6 7 0, rows 2 and 3 become 9 10 11 0 and 13 14 15 0.
    assert scores.tolist() == [[3.5, 2.5, 11.5, 6.5]]


def test_relu_cuts_negative_values() -> None:
    image = -np.ones((1, 2, 2, 1))
    copy = np.zeros((3, 3, 1, 1))
    copy[1, 1] = 1
    assert convolution.logits(image, (copy, np.ones((1, 1)))).tolist() == [[0.0]]


def test_the_problem_is_the_same_everywhere() -> None:
    given = convolution.problem()
    assert given.images.dtype == np.float32
    assert convolution.loss(given, given.weights) == pytest.approx(1.8165026220635434, rel=1e-12)


# Of the images, labels and first weights, in every release of NumPy.
PROBLEM = "dd2bfcce90c03404bfc36626ad4e1ea82a56fa1e3ec6dc9d08818bdd0ec2420a"


def test_the_problem_is_the_same_under_every_numpy() -> None:
    given = convolution.problem()
    arrays = (given.images, given.labels, *given.weights)
    assert [str(array.dtype) for array in arrays] == ["float32", "int32", *["float32"] * 3]
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    assert hashlib.sha256(content).hexdigest() == PROBLEM


def test_the_reference_rounds_nothing_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy 1 makes float32 of a float32 array with a float64 number, NumPy 2 float64."""
    given = convolution.problem()
    moves: list[float] = []

    def loss(_: Any, weights: tuple[Any, ...]) -> float:
        (moved,) = (weight for weight in weights if weight.dtype == np.float64)
        moves.append(float(np.sqrt(np.sum(np.square(moved - given.weights[len(moves) // 2])))))
        return 0.0

    monkeypatch.setattr(convolution, "loss", loss)
    gradients = tuple(np.ones_like(weight) for weight in given.weights)
    convolution.slope_deviation(given, gradients)
    assert moves == pytest.approx([1e-5] * 6, rel=1e-9)
