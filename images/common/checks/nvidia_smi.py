"""nvidia-smi and NVML answer, and agree on every GPU.

needs: gpu
seconds: 60
applies: cuda
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu
import _verdict

QUERY = "uuid,name,driver_version,compute_cap,memory.total"


def ask_program() -> list[_gpu.Gpu]:
    """Return the GPUs by nvidia-smi. Raises DriverError where it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise _gpu.DriverError("nvidia-smi is not on the PATH")
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=45, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _gpu.DriverError(f"nvidia-smi does not run: {error}") from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise _gpu.DriverError(f"nvidia-smi ends with {done.returncode} and says: {output[-1]}")
    return read(done.stdout)


def read(table: str) -> list[_gpu.Gpu]:
    """Return the rows of nvidia-smi's table. Raises DriverError for other text."""
    rows = [[field.strip() for field in line.split(",")] for line in table.splitlines() if line]
    width = len(_gpu.Gpu._fields)
    if any(len(row) != width for row in rows):
        raise _gpu.DriverError(f"nvidia-smi prints no table of {width} columns: {table[:200]!r}")
    return [
        _gpu.Gpu(uuid, name, driver, capability, _number(memory))
        for uuid, name, driver, capability, memory in rows
    ]


def disagreement(driver: list[_gpu.Gpu], program: list[_gpu.Gpu]) -> str:
    """Return the difference between NVML and nvidia-smi, or an empty text."""
    by_uuid = partial(sorted, key=lambda gpu: gpu.uuid)
    if len(driver) != len(program):
        return f"NVML sees {len(driver)} GPUs, nvidia-smi {len(program)}"
    for gpu, other in zip(by_uuid(driver), by_uuid(program), strict=True):
        if gpu[:-1] != other[:-1] or not _alike(gpu.memory, other.memory):
            return f"NVML says {tuple(gpu)}, nvidia-smi {tuple(other)}"
    return ""


def _alike(gpu: int | None, other: int | None) -> bool:
    """Return whether two sizes differ by at most 5 %: NVML may include the driver's reserve."""
    if gpu is None or other is None:
        return gpu is other
    return abs(gpu - other) <= 0.05 * max(gpu, other)


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def main(
    ask: Callable[[], list[_gpu.Gpu]] = ask_program, look: Callable[[], _gpu.Sight] = _gpu.look
) -> None:
    try:
        program, trouble = ask(), "it reports no GPU"
    except _gpu.DriverError as error:
        program, trouble = [], str(error)
    seen = look()
    if program and not seen.gpus:
        _verdict.fail(f"nvidia-smi reports {program[0].name}, but {seen.trouble}")
    driver = _gpu.require(seen)
    _verdict.show(gpus=[gpu._asdict() for gpu in driver])
    _verdict.demand(program, f"NVML reports {driver[0].name}, but nvidia-smi does not: {trouble}")
    difference = disagreement(driver, program)
    _verdict.demand(not difference, difference)


if __name__ == "__main__":
    main()
