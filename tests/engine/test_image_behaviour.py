"""How an image behaves, whatever framework is in it: users, files, pip, commands, secrets."""
# ruff: noqa: S108  # the folders are in a container

import gzip
import io
import os
import secrets
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from zstandard import FRAME_HEADER

from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.host.process import run_checked
from dlimg.layer.compress import inflate_zstd
from dlimg.model import Base, BuildFailure, Flavour
from tests.support import small_images
from tests.support.layout_image import LayoutImage, cell, install, make_image, planned, wheel
from tests.support.rows import first_rows, first_values

pytestmark = pytest.mark.engine

SENTENCE = "neither an NVIDIA GPU nor its driver is visible"
READ_ONLY = ("--read-only", "--tmpfs", "/tmp:exec")
# Half a driver each: a device's file, and a library that can be loaded.
DEVICE = ("--device", "/dev/null:/dev/nvidiactl")
LIBRARY = ("--volume", f"{Path(sys.executable).resolve()}:/usr/lib/libcuda.so.1:ro")


@pytest.fixture(scope="module")
def devel(
    engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LayoutImage]:
    of = cell("cuda13.2", Flavour.DEVEL)
    yield from make_image(engine, base, of, tmp_path_factory.mktemp("devel"))


@pytest.fixture(scope="module")
def cuda(
    engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LayoutImage]:
    yield from make_image(engine, base, cell("cuda13.2"), tmp_path_factory.mktemp("cuda"))


def test_the_default_user_has_places_to_write(layout_image: LayoutImage) -> None:
    assert layout_image.says("id -un; id -u; id -g; pwd; echo $HOME").split() == [
        "user",
        "1000",
        "100",
        "/code",
        "/home/user",
    ]
    layout_image.says("touch /code/x /data/x /output/x ~/x; ! touch /opt/env/x /etc/x 2>/dev/null")


def test_no_file_is_writable_for_everyone(layout_image: LayoutImage) -> None:
    search = "find / -xdev -perm -0002 ! -perm -1000 ! -type l ! -path '/proc/*' ! -path '/dev/*'"
    assert layout_image.says(search, "--user", "0") == ""


def test_an_image_carries_no_leftovers(layout_image: LayoutImage) -> None:
    places = "/var/log /tmp /var/lib/apt/lists /root/.cache /run/secrets /run/cache /run/uv"
    assert layout_image.says(f"find {places} -type f 2>/dev/null || true", "--user", "0") == ""


PYTHONS = (
    "python",
    "python3",
    "python3.13",
    "/usr/local/bin/python",
    "/usr/local/bin/python3",
    "/opt/env/bin/python",
    "/opt/env/bin/python3.13",
    "env -i /opt/env/bin/python3",
    "env -i /usr/local/bin/python3",
)


def test_every_python_has_the_packages(layout_image: LayoutImage) -> None:
    lines = [f"{python} -c 'import six; print(six.__version__)'" for python in PYTHONS]
    assert layout_image.says("\n".join(lines)).split() == ["1.17.0"] * len(PYTHONS)


@pytest.mark.parametrize(
    "start", first_values(["env -i bash -lc", "bash -lc"], 1, pytest.mark.slow)
)
def test_a_login_shell_finds_everything(cuda: LayoutImage, start: str) -> None:
    output = cuda.says(f"{start} 'command -v python pip; echo $PIP_CONSTRAINT $PATH'")
    assert output.startswith("/home/user/env/bin/python\n/opt/env/bin/pip\n/etc/dlimg/constraints")


@pytest.mark.slow
def test_a_login_shell_finds_the_compilers_of_cuda(devel: LayoutImage) -> None:
    assert "/nvidia/cu13/bin:" in devel.says("env -i bash -lc 'echo $PATH'")


