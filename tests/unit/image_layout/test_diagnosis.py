"""What the entry point says of made-up machines, with a made-up driver."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_up_driver import CUDA, MANAGEMENT, made_up_driver, needing

LAYOUT = Path(__file__).parents[3] / "images" / "_layout"
MULTIARCH = f"usr/lib/{platform.machine()}-linux-gnu"
IMAGE: dict[str, Any] = {
    "cuda": "13.2",
    "module": "torch",
    "driver": {"at_least": "580.65.06", "source": "https://example.com/"},
    "gpu_architectures": ["sm_75", "sm_80", "sm_90", "compute_90"],
    "python": "3.13",
    "packages": "0123456789ab",
    "end_of_life": [{"part": "Debian 13", "day": "2999-12-31", "source": "https://a.b/"}],
}
PROGRAM = """\
import json, sys
sys.path.append(sys.argv[1])
import diagnosis, driver
driver.SECONDS = 1.0
diagnosis.OVERLAY = "home/user/env"
image_file, root = sys.argv[2:]
import os
for finding in diagnosis.findings(os.environ, image_file, root):
    print(json.dumps([finding.name, finding.message, finding.remedy]))
"""


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders with a whole driver, without NVML, without CUDA's library, and with a broken one."""
    folder = tmp_path_factory.mktemp("driver")
    return {
        "whole": made_up_driver(folder / "whole"),
        "no-nvml": made_up_driver(folder / "no-nvml", CUDA),
        "no-cuda": made_up_driver(folder / "no-cuda", MANAGEMENT),
        "broken": needing(folder / "broken", "libnvidia-gone.so.1"),
        "none": folder,
    }


