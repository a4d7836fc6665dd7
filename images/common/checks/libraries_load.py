"""Every CUDA library and extension module loads with all its symbols; none is there twice.

A module may need the framework, its package, or another library of its package to be loaded before.
No copy of the driver's libcuda is in the image. What may be missing is listed with its reason. Of
packages beside the framework and NVIDIA's, a library that is as it was published and that nothing
needs to import the package may fail to load, as may those that the matrix excepts.

needs: nothing
seconds: 900
"""

import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _cuda_libraries
import _excuses
import _libraries
import _second_trial
import _tag
import _verdict

TRIAL = "trial"
START = "start"
SHMEM = r"/nvidia/nvshmem/lib/nvshmem_"
RDMA = rf"/libcufile_rdma\.so|{SHMEM}transport_"
AUDIO = r"/(torchaudio|torio)/lib/[^/]*"
CUTENSOR = r"/cupy_backends/cuda/libs/cutensor\."
# FFmpeg 4, 5 and 6, of which torchaudio has a module each.
FFMPEG = {
    f"lib{name}.so.{major}": (rf"{AUDIO}ffmpeg", "sound files by FFmpeg, where it is installed")
    for name, majors in {
        "avutil": (56, 57, 58),
        "avcodec": (58, 59, 60),
        "avformat": (58, 59, 60),
        "avdevice": (58, 59, 60),
        "avfilter": (7, 8, 9),
    }.items()
    for major in majors
}
# What may be missing -> who may miss it (in any path), and why nobody else notices.
OPTIONAL = {
    "libcuda.so.1": ("", "the driver's: it comes with the machine"),
    "libnvidia-ml.so.1": ("", "the driver's: it comes with the machine"),
    "libmlx5.so.1": (RDMA, "GPUs of several machines over InfiniBand"),
    "libibverbs.so.1": (RDMA, "GPUs of several machines over InfiniBand"),
    "librdmacm.so.1": (RDMA, "files of other machines over InfiniBand"),
    "libfabric.so.1": (SHMEM + "transport_libfabric", "GPUs of several machines by libfabric"),
    "libucs.so.0": (SHMEM + "transport_ucx", "GPUs of several machines by UCX"),
    "libucp.so.0": (SHMEM + "transport_ucx", "GPUs of several machines by UCX"),
    "libmpi.so.40": (SHMEM + "bootstrap_mpi", "programs that mpirun starts"),
    "liboshmem.so.40": (SHMEM + "bootstrap_shmem", "programs that oshrun starts"),
    "libpmix.so.2": (SHMEM + "bootstrap_pmix", "programs that Slurm starts"),
    "libtriton.so": ("/triton/plugins/", "Triton has loaded it when it is asked for a plugin"),
    "libquadmath.so.0": (r"/torch/lib/libgfortran\.so", "no library of torch asks for this one"),
    "libsox.so": (rf"{AUDIO}sox\.so", "sound files by SoX, where it is installed"),
    **FFMPEG,
    "libcutensor.so.2": (CUTENSOR, "CuPy's tensor contractions, where cuTENSOR is installed"),
    "libcutensorMg.so.2": (CUTENSOR, "CuPy's tensor contractions, where cuTENSOR is installed"),
}
# Modules that are in a package and that the package itself never loads.
UNUSED = {
    "/tensorflow/compiler/tf2xla/ops/_xla_ops.so": "TensorFlow has its operations built in",
}


def main(top: Path = Path("/")) -> None:
    began = time.monotonic()
    expected = _tag.cell()
    libraries = _libraries.find(sys.path)
    troubles = _libraries.opened_each(libraries.cuda)
    seconds = time.monotonic() - began
    used = [
        path for path in libraries.modules if not any(str(path).endswith(name) for name in UNUSED)
    ]
    trials, broken = try_modules(used, expected)
    faults: dict[Path, _excuses.Fault] = {}
    optional: set[str] = set()
    for trial in (_second_trial.Trial(troubles), *trials):
        of_trial, also_optional = judge(trial)
        faults |= of_trial
        optional |= also_optional
    excuses, stale = _excuses.sort(faults, [*libraries.cuda, *used], expected, starts)
    folders = _libraries.search_path(libraries)
    twice = _libraries.twice(libraries, folders)
    # A machine that is no image may have a toolkit beside the packages.
    drivers = _libraries.drivers(top, _libraries.mounts()) if expected else []
    _verdict.show(
        libraries=len(libraries.cuda),
        modules=len(used),
        folders=len(folders),
        optional=sorted(optional),
        excepted=excuses.excepted,
        unused=excuses.unused,
        twice=twice,
        library_seconds=round(seconds, 1),
        seconds=round(time.monotonic() - began, 1),
    )
    mismatches = [f"{name} is gone" for name in _libraries.lost()]
    if expected.get("cuda") and not libraries.cuda:
        mismatches.append(f"the tag says CUDA {expected['cuda']}, and no library of it is here")
    mismatches += [*broken, *excuses.faults, *stale]
    if expected:
        mismatches += [f"two files have one name: {name}" for name in twice]
        mismatches += [f"a libcuda is shipped, which is the driver's: {name}" for name in drivers]
    _verdict.demand(not mismatches, "; ".join(mismatches))


