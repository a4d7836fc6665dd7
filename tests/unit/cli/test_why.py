"""The command `why`: names that people use, exit codes, JSON, cells and dropped corners."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from dlimg.cli.main import main
from dlimg.compat.parse_names import parse_requirement
from dlimg.errors import BadInput
from tests.support.why_tables import answer, facts, question, rows

ROOT = Path(__file__).parents[3]
BAD = rows("bad_questions")


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def said(ask: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["why", *shlex.split(ask), "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("row", BAD, ids=[row["ask"] for row in BAD])
def test_bad_questions(row: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", *shlex.split(row["ask"])]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    first, _, hint = shown.err.partition("hint:")
    assert row["message"] in first
    assert row["hint"] in hint


@pytest.mark.parametrize(
    ("text", "framework", "version", "cuda"),
    [
        ("torch==2.6.0", "torch", "2.6.0", ""),
        ("torch == 2.6", "torch", "2.6", ""),
        ("torch 2.6.0", "torch", "2.6.0", ""),
        ("PyTorch 2.6.0", "torch", "2.6.0", ""),
        ("pytorch=2.6", "torch", "2.6", ""),
        ("torch==2.6.0+cu124", "torch", "2.6.0", "cu124"),
        ("torch v2.6.0", "torch", "2.6.0", ""),
        ("torch", "torch", "", ""),
        ("tf 2.15", "tensorflow", "2.15", ""),
        ("tf2.15", "tensorflow", "2.15", ""),
        ("tensorflow-gpu==1.15.5", "tensorflow", "1.15.5", ""),
        ("tensorflow[and-cuda]==2.21.0", "tensorflow", "2.21.0", ""),
        ("jaxlib==0.4.30", "jax", "0.4.30", ""),
        ("jax[cuda12]==0.12.0.1", "jax", "0.12.0.1", "cuda12"),
    ],
)
def test_requirements_as_questions(text: str, framework: str, version: str, cuda: str) -> None:
    named = parse_requirement(facts(), text)
    assert (named.framework, named.version, named.cuda) == (framework, version, cuda)


@pytest.mark.parametrize(
    ("option", "spellings"),
    [
        ("cuda", ["12.4", "cu124", "12.4.1", "cuda12.4", "CUDA 12.4"]),
        ("python", ["3.12", "py3.12", "python3.12", "cp312", "312", "3.12.4"]),
        (
            "os",
            ["ubuntu22.04", "ubuntu 22.04", "Ubuntu:22.04", "jammy", "ubuntu2204", "ubuntu-jammy"],
        ),
        ("os", ["debian12", "debian 12", "bookworm", "debian:bookworm"]),
        ("os", ["rocky8", "rockylinux8", "rhel8", "rocky8.9"]),
        ("gpu", ["RTX 4090", "rtx4090", "NVIDIA GeForce RTX 4090", "geforce-rtx-4090"]),
        ("gpu", ["A100", "A100-SXM4-80GB", "NVIDIA A100-PCIE-40GB", "tesla a100"]),
        ("gpu", ["sm_89", "8.9", "SM89", "cc 8.9"]),
        ("driver", ["550", "R550", "r550"]),
        ("arch", ["aarch64", "arm64", "linux/arm64"]),
        ("cudnn", ["9.1", "cudnn9.1", "v9.1"]),
    ],
)
def test_spellings_of_names_that_people_use(option: str, spellings: list[str]) -> None:
    asks = [f"torch==2.6.0 --{option} {shlex.quote(text)}" for text in spellings]
    result = [answer(ask) for ask in asks]
    assert all(each.combination == result[0].combination for each in result)


def test_a_version_without_its_patch() -> None:
    assert answer("torch==2.6").combination.version == "2.6.0"
    assert answer("tensorflow==2.16").combination.version == "2.16.2"
    assert answer("torch").combination.version == "2.15.0"


@pytest.mark.usefixtures("at_root")
def test_json_has_just_these_fields(capsys: pytest.CaptureFixture[str]) -> None:
    code, result = said("torch==2.6.0 --cuda 13.0 --gpu T4 --driver 550.54.15", capsys)
    assert code == 1
    assert list(result) == ["schema", "valid", "fails_at", "reasons", "nearest", "add"]
    assert (result["valid"], result["fails_at"]) == (False, "install")
    for reason in result["reasons"]:
        assert list(reason) == ["rule", "message", "source", "certain"]
    assert result["nearest"][0]["changes"] == ["CUDA 13.0 -> 12.4"]
    code, result = said("torch==2.6.0 --cuda 12.4 --gpu T4 --driver 550.54.15", capsys)
    assert code == 0
    assert (result["valid"], result["fails_at"], result["nearest"]) == (True, None, [])
    assert {"python-wheel", "cuda-build", "gpu-code", "driver-cuda"} <= {
        reason["rule"] for reason in result["reasons"]
    }


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize(
    ("ask", "code", "fails_at", "rule"),
    [
        ("pytorch-2.15.0-cuda13.2-py3.13-debian13", 0, None, "locked-wheels"),
        (
            "pytorch-2.15.0-cuda13.2-py3.13-debian13 --gpu T4 --driver 580.65.06",
            0,
            None,
            "gpu-code",
        ),
        ("pytorch-2.15.0-cuda13.2-py3.13-debian13 --gpu V100", 1, "runtime", "cudnn-gpu"),
        (
            "pytorch-2.15.0-cuda13.2-py3.13-debian13 --gpu A100 --driver 550",
            1,
            "runtime",
            "driver-cuda",
        ),
        ("tensorflow-2.21.0-cuda12.9-py3.13-debian13 --gpu V100", 1, "runtime", "cudnn-gpu"),
        ("pytorch:latest", 0, None, "cudnn-build"),
        ("dlimg/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13", 0, None, "cudnn-build"),
        ("pytorch-2.15.0-cuda13.2-py3.13-debian13-dev*", 0, None, "cudnn-build"),
        ("jax-0.12.0.1-cpu-py3.13-debian13", 0, None, "cuda-build"),
        ("pytorch-2.13.0-cuda13.2-py3.13-debian13", 1, "install", "cuda-build"),
        ("jax-0.12.0.1-cuda13.2-py3.11-debian13", 1, "install", "python-wheel"),
        ("pytorch-2.15.0-cuda13.2-py3.13-debian12", 0, None, "excluded"),
        ("tensorflow-1.0", 1, "image", "base-image"),
        ("pytorch-0.2", 1, "install", "legacy-wheel"),
        ("torch 1.3.1", 1, "image", "legacy-python"),
        ("Colab 2026.01", 0, None, "legacy-wheel"),
        ("PyTorch 2.1.0 / 3.10 (Ubuntu 22.04) / 12.1", 0, None, "legacy-wheel"),
    ],
)
def test_cells_and_old_environments(
    ask: str, code: int, fails_at: str | None, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shlex.quote(ask) if " --" not in ask else ask
    found_code, result = said(arguments, capsys)
    assert (found_code, result["fails_at"]) == (code, fails_at)
    assert rule in {reason["rule"] for reason in result["reasons"]}


@pytest.mark.usefixtures("at_root")
def test_a_cell_takes_its_cudnn_from_the_lock(capsys: pytest.CaptureFixture[str]) -> None:
    _, result = said("tensorflow-2.21.0-cuda12.9-py3.13-debian13 --gpu V100", capsys)
    spoken = {reason["rule"]: reason["message"] for reason in result["reasons"]}
    assert "9.28.0.42" in spoken["cudnn-gpu"]
    assert result["nearest"]


@pytest.mark.usefixtures("at_root")
def test_text_names_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "torch==2.6.0", "--cuda", "13.0"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("torch==2.6.0, CUDA 13.0, Python 3.13, Debian 13: it fails at install\n")
    assert "source: https://" in text
    assert "What works, least change first:\n  torch==2.6.0, CUDA 12.4" in text


def test_why_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["why", "torch==2.6.0"]) == 0
    assert main(["why", "some-cell"]) == 2


def test_options_are_refused_before_the_facts_are() -> None:
    with pytest.raises(SystemExit):
        question("")
    with pytest.raises(BadInput):
        facts().gpu("no such thing")
