"""Commands of every flavour: environments by name, a reset, and why versions are refused."""
# ruff: noqa: S108  # the folders are in a container

import json
import time
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.support.layout_image import LayoutImage, install, wheel
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

UV = ("--volume", f"{find_uv_bin()}:/usr/local/bin/uv:ro")
READ_ONLY = ("--read-only", "--tmpfs", "/tmp:exec")


@pytest.mark.parametrize("mode", first_values(["jupyter", "ssh", "both"], 1, pytest.mark.slow))
def test_a_flavour_without_servers_says_so(layout_image: LayoutImage, mode: str) -> None:
    done = layout_image.run(mode)
    assert done.returncode == 2
    assert f"this flavour has no mode `{mode}`: take the same tag with `-workspace`" in done.stderr


def test_an_environment_by_name_has_the_image_s_packages_and_not_the_user_s(
    layout_image: LayoutImage,
) -> None:
    script = f"""\
{install("greeting", "1.0")}
dlimg-overlay --name theirs | head -1
dlimg-overlay --name theirs python -c 'import six, sys; print(six.__version__, sys.prefix)'
! dlimg-overlay --name theirs python -c 'import greeting' 2>/dev/null
dlimg-overlay --name theirs pip list --format freeze | tr '\\n' ' '
dlimg-overlay --name theirs pip install -q --no-index /tmp/greeting-1.0-py3-none-any.whl
dlimg-overlay --name theirs greeting-main
pip uninstall -q --yes greeting
dlimg-overlay --name theirs python -m greeting
dlimg-overlay --list
python -m pip list --format freeze | tr '\\n' ' '
dlimg-overlay --remove theirs --yes
ls -A ~/envs
"""
    lines = layout_image.says(script, stdin=wheel("greeting", "1.0")).splitlines()
    assert lines[0].startswith("/home/user/envs/theirs is made")
    assert lines[1:4] == [
        "1.17.0 /home/user/envs/theirs",
        "pip==26.3 six==1.17.0 greeting 1.0",
        "(default)  /home/user/env  0 packages",
    ]
    assert lines[4:] == ["theirs  /home/user/envs/theirs  1 packages", "pip==26.3 six==1.17.0"]


@pytest.mark.parametrize(
    "options",
    first_values([("--user", "12345:0"), (), READ_ONLY], 1, pytest.mark.slow),
    ids=str,
)
def test_a_reset_leaves_what_the_tag_has_and_nothing_of_the_user_s_is_lost(
    layout_image: LayoutImage, options: tuple[str, ...]
) -> None:
    script = f"""\
{install("greeting", "1.0")}
touch ~/notes /tmp/data
greeting-main
! dlimg-reset < /dev/null 2>&1
greeting-main
dlimg-reset --yes
pip list --format freeze | tr '\\n' ' '
! greeting-main 2>/dev/null
ls ~/notes /tmp/data > /dev/null
echo done
"""
    lines = layout_image.says(script, *options, stdin=wheel("greeting", "1.0")).splitlines()
    assert lines[0] == "greeting 1.0"
    assert "this removes from" in lines[1]
    assert lines[1].endswith(": greeting==1.0")
    assert "nothing was removed: add --yes" in lines[3]
    assert lines[4] == "greeting 1.0"
    assert "is as the image brought it" in lines[7]
    assert lines[8] == "pip==26.3 six==1.17.0 done"


def test_what_was_marked_in_a_dockerfile_stays(layout_image: LayoutImage) -> None:
    script = f"""\
read -r first; read -r second
echo $first | ( {install("greeting", "1.0")} )
dlimg-reset --mark > /dev/null
echo $second | ( {install("farewell", "2.0")} )
dlimg-reset --yes > /dev/null
pip list --format freeze | tr '\\n' ' '
dlimg-overlay --name theirs greeting-main
"""
    typed = f"{wheel('greeting', '1.0')}\n{wheel('farewell', '2.0')}\n"
    output = layout_image.says(script, stdin=typed)
    assert output.splitlines()[-1] == "greeting==1.0 pip==26.3 six==1.17.0 greeting 1.0"


REFUSED = "six==1.16.0 is refused: this image was built and tested with six 1.17.0"


