"""An image whose entry point a host has replaced: ssh, an empty home, pip and uv, any user."""
# ruff: noqa: S108  # the folders are in a container

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.host.process import run_checked
from dlimg.model import Base
from tests.support.layout_image import LayoutImage, cell, install, make_image, wheel
from tests.support.rows import first_rows, first_values

pytestmark = pytest.mark.engine

REPLACED = ("--entrypoint", "env")
BARE = ("env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "bash", "-euc")
OWN_HOME = ("--tmpfs", "/home/user:uid=1000,gid=100,exec")
ROOTS_HOME = ("--tmpfs", "/home/user:exec")
READ_ONLY = ("--read-only", "--tmpfs", "/tmp:exec")


def says(image: LayoutImage, script: str, *options: str, stdin: str | None = None) -> str:
    """What a script prints where neither the entry point nor a variable of the image is."""
    outcome = image.run(*BARE[1:], script, options=(*REPLACED, *options), stdin=stdin)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout.strip()


USERS = [
    ((), "/home/user/env"),
    (OWN_HOME, "/home/user/env"),
    (ROOTS_HOME, "/tmp/home-1000/env"),
    (("--user", "12345:0"), "/tmp/home-12345/env"),
    (("--user", "12345", *ROOTS_HOME), "/tmp/home-12345/env"),
    (("--user", "0", *OWN_HOME), "/home/user/env"),
    (READ_ONLY, "/tmp/home-1000/env"),
    (("--user", "12345", *READ_ONLY), "/tmp/home-12345/env"),
]
PIPS = ("python -m pip", "python -I -m pip", "/opt/env/bin/python -m pip")
WAYS = [
    (*USERS[1], "python -I -m pip", BARE[-2:]),
    (*USERS[4], "python -m pip", BARE[-2:]),
    *((options, folder, "pip", BARE[1:]) for options, folder in reversed(USERS)),
    *((*USERS[3], pip, BARE[-2:]) for pip in PIPS),
    *((options, folder, "python -m pip", BARE[-2:]) for options, folder in USERS),
    *((*USERS[3], pip, BARE[1:]) for pip in PIPS),
]


@pytest.mark.parametrize(
    ("options", "folder", "pip", "start"),
    first_rows(WAYS, 3, pytest.mark.slow),
    ids=str,
)
def test_any_user_may_install(
    layout_image: LayoutImage,
    options: tuple[str, ...],
    folder: str,
    pip: str,
    start: tuple[str, ...],
) -> None:
    script = (
        install("greeting", "1.0").replace("pip install", f"{pip} install")
        + "; cd /; for python in python /usr/local/bin/python3 /opt/env/bin/python; do "
        "$python -c 'import greeting; print(greeting.__file__)'; done"
    )
    typed = wheel("greeting", "1.0")
    outcome = layout_image.run(*start, script, options=(*REPLACED, *options), stdin=typed)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.split() == [f"{folder}/lib/python3.13/site-packages/greeting.py"] * 3


def test_pip_ends_where_no_environment_can_be_made(layout_image: LayoutImage) -> None:
    """It started itself again for ever."""
    no_command = ("-v", "/dev/null:/usr/local/bin/dlimg-overlay:ro")
    script = "rc=0; timeout 60 /home/user/env/bin/python -m pip --version || rc=$?; echo $rc"
    assert says(layout_image, script, "--user", "12345", *no_command).splitlines()[-1] == "0"


@pytest.mark.parametrize(
    "command",
    first_values(["pip --version", "python -m pip --version"], 1, pytest.mark.slow),
)
def test_pip_starts_where_nothing_can_be_written(layout_image: LayoutImage, command: str) -> None:
    options = ("--read-only", "--user", "12345")
    assert "from /opt/env/lib/python3.13" in layout_image.says(f"timeout 60 {command}", *options)


def test_pythons_that_start_at_once_share_one_environment(layout_image: LayoutImage) -> None:
    script = (
        "for number in 1 2 3 4 5 6 7 8; do "
        "(python3 -c 'import six, sys; print(sys.prefix)' 2>&1 || echo failed) & done; wait; "
        "ls -A /home/user /home/user/env"
    )
    output = says(layout_image, script, *OWN_HOME).split()
    assert output[:8] == ["/home/user/env"] * 8
    left = ["env", "/home/user/env:", "bin", "lib", "packages", "pip.conf", "pyvenv.cfg"]
    assert output[8:] == ["/home/user:", *left]


@pytest.mark.parametrize(
    "command",
    [
        "PIP_CONFIG_FILE=/tmp/own python -I -m pip install",
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in ("pip install", "env -i /usr/local/bin/pip install")
        ),
    ],
)
def test_pip_cannot_replace_the_framework(layout_image: LayoutImage, command: str) -> None:
    script = install("six", "1.16.0").replace("pip install", command)
    script = f"echo '[global]' > /tmp/own; export HOME=/tmp; {script}"
    outcome = layout_image.run(*BARE[1:], script, options=REPLACED, stdin=wheel("six", "1.16.0"))
    assert outcome.returncode == 1
    assert "(constraint) six==1.17.0" in outcome.stdout + outcome.stderr


