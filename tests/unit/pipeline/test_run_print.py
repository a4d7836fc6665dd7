"""From a request to a printed run, without an engine; and what is refused."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.pipeline.run_print import print_run
from dlimg.run.model import DataRequest, ProjectLayer, RunRequest
from dlimg.run_formats.write import FORMATS

MATRIX = str(Path(__file__).parents[3] / "matrix.yaml")
Printer = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my 'first' $x 你好"
    folder.mkdir()
    (folder / "train.py").write_text("import jax\n")
    return folder


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def printed(folder: Path, tmp_path: Path, log: list[str]) -> Printer:
    def printed(format_: Any = "docker", /, **fields: Any) -> str:
        context = Context.of({"HOME": str(tmp_path), **fields.pop("environment", {})}, log.append)
        request = replace(RunRequest(folder=folder, gpu="cpu"), **fields)
        return print_run(request, format_, MATRIX, context)

    return printed


def test_the_folders_script_and_framework_are_printed(printed: Printer, folder: Path) -> None:
    text = printed()
    assert text.endswith("  python train.py\n")
    assert "dlimg/jax:0.12.0.1-cpu-py3.13-debian13" in text
    assert f"--user {os.getuid()}:{os.getgid()}" in text
    assert not (folder / "output").exists()


@pytest.mark.parametrize(
    ("number", "user", "there"), [(0, "0:0", "1000:100"), (1234, "1234:1234", "1234:1234")]
)
def test_no_run_is_roots_on_another_machine(
    number: int, user: str, there: str, printed: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: number)
    monkeypatch.setattr(os, "getgid", lambda: number)
    assert f"--user {user} " in printed("docker")
    assert f"--user {there} " in printed("cloud-init")


def test_a_gpu_is_printed_where_there_is_none(printed: Printer) -> None:
    text = printed(gpu="gpu", env="jax")
    assert "--gpus all" in text
    assert "dlimg/jax:0.12.0.1-cuda" in text


def test_a_device_is_printed_by_its_name(printed: Printer) -> None:
    assert "--device nvidia.com/gpu=1" in printed(device="nvidia.com/gpu=1", gpu="gpu")


def test_data_is_printed_read_only_under_its_three_names(printed: Printer, tmp_path: Path) -> None:
    text = printed(data=(DataRequest(source=str(tmp_path), name="digits"),))
    for target in ("/data/digits", "/input/digits", "/digits"):
        assert f"source={tmp_path},target={target},readonly" in text


def test_data_that_does_not_exist_is_refused(printed: Printer) -> None:
    with pytest.raises(BadInput, match="there is no data /nowhere"):
        printed(data=(DataRequest(source="/nowhere", name="x"),))


def test_a_file_as_data_is_refused_where_folders_are_copied(printed: Printer, folder: Path) -> None:
    data = (DataRequest(source=str(folder / "train.py"), name="t"),)
    with pytest.raises(BadInput, match="is a file"):
        printed("kubernetes", data=data)
    assert "target=/data/t" in printed(data=data)


def test_a_notebook_has_its_port_and_image(printed: Printer) -> None:
    text = printed(mode="jupyter", env="jax")
    assert "--publish 127.0.0.1:8888:8888" in text
    assert "-workspace \\\n  jupyter\n" in text


def test_a_server_for_ssh_gets_the_public_key(printed: Printer, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text("ssh-ed25519 AAAA me\n")
    text = printed(mode="ssh", env="jax")
    assert "--env 'PUBLIC_KEY=ssh-ed25519 AAAA me'" in text
    assert "--publish 127.0.0.1:2222:2222" in text


@pytest.mark.parametrize("format_", FORMATS)
def test_the_value_of_a_secret_is_never_printed(
    format_: Any, printed: Printer, log: list[str]
) -> None:
    environment = {"WANDB_API_KEY": "6b9f-a-secret-value"}
    fields = {"mode": "jupyter", "env": "jax"} if format_ == "kubeflow" else {}
    text = printed(format_, secrets=("WANDB_API_KEY",), environment=environment, **fields)
    assert "WANDB_API_KEY" in text
    assert "6b9f-a-secret-value" not in text + "".join(log)


def test_a_secret_in_the_command_is_warned_of(printed: Printer, log: list[str]) -> None:
    printed(command=("python", "x.py", "--api-key=0123456789abcdef"))
    assert any("looks like a secret" in line for line in log)


@pytest.mark.parametrize("fields", [{"queue": True, "gpu": "gpu"}, {"detach": True}])
def test_options_of_our_own_runs_are_refused(fields: dict[str, Any], printed: Printer) -> None:
    with pytest.raises(BadInput, match="does not go with --print docker"):
        printed(**fields)


def test_packages_of_a_project_file_are_refused(printed: Printer) -> None:
    with pytest.raises(BadInput, match="are no part of the image"):
        printed(layer=ProjectLayer(packages=("six",)))


def test_an_image_in_no_registry_is_told_for_another_machine(
    printed: Printer, log: list[str]
) -> None:
    printed("docker")
    assert not any("in no registry" in line for line in log)
    printed("kubernetes")
    assert any("in no registry" in line for line in log)


def test_a_framework_that_does_not_exist_is_refused(printed: Printer) -> None:
    with pytest.raises((BadInput, Negative), match="no framework is called"):
        printed(env="nothing")
