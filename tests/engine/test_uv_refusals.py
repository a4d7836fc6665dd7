"""Commands of uv in an image, by the real uv: which it refuses, and how that is explained."""
# ruff: noqa: S108  # the folders are in containers

import pytest
from uv import find_uv_bin

from tests.support.layout_image import LayoutImage, wheel

pytestmark = pytest.mark.engine

UV = ("--volume", f"{find_uv_bin()}:/usr/local/bin/uv:ro")
REFUSED = "six==1.16.0 is refused"
START = """\
export UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=/tmp/wheels
mkdir /tmp/wheels /tmp/project && cd /tmp/project
read -r old; echo "$old" | base64 -d > /tmp/wheels/six-1.16.0-py3-none-any.whl
read -r other; echo "$other" | base64 -d > /tmp/wheels/other-1.0-py3-none-any.whl
echo six==1.16.0 > pinned.txt
printf -- '-c pinned.txt\\nsix\\n' > constrained.txt
printf '[project]\\nname = "mine"\\nversion = "1"\\ndependencies = ["six==1.16.0"]\\n' \
    > pyproject.toml
"""
WHEELS = f"{wheel('six', '1.16.0')}\n{wheel('other', '1.0')}\n"


REFUSED_COMMANDS = (
    "uv pip --quiet install six==1.16.0",
    "uv pip install -r constrained.txt",
    "uv pip install -c pinned.txt six",
    "env UV_CONSTRAINT=pinned.txt uv pip install six",
    "uv pip install -r pyproject.toml",
    "uv pip install --system six==1.16.0",
    "env UV_SYSTEM_PYTHON=1 uv pip install six==1.16.0",
    "uv pip install --python /opt/env/bin/python six==1.16.0",
    "uv pip install --target /tmp/target six==1.16.0",
    "uv --directory /tmp/project pip install -r pinned.txt",
    "uv pip sync pinned.txt",
    "uv pip compile pinned.txt",
    "echo six==1.16.0 | uv pip install -r -",
    "echo six==1.16.0 | uv pip install --requirements=/dev/stdin",
    "uv pip install -r - <pinned.txt",
    "uv pip install -r <(echo other) -r <(echo six==1.16.0)",
    "echo six==1.16.0 | uv pip sync -",
    "uv pip install /tmp/wheels/six-1.16.0-py3-none-any.whl",
    "echo six==1.16.0 | uv pip compile --quiet -",
)
REFUSED_BY_PIP = (
    "echo six==1.16.0 | pip install -r /dev/stdin",
    "echo six==1.16.0 | pip install --quiet -r /dev/stdin",
    "pip install --quiet -r <(echo six==1.16.0)",
    "pip install /tmp/wheels/six-1.16.0-py3-none-any.whl",
    "pip install --quiet /tmp/wheels/six-1.16.0-py3-none-any.whl",
)
TAKEN_COMMANDS = (
    "uv pip install --system other",
    "env UV_SYSTEM_PYTHON=1 uv pip install other",
    "uv pip sync other.txt",
    "echo other | uv pip install -r -",
    "uv pip install -r <(echo other) -r <(echo six)",
    "echo other | uv pip sync /dev/stdin",
)


def run_all(layout_image: LayoutImage, commands: tuple[str, ...], after: str) -> list[list[str]]:
    """Run commands in one container; return the lines of each, with its exit code at the end."""
    steps = "\n".join(f"{command} 2>&1; echo ended with $?; {after}; echo" for command in commands)
    done = layout_image.run("bash", "-c", START + steps, options=UV, stdin=WHEELS)
    return [text.splitlines() for text in done.stdout.split("\n\n\n")]