def test_a_forced_install_replaces_the_framework(layout_image: LayoutImage) -> None:
    script = f"export PIP_CONSTRAINT=/dev/null; {install('six', '1.16.0')}; pip list"
    assert "six     1.16.0" in says(layout_image, script, stdin=wheel("six", "1.16.0"))


def test_what_root_has_installed_can_be_upgraded(layout_image: LayoutImage) -> None:
    name = f"dlimg-test-{secrets.token_hex(4)}"
    options = ("--interactive", "--network", "none", "--user", "0", "--name", name)
    try:
        script = ("bash", "-euc", install("greeting", "1.0"))
        outcome = layout_image.docker(
            "run", *options, layout_image.built.digest, *script, stdin=wheel("greeting", "1.0")
        )
        assert outcome.returncode == 0, outcome.stderr
        assert layout_image.docker("commit", name, f"{name}:latest").returncode == 0
        top = replace(layout_image, built=replace(layout_image.built, digest=f"{name}:latest"))
        upgrade = f"{install('greeting', '2.0')}; greeting-main; find /home/user/env -name '*~*'"
        assert top.says(upgrade, stdin=wheel("greeting", "2.0")) == "greeting 2.0"
        assert top.says("find /home/user ! -user user") == ""
    finally:
        layout_image.docker("rm", "--force", name)
        layout_image.docker("rmi", "--force", f"{name}:latest")


@pytest.mark.parametrize(
    "options",
    first_values([("--user", "12345"), (), OWN_HOME], 1, pytest.mark.slow),
    ids=str,
)
def test_uv_knows_what_the_image_holds(layout_image: LayoutImage, options: tuple[str, ...]) -> None:
    uv = ("--volume", f"{find_uv_bin()}:/usr/local/bin/uv:ro")
    script = """\
mkdir /tmp/w; cd /tmp/w; export UV_CACHE_DIR=/tmp/cache HOME=/tmp UV_OFFLINE=1 UV_FIND_LINKS=/tmp/w
read -r one; read -r two; read -r three
echo $one | base64 -d > greeting-1.0-py3-none-any.whl
echo $two | base64 -d > greeting-2.0-py3-none-any.whl
echo $three | base64 -d > six-1.16.0-py3-none-any.whl
uv pip install --quiet --no-index greeting==1.0 six 2>&1
greeting=$(python3 -c 'import greeting; print(greeting.__file__)')
${greeting%/lib/*}/bin/greeting-main
uv pip install --quiet --no-index --upgrade greeting
refused=$(uv pip install --quiet --no-index six==1.16.0 2>&1 | tr -d '\\n ')
echo "$refused" | grep -o 'six==1.16.0andsix==1.17.0'
uv pip list --format freeze 2>/dev/null
pip list --format freeze
"""
    typed = "\n".join(
        [wheel("greeting", "1.0"), wheel("greeting", "2.0"), wheel("six", "1.16.0"), ""]
    )
    output = says(layout_image, script, *options, *uv, stdin=typed).split()
    packages = ["greeting==2.0", "pip==26.3", "six==1.17.0"]
    assert output == ["greeting", "1.0", "six==1.16.0andsix==1.17.0", *packages, *packages]


@pytest.mark.slow
def test_uv_replaces_what_may_be_replaced(engine: Engine, base: Base, tmp_path: Path) -> None:
    free = replace(cell(), requirements=("pip",))
    for made in make_image(engine, base, free, tmp_path):
        uv = ("--volume", f"{find_uv_bin()}:/usr/local/bin/uv:ro")
        script = """\
export UV_CACHE_DIR=/tmp/cache HOME=/tmp UV_OFFLINE=1 UV_FIND_LINKS=/tmp
base64 -d > /tmp/six-1.16.0-py3-none-any.whl
uv pip install --quiet --no-index six==1.16.0
python3 -c 'import six; print(six.__file__)'
uv pip list --format freeze 2>/dev/null
uv pip uninstall --quiet six
python3 -c 'import six; print(six.__file__)'
"""
        output = says(made, script, *uv, stdin=wheel("six", "1.16.0")).split()
        packages = "lib/python3.13/site-packages"
        theirs, ours = (f"{place}/{packages}/six.py" for place in ("/home/user/env", "/opt/env"))
        assert output == [theirs, "pip==26.3", "six==1.16.0", ours]


SERVERS = {
    "openssh": ("openssh-server", "/usr/sbin/sshd -D -e -p 22"),
    "openssh-without-pam": ("openssh-server", "/usr/sbin/sshd -D -e -p 22 -o UsePAM=no"),
    "dropbear": ("dropbear-bin", "dropbear -F -R -E -p 22"),
}


