"""NCCL adds up arrays on two GPUs: exact sums, in each GPU's memory, by NCCL's own log.

needs: framework, two gpus
seconds: 180
applies: cuda
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu
import _gpu_work
import _verdict
import numpy as np

LENGTH = 1 << 20


def main(machine: _gpu_work.Machine) -> None:
    gpus = _gpu.require(machine.look())
    if len(gpus) < 2:
        _verdict.not_run(f"one GPU here, {gpus[0].name}, and NCCL needs two to show anything")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NCCL_DEBUG"] = "INFO"
        os.environ["NCCL_DEBUG_FILE"] = f"{folder}/%p"
        framework = machine.load()
        device = _gpu_work.device_of(framework, gpus)
        draw = np.random.RandomState(7)  # a frozen stream; integers, so that sums are exact
        arrays = [draw.randint(-999, 999, LENGTH).astype(np.float32) for _ in range(2)]
        sums = framework.all_reduce(arrays)
        log = "".join(file.read_text(errors="replace") for file in Path(folder).iterdir())
    places = [str(tensor.device) for tensor in sums]
    results = [framework.numpy(tensor) for tensor in sums]
    joined = [line for line in log.splitlines() if "nranks 2" in line and "Init COMPLETE" in line]
    version = next((line for line in log.splitlines() if "NCCL version" in line), "")
    _verdict.show(device=device, count=len(gpus), places=places, nccl=version, joined=len(joined))
    _verdict.demand(len(set(places)) == 2, f"the sums are on {places}, not on two GPUs")
    _gpu_work.demand_on_gpu(framework, sums, machine, "the sums")
    for place, array in zip(places, results, strict=True):
        off = _gpu_work.deviation(array, arrays[0] + arrays[1])
        _verdict.demand(off == 0, f"{place}: the sum is off by {off:g}")
    _verdict.demand(len(joined) >= 2, f"NCCL's log tells of {len(joined)} GPUs that joined")


if __name__ == "__main__":
    main(_gpu_work.this_machine())
