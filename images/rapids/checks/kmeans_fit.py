"""k-means of cuML on the GPU finds the centres of clusters that lie apart.

needs: gpu
seconds: 240
applies: cuda
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu
import _gpu_work
import _verdict
import numpy as np

CENTRES = np.array([[0, 0, 0], [40, 0, 0], [0, 40, 0], [0, 0, 40]], dtype=np.float32)
POINTS = 5000  # around each centre, with a standard deviation of 1
ALLOWED = 1e-3  # of a centre's coordinates from the mean of its points


class Machine(NamedTuple):
    """The sources of the check: the driver for GPUs and addresses, cuML's clusters, and CuPy."""

    look: Callable[[], _gpu.Sight]
    load: Callable[[], tuple[Any, Any]]
    holds: Callable[[int], bool]


def problem() -> np.ndarray:
    """Return the points, those of one centre after another."""
    draw = np.random.RandomState(11)  # a frozen stream
    noise = draw.standard_normal((len(CENTRES), POINTS, 3)).astype(np.float32)
    return (CENTRES[:, None, :] + noise).reshape(-1, 3)


def main(machine: Machine) -> None:
    gpus = _gpu.require(machine.look())
    cluster, arrays = machine.load()
    points = problem()
    on_gpu = arrays.asarray(points)
    fitted = cluster.KMeans(n_clusters=len(CENTRES), n_init=10, random_state=0).fit(on_gpu)
    is_on_gpu = machine.holds(int(arrays.asarray(fitted.labels_).data.ptr))
    centres = np.asarray(arrays.asnumpy(arrays.asarray(fitted.cluster_centers_)))
    labels = np.asarray(arrays.asnumpy(arrays.asarray(fitted.labels_))).reshape(len(CENTRES), -1)
    means = points.reshape(len(CENTRES), POINTS, 3).mean(axis=1)
    found = centres[labels[:, 0]]
    off = _gpu_work.deviation(found, means)
    _verdict.show(device=gpus[0].name, points=len(points), deviation=off)
    _verdict.demand(is_on_gpu, "the labels: in no GPU's memory")
    apart = len(set(labels[:, 0].tolist())) == len(CENTRES)
    _verdict.demand(apart and (labels == labels[:, :1]).all(), "points of one cluster are parted")
    _gpu_work.demand_within({"centres off the means": (off, ALLOWED)})


def load() -> tuple[Any, Any]:
    return importlib.import_module("cuml.cluster"), importlib.import_module("cupy")


if __name__ == "__main__":
    main(Machine(_gpu.look, load, _gpu.holds))