# The key is new in each run, the packages are not.
SERVED = """\
FROM IMAGE
USER root
RUN --mount=type=secret,id=apt.conf,mode=0444,required=false \\
    --mount=type=secret,id=ca,mode=0444,required=false <<'END'
set -eu
[ ! -e /run/secrets/apt.conf ] || export APT_CONFIG=/run/secrets/apt.conf
apt-get update -qq
apt-get install -qq --yes --no-install-recommends openssh-server dropbear-bin python3-pip sudo
END
RUN <<'END'
set -eu
mkdir -p /run/sshd /etc/dropbear
usermod --password '*' user # without PAM, sshd lets nobody in whose password is locked
echo 'user ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/user
for home in /root /home/user; do
    mkdir -p $home/.ssh
    chmod 700 $home/.ssh
    echo 'PUBLIC_KEY' > $home/.ssh/authorized_keys
    chown -R --reference=$home $home/.ssh
done
END
"""


@pytest.fixture(scope="module")
def served(
    layout_image: LayoutImage, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The image with what a host puts into it for ssh, and the key that opens it."""
    folder = tmp_path_factory.mktemp("ssh")
    assert base.reference
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")])
    public = (folder / "key.pub").read_text().strip()
    text = SERVED.replace("IMAGE", layout_image.built.planned.reference)
    (folder / "Dockerfile").write_text(text.replace("PUBLIC_KEY", public))
    name = f"dlimg-test-ssh-{secrets.token_hex(4)}"
    with secrets_from(Context.of(os.environ, print)) as using:
        run_checked(
            [
                *(str(layout_image.engine.docker), "buildx", "build", "--load", "--tag", name),
                *(f"--secret=id={id_},src={path}" for id_, path in using.files.items()),
                str(folder),
            ],
            env=layout_image.engine.environment,
        )
    yield name, folder / "key"
    layout_image.docker("rmi", "--force", name)


@contextlib.contextmanager
def server(layout_image: LayoutImage, name: str, command: str) -> Iterator[str]:
    """The port of a server of ssh in a container, on loopback alone."""
    options = ("--detach", "--rm", "--user", "0", "--publish", "127.0.0.1::22", *REPLACED)
    started = layout_image.docker("run", *options, name, *command.split())
    assert started.returncode == 0, started.stderr
    container = started.stdout.strip()
    try:
        yield layout_image.docker("port", container, "22").stdout.strip().rpartition(":")[2]
    finally:
        layout_image.docker("rm", "--force", container)


def ssh(port: str, key: Path, user: str, command: str) -> subprocess.CompletedProcess[str]:
    """What a command says that comes by ssh; a server that is not up yet is waited for."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    arguments = ["ssh", "-q", "-i", str(key), "-p", port, *(f"-o{option}" for option in options)]
    for attempt in range(150):
        done = subprocess.run(
            [*arguments, f"{user}@127.0.0.1", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 255 or attempt == 149:
            return done
        time.sleep(0.1)
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "user"),
    [
        ("openssh", "user"),
        ("openssh-without-pam", "user"),
        ("dropbear", "root"),
        ("openssh", "root"),
        ("openssh-without-pam", "root"),
        ("dropbear", "user"),
    ],
)
def test_a_command_by_ssh_finds_what_the_image_promises(
    layout_image: LayoutImage, served: tuple[str, Path], kind: str, user: str
) -> None:
    name, key = served
    greeting, six = wheel("greeting", "1.0"), wheel("six", "1.16.0")
    script = f"""\
command -v pip | sed 's|^/usr/local|/opt/env|'
pip --version | cut -d' ' -f4
python -c 'import six, os, sys; print(six.__version__, sys.prefix, os.environ["PIP_CONSTRAINT"])'
echo {greeting} | base64 -d > /tmp/greeting-1.0-py3-none-any.whl
pip install -q --no-index /tmp/greeting-1.0-py3-none-any.whl
python3 -c 'import greeting; print(greeting.__file__)'
echo {six} | base64 -d > /tmp/six-1.16.0-py3-none-any.whl
python -m pip install --no-index /tmp/six-1.16.0-py3-none-any.whl 2>&1 | grep -o '(constraint).*'
sudo pip --version | cut -d' ' -f4
"""
    with server(layout_image, name, SERVERS[kind][1]) as port:
        done = ssh(port, key, user, script)
        greeted = ssh(port, key, user, "greeting-main")
    packages = "lib/python3.13/site-packages"
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [
        "/opt/env/bin/pip",
        f"/opt/env/{packages}/pip",
        "1.17.0 /home/user/env /etc/dlimg/constraints.txt",
        f"/home/user/env/{packages}/greeting.py",
        "(constraint) six==1.17.0",
        f"/opt/env/{packages}/pip",
        "",
    ]
    # What users install themselves is on the search path that PAM reads.
    assert (greeted.stdout == "greeting 1.0\n") == (kind == "openssh")
