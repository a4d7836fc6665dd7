"""`build --no-engine`: what takes an engine is refused in words, before any work."""

import os
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.debian import chroot
from tests.support.jax_project import CELL, OTHER, enter_project


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two cells, and root as far as is asked; nothing of it is used up."""
    enter_project(tmp_path, monkeypatch, CELL, OTHER)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


WORDS = [
    (("test", CELL), 2, "--no-engine: the checks of `dlimg test` take an engine"),
    (("publish", CELL, "--to", "localhost/x"), 2, "--no-engine"),
    (("build", CELL, "--verify", "record"), 2, "--verify takes an engine"),
    (("build", CELL, "--builder", "buildkit"), 2, "--builder buildkit takes an engine"),
    (("build", CELL, "--base", "registry"), 2, "--base registry takes an engine"),
    (("build", CELL, "--jobs", "0"), 2, "--jobs 0 builds nothing"),
    (("build", CELL, "--output", "matrix.yaml"), 2, "is not an OCI layout"),
    (("build", CELL, "--output", "locks"), 2, "is not an OCI layout"),
    (("build", CELL, "--record", "locks"), 2, "a record must be a file"),
    (("build", CELL, "--report", "x.pdf"), 2, "names no format"),
    (("build", "nothing-like-it"), 2, "fits no cell"),
    (("build", OTHER), 2, f"{OTHER}: "),
]


@pytest.mark.parametrize(("arguments", "code", "said"), WORDS, ids=lambda item: str(item)[:60])
def test_options_that_need_an_engine_are_refused(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        result = main([*arguments, "--no-engine"])
    except SystemExit as ended:  # argparse's own refusal
        result = int(ended.code or 0)
    error = capsys.readouterr().err
    assert (result, said in error) == (code, True), error
    assert "hint:" in error
    assert not (project / "cache/dlimg/layers/blobs").exists()


def test_output_is_of_builds_without_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", CELL, "--output", "out"]) == 2
    assert "--output goes with --no-engine" in capsys.readouterr().err


def no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroot, "PATH", "/nowhere")


def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroot, "_NAMESPACES", ("--no-such-namespace",))


MACHINES = [
    (no_root, "only root can build", "run it as root"),
    (no_tools, "unshare, setpriv, mount, chroot, tar: not on this host", "util-linux"),
    (no_namespaces, "namespaces cannot be created here", "--privileged"),
]


@pytest.mark.parametrize(("change", "said", "hint"), MACHINES, ids=lambda item: str(item)[:20])
def test_a_host_that_cannot_build_without_an_engine(
    change: object,
    said: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(change)
    change(monkeypatch)
    assert main(["build", CELL, "--no-engine"]) == 4
    error = capsys.readouterr().err
    assert said in error
    assert hint in error
