"""Apptainer: the real command, as an ordinary user of a machine of many users starts images.

Each list of faults is also made of images and variables in which it has to find something.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base, BuiltImage
from tests.support.apptainer_machine import HOME, PROJECT, USER, ApptainerMachine, apptainer_machine
from tests.support.host_container import docker, session_faults, spoilt
from tests.support.layout_image import LayoutImage, cell, make_image
from tests.support.made_up_driver import made_up_driver

pytestmark = [pytest.mark.engine, pytest.mark.hosts]

# By option: a script, and its output where the option has its effect.
OPTIONS = {
    "--writable-tmpfs": ("touch /opt/env/written && echo written", "written"),
    "--containall": ("ls -A ~", ""),
    "--cleanenv": ("echo $GIVEN; python -c 'import getpass; print(getpass.getuser())'", USER),
    "--fakeroot": ("id -u", "0"),
    "--nv": ("id -un", USER),
}

LOADS = "import ctypes; ctypes.CDLL('libcuda.so.1'); print('loaded')"
# Python of the image, the distribution's, and the driver's program.
USE_DRIVER = f'python -c "{LOADS}"; /usr/bin/python3 -c "{LOADS}"; nvidia-smi'


@pytest.fixture(scope="module")
def machine(engine: Engine, base: Base) -> Iterator[ApptainerMachine]:
    with apptainer_machine(engine, base) as machine:
        yield machine


@pytest.fixture(autouse=True)
def without_packages(machine: ApptainerMachine) -> None:
    """Remove what earlier tests have installed: /tmp is the machine's."""
    machine.container.root(f"rm -rf /tmp/home-* {HOME}/packages {HOME}/written {PROJECT}/*")


@pytest.fixture(scope="module")
def file(machine: ApptainerMachine, jax_image: BuiltImage) -> str:
    return machine.build(jax_image.digest)


@pytest.fixture(scope="module")
def spoilt_file(machine: ApptainerMachine, jax_image: BuiltImage) -> Iterator[str]:
    """An image without the folders and the command for packages of users."""
    spoils = ("RUN rm -r /usr/local/bin/dlimg-overlay /home/user/env", "ENV OMP_NUM_THREADS=7")
    with spoilt(machine.container.engine, jax_image.digest, *spoils) as image:
        yield machine.build(image)


def variables_of(engine: Engine, image: str) -> dict[str, str]:
    """Return the variables of an image of the engine."""
    text = docker(engine, "inspect", "--format", "{{json .Config.Env}}", image).stdout
    return dict(row.split("=", 1) for row in json.loads(text))


def faults_on_apptainer(
    machine: ApptainerMachine, file: str, expected: dict[str, str], **variables: str
) -> list[str]:
    """Use an image as on a cluster, and list what does not work; `variables` are the user's."""
    session = machine.session(file, **variables)
    faults = session_faults(session)
    found = session("touch ~/written written && id -un && pwd").stdout.split()
    written = machine.run("stat", "--format=%U", f"{HOME}/written", f"{PROJECT}/written")
    if found + written.stdout.split() != [USER, PROJECT, USER, USER]:
        faults.append(f"the user's own folders are not there: {found}{written.stderr}")
    packages = machine.session(file, APPTAINERENV_DLIMG_OVERLAY=f"{HOME}/packages", **variables)(
        "pip list >/dev/null; python -c 'import sys; print(sys.prefix)'"
    )
    if packages.stdout.strip() != f"{HOME}/packages":
        faults.append(f"packages cannot be kept in the home: {packages.stderr}")
    given = dict(row.partition("=")[::2] for row in session("env -0").stdout.split("\0"))
    lost = [name for name in expected if not given.get(name, "").startswith(expected[name])]
    if lost:
        faults.append(f"the image's variables are not there: {' '.join(lost)}")
    started = machine.run("apptainer", "run", file, "true", **variables)
    if started.returncode or "dlimg:" in started.stderr:
        faults.append(f"the start complains: {started.stderr}")
    threads = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    words = ("taskset", "--cpu-list", "0", "apptainer", "exec", file, "python", "-c", threads)
    if machine.run(*words, **variables).stdout != "1\n":
        faults.append("the number of threads is not that of the job's CPUs")
    return faults