def test_pip_sees_a_sound_environment(layout_image: LayoutImage) -> None:
    assert layout_image.says("pip check") == "No broken requirements found."
    assert layout_image.says("pip list --format freeze").split() == ["pip==26.3", "six==1.17.0"]
    assert layout_image.says("readlink /opt/env/lib/python3.13") == "python"


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ((), "/home/user/env"),
        (("--user", "12345:0"), "/tmp/home-12345/env"),
        *(
            pytest.param(options, folder, marks=pytest.mark.slow)
            for options, folder in (
                (("--user", "0"), "/home/user/env"),
                (READ_ONLY, "/tmp/home-1000/env"),
                (("--env", "DLIMG_OVERLAY=/data/env"), "/data/env"),
                (("--user", "12345"), "/tmp/home-12345/env"),
                (("--user", "12345", *READ_ONLY), "/tmp/home-12345/env"),
                (("--tmpfs", "/home/user:uid=1000,exec"), "/home/user/env"),
            )
        ),
    ],
    ids=str,
)
def test_any_user_may_install(
    layout_image: LayoutImage, options: tuple[str, ...], folder: str
) -> None:
    script = (
        f"{install('greeting', '1.0')}; greeting-main; cd /; "
        "python -c 'import greeting, six; print(greeting.__file__, six.__file__)'; "
        "/opt/env/bin/python -c 'import greeting, getpass; print(getpass.getuser())'; "
        "touch $HOME/x; pip uninstall --quiet --yes greeting; ! python -c 'import greeting' 2>&-"
    )
    output = layout_image.says(script, *options, stdin=wheel("greeting", "1.0")).split()
    packages = "lib/python3.13/site-packages"
    modules = [f"{folder}/{packages}/greeting.py", f"/opt/env/{packages}/six.py"]
    assert output[:-1] == ["greeting", "1.0", *modules]
    assert output[-1] in {"user", "root", "12345"}


def test_the_framework_cannot_be_replaced(layout_image: LayoutImage) -> None:
    script = install("six", "1.16.0")
    outcome = layout_image.run("bash", "-euc", script, stdin=wheel("six", "1.16.0"))
    assert outcome.returncode == 1
    assert "six==1.17.0" in outcome.stdout + outcome.stderr


def test_what_is_built_on_top_is_there_for_every_user(layout_image: LayoutImage) -> None:
    name = f"dlimg-test-{secrets.token_hex(4)}"
    options = ("--interactive", "--network", "none", "--name", name)
    script = ("bash", "-euc", install("greeting", "1.0"))
    typed = wheel("greeting", "1.0")
    try:
        outcome = layout_image.docker(
            "run", *options, layout_image.built.digest, *script, stdin=typed
        )
        assert outcome.returncode == 0, outcome.stderr
        top = replace(layout_image, built=replace(layout_image.built, digest=f"{name}:latest"))
        assert layout_image.docker("commit", name, f"{name}:latest").returncode == 0
        assert top.says("greeting-main", "--user", "12345") == "greeting 1.0"
        assert top.says("python -m greeting && pip list", "--user", "12345").count("greeting") == 1
    finally:
        layout_image.docker("rm", "--force", name)
        layout_image.docker("rmi", "--force", f"{name}:latest")


def test_commands_and_exit_codes_pass_through(layout_image: LayoutImage) -> None:
    assert layout_image.run("sh", "-c", "exit 7").returncode == 7
    assert layout_image.run("no-such-command").returncode == 127
    assert layout_image.run("printf", "%s|", "a b", "", "$HOME").stdout == "a b||$HOME|"
    assert layout_image.run(stdin="echo $((6 * 7))\n").stdout == "42\n"
    assert layout_image.run("cat", stdin="typed\n").stdout == "typed\n"
    assert layout_image.run("true", options=("--init",)).stderr == ""
    assert layout_image.run("true", options=("--read-only", "--user", "12345")).stderr == ""


def test_a_stop_is_quick(layout_image: LayoutImage) -> None:
    started = layout_image.docker("run", "--detach", layout_image.built.digest, "sleep", "infinity")
    name = started.stdout.strip()
    try:
        # One that does not hear the signal is killed after the time limit, which is code 137.
        layout_image.docker("stop", "--timeout", "60", name)
        state = layout_image.docker("inspect", "--format", "{{.State.ExitCode}}", name)
        assert state.stdout.strip() == "143"
    finally:
        layout_image.docker("rm", "--force", name)


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ((), 1),
        (("--env", "CUDA_VISIBLE_DEVICES="), 0),
        *(
            pytest.param(("--env", variable), 0, marks=pytest.mark.slow)
            for variable in ("DLIMG_QUIET=1", "NVIDIA_VISIBLE_DEVICES=none")
        ),
    ],
    ids=str,
)
def test_a_cuda_image_says_that_it_sees_no_gpu(
    cuda: LayoutImage, options: tuple[str, ...], sentences: int
) -> None:
    outcome = cuda.run("echo", "done", options=options)
    assert (outcome.returncode, outcome.stdout) == (0, "done\n")
    assert outcome.stderr.count("dlimg: ") == outcome.stderr.count("  hint: ") == sentences
    assert outcome.stderr.count(SENTENCE) == outcome.stderr.count("--gpus all") == sentences


