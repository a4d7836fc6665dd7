"""The runtime checks in confined containers: any user, a read-only disk, an empty home."""

import pytest

from dlimg.checks.container_setup import ContainerKind
from dlimg.checks.header import ANY_USER, EMPTY_HOME, READ_ONLY
from dlimg.model import CheckStatus
from tests.support.layout_image import LayoutImage
from tests.support.real_jax import slowness
from tests.support.runtime_checks import (
    ENTRY,
    SITE,
    check_verdict,
    confined_container,
    spoilt_container,
)
from tests.support.sabotage import Sabotage, sabotage, script_of, unnamed

pytestmark = pytest.mark.engine

CONTAINERS = {
    "runtime_arbitrary_uid": ContainerKind(container=ANY_USER),
    "runtime_without_entrypoint": ContainerKind(container=EMPTY_HOME),
    "runtime_read_only": ContainerKind(container=READ_ONLY),
}
LIBRARY = "/opt/env/lib/python/site-packages"
OVERLAY = "/usr/local/bin/dlimg-overlay"
WRITES = f'echo \'open("{{0}}", "w")\' >> {SITE}/jax.py'
VARIABLES = "/etc/dlimg/environment /etc/environment"
NO_HOME = f"sed -i '/HOME=.tmp/d' {ENTRY}"
# The home's packages are out of sight where a volume lies over it.
KEEP_JAX = f"cp {SITE}/jax.py {LIBRARY}/jax.py"
WITHOUT_ENTRYPOINT = [
    [
        sabotage(
            f"rm {LIBRARY}/dlimg_start.pth",
            "/usr/local/bin/python3 lacks DLIMG_OVERLAY, LANG, PIP_CONSTRAINT, ",
        ),
        sabotage(
            "echo A=b >> /etc/environment", "/etc/environment is not as /etc/dlimg/environment"
        ),
        sabotage("sed -i s/==/\\>=/ /etc/uv/uv.toml", "/etc/uv/uv.toml lacks six==1.17.0"),
        sabotage(
            "sed -i 's/^find_overlay$//' /usr/local/bin/python3", "has installed from nowhere"
        ),
        sabotage(
            f"echo 'import os; os._exit(139)' > {SITE}/jax.py", "a step of training ends with 139"
        ),
    ],
    [
        sabotage(f"sed -i s/UTC/CET/ {VARIABLES}", "environment: TZ is not as the image sets it"),
        sabotage("echo > /opt/env/pip.conf", "would replace six"),
        sabotage("rm /etc/uv/uv.toml", "/etc/uv/uv.toml lacks six==1.17.0"),
        sabotage("rm -r /usr/local/lib/dlimg/packages/*/SIX", "uv would take six 1.17.0 for None"),
    ],
    [
        sabotage("rm /etc/dlimg/environment", "/etc/dlimg/environment names no variable"),
        sabotage("rm /usr/local/bin/pip", "`pip` is nothing on /usr/local/bin:"),
    ],
    [
        sabotage(
            "ln -sf /usr/bin/true /usr/local/bin/pip",
            "pip on /usr/local/bin:/usr/bin:/bin ends with 0",
        ),
    ],
    [sabotage(f"rm {OVERLAY}", "pip install ends with ")],
]
READ_ONLY_DISK = [
    [
        sabotage(WRITES.format("/code/made"), "Read-only file system: '/code/made'"),
        sabotage(f"rm {OVERLAY}", "pip install ends with 1: "),
    ],
    [
        sabotage(WRITES.format("/opt/env/made"), "a step of training: it ends with 1"),
        sabotage(NO_HOME, "a home: it ends with "),
    ],
]
ARBITRARY_UID = [
    [
        sabotage(WRITES.format("/code/made"), "Permission denied: '/code/made'"),
        sabotage(f"sed -i 's/^LOGNAME=.*/USER= LOGNAME=/' {ENTRY}", "a cache: it ends with "),
        sabotage("rm -r /opt/env/lib/python/site-packages/pip", "No module named 'pip'"),
    ],
    [
        sabotage(
            f"chmod 775 /opt/env; {WRITES.format('/opt/env/made')}",
            "this has been written: /opt/env/made",
        ),
        sabotage(f"sed -i 's/2.0/1.5/' {SITE}/jax.py", "prints '4.5', not '6.0'"),
    ],
    [sabotage("chmod 700 /home/user/env", "a step of training: it ends with 1")],
    [sabotage(NO_HOME, "a home: it ends with ")],
    [sabotage("chmod 700 /tmp", "Permission denied")],
]
TABLES = {
    "runtime_without_entrypoint": WITHOUT_ENTRYPOINT,
    "runtime_read_only": READ_ONLY_DISK,
    "runtime_arbitrary_uid": ARBITRARY_UID,
}
ROWS = [
    *((name, table[0]) for name, table in TABLES.items()),
    *(
        pytest.param(name, sabotages, marks=pytest.mark.sabotage)
        for name, table in TABLES.items()
        for sabotages in table[1:]
    ),
]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_confined_image_works(name: str, layout_image: LayoutImage) -> None:
    with confined_container(layout_image, CONTAINERS[name], KEEP_JAX) as running:
        verdict = check_verdict(running, layout_image, name)
        limit = 20 * slowness(running)
    assert verdict.status is CheckStatus.PASSED, verdict
    assert verdict.seconds < limit


@pytest.mark.parametrize(("name", "sabotages"), ROWS)
def test_an_image_that_is_spoilt_fails_confined(
    name: str, sabotages: list[Sabotage], layout_image: LayoutImage
) -> None:
    script = script_of(sabotages)
    if CONTAINERS[name].container == EMPTY_HOME:
        script += f"\n{KEEP_JAX}"
    with confined_container(layout_image, CONTAINERS[name], script) as running:
        verdict = check_verdict(running, layout_image, name)
    assert verdict.status is CheckStatus.FAILED
    assert unnamed(sabotages, verdict.reason) == [], verdict.reason


def test_a_container_that_is_not_confined_proves_nothing(layout_image: LayoutImage) -> None:
    with spoilt_container(layout_image) as running:
        verdicts = {name: check_verdict(running, layout_image, name) for name in CONTAINERS}
    assert {verdict.status for verdict in verdicts.values()} == {CheckStatus.NOT_RUN}
    reasons = {name: verdict.reason for name, verdict in verdicts.items()}
    assert reasons["runtime_read_only"].startswith("this container is not read-only: /, /code")
    assert reasons["runtime_without_entrypoint"] == "no volume is over this container's /home/user"
    assert reasons["runtime_arbitrary_uid"] == "the user 1000 is one that the image knows"


def test_without_a_cell_no_confined_check_passes(layout_image: LayoutImage) -> None:
    with spoilt_container(layout_image, DLIMG_CELL="") as running:
        statuses = {check_verdict(running, layout_image, name).status for name in CONTAINERS}
    assert statuses == {CheckStatus.NOT_RUN}
