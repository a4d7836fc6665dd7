"""A matrix product on the GPU agrees with the CPU's, and both with NumPy's in float64.

A deviation is measured in |A| @ |B|, the measure of the error bound of a product: rounded to
float32 it comes to 1e-7, with factors rounded as TF32 rounds them to 1e-5.

needs: framework, gpu
seconds: 120
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu_work
import _verdict
import numpy as np

SHAPE = (257, 1023, 129)  # no multiple of any tile
ALLOWED = {"float32": 1e-6, "float64": 1e-14}


def factors(kind: str) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(4)  # a frozen stream
    rows, inner, columns = SHAPE
    left, right = draw.standard_normal((rows, inner)), draw.standard_normal((inner, columns))
    return left.astype(kind), right.astype(kind)


def main(machine: _gpu_work.Machine) -> None:
    framework, device = _gpu_work.begin_on_gpu(machine)
    framework.allow_tf32(allowed=False)
    rows = {}
    for kind, allowed in ALLOWED.items():
        left, right = factors(kind)
        products = {}
        for place in ("cpu", "gpu"):
            with framework.on(place):
                products[place] = framework.put(left, place) @ framework.put(right, place)
        _gpu_work.demand_on_gpu(framework, [products["gpu"]], machine, f"{kind} product")
        arrays = {place: framework.numpy(product) for place, product in products.items()}
        kinds = {str(array.dtype) for array in arrays.values()}
        _verdict.demand(kinds == {kind}, f"the products of {kind} are {', '.join(sorted(kinds))}")
        exact, scale = left.astype(float) @ right.astype(float), np.abs(left) @ np.abs(right)
        for place, product in arrays.items():
            off = _gpu_work.deviation(product, exact, scale)
            rows[f"{kind}: the {place}'s product off NumPy's"] = off, allowed
        off = _gpu_work.deviation(arrays["gpu"], arrays["cpu"], scale)
        rows[f"{kind}: the GPU's product off the CPU's"] = off, 2 * allowed
    _verdict.show(device=device, deviations={label: off for label, (off, _) in rows.items()})
    _gpu_work.demand_within(rows)


if __name__ == "__main__":
    main(_gpu_work.this_machine())