PLATFORMS = [
    ((), "cpu"),
    (("--env", "JAX_PLATFORMS=cuda"), "cuda"),
    ((*DEVICE, *LIBRARY), "None"),
    ((*DEVICE, "--entrypoint", "env"), "cpu"),
    (("--env", "DLIMG_QUIET=1"), "cpu"),
    (("--env", "JAX_PLATFORMS="), "cpu"),
    (DEVICE, "cpu"),
    ((*DEVICE, "--volume", "/dev/null:/usr/lib64/libcuda.so.1:ro"), "cpu"),
    (LIBRARY, "cpu"),
    ((*DEVICE, *LIBRARY, "--entrypoint", "env"), "None"),
    (("--entrypoint", "env", "--user", "12345", "--read-only"), "cpu"),
]


@pytest.mark.parametrize(
    ("options", "platforms"), first_rows(PLATFORMS, 4, pytest.mark.slow), ids=str
)
@pytest.mark.parametrize("start", first_values(["", "env -i "], 1, pytest.mark.slow))
def test_jax_is_told_where_there_is_no_driver(
    cuda: LayoutImage, options: tuple[str, ...], platforms: str, start: str
) -> None:
    script = "import os; print(os.environ.get('JAX_PLATFORMS'))"
    command = [*start.split(), "/usr/local/bin/python3", "-c", script]
    outcome = cuda.run(*command, options=options)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.strip() == ("cpu" if start and platforms == "cuda" else platforms)


def test_a_cpu_image_speaks_of_no_gpu(layout_image: LayoutImage) -> None:
    assert layout_image.run("true").stderr == ""


@pytest.mark.slow
def test_only_a_compiling_flavour_compiles(layout_image: LayoutImage, devel: LayoutImage) -> None:
    assert "gcc" not in layout_image.says("ls /usr/bin")
    source = "#include <Python.h>\n#include <vector>\nint main() { return std::vector<int>(3)[0]; }"
    include = "$(python -c 'import sysconfig; print(sysconfig.get_path(\"include\"))')"
    cuda = "-L $CUDA_HOME/lib64 -l cudart"
    compiled = f"g++ -x c++ -I {include} - -o /tmp/x {cuda}; /tmp/x; make -v; echo $CUDA_HOME"
    output = devel.says(compiled, "--tmpfs", "/tmp:exec", stdin=source)
    assert output.endswith("/opt/env/lib/python/site-packages/nvidia/cu13")


@pytest.mark.parametrize("which", ["layout_image", pytest.param("devel", marks=pytest.mark.slow)])
def test_no_build_secret_stays_in_the_image(which: str, request: pytest.FixtureRequest) -> None:
    built_image: LayoutImage = request.getfixturevalue(which)
    image = built_image.engine.sdk.images.get(built_image.built.digest)
    blobs = 0
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as saved:
        for member in saved:
            file = saved.extractfile(member)
            content = file.read() if file else b""
            if content.startswith(b"\x1f\x8b"):
                content = gzip.decompress(content)
            elif content.startswith(FRAME_HEADER):
                content = b"".join(inflate_zstd([content]))
            assert built_image.hidden.encode() not in content, member.name
            blobs += len(content) > 1000
    assert blobs >= 4


@pytest.mark.slow
def test_a_failing_line_ends_the_build(engine: Engine, base: Base) -> None:
    plan = planned(base, cell())
    wrong = plan.image.dockerfile.replace("dlimg-overlay /home/user/env\n", "false\n")
    assert wrong != plan.image.dockerfile
    with secrets_from(Context.of(os.environ, print)) as using:
        (failure,) = small_images.built_all(
            [replace(plan, image=replace(plan.image, dockerfile=wrong))], engine, using=using
        )
    assert isinstance(failure, BuildFailure)
    assert "exit code: 1" in failure.log[-1]


@pytest.mark.slow
def test_the_same_input_makes_the_same_layers(layout_image: LayoutImage, tmp_path: Path) -> None:
    one = layout_image.built.planned
    context = f"{one.image.cell.os.image}={one.base.reference}"
    (tmp_path / "Dockerfile").write_text(one.image.dockerfile)
    with secrets_from(Context.of(os.environ, print)) as using:
        run_checked(
            [
                *(str(layout_image.engine.docker), "buildx", "build", "--output", "type=docker"),
                *("--no-cache-filter", "system,image", "--build-context", context),
                *(f"--secret=id={name},src={path}" for name, path in using.files.items()),
                *("--provenance=false", "--tag", one.moving_reference, str(tmp_path)),
            ],
            env=layout_image.engine.environment,
        )
    images = layout_image.engine.sdk.images
    again = images.get(one.moving_reference).attrs["RootFS"]["Layers"]
    assert again == images.get(layout_image.built.digest).attrs["RootFS"]["Layers"]
