"""Podman creates the containers that `--print podman` writes; nothing is started."""

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.run_formats.model import PrintedRun
from dlimg.run_formats.write import write_run
from tests.formats.conftest import execute
from tests.support.debian_tools import DebianTools
from tests.support.printed_runs import (
    HARD,
    HARD_FOLDER,
    HARD_WORDS,
    NOTEBOOK,
    TRAINING,
    with_folders,
)

pytestmark = pytest.mark.formats
PACKAGES = ("podman", "catatonit", "conmon", "crun")
LIBRARIES = ("libsubid", "libgpgme", "libyajl", "libassuan", "golang-github-containers-common")
Creator = Callable[[PrintedRun], Any]


@pytest.fixture(scope="session")
def podman_root(tools: DebianTools) -> Path:
    return tools.unpack(*PACKAGES, newest=False, libraries=LIBRARIES)


@pytest.fixture
def created(
    podman_root: Path, tmp_path: Path, environment: dict[str, str], no_mkdir: None
) -> Iterator[Creator]:
    """Runs the text with `create` for `run`, and returns what Podman has created."""
    assert no_mkdir is None
    # Podman wants a path of at most 50 characters.
    store = Path(tempfile.mkdtemp(prefix="podman-"))
    wrapper = write_wrapper(podman_root, store, environment)

    def created(run: PrintedRun) -> Any:
        add_image(run.spec.image, wrapper, tmp_path, environment)
        text = write_run(run, "podman")
        argv = ["sh", "-eu"]
        outcome = execute(argv, environment, text)
        assert outcome.returncode == 0, outcome.stderr
        inspect = [str(wrapper), "inspect", "--latest", "--format", "json"]
        shown = execute(inspect, environment)
        assert environment["WANDB_API_KEY"] not in shown.stdout
        return json.loads(shown.stdout)[0]

    yield created
    shutil.rmtree(store, ignore_errors=True)


def write_wrapper(root: Path, store: Path, environment: dict[str, str]) -> Path:
    """Write a podman that has its own store, and creates containers that it should run."""
    home = Path(environment["HOME"])
    settings = home / ".config/containers"
    settings.mkdir(parents=True)
    (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    init = next(root.glob("usr/*/podman/catatonit"), root / "usr/bin/catatonit")
    lines = (
        "[containers]",
        f'init_path = "{init}"',
        "[engine]",
        f'conmon_path = ["{root}/usr/bin/conmon"]',
        'runtime = "crun"',
        "[engine.runtimes]",
        f'crun = ["{root}/usr/bin/crun"]',
    )
    (settings / "containers.conf").write_text("\n".join(lines) + "\n")
    environment["CONTAINERS_CONF"] = str(settings / "containers.conf")
    options = (
        f"--root {store}/root --runroot {store}/run --tmpdir {store}/files "
        "--storage-driver vfs --cgroup-manager cgroupfs --events-backend none"
    )
    libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu*"))
    wrapper = Path(environment["PATH"].partition(":")[0]) / "podman"
    wrapper.write_text(
        f'#!/bin/sh\nif [ "$1" = run ]; then shift; set -- create "$@"; fi\n'
        f'LD_LIBRARY_PATH={libraries} exec {root}/usr/bin/podman {options} "$@"\n'
    )
    wrapper.chmod(0o755)
    return wrapper


def add_image(name: str, wrapper: Path, folder: Path, environment: dict[str, str]) -> None:
    archive = folder / "empty.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder / "home", "etc", recursive=False)
    argv = [str(wrapper), "import", str(archive), name]
    outcome = execute(argv, environment)
    assert outcome.returncode == 0, outcome.stderr


def here(run: PrintedRun, folder: Path) -> PrintedRun:
    """The run with folders that exist; as root prints it, for whom `keep-id` means nothing."""
    run = with_folders(run, folder, HARD_FOLDER.rpartition("/")[2])
    return replace(run, spec=replace(run.spec, user="0:0")) if os.getuid() == 0 else run


def test_podman_creates_a_container_with_each_word_and_path(
    created: Creator, tmp_path: Path
) -> None:
    run = here(HARD, tmp_path)
    container = created(run)
    assert container["Config"]["Cmd"][-len(HARD_WORDS) :] == list(HARD_WORDS)
    variables = dict(text.split("=", 1) for text in container["Config"]["Env"])
    assert HARD.spec.variables.items() <= variables.items()
    mounts = {mount["Destination"]: mount for mount in container["Mounts"]}
    assert mounts["/code"]["Source"] == run.code
    assert mounts["/data/数据"]["RW"] is False


def test_podman_creates_a_container_with_limits_ports_and_secrets(
    created: Creator, tmp_path: Path
) -> None:
    container = created(here(TRAINING, tmp_path))
    host = container["HostConfig"]
    assert host["ShmSize"] == 8 * 2**30
    assert container["Config"]["StopTimeout"] == 120
    assert host["Init"] is True
    bindings = host["PortBindings"]["6006/tcp"]
    assert bindings == [{"HostIp": "127.0.0.1", "HostPort": "6006"}]
    assert "WANDB_API_KEY" not in dict(t.split("=", 1) for t in container["Config"]["Env"])
    assert "WANDB_API_KEY,type=env,target=WANDB_API_KEY" in container["Config"]["CreateCommand"]


def test_podman_takes_the_printed_line_twice(created: Creator, tmp_path: Path) -> None:
    run = here(TRAINING, tmp_path)
    assert created(run)["Id"] != created(run)["Id"]


def test_podman_refuses_a_folder_that_is_not_there(created: Creator) -> None:
    run = replace(NOTEBOOK, spec=replace(NOTEBOOK.spec, user="0:0"))
    with pytest.raises(AssertionError, match="no such file"):
        created(run)