@pytest.mark.parametrize(
    ("command", "insist"),
    [
        ("pip install", "PIP_CONSTRAINT=/dev/null pip install"),
        ("python -m pip install -q", "PIP_CONSTRAINT=/dev/null pip install -q"),
        pytest.param(
            "env -i /usr/local/bin/pip install",
            "PIP_CONSTRAINT=/dev/null pip install",
            marks=pytest.mark.slow,
        ),
        ("uv pip install", "uv --no-config pip install"),
    ],
)
def test_a_refused_version_is_explained(
    layout_image: LayoutImage, command: str, insist: str
) -> None:
    script = """\
export UV_OFFLINE=1 UV_FIND_LINKS=/tmp PIP_FIND_LINKS=/tmp PIP_NO_INDEX=1
base64 -d > /tmp/six-1.16.0-py3-none-any.whl
echo six==1.16.0 > /tmp/requirements.txt
COMMAND --no-index --find-links /tmp six==1.16.0 || echo "ended with $?" >&2
COMMAND --no-index --find-links /tmp -r /tmp/requirements.txt || echo "ended with $?" >&2
COMMAND --no-index --find-links /tmp six && echo kept >&2
""".replace("COMMAND", command)
    done = layout_image.run("bash", "-c", script, options=UV, stdin=wheel("six", "1.16.0"))
    assert done.stderr.count(REFUSED) == 2, done.stderr
    assert done.stderr.count("dlimg pick ") == 2
    assert f"nevertheless: {insist} " in done.stderr
    assert done.stderr.count("ended with 1") == 2
    assert done.stderr.endswith("kept\n")


def test_uv_that_pip_has_installed_is_explained_too(layout_image: LayoutImage) -> None:
    """A made-up uv, installed as a wheel brings it, behind the link that stands before it."""
    script = """\
printf '#!/bin/sh\\necho "real uv $*"; exit 3\\n' > /home/user/env/bin/uv
chmod 755 /home/user/env/bin/uv
dlimg-overlay /home/user/env
uv pip install six==1.16.0 || echo "ended with $?"
uv --version || true
rm /home/user/env/bin/uv
dlimg-overlay /home/user/env
ls /home/user/env/lib
"""
    done = layout_image.run("bash", "-c", script)
    assert done.stdout.splitlines() == [
        "real uv pip install six==1.16.0",
        "ended with 3",
        "real uv --version",
        "python3.13",
    ]
    assert REFUSED in done.stderr


def test_one_job_has_the_lock_in_the_container(layout_image: LayoutImage) -> None:
    script = """\
dlimg-run-one sleep 5 2>/tmp/first &
while ! grep -q '"pid"' /tmp/dlimg-lock/gpu.lock 2>/dev/null; do sleep 0.05; done
dlimg-run-one --no-wait true 2>&1 || echo "ended with $?"
kill %1; wait
dlimg-run-one --no-wait echo now 2>/dev/null
"""
    lines = layout_image.says(script).splitlines()
    assert "of user, since 20" in lines[0]
    assert lines[0].endswith(": sleep 5 has the GPU")
    assert "mount one folder into all and set DLIMG_LOCK_FOLDER" in lines[1]
    assert lines[2:] == ["ended with 75", "now"]


def test_containers_that_share_a_folder_share_the_lock(
    layout_image: LayoutImage, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    shared = ("--volume", f"{tmp_path}:/lock", "--env", "DLIMG_LOCK_FOLDER=/lock")
    job = ("dlimg-run-one", "sh", "-c", "echo ready > /lock/ready; sleep 100")
    first = layout_image.docker(
        "run", "--detach", "--rm", "--hostname", "first", *shared, layout_image.built.digest, *job
    ).stdout.strip()
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        options = (*shared, "--user", "12345")
        refused = layout_image.run("dlimg-run-one", "--no-wait", "true", options=options)
        assert refused.returncode == 75
        assert "in the container first, pid " in refused.stderr
        assert "no other program that uses the GPU" in refused.stderr
    finally:
        layout_image.docker("rm", "--force", first)
    assert layout_image.run("dlimg-run-one", "true", options=options).returncode == 0


def test_the_label_of_dev_containers_is_json(layout_image: LayoutImage) -> None:
    shown = layout_image.docker(
        "inspect",
        "-f",
        '{{index .Config.Labels "devcontainer.metadata"}}',
        layout_image.built.digest,
    )
    (metadata,) = json.loads(shown.stdout)
    assert metadata["remoteUser"] == "user"
    assert metadata["mounts"][0]["source"] == "dlimg-cache-${devcontainerId}"