def test_another_version_is_refused_with_its_reason(layout_image: LayoutImage) -> None:
    after = "python -c 'import six; print(six.__file__)'; echo"
    outputs = run_all(layout_image, REFUSED_COMMANDS, after)
    for command, lines in zip(REFUSED_COMMANDS, outputs, strict=False):
        text = "\n".join(lines)
        assert REFUSED in text, f"{command}: {text}"
        assert "dlimg pick" in text
        assert "nevertheless: uv --no-config " in text
        assert lines[-2] == "ended with 1"
        assert lines[-1].startswith("/opt/env/lib/")
    assert len(outputs) >= len(REFUSED_COMMANDS)


def test_pip_explains_requirements_of_every_source(layout_image: LayoutImage) -> None:
    quiet = ("export PIP_NO_INDEX=1; pip install --quiet -c pinned.txt six", *REFUSED_BY_PIP)
    first, *others = run_all(layout_image, quiet, "echo")
    assert "dlimg: six is refused: this image was built" in "\n".join(first)
    for command, lines in zip(REFUSED_BY_PIP, others, strict=False):
        text = "\n".join(lines)
        assert f"dlimg: {REFUSED}" in text, f"{command}: {text}"
        assert "nevertheless: PIP_CONSTRAINT=/dev/null pip install " in text
        assert lines[-1] == "ended with 1"
    assert len(others) >= len(REFUSED_BY_PIP)


def test_another_package_comes_beside_those_of_the_image(layout_image: LayoutImage) -> None:
    """Also of the system's Python, which is none to install into; and uv still sees the image's."""
    after = "other-main; uv pip show six 2>/dev/null | head -2; dlimg-reset --yes >/dev/null; echo"
    outputs = run_all(layout_image, ("echo other > other.txt", *TAKEN_COMMANDS), after)
    for command, lines in zip(TAKEN_COMMANDS, outputs[1:], strict=False):
        end = ["ended with 0", "other 1.0", "Name: six", "Version: 1.17.0"]
        assert lines[-4:] == end, f"{command}: {lines}"
        assert "dlimg:" not in "".join(lines)


def test_a_package_of_the_image_stays_when_uv_uninstalls_it(layout_image: LayoutImage) -> None:
    script = f"{START}uv pip uninstall six; uv pip show six; python -c 'import six'"
    done = layout_image.run("bash", "-c", script, options=UV, stdin=WHEELS)
    assert done.returncode == 0, done.stderr
    assert "Version: 1.17.0" in done.stdout


@pytest.mark.parametrize(
    ("start", "options"),
    [(("bash", "-c"), ()), (("-lic",), ("--entrypoint", "bash"))],
    ids=["entry point", "login shell"],
)
def test_a_uv_of_its_own_installer_is_explained_too(
    layout_image: LayoutImage, start: tuple[str, ...], options: tuple[str, ...]
) -> None:
    installed = ("--volume", f"{find_uv_bin()}:/home/user/.local/bin/uv:ro")
    script = f"{START}uv pip install six==1.16.0; echo ended with $?; uv pip install -q other"
    done = layout_image.run(
        *start, f"{script} && other-main", options=(*installed, *options), stdin=WHEELS
    )
    assert REFUSED in done.stderr
    assert done.stdout.splitlines() == ["ended with 1", "other 1.0"]


def test_another_failure_is_no_refusal(layout_image: LayoutImage) -> None:
    script = f"{START}uv pip install -c pinned.txt nowhere"
    done = layout_image.run("bash", "-c", script, options=UV, stdin=WHEELS)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "dlimg:" not in done.stderr


def test_a_project_is_told_of_its_own_environment_until_it_has_one(
    layout_image: LayoutImage,
) -> None:
    script = f"{START}uv sync; echo done >&2; uv run python -c 'import sys; print(sys.prefix)'"
    done = layout_image.run("bash", "-c", script, options=UV, stdin=WHEELS)
    first, _, second = done.stderr.partition("done\n")
    assert "/tmp/project/.venv: six==1.16.0 goes there, and not the image's six 1.17.0" in first
    assert done.stdout == "/tmp/project/.venv\n", done.stderr
    assert "dlimg:" not in second
