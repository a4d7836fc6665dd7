"""Every CUDA library and extension module loads with all its symbols; none is there twice.

No copy of the driver's libcuda is in the image. What may be missing is listed with its reason.

needs: nothing
seconds: 300
"""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _libraries
import _tag
import _verdict

FRAMEWORKS = ("torch", "tensorflow", "jax")
TRIAL = "trial"
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
    said = _tag.cell()
    found = _libraries.find(sys.path)
    troubles = {path: _libraries.opened(path) for path in found.cuda}
    seconds = time.monotonic() - began
    used = [path for path in found.modules if not any(str(path).endswith(one) for one in UNUSED)]
    tried, broken = try_modules(used)
    faults, optional = judge({**troubles, **tried})
    folders = _libraries.search_path(found)
    twice = _libraries.twice(found, folders)
    # A machine that is no image may have a toolkit beside the packages.
    drivers = _libraries.drivers(top, _libraries.mounts()) if said else []
    _verdict.show(
        libraries=len(found.cuda),
        modules=len(used),
        folders=len(folders),
        optional=sorted(optional),
        twice=twice,
        library_seconds=round(seconds, 1),
        seconds=round(time.monotonic() - began, 1),
    )
    lies = [f"{name} is gone" for name in _libraries.lost()]
    if said.get("cuda") and not found.cuda:
        lies.append(f"the tag says CUDA {said['cuda']}, and no library of it is here")
    lies += [*broken, *faults]
    if said:
        lies += [f"two files have one name: {one}" for one in twice]
        lies += [f"a libcuda is shipped, which is the driver's: {one}" for one in drivers]
    _verdict.demand(not lies, "; ".join(lies))


def judge(troubles: dict[Path, str]) -> tuple[list[str], set[str]]:
    """What is wrong with these libraries, and which optional ones they miss."""
    faults: list[str] = []
    optional: set[str] = set()
    for path, trouble in troubles.items():
        missing = _libraries.absent(path, trouble)
        excused = {name for name in missing if may_miss(path, name)}
        optional |= excused
        if missing - excused:
            faults.append(f"{path} needs {', '.join(sorted(missing - excused))}: not found")
        elif trouble and not missing:
            faults.append(f"{path} does not load: {trouble}")
    return faults, optional


def may_miss(path: Path, name: str) -> bool:
    return name in OPTIONAL and bool(re.search(OPTIONAL[name][0], str(path)))


def try_modules(modules: list[Path]) -> tuple[dict[Path, str], list[str]]:
    """What each module complains of, and which frameworks cannot be imported.

    Frameworks load what their modules need before these are imported (PyTorch and h5py some of
    their own, all of them Python's symbols), so modules are loaded where the framework is
    imported; CUDA's libraries were tried without. On a machine with several frameworks it is
    enough that one of them does.
    """
    frameworks = [name for name in FRAMEWORKS if importlib.util.find_spec(name)]
    troubles = dict.fromkeys(modules, "")
    broken: list[str] = []
    left = modules
    for framework in frameworks or ["sys"]:
        found, trouble = _trial(framework, left)
        broken += [trouble] if trouble else []
        troubles |= found
        left = [path for path in left if troubles[path]]
    return troubles, broken


def _trial(framework: str, modules: list[Path]) -> tuple[dict[Path, str], str]:
    """Load these in a process that has imported the framework."""
    command = [sys.executable, str(Path(__file__).resolve()), TRIAL, framework]
    done = subprocess.run(
        command,
        input=json.dumps([str(path) for path in modules]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {}, f"`import {framework}` ends with {done.returncode}, says: {last}"
    answer = json.loads(done.stdout.splitlines()[-1])
    return {Path(path): trouble for path, trouble in answer.items()}, ""


def trial(framework: str) -> None:
    importlib.import_module(framework)
    paths = json.loads(sys.stdin.read())
    print(json.dumps({path: _libraries.opened(Path(path)) for path in paths}))


if __name__ == "__main__":
    trial(sys.argv[2]) if sys.argv[1:2] == [TRIAL] else main()
