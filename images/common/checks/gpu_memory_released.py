"""The GPU's memory that the framework takes is released: when work lets go of it, and when it ends.

The work is a process of its own: this script again, with the argument HOLD. It prints one JSON
line for each thing that it has done, and goes on when it is sent a line.

needs: framework, gpu
seconds: 120
applies: cuda
alone: it counts the memory of the GPU that is in use
flaky: other programs on the GPU take and give memory meanwhile
"""

import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _gpu
import _gpu_work
import _verdict
import numpy as np

HOLD = "hold"
SIZE = 1 << 29  # bytes
SLACK = SIZE // 4  # other users of the GPU may come and go a little
PATIENCE = 10.0  # seconds that the driver may take to clear up after a process


class Worker(NamedTuple):
    """A process that works: `hear` gives its next line's object, `go` lets it go on, and
    `end` waits for it and gives its exit code.
    """

    hear: Callable[[], dict[str, Any]]
    go: Callable[[], None]
    end: Callable[[], int]


def hold(framework: _adapter.Adapter, holds: Callable[[int], bool] = _gpu.holds) -> None:
    """Allocate SIZE bytes and release them; runs in the worker process."""
    framework.put(np.ones(1, np.float32), "gpu")
    before = framework.bytes_in_use()
    _report(begun=True)
    block = framework.put(np.ones(SIZE // 4, np.float32), "gpu")
    last = float(block[-1])
    counted = framework.bytes_in_use() - before
    _report(last=last, counted=counted, on_gpu=holds(framework.address(block)))
    del block
    gc.collect()
    _report(left=framework.bytes_in_use() - before)


def _report(**done: object) -> None:
    print(json.dumps(done), flush=True)
    sys.stdin.readline()


def start() -> Worker:
    """Start this script again, as the worker."""
    command = [sys.executable, sys.argv[0], HOLD]
    work = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear() -> dict[str, Any]:
        for line in work.stdout or ():
            if line.startswith("{"):
                return dict(json.loads(line))
        return _verdict.fail(f"the work ended with {end()} before it was done")

    def go() -> None:
        if work.stdin:
            work.stdin.write("\n")
            work.stdin.flush()

    def end() -> int:
        work.communicate()
        return work.returncode

    return Worker(hear, go, end)


def driver_memory(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> Callable[[], int]:
    """Return a function that asks the driver for the free bytes of the first GPU."""
    try:
        cuda = load("libcuda.so.1")
    except OSError as error:
        return _verdict.fail(f"the driver's library does not load: {error}")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _demand("cuInit", cuda.cuInit(0))
    _demand("cuDeviceGet", cuda.cuDeviceGet(ctypes.byref(device), 0))
    code = cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    _demand("cuDevicePrimaryCtxRetain", code)
    _demand("cuCtxSetCurrent", cuda.cuCtxSetCurrent(context))

    def free() -> int:
        free_bytes, total = ctypes.c_size_t(), ctypes.c_size_t()
        code = cuda.cuMemGetInfo_v2(ctypes.byref(free_bytes), ctypes.byref(total))
        _demand("cuMemGetInfo", code)
        return free_bytes.value

    return free


def _demand(function: str, code: int) -> None:
    _verdict.demand(code == 0, f"a GPU is here, but {function} answers with error {code}")


def watch(free: Callable[[], int], worker: Worker, wait: Callable[[float], None]) -> None:
    """Follow the work, then judge it by the driver's and the framework's figures."""
    before = free()
    worker.hear()
    begun = free()
    worker.go()
    block = worker.hear()
    taken = begun - free()
    worker.go()
    left = worker.hear()["left"]
    worker.go()
    code = worker.end()
    for _ in range(int(PATIENCE / 0.25)):
        if before - free() <= SLACK:
            break
        wait(0.25)
    lost = before - free()
    _verdict.show(size=SIZE, taken=taken, counted=block["counted"], left=left, lost=lost)
    _verdict.demand(block["last"] == 1, f"of a block of ones the last is {block['last']}")
    _verdict.demand(block["on_gpu"], "the block is in no GPU's memory")
    _verdict.demand(taken >= SIZE - SLACK, f"of {SIZE} bytes the driver saw {taken} taken")
    _verdict.demand(block["counted"] >= SIZE, f"of {SIZE} bytes {block['counted']} are counted")
    _verdict.demand(left <= SLACK, f"{left} bytes are in use after the block is gone")
    _verdict.demand(code == 0, f"the work ended with {code}")
    _verdict.demand(lost <= SLACK, f"{lost} bytes are still taken after the work has ended")


def main(machine: _gpu_work.Machine) -> None:
    if sys.argv[1:] == [HOLD]:
        framework, _ = _gpu_work.begin_on_gpu(machine)
        hold(framework)
    else:
        _gpu.require(machine.look())
        watch(driver_memory(), start(), time.sleep)


if __name__ == "__main__":
    main(_gpu_work.this_machine())
