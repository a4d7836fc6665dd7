"""The runtime checks in a real image: each of them fails when the image is spoilt."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.checks import run
from dlimg.checks.discover import checks_for
from dlimg.checks.execute import RunningContainer
from dlimg.checks.run import CheckSettings
from dlimg.model import CheckStatus
from tests.support.image_folders import checks_in, files_in
from tests.support.layout_image import IMAGES, LayoutImage
from tests.support.real_jax import slowness
from tests.support.runtime_checks import ENTRY, SHORT_LIMITS, SITE, check_verdict, spoilt_container
from tests.support.sabotage import Sabotage, sabotage, script_of, unnamed

pytestmark = pytest.mark.engine

CHECKS = (
    "os_packages_unmodified",
    "runtime_entrypoint",
    "runtime_no_build_leftovers",
    "runtime_secrets",
    "runtime_start",
    "runtime_tls",
    "runtime_user",
)
UNVERIFIED = "import ssl; ssl._create_default_https_context = ssl._create_unverified_context"
URL = "https://me:hidden@example.com/simple"
LIST = "/var/lib/dpkg/info"


@pytest.fixture(scope="module")
def container(layout_image: LayoutImage) -> Iterator[RunningContainer]:
    """A container of the image as it is."""
    with spoilt_container(layout_image) as running:
        yield running


def test_the_unchanged_image_passes_the_runtime_checks(
    container: RunningContainer, layout_image: LayoutImage
) -> None:
    verdicts = {name: check_verdict(container, layout_image, name) for name in CHECKS}
    limit = 10 * slowness(container)
    assert {verdict.status for verdict in verdicts.values()} == {CheckStatus.PASSED}, verdicts
    assert max(verdict.seconds for verdict in verdicts.values()) < limit
    assert verdicts["runtime_start"].figures["version"] == "0.12.0.1"
    closed = verdicts["runtime_no_build_leftovers"].figures["closed"]
    assert isinstance(closed, list)
    assert "/root" in closed


# Sabotages of a list share a container.
FILES: dict[str, list[list[Sabotage]]] = {
    "os_packages_unmodified": [
        [
            sabotage("echo >> /usr/bin/tini", "usr/bin/tini is not as its package brought it"),
            sabotage(
                "echo x >> /etc/bash.bashrc", "etc/bash.bashrc, usr/bin/tini is not as its package"
            ),
            sabotage("rm /usr/share/zoneinfo/Etc/UTC", "usr/share/zoneinfo/Etc/UTC is gone"),
            sabotage(
                "ln -sf /opt/x /usr/bin/python3",
                "usr/bin/python3 is no link to a package's file any more",
            ),
            sabotage("chmod u+s /usr/bin/bash", "/usr/bin/bash runs with another's rights"),
            sabotage(
                "cd /usr/lib/python3.13/__pycache__; cp ast.cpython-313.pyc os.cpython-313.pyc",
                "os.cpython-313.pyc: byte code of another source",
            ),
        ],
        [
            sabotage(
                "rm /usr/bin/tini; ln -s bash /usr/bin/tini", "usr/bin/tini is not as its package"
            ),
            sabotage(
                "rm /usr/bin/python3; cp /usr/bin/true /usr/bin/python3",
                "usr/bin/python3 is no link",
            ),
            sabotage(
                "cp /usr/bin/su /usr/bin/us; chmod u+s /usr/bin/us",
                "/usr/bin/us runs with another's",
            ),
            sabotage(
                "cd /usr/share/python3/debpython/__pycache__;"
                " cp version.*.pyc files.cpython-313.pyc",
                "files.cpython-313.pyc: not what its source compiles to",
            ),
        ],
        [
            sabotage("rm /usr/bin/tini", "usr/bin/tini is gone, which a package brought"),
            sabotage(
                "cp /usr/bin/su /code/su; chmod g+s /code/su", "/code/su runs with another's rights"
            ),
        ],
        [sabotage(f"rm {LIST}/*.md5sums", "dpkg's database tells of no file")],
    ],
    "runtime_no_build_leftovers": [
        [
            sabotage("touch /etc/x; chmod 666 /etc/x", "anyone may write to /etc/x, /opt/x"),
            sabotage("mkdir -m 777 /opt/x", "/opt/x"),
            sabotage(
                "touch /var/lib/apt/lists/x",
                "a package list is left: /var/cache/apt/pkgcache.bin, /var/lib/apt/lists/x",
            ),
            sabotage("touch /var/cache/apt/pkgcache.bin", "/var/cache/apt/pkgcache.bin"),
            sabotage("touch /var/log/dpkg.log", "a log is left: /var/log/dpkg.log"),
            sabotage("mkdir -p ~user/.cache/pip; touch ~user/.cache/pip/x", "a cache is left: "),
            sabotage("touch /tmp/x", "a temporary file is left: /tmp/x"),
            sabotage("touch /etc/shadow-", "an old copy is left: /etc/shadow-"),
        ],
    ],
    "runtime_secrets": [
        [
            sabotage(
                "mkdir /run/secrets; echo x > /run/secrets/ca",
                "a file for secrets is here: /home/user/.netrc, /run/secrets/ca",
            ),
            sabotage("echo x > ~user/.netrc", "/home/user/.netrc"),
            sabotage(f"echo index-url={URL} > /etc/pip.conf", "a secret is in /etc/pip.conf"),
        ],
    ],
    "runtime_user": [
        [
            sabotage("chmod 777 /opt/env", "/opt/env can be written to"),
            sabotage(
                "chmod 755 /output; chown 0 /output", "/output cannot be written to: Permission"
            ),
            sabotage("chown 0 ~user", "/home/user cannot be written to: Permission denied"),
            sabotage(
                "ln -sf /usr/share/zoneinfo/Europe/London /etc/localtime", "/etc/localtime, GMT"
            ),
        ],
    ],
    "runtime_tls": [
        [
            sabotage(
                ": > /etc/ssl/certs/ca-certificates.crt; rm /etc/ssl/certs/*.0", "list holds 0 CAs"
            )
        ],
        [
            sabotage(
                f"echo '{UNVERIFIED}' > {SITE}/x.pth",
                "a server of an unknown CA is not refused for its certificate: ok; a server of"
                " another",
            )
        ],
    ],
    "runtime_start": [
        [sabotage(f"rm {SITE}/jax.py", "No module named 'jax'")],
        [sabotage("rm /usr/local/bin/python3", "does not run: ")],
        [sabotage(f"echo 'import time; time.sleep(300)' > {SITE}/jax.py", "takes more than 1 s")],
        [sabotage(f"echo 'import nothing_here' > {SITE}/jax.py", "No module named 'nothing_here'")],
    ],
    "runtime_entrypoint": [
        [
            sabotage(
                f"sed -i 's/^exec .*/\"$@\"; exit 0/' {ENTRY}", "`sh -c exit 7` prints '' and ends"
            )
        ],
        [
            sabotage(
                f"sed -i \"s/^set -u/trap '' TERM/\" {ENTRY}", "SIGTERM does not reach the command"
            )
        ],
        [sabotage(f"sed -i '/export HOME=/d' {ENTRY}", "with HOME=/ the home is '/tmp")],
        [sabotage(f"rm {ENTRY}", "ends with 127, not")],
        [sabotage(f"sed -i 's/^exec .*/\"$@\"/' {ENTRY}", "prints 'dlimg-entrypoin\\n' and ends")],
        [sabotage(f"sed -i 's/^exec .*/exec $*/' {ENTRY}", "`sh -c exit 7` prints")],
        [sabotage(f"sed -i 's/^set -u/echo hello/' {ENTRY}", "prints 'hello\\n'")],
        [sabotage("rm /usr/bin/tini", "it does not run: ")],
    ],
}
ROWS = [
    *((name, table[0]) for name, table in FILES.items()),
    *(
        pytest.param(name, sabotages, marks=pytest.mark.sabotage)
        for name, table in FILES.items()
        for sabotages in table[1:]
    ),
]


@pytest.mark.parametrize(("name", "sabotages"), ROWS)
def test_an_image_that_is_spoilt_fails(
    name: str, sabotages: list[Sabotage], layout_image: LayoutImage
) -> None:
    with spoilt_container(layout_image, f"{script_of(sabotages)}\n{SHORT_LIMITS}") as running:
        verdict = check_verdict(running, layout_image, name)
    assert verdict.status is CheckStatus.FAILED
    assert unnamed(sabotages, verdict.reason) == [], verdict.reason


@pytest.mark.parametrize(
    ("name", "variables", "reasons"),
    [
        (
            "runtime_secrets",
            {"HF_TOKEN": "hidden", "PIP_INDEX_URL": URL},
            [f"the environment holds a secret: {name}" for name in ("HF_TOKEN", "PIP_INDEX_URL")],
        ),
        (
            "runtime_user",
            {"TZ": "CET-1CEST", "HOME": "/"},
            ["time is not UTC: TZ is CET-1CEST", "HOME is no home: /"],
        ),
        pytest.param(
            "runtime_user",
            {"TZ": "Europe/London", "HOME": "/nowhere"},
            ["time is not UTC: TZ is Europe/London", "/nowhere cannot be written to"],
            marks=pytest.mark.sabotage,
        ),
    ],
)
def test_an_environment_that_is_spoilt_fails(
    name: str,
    variables: dict[str, str],
    reasons: list[str],
    container: RunningContainer,
    layout_image: LayoutImage,
) -> None:
    verdict = check_verdict(container, layout_image, name, **variables)
    assert verdict.status is CheckStatus.FAILED
    assert [reason for reason in reasons if reason not in verdict.reason] == []
    assert "hidden" not in verdict.reason + verdict.output


def test_a_secret_in_the_history_fails(layout_image: LayoutImage, tmp_path: Path) -> None:
    # An engine notes the command of a container that becomes an image.
    command = ["sh", "-c", "TOKEN=hidden true"]
    engine = layout_image.engine
    container = engine.sdk.containers.create(layout_image.built.digest, command=command)
    built = replace(layout_image.built, digest=str(container.commit().id))
    container.remove()
    checks = [
        check
        for check in checks_for(built.planned.image.cell, checks_in(IMAGES))
        if check.name == "runtime_secrets"
    ]
    settings = CheckSettings(evidence=tmp_path, log=print)
    try:
        (verdict,) = run.run_checks(
            built, checks, engine, device=None, images=files_in(IMAGES), settings=settings
        ).verdicts
    finally:
        engine.sdk.images.remove(built.digest)
    assert verdict.status is CheckStatus.FAILED
    assert verdict.reason == "step 1 of the history holds a secret: TOKEN"
    assert "hidden" not in verdict.output


ROOT_FILES = {
    "runtime_no_build_leftovers": [
        sabotage("mkdir -p /root/.cache/pip; touch /root/.cache/pip/x", "a cache is left: /root"),
        sabotage("touch /tmp/x", "a temporary file is left: /tmp/x"),
    ],
    "runtime_secrets": [
        sabotage("echo x > /root/.netrc", "a file for secrets is here: /root/.netrc"),
        sabotage(f"umask 77; echo index-url={URL} > /etc/pip.conf", "a secret is in /etc/pip.conf"),
    ],
}
ROOT_CHECKS = (*ROOT_FILES, "os_packages_unmodified")


@pytest.mark.parametrize("name", ROOT_FILES)
def test_files_readable_by_root_only_are_checked(name: str, layout_image: LayoutImage) -> None:
    with spoilt_container(layout_image, script_of(ROOT_FILES[name]), user="0") as running:
        verdict = check_verdict(running, layout_image, name)
    assert verdict.status is CheckStatus.FAILED
    assert unnamed(ROOT_FILES[name], verdict.reason) == [], verdict.reason


def test_root_finds_nothing_in_the_unchanged_image(layout_image: LayoutImage) -> None:
    checks = checks_for(layout_image.built.planned.image.cell, checks_in(IMAGES))
    users = {check.name: check.container for check in checks}
    assert {users[name] for name in ROOT_CHECKS} == {"root"}
    with spoilt_container(layout_image, user="0") as running:
        verdicts = [check_verdict(running, layout_image, name) for name in ROOT_CHECKS]
    assert {verdict.status for verdict in verdicts} == {CheckStatus.PASSED}, verdicts


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("0", "this runs as root; this runs in root's group; this has capabilities"),
        pytest.param("4321:100", "the user 4321 has no name", marks=pytest.mark.sabotage),
        pytest.param("1000:0", "this runs in root's group", marks=pytest.mark.sabotage),
    ],
)
def test_another_user_than_the_default_one_fails(
    user: str, reason: str, layout_image: LayoutImage
) -> None:
    with spoilt_container(layout_image, user=user) as running:
        verdict = check_verdict(running, layout_image, "runtime_user")
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason


def test_without_a_cell_nothing_passes(layout_image: LayoutImage) -> None:
    with spoilt_container(layout_image, DLIMG_CELL="") as running:
        verdicts = {
            check_verdict(running, layout_image, name).status
            for name in CHECKS
            if name != "runtime_tls"
        }
    assert verdicts == {CheckStatus.NOT_RUN}


def test_every_runtime_check_has_a_sabotage_here() -> None:
    assert set(FILES) == set(CHECKS)