def test_apptainer(machine: ApptainerMachine, file: str, jax_image: BuiltImage) -> None:
    expected = variables_of(machine.container.engine, jax_image.digest)
    assert {"PATH", "DLIMG_OVERLAY"} <= expected.keys()
    assert faults_on_apptainer(machine, file, expected) == []


def test_apptainer_notices(
    machine: ApptainerMachine, spoilt_file: str, jax_image: BuiltImage
) -> None:
    expected = variables_of(machine.container.engine, jax_image.digest)
    faults = faults_on_apptainer(machine, spoilt_file, {**expected, "LOST": "x"})
    reasons = (
        "pip does not install",
        "packages cannot be kept in the home",
        "the image's variables are not there: LOST",
        "the number of threads",
    )
    for reason in reasons:
        assert any(text.startswith(reason) for text in faults), (reason, faults)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option(machine: ApptainerMachine, file: str, option: str) -> None:
    session = machine.session(file, option, GIVEN="x")
    assert session_faults(session) == []
    script, output = OPTIONS[option]
    assert session(script).stdout.strip() == output


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_notices(machine: ApptainerMachine, spoilt_file: str, option: str) -> None:
    assert session_faults(machine.session(spoilt_file, option))


def test_variables_of_the_user_get_in_unless_the_environment_is_clean(
    machine: ApptainerMachine, file: str
) -> None:
    variables = {"PYTHONPATH": f"{HOME}/.local/lib/python3.13/site-packages"}
    faults = session_faults(machine.session(file, **variables))
    assert "the framework is not imported: ImportError: of the machine" in faults
    assert session_faults(machine.session(file, "--cleanenv", **variables)) == []


@pytest.fixture(scope="module")
def cuda_file(
    machine: ApptainerMachine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A small image with the layout of a CUDA cell."""
    folder = tmp_path_factory.mktemp("cuda")
    for image in make_image(machine.container.engine, base, cell("cuda13.2"), folder):
        assert isinstance(image, LayoutImage)
        yield machine.build(image.built.digest)


def test_nv_without_a_driver_says_so(machine: ApptainerMachine, cuda_file: str) -> None:
    result = machine.run("apptainer", "run", "--nv", cuda_file, "echo", "started")
    assert result.stdout == "started\n"
    assert "neither an NVIDIA GPU nor its driver is visible" in result.stderr
    assert "hint: start it with `--nv`" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def driver(machine: ApptainerMachine, tmp_path: Path) -> Iterator[None]:
    """A made-up driver in the machine, where its loader's cache knows it."""
    made_up_driver(tmp_path)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho driver\n")
    program.chmod(0o755)
    copy = (f"{tmp_path}/.", f"{machine.container.name}:/usr/local/lib")
    docker(machine.container.engine, "cp", *copy)
    devices = "mknod -m 666 /dev/nvidia0 c 1 3; mknod -m 666 /dev/nvidiactl c 1 3"
    machine.container.root(f"mv /usr/local/lib/nvidia-smi /usr/bin; {devices}; ldconfig")
    yield
    libraries = "/usr/local/lib/lib{cuda,nvidia-ml}.so.1"
    machine.container.root(f"rm {libraries} /usr/bin/nvidia-smi /dev/nvidia*; ldconfig")


@pytest.mark.usefixtures("driver")
def test_nv_gives_the_driver(machine: ApptainerMachine, cuda_file: str) -> None:
    found = machine.session(cuda_file, "--nv")(USE_DRIVER)
    assert found.stdout.split() == ["loaded", "loaded", "driver"], found.stderr
    assert machine.session(cuda_file)(USE_DRIVER).stdout == ""
    folders = machine.session(cuda_file, "--nv")("echo $LD_LIBRARY_PATH").stdout
    assert folders == "/usr/local/nvidia/lib64:/.singularity.d/libs\n"
    started = machine.run("apptainer", "run", cuda_file, "true")
    assert "hint: start it with `--nv`" in started.stderr
    started = machine.run("apptainer", "run", "--nv", cuda_file, "true")
    assert "--nv" not in started.stderr
