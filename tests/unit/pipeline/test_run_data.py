"""Data that is kept in the engine of another machine: fetched there, or here where it cannot be."""

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Negative
from dlimg.host.ssh import SshHost
from dlimg.pipeline.run_data import add_data, data_of_source
from dlimg.run.data_volume import stored_data
from tests.support import run_engine
from tests.unit.run.test_data_fetch_remote import host, machine, pytestmark

__all__ = ["host", "machine", "pytestmark"]
DOCKER = '#!/bin/sh\nprintf \'%s\\n\' "$*" >>"$HOME/docker"\ncat >"$HOME/data.tar"\n'


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, messages: list[str]) -> Context:
    variables = {"HOME": str(tmp_path / "home"), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    return Context.of(variables, messages.append)


@pytest.fixture
def api() -> run_engine.FakeApi:
    return run_engine.FakeApi()


@pytest.fixture
def vm(api: run_engine.FakeApi, context: Context, host: SshHost, machine: Path) -> Engine:
    (machine / "bin/docker").write_text(DOCKER)
    (machine / "bin/docker").chmod(0o755)
    return replace(run_engine.engine(api, context, "ssh://ada@vm"), ssh=host)


@pytest.fixture
def repository(tmp_path: Path) -> str:
    folder = tmp_path / "words"
    folder.mkdir()
    script = (
        "git init -q && echo 12 >a && git add a && "
        "git -c user.name=x -c user.email=x commit -qm x && git tag v1"
    )
    subprocess.run(["sh", "-c", script], cwd=folder, check=True)
    return f"git:file://{folder}#v1"


def test_what_the_machine_fetched_goes_into_its_engine_and_not_over_this_one(
    repository: str,
    vm: Engine,
    api: run_engine.FakeApi,
    machine: Path,
    context: Context,
) -> None:
    data = data_of_source("words", repository, vm, context)
    assert (data.source, data.files, data.size) == (repository, 1, 3)
    assert api.archives == []
    assert (machine / "docker").read_text() == "cp - container1:/data\n"
    with tarfile.open(machine / "data.tar") as tar:
        assert sorted(tar.getnames()) == [".", "./a"]
    assert api.removed == ["container1"]
    assert not list((machine / "dlimg-runs/fetched").iterdir())
    assert data_of_source("words", repository, vm, context) == data


def names_in(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_what_the_machine_cannot_fetch_is_fetched_here_and_sent(
    repository: str,
    vm: Engine,
    api: run_engine.FakeApi,
    machine: Path,
    context: Context,
    messages: list[str],
) -> None:
    (machine / "bin/git").write_text("#!/bin/sh\nexit 1\n")
    (machine / "bin/git").chmod(0o755)
    add_data("words", repository, vm, context)
    assert [names_in(archive) for archive in api.archives] == [["a"]]
    assert messages[0].startswith("words: fetching file:///")
    assert messages[1].startswith("words: not fetched on ada@vm: git does not fetch words")
    assert messages[2] == "words: fetching it here, and sending it"
    assert [data.name for data in stored_data(vm)] == ["words"]


def test_a_machine_without_the_program_gets_the_data_sent(
    repository: str, vm: Engine, machine: Path, context: Context, messages: list[str]
) -> None:
    (machine / "bin/sh").symlink_to("/bin/sh")
    bare = SshHost(
        destination="ada@vm",
        environment={"PATH": f"{machine.parent}:{machine}/bin", "MACHINE": str(machine)},
    )
    add_data("words", repository, replace(vm, ssh=bare), context)
    assert messages[0] == "words: not fetched on ada@vm: it has no git"
    assert [data.name for data in stored_data(vm)] == ["words"]


def test_a_wrong_source_or_a_name_that_is_taken_changes_nothing(
    repository: str, vm: Engine, api: run_engine.FakeApi, context: Context
) -> None:
    with pytest.raises(Negative, match="git does not fetch"):
        add_data("words", f"{repository}-missing", vm, context)
    assert api.stored == []
    data_of_source("words", repository, vm, context)
    with pytest.raises(BadInput, match="there is stored data 'words' already") as error:
        add_data("words", repository, vm, context)
    assert "`dlimg data rm --on ada@vm words`" in error.value.problems[0].hint
