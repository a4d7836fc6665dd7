"""Starts with settings that somebody mistyped, and with folders of unusual names."""
# ruff: noqa: S108  # the folders are in a container

import pytest

from tests.support.layout_image import LayoutImage, wheel

pytestmark = pytest.mark.engine

OWN = "/home/user/env"
SCRIPT = """\
python -c 'import six, sys; print(sys.prefix)'
base64 -d > /tmp/greeting-1.0-py3-none-any.whl
pip install -q --no-index /tmp/greeting-1.0-py3-none-any.whl
greeting-main
dlimg-reset --yes > /dev/null
greeting-main 2> /dev/null || echo gone
"""


@pytest.mark.parametrize(
    ("given", "used", "complaint"),
    [
        ("/tmp/my env/你好", "/tmp/my env/你好", ""),
        (f"{OWN}//", OWN, ""),
        ("theirs", OWN, f"DLIMG_OVERLAY=theirs cannot be used, and packages go to {OWN}"),
        ("/", OWN, f"DLIMG_OVERLAY=/ cannot be used, and packages go to {OWN}"),
        ("/etc", "/tmp/home-1000/env", "packages go to /tmp/home-1000/env"),
    ],
)
def test_packages_go_to_a_folder_that_can_be_used(
    layout_image: LayoutImage, given: str, used: str, complaint: str
) -> None:
    options = ("--env", f"DLIMG_OVERLAY={given}")
    command = ("bash", "-euc", SCRIPT)
    done = layout_image.run(*command, options=options, stdin=wheel("greeting", "1.0"))
    assert done.stdout.splitlines() == [used, "greeting 1.0", "gone"], done.stderr
    assert complaint in done.stderr
    assert ("hint: it has to be an absolute path" in done.stderr) == bool(complaint)
    assert "Error" not in done.stderr


def test_a_folder_that_cannot_be_used_is_said_where_nothing_else_can(
    layout_image: LayoutImage,
) -> None:
    options = ("--read-only", "--env", "DLIMG_OVERLAY=/opt/mine")
    done = layout_image.run("python", "-c", "import six", options=options)
    assert done.returncode == 0, done.stderr
    assert "DLIMG_OVERLAY=/opt/mine cannot be used, and packages go to nowhere" in done.stderr


def test_an_environment_of_a_path_with_another_spelling_is_none_below_itself(
    layout_image: LayoutImage,
) -> None:
    script = """\
ln -s /home/user /tmp/link
cd && dlimg-overlay env && dlimg-overlay ./env/ && dlimg-overlay /tmp/link/env
cat env/lib/python3*/site-packages/dlimg.pth
python -c 'import six'
"""
    lines = layout_image.says(script).splitlines()
    assert lines == ["import site; site.addsitedir('/opt/env/lib/python3.13/site-packages')"]


@pytest.mark.parametrize("home", ["", "relative", "/dev/null", "/nonexistent"])
def test_a_home_that_is_no_folder_is_the_image_s(layout_image: LayoutImage, home: str) -> None:
    show = "import os, six; print(os.environ['HOME'])"
    for entry in ((), ("--entrypoint", "env")):
        done = layout_image.run(
            *("python", "-c", show), options=("--env", f"HOME={home}", "--workdir", "/a/b", *entry)
        )
        assert done.stdout == "/home/user\n", done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "0"),
        ("--user", "1234:5678"),
        ("--user", "nobody"),
        ("--memory", "32m", "--pids-limit", "50"),
        ("--ulimit", "nofile=16"),
        ("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        ("--env", "LC_ALL=C", "--env", "TZ=Nowhere/Odd"),
        ("--read-only", "--tmpfs", "/tmp"),
        ("--init", "--pid", "host"),
    ],
    ids=" ".join,
)
def test_a_start_with_odd_options_has_the_packages(
    layout_image: LayoutImage, options: tuple[str, ...]
) -> None:
    done = layout_image.run("python", "-c", "import six; print('你好')", options=options)
    assert (done.returncode, done.stdout) == (0, "你好\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("value", ["1", "true", "Yes", "on"])
def test_a_strict_start_is_asked_for_in_several_words(
    layout_image: LayoutImage, value: str
) -> None:
    few = ("--pids-limit", "50")
    strict = layout_image.run("true", options=(*few, "--env", f"DLIMG_STRICT={value}"))
    assert strict.returncode == 78, strict.stderr
    quiet = layout_image.run("true", options=(*few, "--env", f"DLIMG_QUIET={value}"))
    assert (quiet.returncode, quiet.stderr) == (0, "")
