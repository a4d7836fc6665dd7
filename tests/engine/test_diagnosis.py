"""Each sentence of the diagnosis, with its cause made on purpose on the real engine."""

import json
import platform
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult
from dlimg.model import Base, DriverFloor
from tests.support import samples
from tests.support.layout_image import LayoutImage, cell, install, make_image, wheel
from tests.support.made_up_driver import CUDA, MANAGEMENT, made_up_driver, needing

pytestmark = pytest.mark.engine

MULTIARCH = f"/usr/lib/{platform.machine()}-linux-gnu"
NAMES = ("nvidiactl", "nvidia0", "nvidia-uvm")
DEVICES = tuple(word for name in NAMES for word in ("--device", f"/dev/null:/dev/{name}"))
MOUNT = "/usr/local/nvidia/lib64"
ENOUGH = ("--shm-size", "128m")
STRICT = 78


@pytest.fixture(scope="module")
def cuda_image(
    engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LayoutImage]:
    """A small image that says of itself that it is PyTorch's for CUDA 13.2."""
    of = replace(
        cell("cuda13.2"),
        framework=samples.FRAMEWORKS["pytorch"],
        architectures=("sm_75", "sm_90"),
        driver_floor=DriverFloor(version="580.65.06", source="https://example.com/"),
    )
    yield from make_image(engine, base, of, tmp_path_factory.mktemp("cuda"))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders with a whole driver, one without CUDA's library, and one that is broken."""
    folder = tmp_path_factory.mktemp("driver")
    folder.chmod(0o755)
    return {
        "whole": made_up_driver(folder / "whole"),
        "no-nvml": made_up_driver(folder / "no-nvml", CUDA),
        "no-cuda": made_up_driver(folder / "no-cuda", MANAGEMENT),
        "broken": needing(folder / "broken", "libnvidia-gone.so.1"),
    }


def judged(outcome: ProcessResult, *texts: str) -> None:
    """The command ran, and its start said one sentence with a remedy, which have these words."""
    assert (outcome.returncode, outcome.stdout) == (0, "done\n"), outcome.stderr
    lines = outcome.stderr.splitlines()
    assert len(lines) == (2 if texts else 0), outcome.stderr
    assert [word for word in texts if word not in outcome.stderr] == [], outcome.stderr
    if texts:
        assert lines[0].startswith("dlimg: ")
        assert lines[1].startswith("  hint: ")


# The folder with the driver that the host mounts, variables, and words of sentence and remedy.
DRIVERS = [
    pytest.param("whole", {}, [], id="all is well"),
    pytest.param("no-nvml", {}, [], id="compute alone", marks=pytest.mark.slow),
    pytest.param("", {}, ["libcuda.so.1 is not", "nvidia-ctk cdi generate"], id="no library"),
    pytest.param(
        "no-cuda",
        {},
        ["libcuda.so.1 is not", "compute,utility"],
        id="utility alone",
        marks=pytest.mark.slow,
    ),
    pytest.param("broken", {}, ["in part: libnvidia-gone.so.1", "compute,utility"], id="in part"),
    pytest.param(
        "whole",
        {"REFUSES": "18"},
        ["another version than the kernel's"],
        id="mixed",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "whole",
        {"REFUSES": "4"},
        ["refuses: Insufficient Permissions"],
        id="refused",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "whole",
        {"DOES": "crash"},
        ["crash", "SIGABRT", "restart the host"],
        id="abort",
        marks=pytest.mark.slow,
    ),
    pytest.param("whole", {"DOES": "fault"}, ["crash", "SIGSEGV", "restart the host"], id="crash"),
    pytest.param(
        "whole",
        {"DOES": "hang"},
        ["not answered for 5 seconds", "-pm 1"],
        id="hang",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "whole",
        {"DRIVER": "550.54.15", "CUDA": "12040"},
        ["550.54.15 is too old for CUDA 13.2, which needs 580.65.06", "update the driver"],
        id="too old",
    ),
    pytest.param("whole", {"GPUS": "none"}, ["580.65.06 shows no GPU", "--gpus all"], id="no GPU"),
    pytest.param(
        "whole",
        {"FAULT": "15"},
        ["GPU 0 does not answer: GPU is lost"],
        id="lost",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "whole", {"GPUS": "Tesla P4:6.1"}, ["sm_61", "sm_75 sm_90", "dlimg pick"], id="no code"
    ),
]


@pytest.mark.parametrize(("library", "environment", "texts"), DRIVERS)
def test_a_driver_is_diagnosed(
    cuda_image: LayoutImage,
    libraries: Mapping[str, Path],
    library: str,
    environment: Mapping[str, str],
    texts: list[str],
) -> None:
    given = ("--volume", f"{libraries[library]}:{MOUNT}:ro") if library else ()
    variables = [word for pair in environment.items() for word in ("--env", "=".join(pair))]
    options = (*ENOUGH, *DEVICES, *given, *variables)
    judged(cuda_image.run("echo", "done", options=options), *texts)


