"""Explanation of what pip and uv refuse for the sake of the image's versions."""

import base64
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.layout_image import wheel
from tests.support.layout_scripts import LAYOUT, load_script

explain: Any = load_script("explain_refusal")
CONSTRAINTS = {"torch": "2.15.0", "nvidia-cudnn-cu13": "9.26.0.51", "torchvision": "0.30.0"}
# As pip 26 writes it.
MESSAGE = """
The conflict is caused by:
    The user requested torch==2.9.0
    stable-codec 1.0 depends on torchvision<0.21 and >=0.20
    fine 1.0 depends on numpy>2
    The user requested (constraint) torch==2.15.0
    The user requested (constraint) torchvision==0.30.0

To fix this you could try to:
1. loosen the range of package versions you've specified
"""


def test_pip_names_the_requirements_that_were_in_the_way() -> None:
    assert list(explain.of_message(MESSAGE, CONSTRAINTS)) == [
        ("torch", "==2.9.0", ""),
        ("torchvision", "<0.21 and >=0.20", "stable-codec 1.0"),
    ]


def test_pip_names_a_constraint_that_was_in_the_way() -> None:
    """As pip 26 writes it for `-c`, which it joins with the image's file."""
    message = """
The conflict is caused by:
    The user requested torch
    The user requested (constraint) torch==2.15.0,==2.9.0
"""
    assert list(explain.of_message(message, CONSTRAINTS)) == [("torch", "==2.9.0", "")]


def test_pip_names_a_wheel_that_was_in_the_way() -> None:
    message = """
The conflict is caused by:
    The user requested torch 2.9.0 (from /tmp/torch-2.9.0-cp313-cp313-linux_x86_64.whl)
    The user requested (constraint) torch==2.15.0
"""
    assert list(explain.of_message(message, CONSTRAINTS)) == [("torch", "==2.9.0", "")]