def judge(trial: _second_trial.Trial) -> tuple[dict[Path, _excuses.Fault], set[str]]:
    """Return the faults of these libraries, and the optional libraries that are missing."""
    faults: dict[Path, _excuses.Fault] = {}
    optional: set[str] = set()
    for path, trouble in trial.complaints.items():
        missing = _libraries.absent(path, trouble, trial.loaded)
        excused = {name for name in missing - trial.judged if may_miss(path, name)}
        optional |= excused
        unexcused = missing - trial.judged - excused
        if unexcused:
            text = f"{path} needs {', '.join(sorted(unexcused))}: not found"
            faults[path] = _excuses.Fault(text, frozenset(unexcused))
        elif trouble and not missing:
            faults[path] = _excuses.Fault(f"{path} does not load: {trouble}")
    return faults, optional


def may_miss(path: Path, name: str) -> bool:
    return name in OPTIONAL and bool(re.search(OPTIONAL[name][0], str(path)))


def try_modules(
    modules: list[Path], cell: Mapping[str, str]
) -> tuple[list[_second_trial.Trial], list[str]]:
    """Return the trials of these modules, and why the framework or a package of it does not import.

    Frameworks load what their modules need before these are imported (PyTorch and h5py some of
    their own, all of them Python's symbols), so modules are loaded in a process that has imported
    the framework; those that fail, once more after the import of their package. CUDA's libraries
    are tried without any.
    """
    first = tried(_second_trial.Order([], [], [str(path) for path in modules]))
    if first.trouble:
        return [first], [f"importing the framework {first.trouble}"]
    trials, broken = [], []
    for package, trial in _second_trial.again(first, tried):
        trials.append(trial)
        if trial.trouble and _excuses.is_frameworks(package, cell):
            broken.append(f"importing {package} {trial.trouble}")
    return trials, broken


def tried(order: _second_trial.Order) -> _second_trial.Trial:
    """Load libraries in a process of its own, after the framework and what the order names."""
    done = itself(TRIAL, order._asdict())
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return _second_trial.Trial({}, trouble=f"ends with {done.returncode}, says: {last}")
    complaints, loaded = json.loads(done.stdout.splitlines()[-1])
    by_path = {Path(path): complaint for path, complaint in complaints.items()}
    return _second_trial.Trial(by_path, frozenset(loaded))


def itself(part: str, values: object) -> subprocess.CompletedProcess[str]:
    """Run a part of this script in a process of its own, with these values on stdin as JSON."""
    return subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), part],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def starts(modules: list[str]) -> str:
    """Return why these modules cannot be imported after the framework, or an empty text."""
    done = itself(START, modules)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"it ends with {done.returncode}"])[-1]


def start() -> None:
    """Import the modules named on stdin, after the framework where there is one."""
    import_after_framework(json.loads(sys.stdin.read()))


def trial() -> None:
    """Load the libraries named on stdin, after the framework where there is one."""
    order = _second_trial.Order(**json.loads(sys.stdin.read()))
    import_after_framework(order.modules)
    _libraries.load_in_turn(map(Path, order.first))
    loaded = sorted({path.name for path in _cuda_libraries.mapped_files("lib")})
    complaints = _libraries.opened_each([Path(path) for path in order.tried])
    print(json.dumps([{str(path): text for path, text in complaints.items()}, loaded]))


def import_after_framework(modules: list[str]) -> None:
    if _adapter.adapter_path():
        _adapter.load()
    for name in modules:
        importlib.import_module(name)


if __name__ == "__main__":
    {TRIAL: trial, START: start}.get("".join(sys.argv[1:2]), main)()