# What root does in the container before the entry point starts, the options, and the words.
SCRIPTS = [
    pytest.param(
        "mount -t tmpfs none /proc/driver; mkdir /proc/driver/nvidia; echo 'NVRM version: NVIDIA "
        "UNIX Module  580.65.06  x' > /proc/driver/nvidia/version",
        ("--privileged",),
        ["has NVIDIA driver 580.65.06, and this container was given no GPU", "--gpus all"],
        id="no --gpus",
    ),
    pytest.param(
        "mkdir -p /tmp/bus/pci/devices/0:3; mount --bind /tmp/bus /sys/bus; "
        "cd /sys/bus/pci/devices/0:3; echo 0x10de > vendor; echo 0x030200 > class; cd /",
        ("--privileged",),
        ["has an NVIDIA GPU, and no driver of it runs", "580.65.06 or newer on the host"],
        id="no driver",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        f"ln -s libcuda.so.550.54.15 {MULTIARCH}/{CUDA}",
        DEVICES,
        ["leads to libcuda.so.550.54.15, which does not exist", "nvidia-ctk cdi generate"],
        id="a stale CDI file",
    ),
    pytest.param(
        "head -c 1045000 /dev/zero > /data/full",
        ("--env", "CUDA_VISIBLE_DEVICES=", "--tmpfs", "/data:size=1m"),
        ["the disk of /data has 0 MB left", "mount a larger disk"],
        id="a full disk",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "for number in $(seq 100); do touch /data/$number; done 2>/dev/null || true",
        ("--env", "CUDA_VISIBLE_DEVICES=", "--tmpfs", "/data:nr_inodes=50"),
        ["the disk of /data takes hardly any more files", "mount a larger disk"],
        id="a disk full of files",
    ),
]


@pytest.mark.parametrize(("script", "options", "texts"), SCRIPTS)
def test_a_machine_is_diagnosed(
    cuda_image: LayoutImage, script: str, options: tuple[str, ...], texts: list[str]
) -> None:
    command = ("-euc", f"{script}; exec dlimg-entrypoint echo done")
    started = (*ENOUGH, *options, "--user", "0", "--entrypoint", "bash")
    judged(cuda_image.run(*command, options=started), *texts)


NONE = ("--env", "CUDA_VISIBLE_DEVICES=")
CONTAINERS = [
    pytest.param(ENOUGH, ["neither an NVIDIA GPU nor", "`--gpus all`", "`cpu` tag"], id="no GPU"),
    pytest.param((*NONE, *ENOUGH), [], id="none wanted", marks=pytest.mark.slow),
    pytest.param(NONE, ["shared memory has 64 MB", "--shm-size 8g"], id="shared memory"),
    pytest.param(
        (*NONE, *ENOUGH, "--pids-limit", "100"),
        ["may have 100 proc", "--pids-limit"],
        id="pids",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        (*NONE, *ENOUGH, "--ulimit", "nproc=400"), ["this user may have 400"], id="ulimit"
    ),
]


@pytest.mark.parametrize(("options", "texts"), CONTAINERS)
def test_a_container_is_diagnosed(
    cuda_image: LayoutImage, options: tuple[str, ...], texts: list[str]
) -> None:
    judged(cuda_image.run("echo", "done", options=options), *texts)


def test_a_device_file_that_is_missing_is_named(
    cuda_image: LayoutImage, libraries: Mapping[str, Path]
) -> None:
    given = ("--volume", f"{libraries['whole']}:{MOUNT}:ro")
    options = (*ENOUGH, *DEVICES[:4], *given)
    judged(cuda_image.run("echo", "done", options=options), "/dev/nvidia-uvm is missing")


def test_a_mounted_folder_of_another_user_is_named(cuda_image: LayoutImage, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    options = (*NONE, *ENOUGH, "--volume", f"{theirs}:/data")
    outcome = cuda_image.run("echo", "done", options=options)
    judged(outcome, "/data is mounted, belongs to user 0, and user 1000 cannot", "--user")
    judged(cuda_image.run("echo", "done", options=(*options[:-1], f"{theirs}:/data:ro")))


def test_packages_of_another_image_are_named(
    cuda_image: LayoutImage, layout_image: LayoutImage
) -> None:
    volume = f"dlimg-test-{secrets.token_hex(4)}"
    options = ("--volume", f"{volume}:/home/user")
    try:
        layout_image.says(install("greeting", "1.0"), *options, stdin=wheel("greeting", "1.0"))
        assert "under another" not in layout_image.run("true", options=options).stderr
        for _ in range(2):  # it stays so, also when the environment was updated
            outcome = cuda_image.run(
                *("python", "-c", "print('done')"), options=(*NONE, *ENOUGH, *options)
            )
            judged(outcome, "packages in /home/user/env (1) were installed under", "dlimg-reset")
    finally:
        cuda_image.docker("volume", "rm", "--force", volume)


def test_an_old_image_is_named(cuda_image: LayoutImage, tmp_path: Path) -> None:
    image = json.loads(cuda_image.says("cat /etc/dlimg/image.json", *NONE))
    image["end_of_life"] = [{"part": "Debian 12", "day": "2026-06-30", "source": "https://a.b/"}]
    (tmp_path / "image.json").write_text(json.dumps(image))
    options = (*NONE, *ENOUGH, "--volume", f"{tmp_path}/image.json:/etc/dlimg/image.json:ro")
    outcome = cuda_image.run("echo", "done", options=options)
    judged(outcome, "Debian 12 in this image has had no security fixes since 2026-06-30")


def test_a_strict_start_ends_where_there_is_a_sentence(cuda_image: LayoutImage) -> None:
    strict = (*ENOUGH, "--env", "DLIMG_STRICT=1")
    for options in (strict, (*strict, "--env", "DLIMG_QUIET=1")):
        outcome = cuda_image.run("echo", "done", options=options)
        assert (outcome.returncode, outcome.stdout) == (STRICT, "")
        assert "neither an NVIDIA GPU" in outcome.stderr
    judged(cuda_image.run("echo", "done", options=(*strict, *NONE)))


def test_a_quiet_start_says_nothing(cuda_image: LayoutImage) -> None:
    judged(cuda_image.run("echo", "done", options=("--env", "DLIMG_QUIET=1")))