def test_pip_s_short_message_names_the_requirements() -> None:
    """As pip 26 writes it with `--quiet`."""
    text = (
        "Cannot install other, torch==2.9.0 and torchvision<0.21 because these package versions "
        "have conflicting dependencies."
    )
    assert list(explain.of_names([text], CONSTRAINTS)) == [
        ("torch", "==2.9.0", ""),
        ("torchvision", "<0.21", ""),
    ]
    text = "Cannot install torch 2.9.0 (from /tmp/torch-2.9.0-py3-none-any.whl) because these"
    assert list(explain.of_names([text], CONSTRAINTS)) == [("torch", "==2.9.0", "")]
    text = "Cannot install numpy and torch because these"
    assert list(explain.of_names([text], CONSTRAINTS)) == [("torch", "", "")]


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        (
            "Because you require torch==2.9.0 and torch==2.15.0, we can conclude that",
            [("torch", "==2.9.0", "")],
        ),
        (
            "As x depends on torchvision>=0.20,<0.21\n   and \x1b[36mtorchvision==0.30.0\x1b[0m.",
            [("torchvision", ">=0.20,<0.21", "x")],
        ),
        ("Because nowhere was not found and you require nowhere and torch==2.15.0, we", []),
        ("Because you require torch==2.9.0 and torch has no such version, we can conclude", []),
        ("Because my-torch==1.0 depends on numpy and torch==2.15.0, we can conclude", []),
    ],
)
def test_uv_names_the_requirements_that_were_in_the_way(
    message: str, refused: list[tuple[str, str, str]]
) -> None:
    """As uv 0.13 writes it."""
    assert list(explain.of_uv_message(message, CONSTRAINTS)) == refused


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("sync", 3),
        ("--quiet sync", 3),
        ("add torch==2.15.0 other", 2),
        ("run --no-project python", 0),
        ("run --no-project --with torch<2 python", 3),
        ("--directory sub add torch==2.1", 3),
        ("--project ../elsewhere sync", 0),
    ],
)
def test_a_project_of_uv_is_told_that_it_gets_packages_of_its_own(
    arguments: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/pyproject.toml").write_text("[project]\nname = 'other'\n")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["torch==2.1.*"]\n')
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.delenv("UV_PROJECT_ENVIRONMENT", raising=False)
    if "--directory" in arguments:
        monkeypatch.chdir(tmp_path)
    text = list(explain.project_note(shlex.split(arguments), CONSTRAINTS))
    assert len(text) == lines
    if lines:
        assert f"{tmp_path}/.venv: torch" in text[0]
        assert text[0].endswith("not the image's torch 2.15.0")
        assert any("dlimg pick" in line for line in text) == (lines == 3)
    (tmp_path / ".venv/lib/python3.13/site-packages/torch-2.1.dist-info").mkdir(parents=True)
    assert list(explain.project_note(shlex.split(arguments), CONSTRAINTS)) == []


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ("pip sync requirements.txt", ["torch==2.8.0", "torchvision==0.20"]),
        ("pip install -r pyproject.toml", ["torch==2.1.*"]),
        ("pip install -c requirements.txt torch", []),
        ("pip install --target . numpy", []),
        ("install torch==2.9.0", ["torch==2.9.0"]),
        ("install Torch[opt]<2.10 numpy==1.0", ["torch<2.10"]),
        ("install torch==2.15.0 torch>=2 torch", []),
        ("install nvidia_cudnn.cu13==9.1", ["nvidia-cudnn-cu13==9.1"]),
        ("install 'torch==2.9.0; python_version<\"3\"'", []),
        ("install torch@https://example.org/torch.whl", ["torch @ https://example.org/torch.whl"]),
        ("install -r requirements.txt", ["torch==2.8.0", "torchvision==0.20"]),
        ("install --requirement=requirements.txt", ["torch==2.8.0", "torchvision==0.20"]),
        ("install -e .", ["torch==2.1.*"]),
        ("install -r -", ["torch==2.8.0", "torchvision==0.20"]),
        ("install --requirements=- numpy", ["torch==2.8.0", "torchvision==0.20"]),
        ("pip compile -", ["torch==2.8.0", "torchvision==0.20"]),
        ("pip sync pipe.txt", []),
        ("install wheels/torch-2.9.0+cu128-cp313-cp313-linux_x86_64.whl", ["torch==2.9.0+cu128"]),
        ("install https://example.org/torch-2.15.0-cp313-none-any.whl", []),
        ("install --python 3.13 --no-such-option", []),
    ],
)
def test_uv_is_answered_from_its_command_line(
    arguments: str, refused: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_text(
        "# ours\n-r more/other.txt\ntorch==2.8.0 \\\n  --hash=sha256:00 # pinned\n--index-url x\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more/other.txt").write_text("torchvision==0.20\n-r ../requirements.txt\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "theirs"\ndependencies = ["torch==2.1.*", "numpy"]\n'
    )
    os.mkfifo(tmp_path / "pipe.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explain, "STDIN", "requirements.txt")
    answer = explain.of_arguments(shlex.split(arguments), CONSTRAINTS)
    shown = [f"{refusal.name}{refusal.specifier}" for refusal in dict.fromkeys(answer)]
    assert sorted(shown) == refused


@pytest.mark.parametrize(
    ("command", "package", "pick", "insist"),
    [
        (
            ["pip", "install", "torch==2.9.0"],
            "torch",
            "dlimg pick torch==2.9.0",
            "PIP_CONSTRAINT=/dev/null pip install torch==2.9.0",
        ),
        (
            ["uv", "pip", "install", "torch<2.10"],
            "torch",
            "dlimg pick 'torch<2.10'",
            "uv --no-config pip install 'torch<2.10'",
        ),
        (
            ["pip", "install", "torch==2.9.0"],
            "torch-cpu",
            "dlimg pick torch==2.9.0",
            "PIP_CONSTRAINT=/dev/null pip install torch==2.9.0",
        ),
        (
            ["pip", "install", "torchvision==0.20"],
            "torch",
            "dlimg pick torch",
            "PIP_CONSTRAINT=/dev/null pip install torchvision==0.20",
        ),
    ],
)
def test_the_explanation_has_what_happens_an_image_and_how_to_insist(
    command: list[str],
    package: str,
    pick: str,
    insist: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "image.json").write_text(json.dumps({"package": package}))
    monkeypatch.setattr(explain, "IMAGE", tmp_path / "image.json")
    refusals = list(explain.of_arguments(command[-1:], CONSTRAINTS))
    text = "\n".join(explain.explanation(refusals, CONSTRAINTS, command))
    name = refusals[0].name
    assert f"built and tested with {name} {CONSTRAINTS[name]}" in text
    assert "in front of the image's" in text
    assert text.count(f": {pick}\n") == 1
    assert f": {insist}\n" in text
    assert list(explain.explanation([], CONSTRAINTS, command)) == []


@pytest.mark.slow
def test_real_pip_is_explained_at_its_end(tmp_path: Path) -> None:
    """By a pip that reads the constraints, and no network: the hook's part of its start."""
    (tmp_path / "constraints.txt").write_text("six==1.17.0\n")
    script = f"""
import sys, runpy
from pathlib import Path
sys.path.insert(0, {str(LAYOUT)!r})
import explain_refusal
explain_refusal.CONSTRAINTS = Path("constraints.txt")
explain_refusal.watch_pip(sys.argv[1:])
runpy.run_module("pip", run_name="__main__")
"""
    for name, version in (("six", "1.16.0"), ("six", "1.17.0")):
        make_wheel(tmp_path, name, version)
    variables = {**os.environ, "PIP_CONSTRAINT": "constraints.txt"}
    arguments = ["install", "--dry-run", "--no-index", "--find-links", ".", "--target", "x"]
    answers = {}
    for requirement in ("six==1.16.0", "six==1.17.0", "nowhere"):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments, requirement],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=variables,
        )
        answers[requirement] = (done.returncode, done.stderr)
    assert answers["six==1.16.0"][0] == 1
    assert "dlimg: six==1.16.0 is refused: this image was built" in answers["six==1.16.0"][1]
    assert answers["six==1.17.0"][0] == 0
    assert answers["nowhere"][0] == 1
    assert "dlimg:" not in answers["six==1.17.0"][1] + answers["nowhere"][1]


def make_wheel(folder: Path, name: str, version: str) -> None:
    file = folder / f"{name}-{version}-py3-none-any.whl"
    file.write_bytes(base64.b64decode(wheel(name, version)))
