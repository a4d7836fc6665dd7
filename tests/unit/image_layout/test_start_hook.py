"""What every Python of an image does at its start, on made-up machines."""

import importlib.util
import os
import platform
import pwd
import site
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[3] / "images" / "_layout" / "start.py"
MULTIARCH = f"usr/lib/{platform.machine()}-linux-gnu"
DRIVER = "libcuda.so.1"
PYTHON = Path(sys.executable).resolve().read_bytes()[:64]
OTHER_MACHINE = PYTHON[:18] + b"\xff\x7f" + PYTHON[20:]
Plant = Callable[..., str]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dlimg_start", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


start: Any = load()


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Makes a machine of a few files, and returns its root."""

    def make(**files: bytes) -> str:
        (tmp_path / "dev").mkdir(exist_ok=True)
        for path, content in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return f"{tmp_path}/"

    return make


DEVICE = {"dev/nvidia0": b""}
CACHE = b"ld.so-1.7.0\0libc.so.6\0/lib/libc.so.6\0libcuda.so.1\0/usr/lib/odd/libcuda.so.1\0"


@pytest.mark.parametrize(
    ("files", "is_there"),
    [
        ({}, False),
        (DEVICE, False),
        ({"dev/nvidiactl": b"", "dev/nvidia-uvm": b""}, False),
        ({f"{MULTIARCH}/{DRIVER}": PYTHON}, False),
        ({**DEVICE, f"{MULTIARCH}/{DRIVER}": PYTHON}, True),
        ({"dev/nvidia3": b"", f"usr/lib64/{DRIVER}": PYTHON}, True),
        ({"dev/dxg": b"", f"usr/lib/{DRIVER}": PYTHON}, True),
        ({"dev/null": b"", f"{MULTIARCH}/{DRIVER}": PYTHON}, False),
        # The empty file that a container leaves in an image that is made of it.
        ({**DEVICE, f"{MULTIARCH}/{DRIVER}": b""}, False),
        ({**DEVICE, f"{MULTIARCH}/{DRIVER}": b"GROUP ( libcuda.so )"}, False),
        ({**DEVICE, f"{MULTIARCH}/{DRIVER}": OTHER_MACHINE}, False),
        ({**DEVICE, f"usr/lib/odd/{DRIVER}": PYTHON}, False),
        ({**DEVICE, f"usr/lib/odd/{DRIVER}": PYTHON, "etc/ld.so.cache": CACHE}, True),
        ({**DEVICE, "etc/ld.so.cache": CACHE}, False),
        ({**DEVICE, f"given/{DRIVER}": PYTHON}, True),
        # Found by its whole path, and no library that can be loaded.
        ({**DEVICE, f"usr/local/nvidia/lib64/{DRIVER}": PYTHON}, False),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_driver_is_a_device_and_a_library(
    files: dict[str, bytes], plant: Plant, *, is_there: bool
) -> None:
    root = plant(**files)
    variables = {"LD_LIBRARY_PATH": f"{root}nothing::{root}given"}
    assert start.has_driver(variables, root) is is_there


def test_a_link_that_leads_nowhere_is_no_library(plant: Plant, tmp_path: Path) -> None:
    root = plant(**DEVICE)
    (tmp_path / MULTIARCH).mkdir(parents=True)
    (tmp_path / MULTIARCH / DRIVER).symlink_to("libcuda.so.580.65.06")
    assert not start.has_driver({}, root)


def test_a_library_that_the_loader_does_not_find_is_loaded(plant: Plant, tmp_path: Path) -> None:
    (real,) = {Path(line.split()[-1]) for line in maps() if line.endswith("/libc.so.6")}
    root = plant(**DEVICE, **{f"usr/local/nvidia/lib64/{DRIVER}": real.read_bytes()})
    assert start.has_driver({}, root)
    assert any(line.endswith(f"{tmp_path}/usr/local/nvidia/lib64/{DRIVER}") for line in maps())


def test_a_driver_of_the_host_is_loaded_where_the_loader_does_not_look(
    plant: Plant, tmp_path: Path
) -> None:
    (real,) = {Path(line.split()[-1]) for line in maps() if line.endswith("/libc.so.6")}
    folder = f"{tmp_path}/usr/local/nvidia/lib64"
    root = plant(**{f"usr/local/nvidia/lib64/{DRIVER}": real.read_bytes()})
    start.load_host_driver({"LD_LIBRARY_PATH": "/a:/usr/local/nvidia/lib64"}, root)
    assert not any(line.endswith(f"{folder}/{DRIVER}") for line in maps())
    start.load_host_driver({}, root)
    assert any(line.endswith(f"{folder}/{DRIVER}") for line in maps())


def test_programs_that_ask_site_find_the_packages_of_the_image() -> None:
    prefixes = list(site.PREFIXES)
    try:
        start.search_image({})
        start.search_image({})
        assert [*prefixes, "/opt/env"] == site.PREFIXES
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        assert f"/opt/env/lib/python{version}/site-packages" in site.getsitepackages()
    finally:
        site.PREFIXES[:] = prefixes


def maps() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()


@pytest.mark.parametrize(
    ("variables", "platforms"),
    [
        ({}, None),
        ({"DLIMG_WITHOUT_GPU": "JAX_PLATFORMS=cpu"}, "cpu"),
        ({"DLIMG_WITHOUT_GPU": "JAX_PLATFORMS=cpu", "JAX_PLATFORMS": ""}, "cpu"),
        ({"DLIMG_WITHOUT_GPU": "JAX_PLATFORMS=cpu", "JAX_PLATFORMS": "cuda"}, "cuda"),
        ({"DLIMG_WITHOUT_GPU": ""}, None),
        ({"DLIMG_WITHOUT_GPU": "JAX_PLATFORMS"}, None),
    ],
)
def test_the_framework_is_told_where_there_is_no_driver(
    variables: dict[str, str], platforms: str | None, plant: Plant
) -> None:
    start.set_without_gpu(variables, plant(**DEVICE))
    assert variables.get("JAX_PLATFORMS") == platforms


def test_a_driver_leaves_the_framework_alone(plant: Plant) -> None:
    variables = {"DLIMG_WITHOUT_GPU": "JAX_PLATFORMS=cpu"}
    start.set_without_gpu(variables, plant(**DEVICE, **{f"{MULTIARCH}/{DRIVER}": PYTHON}))
    assert "JAX_PLATFORMS" not in variables


@pytest.mark.parametrize(
    ("files", "given", "name"),
    [
        ({".singularity.d/runscript": b""}, {}, pwd.getpwuid(os.geteuid()).pw_name),
        ({".singularity.d/runscript": b""}, {"LOGNAME": "me"}, "me"),
        ({}, {}, None),
    ],
    ids=["without", "given", "in Docker"],
)
def test_a_user_of_apptainer_has_a_name(
    plant: Plant, files: dict[str, bytes], given: dict[str, str], name: str | None
) -> None:
    environment = {"USER": "user", **given}
    start.set_name(environment, plant(**files))
    assert environment.get("LOGNAME") == name


def test_variables_that_are_lost_come_back(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text("PATH=/a\nTZ=UTC\nA=b=c\nEMPTY=\n# no variable\n\nOWN=image\n")
    variables = {"OWN": "", "PATH": "/b"}
    start.set_variables(variables, str(file))
    assert variables == {"PATH": "/b", "TZ": "UTC", "A": "b=c", "EMPTY": "", "OWN": ""}


@pytest.mark.parametrize(
    ("command_line", "is_pip"),
    [
        ("python -m pip install x", True),
        ("python -I -m pip list", True),
        ("python -Im pip list", True),
        ("python -mpip list", True),
        ("/opt/env/bin/python /opt/env/bin/pip install x", True),
        ("/opt/env/bin/python /opt/env/bin/pip3.13 install x", True),
        ("python -m venv x", False),
        ("python -m pipx run", False),
        ("python train.py", False),
        ("python", False),
    ],
)
def test_pip_is_known_by_its_command_line(command_line: str, *, is_pip: bool) -> None:
    assert start.is_pip(command_line.split()) is is_pip


def test_errors_do_not_stop_the_start_of_python(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> None:
        raise PermissionError(13, "no")

    done: list[object] = []
    monkeypatch.setattr(start, "STEPS", [fails, done.append])
    start.main()
    assert len(done) == 1
    start.main()  # as when `.pth` files name the folder twice
    assert len(done) == 1
    assert capfd.readouterr() == ("", "")


def test_an_environment_that_is_no_image_s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").write_text("")
    (tmp_path / "pyvenv.cfg").chmod(0o400)
    variables: dict[str, str] = {}
    start.choose_environment(variables, str(tmp_path))
    start.complete_overlay(variables, str(tmp_path))
    start.watch_pip(variables, str(tmp_path))
    assert variables == {}
    assert [path.name for path in tmp_path.iterdir()] == ["pyvenv.cfg"]


def test_what_is_mounted_below_the_images_home_is_linked_into_another(tmp_path: Path) -> None:
    home, own = tmp_path / "home/user", tmp_path / "tmp/home-5"
    points = (".cache/huggingface", ".cache/huggingface/hub", ".aws", "env", "env/lib", "a b")
    for name in points:
        (home / name).mkdir(parents=True, exist_ok=True)
    own.mkdir(parents=True)
    (own / ".aws").mkdir()
    table = "".join(f"/dev/a {home}/{name} ext4 rw 0 0\n" for name in points[:-1])
    table += (
        f"proc /proc proc rw 0 0\n/dev/a {home} ext4 rw 0 0\n/dev/a {tmp_path}/home/user2/x e r\n"
    )
    (tmp_path / "mounts").write_text(table)
    for _ in range(2):
        start.link_mounts(str(own), str(home), str(tmp_path / "mounts"))
    assert (own / ".cache/huggingface").readlink() == home / ".cache/huggingface"
    assert not (own / ".aws").is_symlink()
    assert sorted(path.name for path in own.iterdir()) == [".aws", ".cache"]
    assert not (home / ".cache/huggingface/hub").is_symlink()


def test_each_step_is_done_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def fail(_: object) -> None:
        done.append("first")
        raise OSError

    monkeypatch.setattr(start, "STEPS", [fail, lambda _: done.append("second")])
    start.main()
    start.main()
    assert done == ["first", "second"]


@pytest.mark.parametrize("home", ["", "/", "/dev/null", "relative", "/nowhere"])
def test_a_home_that_is_no_folder_to_write_to_is_replaced(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "relative").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "IMAGE_HOME", str(tmp_path))
    monkeypatch.setattr(start.os.path, "expanduser", str)
    environment = {"HOME": home}
    start.set_home(environment)
    assert environment["HOME"] == str(tmp_path)


def test_a_home_to_write_to_stays(tmp_path: Path) -> None:
    environment = {"HOME": f"{tmp_path}/"}
    start.set_home(environment)
    assert environment == {"HOME": f"{tmp_path}/"}
