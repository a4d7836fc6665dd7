"""A group-by of cuDF on the GPU has NumPy's answer.

needs: gpu
seconds: 180
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

ROWS, KEYS = 1_000_000, 1000
ALLOWED = 1e-9  # relative, of sums of about 1000 doubles


class Machine(NamedTuple):
    """The sources of the check: the driver for GPUs and addresses, and cuDF."""

    look: Callable[[], _gpu.Sight]
    load: Callable[[], Any]
    holds: Callable[[int], bool]


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Return a key and a value for each row."""
    draw = np.random.RandomState(7)  # a frozen stream
    return draw.randint(0, KEYS, ROWS), draw.standard_normal(ROWS)


def answer(keys: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return count, sum and maximum of each key, by NumPy."""
    largest = np.full(KEYS, -np.inf)
    np.maximum.at(largest, keys, values)
    return {
        "count": np.bincount(keys, minlength=KEYS).astype(np.float64),
        "sum": np.bincount(keys, weights=values, minlength=KEYS),
        "max": largest,
    }


def main(machine: Machine) -> None:
    gpus = _gpu.require(machine.look())
    cudf = machine.load()
    keys, values = problem()
    frame = cudf.DataFrame({"key": keys, "value": values})
    grouped = frame.groupby("key").value.agg(["count", "sum", "max"]).sort_index()
    is_on_gpu = machine.holds(int(grouped["sum"].values.data.ptr))
    expected = answer(keys, values)
    scale = {name: np.maximum(np.abs(column), 1) for name, column in expected.items()}
    off = {
        name: (
            _gpu_work.deviation(grouped[name].to_numpy().astype(float), column, scale[name]),
            ALLOWED,
        )
        for name, column in expected.items()
    }
    _verdict.show(device=gpus[0].name, rows=ROWS, keys=KEYS, deviation=off["sum"][0])
    _verdict.demand(is_on_gpu, "the grouped sums: in no GPU's memory")
    _gpu_work.demand_within(off)


if __name__ == "__main__":
    main(Machine(_gpu.look, lambda: importlib.import_module("cudf"), _gpu.holds))
