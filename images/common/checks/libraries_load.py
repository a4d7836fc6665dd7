"""Every CUDA library and extension module loads with all its symbols; none is there twice.

No copy of the driver's libcuda is in the image. What may be missing is listed with its reason. Of
packages beside the framework and NVIDIA's, a library that is as it was published and that nothing
needs to import the package may fail to load, as may those that the matrix excepts.

needs: nothing
seconds: 300
"""

import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _cuda_libraries
import _excuses
import _libraries
import _tag
import _verdict

TRIAL = "trial"
START = "start"
SHMEM = r"/nvidia/nvshmem/lib/nvshmem_"
RDMA = rf"/libcufile_rdma\.so|{SHMEM}transport_"
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
}
# Modules that are in a package and that the package itself never loads.
UNUSED = {
    "/tensorflow/compiler/tf2xla/ops/_xla_ops.so": "TensorFlow has its operations built in",
}


def main(top: Path = Path("/")) -> None:
    began = time.monotonic()
    expected = _tag.cell()
    libraries = _libraries.find(sys.path)
    troubles = {path: _libraries.opened(path) for path in libraries.cuda}
    seconds = time.monotonic() - began
    used = [
        path for path in libraries.modules if not any(str(path).endswith(name) for name in UNUSED)
    ]
    tried, loaded, broken = try_modules(used)
    faults, optional = judge(troubles)
    of_modules, also_optional = judge(tried, loaded)
    faults |= of_modules
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


def judge(
    troubles: dict[Path, str], loaded: frozenset[str] = frozenset()
) -> tuple[dict[Path, _excuses.Fault], set[str]]:
    """Return the faults of these libraries, and the optional libraries that are missing.

    `loaded` are names of libraries that the framework has loaded by then.
    """
    faults: dict[Path, _excuses.Fault] = {}
    optional: set[str] = set()
    for path, trouble in troubles.items():
        missing = _libraries.absent(path, trouble, loaded)
        excused = {name for name in missing if may_miss(path, name)}
        optional |= excused
        if missing - excused:
            names = ", ".join(sorted(missing - excused))
            text = f"{path} needs {names}: not found"
            faults[path] = _excuses.Fault(text, frozenset(missing - excused))
        elif trouble and not missing:
            faults[path] = _excuses.Fault(f"{path} does not load: {trouble}")
    return faults, optional


def may_miss(path: Path, name: str) -> bool:
    return name in OPTIONAL and bool(re.search(OPTIONAL[name][0], str(path)))


def try_modules(modules: list[Path]) -> tuple[dict[Path, str], frozenset[str], list[str]]:
    """Return the complaint of each module, and why the framework cannot be imported.

    The names between them are those of the libraries that the framework has loaded.

    Frameworks load what their modules need before these are imported (PyTorch and h5py some of
    their own, all of them Python's symbols), so modules are loaded in a process that has imported
    the framework. CUDA's libraries are tried without it.
    """
    done = itself(TRIAL, [str(path) for path in modules])
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        message = f"importing the framework ends with {done.returncode}, says: {last}"
        return dict.fromkeys(modules, ""), frozenset(), [message]
    complaints, loaded = json.loads(done.stdout.splitlines()[-1])
    by_path = {Path(path): complaint for path, complaint in complaints.items()}
    return by_path, frozenset(loaded), []


def itself(part: str, texts: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a part of this script in a process of its own, with these texts on stdin."""
    return subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), part],
        input=json.dumps(texts),
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
    if _adapter.adapter_path():
        _adapter.load()
    for name in json.loads(sys.stdin.read()):
        importlib.import_module(name)


def trial() -> None:
    """Load the libraries named on stdin, after the framework where there is one."""
    if _adapter.adapter_path():
        _adapter.load()
    paths = json.loads(sys.stdin.read())
    loaded = sorted({path.name for path in _cuda_libraries.mapped_files("lib")})
    print(json.dumps([{path: _libraries.opened(Path(path)) for path in paths}, loaded]))


if __name__ == "__main__":
    {TRIAL: trial, START: start}.get("".join(sys.argv[1:2]), main)()