def findings(
    root: Path, library: Path, environment: Mapping[str, str], image: Mapping[str, Any] = IMAGE
) -> list[tuple[str, str, str]]:
    """Name, message and remedy of each finding in a folder that stands for the machine."""
    (root / "dev/shm").mkdir(parents=True, exist_ok=True)
    (root / "image.json").write_text(json.dumps(image))
    done = subprocess.run(
        [sys.executable, "-BIS", "-c", PROGRAM, str(LAYOUT), f"{root}/image.json", f"{root}/"],
        capture_output=True,
        text=True,
        check=True,
        env={"LD_LIBRARY_PATH": str(library), **environment},
        timeout=30,
    )
    assert done.stderr == ""
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def plant(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            (root / path).symlink_to(text.removeprefix("-> "))
        else:
            (root / path).write_text(text)


GPU = {"dev/nvidiactl": "", "dev/nvidia0": "", "dev/nvidia-uvm": ""}
KERNEL = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:02:23 UTC 2026\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.51.03  Release Build\n"
CARD = {"sys/bus/pci/devices/0:3/vendor": "0x10de\n", "sys/bus/pci/devices/0:3/class": "0x030200\n"}
SOUND = {**CARD, "sys/bus/pci/devices/0:3/class": "0x040300\n"}
VERSION = "proc/driver/nvidia/version"
APPTAINER = {".singularity.d/runscript": ""}

# Files, libraries, variables; the finding's name, and words of its message and remedy.
GpuCase = tuple[dict[str, str], str, dict[str, str], str, list[str]]
GPUS: list[Any] = [
    pytest.param(
        ({}, "none", {}, "no-gpu", ["neither an NVIDIA GPU nor", "--gpus all"]), id="none"
    ),
    pytest.param((SOUND, "none", {}, "no-gpu", ["neither"]), id="a sound card"),
    pytest.param((APPTAINER, "none", {}, "no-gpu", ["neither", "`--nv`"]), id="Apptainer"),
    pytest.param(
        ({**APPTAINER, **GPU}, "none", {}, "driver-incomplete", ["is not", "`--nv`"]),
        id="Apptainer without --nv",
    ),
    pytest.param((CARD, "none", {}, "no-driver", ["no driver of it", "580.65.06"]), id="no driver"),
    pytest.param(
        ({VERSION: KERNEL}, "none", {}, "gpu-not-given", ["driver 580.65.06", "--gpus all"]),
        id="cdi",
    ),
    pytest.param(
        ({VERSION: OPEN, **CARD}, "none", {}, "gpu-not-given", ["driver 575.51.03"]),
        id="open module",
    ),
    pytest.param(
        (GPU, "none", {}, "driver-incomplete", ["libcuda.so.1 is not", "cdi"]), id="no file"
    ),
    pytest.param(
        ({"dev/dxg": ""}, "none", {}, "driver-incomplete", ["libcuda.so.1 is not"]), id="WSL"
    ),
    pytest.param(
        (
            {**GPU, f"{MULTIARCH}/{CUDA}": "-> libcuda.so.550.54.15"},
            "none",
            {},
            "driver-stale",
            ["leads to libcuda.so.550.54.15, which does not exist", "nvidia-ctk cdi generate"],
        ),
        id="stale CDI file",
    ),
    pytest.param(
        (
            {**GPU, f"{MULTIARCH}/{CUDA}": ""},
            "broken",
            {},
            "driver-incomplete",
            ["in part: libnvidia-gone.so.1", "compute,utility"],
        ),
        id="a library that needs another",
    ),
    pytest.param((GPU, "no-cuda", {}, "driver-incomplete", ["libcuda.so.1 is not"]), id="no CUDA"),
    pytest.param(
        (
            {**GPU, VERSION: KERNEL},
            "whole",
            {"DRIVER": "550.54.15"},
            "driver-mixed",
            ["driver 550.54.15, and the kernel has 580.65.06", "restart the host"],
        ),
        id="mixed",
    ),
    pytest.param(
        (
            {**GPU, VERSION: KERNEL},
            "whole",
            {"REFUSES": "18"},
            "driver-mixed",
            ["another version than the kernel's module 580.65.06"],
        ),
        id="mixed, by NVML",
    ),
    pytest.param(
        (GPU, "whole", {"REFUSES": "4"}, "driver-refuses", ["Permissions", "/dev/nvidia*"]), id="no"
    ),
    pytest.param(
        (GPU, "whole", {"REFUSES": "999"}, "driver-refuses", ["Unknown", "kernel's log"]), id="odd"
    ),
    pytest.param(
        (GPU, "no-nvml", {"CUINIT": "999"}, "driver-refuses", ["cuInit returns 999"]), id="cuInit"
    ),
    pytest.param((GPU, "whole", {"DOES": "crash"}, "driver-crashes", ["SIGABRT"]), id="abort"),
    pytest.param((GPU, "whole", {"DOES": "fault"}, "driver-crashes", ["SIGSEGV"]), id="crash"),
    pytest.param((GPU, "whole", {"DOES": "hang"}, "driver-silent", ["1 seconds"]), id="hang"),
    pytest.param(
        (
            GPU,
            "whole",
            {"DRIVER": "550.54.15", "CUDA": "12040"},
            "driver-too-old",
            ["driver 550.54.15 is too old for CUDA 13.2, which needs 580.65.06", "dlimg pick"],
        ),
        id="too old",
    ),
    pytest.param(
        (GPU, "no-nvml", {"CUDA": "12040"}, "driver-too-old", ["the driver is too old for CUDA"]),
        id="too old, by CUDA",
    ),
    pytest.param((GPU, "whole", {"GPUS": "none"}, "driver-without-gpu", ["shows no GPU"]), id="0"),
    pytest.param(
        (GPU, "whole", {"FAULT": "15"}, "gpu-silent", ["GPU 0 does not answer: GPU is lost"]),
        id="lost",
    ),
    pytest.param(
        (
            GPU,
            "whole",
            {"GPUS": "Tesla P4:6.1"},
            "gpu-without-code",
            ["GPU 0 (Tesla P4, sm_61)", "sm_75 sm_80 sm_90 compute_90", "pick --gpu 'Tesla P4'"],
        ),
        id="code",
    ),
    pytest.param(
        (GPU, "no-nvml", {"GPUS": "Tesla P4:6.1"}, "gpu-without-code", ["sm_61"]),
        id="code, by CUDA",
    ),
    pytest.param(
        (GPU, "whole", {"GPUS": "H100:9.0,Tesla P4:6.1"}, "gpu-without-code", ["GPU 1"]),
        id="second",
    ),
    pytest.param(
        (
            {"dev/nvidiactl": "", "dev/nvidia0": ""},
            "whole",
            {},
            "device-missing",
            ["/dev/nvidia-uvm", "nvidia-modprobe"],
        ),
        id="no uvm",
    ),
]


@pytest.mark.parametrize("case", GPUS)
def test_a_fault_of_the_gpu_is_named_with_its_remedy(
    tmp_path: Path, libraries: Mapping[str, Path], case: GpuCase
) -> None:
    files, library, environment, name, texts = case
    plant(tmp_path, files)
    ((found, message, remedy),) = findings(tmp_path, libraries[library], environment)
    assert found == name
    assert [word for word in texts if word not in f"{message}\n{remedy}"] == []
    assert message[-1] not in ".:"
    assert remedy


CPU = {**IMAGE, "cuda": "", "driver": {}, "gpu_architectures": []}


@pytest.mark.parametrize(
    ("image", "files", "library", "environment"),
    [
        pytest.param(IMAGE, GPU, "whole", {}, id="all is well"),
        pytest.param(IMAGE, {**GPU, VERSION: KERNEL}, "whole", {}, id="the kernel's driver"),
        pytest.param(IMAGE, {"dev/dxg": ""}, "whole", {}, id="WSL"),
        pytest.param(IMAGE, GPU, "no-nvml", {}, id="capability compute alone"),
        pytest.param(IMAGE, GPU, "whole", {"GPUS": "B200:10.0"}, id="PTX"),
        pytest.param(IMAGE, GPU, "whole", {"GPUS": "A10:8.6"}, id="code of the same major"),
        pytest.param(
            IMAGE, GPU, "whole", {"GPUS": "P4:6.1,T4:7.5", "CUDA_VISIBLE_DEVICES": "1"}, id="chosen"
        ),
        pytest.param(
            IMAGE, GPU, "whole", {"DRIVER": "550.54.15", "CUDA": "13000"}, id="cuda-compat"
        ),
        pytest.param(IMAGE, {}, "none", {"NVIDIA_VISIBLE_DEVICES": "none"}, id="none wanted"),
        pytest.param(IMAGE, {}, "none", {"NVIDIA_VISIBLE_DEVICES": "void"}, id="void wanted"),
        pytest.param(IMAGE, {}, "none", {"CUDA_VISIBLE_DEVICES": ""}, id="no device visible"),
        pytest.param(IMAGE, {}, "none", {"CUDA_VISIBLE_DEVICES": "-1"}, id="device -1"),
        pytest.param(CPU, {}, "none", {}, id="CPU"),
        pytest.param(CPU, GPU, "whole", {"DOES": "crash"}, id="CPU beside a broken driver"),
        pytest.param(CPU, GPU, "whole", {"DOES": "hang"}, id="CPU beside a driver that hangs"),
        pytest.param(
            {**IMAGE, "gpu_architectures": [], "driver": {}},
            GPU,
            "whole",
            {"GPUS": "K80:3.7", "DRIVER": "100.1", "CUDA": "1000"},
            id="unknown facts",
        ),
    ],
)
def test_nothing_is_said_where_all_is_well(
    tmp_path: Path,
    libraries: Mapping[str, Path],
    image: dict[str, Any],
    files: dict[str, str],
    library: str,
    environment: dict[str, str],
) -> None:
    plant(tmp_path, files)
    assert findings(tmp_path, libraries[library], environment, image) == []


def mount(path: str, options: str = "rw") -> str:
    return f"30 1 0:1 / {path} {options},relatime - ext4 /dev/sda1 rw\n"


TOP = "sys/fs/cgroup"
LIMITS = "Limit  Soft Limit  Hard Limit  Units\nMax processes             {}  100  processes\n"
PACKAGES = "home/user/env/lib/python3.13/site-packages"
NAMES = {f"{PACKAGES}/six-1.0.dist-info/METADATA": "", f"{PACKAGES}/a-1.dist-info/METADATA": ""}
OLD = {"end_of_life": [{"part": "Python 3.9", "day": "2025-10-31", "source": "https://a.b/"}]}

MACHINES: list[Any] = [
    pytest.param(
        {f"{TOP}/pids.max": "256\n", f"{TOP}/pids.current": "12\n"},
        {},
        [("few-pids", "256 processes and threads, and has 12", "--pids-limit")],
        id="pids",
    ),
    pytest.param(
        {f"{TOP}/pids/pids.max": "100", f"{TOP}/pids/pids.current": "1"},
        {},
        [("few-pids", "100 processes", "--pids-limit")],
        id="pids, version 1",
    ),
    pytest.param({f"{TOP}/pids.max": "max", f"{TOP}/pids.current": "12"}, {}, [], id="no limit"),
    pytest.param({f"{TOP}/pids.max": "4096", f"{TOP}/pids.current": "9"}, {}, [], id="enough"),
    pytest.param(
        {**NAMES, f"{PACKAGES}/dlimg.image": "ffffffffffff\n"},
        {},
        [("other-overlay", "packages in /home/user/env (2)", "dlimg-reset")],
        id="overlay",
    ),
    pytest.param({**NAMES, f"{PACKAGES}/dlimg.image": "0123456789ab\n"}, {}, [], id="own overlay"),
    pytest.param({f"{PACKAGES}/dlimg.image": "ffffffffffff\n"}, {}, [], id="empty overlay"),
    pytest.param(
        {
            "data/env/lib/python3.13/site-packages/a-1.dist-info/x": "",
            "data/env/lib/python3.13/site-packages/dlimg.image": "f",
        },
        {},
        [],
        id="an overlay that is not used",
    ),
    pytest.param({}, OLD, [("end-of-life", "Python 3.9 in this image", "newer tag")], id="age"),
    pytest.param({"proc/self/mountinfo": mount("/data", "ro")}, {}, [], id="read-only mount"),
]


@pytest.mark.parametrize(("files", "stated", "expected"), MACHINES)
def test_a_fault_of_the_machine_is_named_with_its_remedy(
    tmp_path: Path,
    files: dict[str, str],
    stated: dict[str, Any],
    expected: list[tuple[str, str, str]],
) -> None:
    plant(tmp_path, files)
    found = findings(tmp_path, tmp_path, {}, {**CPU, **stated})
    assert [name for name, _, _ in found] == [name for name, _, _ in expected]
    for (_, message, remedy), (_, texts, more) in zip(found, expected, strict=True):
        assert texts in message
        assert more in remedy


def test_mounted_folders_are_those_for_data_that_may_be_written_to(tmp_path: Path) -> None:
    paths = ("/", "/proc", "/dev/x", "/data", "/my\\040data", "/usr/x", "/run/secrets", "/gone")
    table = "".join(map(mount, paths)) + mount("/read", "ro") + mount("/home/file")
    files = {f"{name}/x": "" for name in ("data", "my data", "usr/x", "run/secrets", "read")}
    plant(tmp_path, {"proc/self/mountinfo": table, "home/file": "", **files})
    code = "import sys; sys.path.append(sys.argv[1]); import machine; "
    code += "print('\\n'.join(machine.mounted_folders(sys.argv[2])))"
    done = subprocess.run(
        [sys.executable, "-BIS", "-c", code, str(LAYOUT), f"{tmp_path}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["/data", "/my data"]


WITHOUT_SHM = """\
import sys
sys.path.append(sys.argv[1])
import diagnosis
image = {"cuda": "", "module": "torch", "end_of_life": [], "python": "3.13", "packages": ""}
for finding in diagnosis.machine_findings(image, {}, sys.argv[2]):
    print(finding.message)
"""


def test_a_container_without_shared_memory_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    done = subprocess.run(
        [sys.executable, "-BIS", "-c", WITHOUT_SHM, str(LAYOUT), f"{tmp_path}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "shared memory has 0 MB" in done.stdout


EXAMINE = """\
import sys
sys.path.append(sys.argv[1])
import diagnosis, time
diagnosis.SECONDS = 1.0
def findings(environment):
    yield diagnosis.Finding("small-shm", "a message", "a remedy")
    exec(sys.argv[2])
diagnosis.findings = findings
diagnosis.main()
"""


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("pass", ""),
        ("time.sleep(60)", "could not be examined within 1 seconds"),
        ("raise KeyError('cuda')", "could not be examined KeyError('cuda')"),
        ("import os; os.abort()", "could not be examined SIGABRT"),
    ],
)
def test_an_examination_that_fails_hides_nothing(program: str, text: str) -> None:
    command = [sys.executable, "-BIS", "-c", EXAMINE, str(LAYOUT), program]
    for strict, code in (("0", 0), ("1", 78)):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={"DLIMG_STRICT": strict},
            timeout=20,
        )
        assert done.returncode == code
        assert done.stderr.startswith("dlimg: a message\n  hint: a remedy\n")
        assert text in done.stderr
        assert done.stderr.count("hint:") == (2 if text else 1)
