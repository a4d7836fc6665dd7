"""The checks of manners in a real image: each of them fails when the image is spoilt."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from docker.types import Mount

from dlimg.checks import run
from dlimg.checks.container_setup import (
    ROOT,
    ContainerKind,
    container_options,
    prepare_check,
    scripts_archive,
)
from dlimg.checks.discover import checks_for, read_scripts
from dlimg.checks.execute import RunningContainer, run_check
from dlimg.checks.header import ANY_USER, EMPTY_HOME, READ_ONLY
from dlimg.checks.inputs import cell_json, make_inputs
from dlimg.checks.run import CheckSettings
from dlimg.checks.verdicts import NO_DEVICE, verdict_of
from dlimg.engine.client import Engine
from dlimg.model import Base, CheckStatus, Verdict
from tests.support import layout_image, small_images
from tests.support.image_folders import checks_in, files_in
from tests.support.layout_image import IMAGES, Made
from tests.support.real_jax import slowness

pytestmark = pytest.mark.engine

NAMES = {"whole": "os_packages_unmodified"}  # the others are `runtime_NAME`
ORDINARY = ("entrypoint", "no_build_leftovers", "secrets", "start", "tls", "user", "whole")
CONFINED = {
    "arbitrary_uid": ContainerKind(container=ANY_USER),
    "without_entrypoint": ContainerKind(container=EMPTY_HOME),
    "read_only": ContainerKind(container=READ_ONLY),
}
SITE = "/home/user/env/lib/python3.13/site-packages"
LIBRARY = "/opt/env/lib/python/site-packages"
ENTRY = "/usr/local/bin/dlimg-entrypoint"
# There is no framework in the small image: this one knows the slope of a sum of squares.
JAX = f"""cat > {SITE}/jax.py <<'END'
from types import SimpleNamespace

__version__ = "0.12.0.1"
numpy = SimpleNamespace(ones=lambda count: [1.0] * count)


def grad(_):
    return lambda ones: SimpleNamespace(sum=lambda: 2.0 * len(ones))
END"""
UNVERIFIED = "import ssl; ssl._create_default_https_context = ssl._create_unverified_context"
URL = "https://me:hidden@example.com/simple"


@pytest.fixture(scope="module")
def made(engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    yield from layout_image.make_image(
        engine, base, layout_image.cell(), tmp_path_factory.mktemp("image")
    )


@contextlib.contextmanager
def opened(
    made: Made, script: str = "", user: str = "", **variables: str
) -> Iterator[RunningContainer]:
    """A container of the image in which root has run a script."""
    config = made.engine.sdk.images.get(made.built.digest).attrs["Config"]
    facts = make_inputs(made.built.planned, {}, config)
    kept = {name: facts.environment[name] for name in ("DLIMG_CELL", "DLIMG_START")}
    container = made.engine.sdk.containers.create(
        made.built.digest,
        entrypoint=["sleep", "infinity"],
        environment={**kept, "DLIMG_GPU": "none", **variables},
        network_mode="none",
        user=user,
    )
    try:
        container.start()
        container.put_archive("/", scripts_archive(read_scripts(files_in(IMAGES), "jax")))
        ended = container.exec_run(["bash", "-euc", f"{JAX}\n{script}"], user="0")
        assert ended.exit_code == 0, ended.output.decode()
        api = made.engine.sdk.api
        yield RunningContainer(container=container, api=api, environment={}, memory=0, grace=15.0)
    finally:
        container.remove(force=True)


LIST = "/var/lib/dpkg/info"
WHOLE = [
    ("echo >> /usr/bin/tini", "usr/bin/tini is not as its package brought it"),
    ("rm /usr/bin/tini; ln -s bash /usr/bin/tini", "usr/bin/tini is not as its package"),
    ("echo x >> /etc/bash.bashrc", "etc/bash.bashrc is not as its package brought it"),
    ("rm /usr/bin/tini", "usr/bin/tini is gone, which a package brought"),
    ("rm /usr/share/zoneinfo/Etc/UTC", "usr/share/zoneinfo/Etc/UTC is gone"),
    ("ln -sf /opt/x /usr/bin/python3", "usr/bin/python3 is no link to a package's file any more"),
    ("rm /usr/bin/python3; cp /usr/bin/true /usr/bin/python3", "usr/bin/python3 is no link"),
    ("chmod u+s /usr/bin/bash", "/usr/bin/bash runs with another's rights"),
    ("cp /usr/bin/su /usr/bin/us; chmod u+s /usr/bin/us", "/usr/bin/us runs with another's"),
    ("cp /usr/bin/su /code/su; chmod g+s /code/su", "/code/su runs with another's rights"),
    (
        "cd /usr/lib/python3.13/__pycache__; cp ast.cpython-313.pyc os.cpython-313.pyc",
        "os.cpython-313.pyc: byte code of another source",
    ),
    (
        "cd /usr/share/python3/debpython/__pycache__; cp version.*.pyc files.cpython-313.pyc",
        "files.cpython-313.pyc: not what its source compiles to",
    ),
    (f"rm {LIST}/*.md5sums", "dpkg's database tells of no file"),
]


def judged(there: RunningContainer, made: Made, name: str, **environment: str) -> Verdict:
    """What this check of manners says there."""
    found = checks_for(made.built.planned.image.cell, checks_in(IMAGES))
    (check,) = [one for one in found if one.name == NAMES.get(name, f"runtime_{name}")]
    placed_one = prepare_check(check, files_in(IMAGES), read_scripts(files_in(IMAGES), "jax"))
    ran = run_check(replace(there, environment=environment), placed_one)
    return verdict_of(check, ran, device=NO_DEVICE)


def test_the_unchanged_image_passes_the_runtime_checks(made: Made) -> None:
    with opened(made) as there:
        said = {name: judged(there, made, name) for name in ORDINARY}
        limit = 10 * slowness(there)
    assert {one.status for one in said.values()} == {CheckStatus.PASSED}, said
    assert max(one.seconds for one in said.values()) < limit
    assert said["start"].figures["version"] == "0.12.0.1"
    closed = said["no_build_leftovers"].figures["closed"]
    assert isinstance(closed, list)
    assert "/root" in closed


FILES = [
    ("no_build_leftovers", "touch /etc/x; chmod 666 /etc/x", "anyone may write to /etc/x"),
    ("no_build_leftovers", "mkdir -m 777 /opt/x", "anyone may write to /opt/x"),
    (
        "no_build_leftovers",
        "touch /var/lib/apt/lists/x",
        "a package list is left: /var/lib/apt/lists/x",
    ),
    ("no_build_leftovers", "touch /var/cache/apt/pkgcache.bin", "a package list is left: "),
    ("no_build_leftovers", "touch /var/log/dpkg.log", "a log is left: /var/log/dpkg.log"),
    (
        "no_build_leftovers",
        "mkdir -p ~user/.cache/pip; touch ~user/.cache/pip/x",
        "a cache is left: ",
    ),
    ("no_build_leftovers", "touch /tmp/x", "a temporary file is left: /tmp/x"),
    ("no_build_leftovers", "touch /etc/shadow-", "an old copy is left: /etc/shadow-"),
    ("secrets", "mkdir /run/secrets; echo x > /run/secrets/ca", "a file for secrets is here: "),
    ("secrets", "echo x > ~user/.netrc", "a file for secrets is here: /home/user/.netrc"),
    ("secrets", f"echo index-url={URL} > /etc/pip.conf", "a secret is in /etc/pip.conf"),
    ("user", "chmod 777 /opt/env", "/opt/env can be written to"),
    ("user", "chmod 755 /output; chown 0 /output", "/output cannot be written to: Permission"),
    ("user", "chown 0 ~user", "/home/user cannot be written to: Permission denied"),
    ("user", "ln -sf /usr/share/zoneinfo/Europe/London /etc/localtime", "/etc/localtime, GMT"),
    ("tls", ": > /etc/ssl/certs/ca-certificates.crt; rm /etc/ssl/certs/*.0", "list holds 0 CAs"),
    (
        "tls",
        f"echo '{UNVERIFIED}' > {SITE}/x.pth",
        "a server of an unknown CA is not refused for its certificate: ok; a server of another",
    ),
    ("start", f"echo 'import nothing_here' > {SITE}/jax.py", "No module named 'nothing_here'"),
    ("start", f"rm {SITE}/jax.py", "No module named 'jax'"),
    ("start", "rm /usr/local/bin/python3", "does not run: "),
    ("start", f"echo 'import time; time.sleep(300)' > {SITE}/jax.py", "takes more than 1 s"),
    (
        "entrypoint",
        f"sed -i 's/^exec .*/\"$@\"; exit 0/' {ENTRY}",
        "`sh -c exit 7` prints '' and ends",
    ),
    ("entrypoint", f"sed -i 's/^exec .*/\"$@\"/' {ENTRY}", "prints 'dlimg-entrypoin\\n' and ends"),
    ("entrypoint", f"sed -i 's/^exec .*/exec $*/' {ENTRY}", "`sh -c exit 7` prints"),
    ("entrypoint", f"sed -i 's/^set -u/echo hello/' {ENTRY}", "prints 'hello\\n'"),
    (
        "entrypoint",
        f"sed -i \"s/^set -u/trap '' TERM/\" {ENTRY}",
        "SIGTERM does not reach the command",
    ),
    ("entrypoint", f"sed -i '/HOME=.tmp/d' {ENTRY}", "with HOME=/ the home is ''"),
    ("entrypoint", f"rm {ENTRY}", "ends with 127, not"),
    ("entrypoint", "rm /usr/bin/tini", "it does not run: "),
]


FILES += [("whole", script, reason) for script, reason in WHOLE]


@pytest.mark.parametrize(("name", "script", "reason"), FILES)
def test_an_image_that_is_spoilt_fails(name: str, script: str, reason: str, made: Made) -> None:
    # What is stuck is not waited for as long as in earnest.
    limits = "s/^LIMIT = 120 /LIMIT = 1 /; s/^PATIENCE = 5 /PATIENCE = 1 /"
    script += f"; sed -i '{limits}' /tmp/dlimg/common/checks/runtime_*.py"
    with opened(made, script) as there:
        said = judged(there, made, name)
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


@pytest.mark.parametrize(
    ("name", "variable", "value", "reason"),
    [
        ("secrets", "HF_TOKEN", "hidden", "the environment holds a secret: HF_TOKEN"),
        ("secrets", "PIP_INDEX_URL", URL, "the environment holds a secret: PIP_INDEX_URL"),
        ("user", "TZ", "CET-1CEST", "time is not UTC: TZ is CET-1CEST"),
        ("user", "TZ", "Europe/London", "time is not UTC: TZ is Europe/London"),
        ("user", "HOME", "/", "HOME is no home: /"),
        ("user", "HOME", "/nowhere", "/nowhere cannot be written to"),
        (
            "entrypoint",
            "DLIMG_START",
            '{"actual": {"Entrypoint": ["sh"]}}',
            "the image's Entrypoint is ['sh'], not",
        ),
        ("entrypoint", "DLIMG_START", "[]", "DLIMG_START is no JSON object of two"),
    ],
)
def test_an_environment_that_is_spoilt_fails(
    name: str, variable: str, value: str, reason: str, made: Made
) -> None:
    with opened(made, **{variable: value}) as there:
        said = judged(there, made, name)
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason
    assert "hidden" not in said.reason + said.output


# What somebody does to the image's config, in a Dockerfile's words, and what is said of it.
UNSTATED = "which neither layout nor matrix states"
CHANGES = [
    *(
        (f"ENV {name}={value}", f"the image has the variable {name}, {UNSTATED}")
        for name, value in (
            ("LD_PRELOAD", "/lib/x86_64-linux-gnu/libm.so.6"),
            ("LD_LIBRARY_PATH", "/usr/lib"),
            ("LD_AUDIT", ""),
            ("PYTHONPATH", "/code"),
            ("PYTHONOPTIMIZE", "2"),
            ("PYTHONSTARTUP", "/code/x.py"),
            ("PIP_INDEX_URL", "https://example.com/simple"),
            ("PIP_EXTRA_INDEX_URL", "https://example.com/simple"),
            ("UV_INDEX", "https://example.com/simple"),
            ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
            ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2"),
            ("JAX_PLATFORMS", "cpu"),
            ("CUDA_VISIBLE_DEVICES", "-1"),
            ("OMP_NUM_THREADS", "1"),
            ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
            ("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt"),
            ("HTTPS_PROXY", "http://example.com"),
            ("GIT_SSL_NO_VERIFY", "1"),
            ("BASH_ENV", "/etc/profile"),
            ("PROMPT_COMMAND", "true"),
            ("HOME", "/root"),
            ("DLIMG_QUIET", "1"),
            ("JUST_SO", "hidden"),
        )
    ),
    ("ENV TZ=hidden", "the image's variable TZ is not as expected: UTC"),
    ("ENV SHELL=/bin/sh", "the image's variable SHELL is not as expected: /bin/bash"),
    ("ENV PIP_CONSTRAINT=", "the image's variable PIP_CONSTRAINT is not as expected: /etc/"),
    ("ENV PATH=/usr/bin:/bin", "the image's variable PATH is not as expected: /home/user/"),
    ("ENV PATH=/tmp:$PATH", "the image's variable PATH is not as expected: /home/user/"),
    ('CMD ["hidden"]', "the image's Cmd is not as expected: ['bash']"),
    ("EXPOSE 22", "the image's ExposedPorts is not as expected: not set"),
    ("VOLUME /data", "the image's Volumes is not as expected: not set"),
    ("ONBUILD RUN true", "the image's OnBuild is not as expected: not set"),
    ("STOPSIGNAL SIGKILL", "the image's StopSignal is not as expected: not set"),
    ("HEALTHCHECK CMD true", "the image's Healthcheck is not as expected: not set"),
    ("HEALTHCHECK NONE", "the image's Healthcheck is not as expected: not set"),
    ('SHELL ["/bin/sh", "-c"]', "the image's Shell is not as expected: ['/bin/bash', '-euo'"),
    ("WORKDIR /data", "the image's WorkingDir is /data, not /code"),
    ("USER 0", "the image's User is 0, not user"),
    ("USER user:0", "the image's User is user:0, not user"),
    (
        'ENTRYPOINT ["/usr/bin/env", "A=hidden", "/usr/bin/tini", "-s", "--", "dlimg-entrypoint"]',
        "the image's Entrypoint is [",
    ),
    ("LABEL vendor=hidden", f"the image has the label vendor, {UNSTATED}"),
    ("LABEL io.dlimg.key=hidden", "the image's label io.dlimg.key is not as expected: "),
    ("LABEL io.dlimg.gpu-tested=yes", f"the image has the label io.dlimg.gpu-tested, {UNSTATED}"),
    (
        "LABEL org.opencontainers.image.base.name=debian",
        f"the image has the label org.opencontainers.image.base.name, {UNSTATED}",
    ),
    (
        "LABEL org.opencontainers.image.revision=0123abc",
        f"the image has the label org.opencontainers.image.revision, {UNSTATED}",
    ),
]


def config_with(made: Made, change: str) -> Mapping[str, object]:
    """The config of an image that somebody builds on this one; the image itself is gone."""
    name = f"dlimg-test/spoilt-{secrets.token_hex(4)}"
    try:
        return dict(
            small_images.derived(made.built.planned.reference, change, name, made.engine).attrs[
                "Config"
            ]
        )
    finally:
        made.engine.sdk.images.remove(name)


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_an_image_that_is_started_otherwise_fails(change: str, reason: str, made: Made) -> None:
    facts = make_inputs(made.built.planned, {}, config_with(made, change))
    with opened(made) as there:
        said = judged(there, made, "entrypoint", DLIMG_START=facts.environment["DLIMG_START"])
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason
    if "[" not in reason:
        assert "hidden" not in said.reason + said.output


def test_a_template_that_lies_does_not_pass(made: Made) -> None:
    """The image is what its Dockerfile says, and both set what nobody states."""
    image = made.built.planned.image
    lying = replace(image, dockerfile=f"{image.dockerfile}ENV LD_PRELOAD=/code/x.so\n")
    facts = make_inputs(
        replace(made.built.planned, image=lying), {}, config_with(made, "ENV LD_PRELOAD=x")
    )
    with opened(made) as there:
        said = judged(there, made, "entrypoint", DLIMG_START=facts.environment["DLIMG_START"])
    assert said.status is CheckStatus.FAILED
    assert f"the image has the variable LD_PRELOAD, {UNSTATED}" in said.reason


def test_a_secret_in_the_history_fails(made: Made, tmp_path: Path) -> None:
    # An engine notes the command of a container that becomes an image.
    command = ["sh", "-c", "TOKEN=hidden true"]
    container = made.engine.sdk.containers.create(made.built.digest, command=command)
    built = replace(made.built, digest=str(container.commit().id))
    container.remove()
    cell = made.built.planned.image.cell
    checks = [one for one in checks_for(cell, checks_in(IMAGES)) if one.name == "runtime_secrets"]
    settings = CheckSettings(evidence=tmp_path, log=print)
    try:
        (said,) = run.run_checks(
            built, checks, made.engine, device=None, images=files_in(IMAGES), settings=settings
        ).verdicts
    finally:
        made.engine.sdk.images.remove(built.digest)
    assert said.status is CheckStatus.FAILED
    assert said.reason == "step 1 of the history holds a secret: TOKEN"
    assert "hidden" not in said.output


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        (
            "no_build_leftovers",
            "mkdir -p /root/.cache/pip; touch /root/.cache/pip/x",
            "a cache is left: /root",
        ),
        ("no_build_leftovers", "touch /tmp/x", "a temporary file is left: /tmp/x"),
        ("secrets", "echo x > /root/.netrc", "a file for secrets is here: /root/.netrc"),
        (
            "secrets",
            f"umask 77; echo index-url={URL} > /etc/pip.conf",
            "a secret is in /etc/pip.conf",
        ),
        ("no_build_leftovers", "", ""),
        ("secrets", "", ""),
        ("whole", "", ""),
    ],
)
def test_files_readable_by_root_only_are_checked(
    name: str, script: str, reason: str, made: Made
) -> None:
    kinds = {
        one.name: one.container
        for one in checks_for(made.built.planned.image.cell, checks_in(IMAGES))
    }
    assert kinds[NAMES.get(name, f"runtime_{name}")] == "root"
    with opened(made, script, user="0") as there:
        said = judged(there, made, name)
    assert said.status is (CheckStatus.FAILED if script else CheckStatus.PASSED), said
    assert reason in said.reason


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("0", "this runs as root; this runs in root's group; this has capabilities"),
        ("4321:100", "the user 4321 has no name"),
        ("1000:0", "this runs in root's group"),
    ],
)
def test_another_user_than_the_default_one_fails(user: str, reason: str, made: Made) -> None:
    with opened(made, user=user) as there:
        said = judged(there, made, "user")
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


@contextlib.contextmanager
def confined(made: Made, kind: ContainerKind, script: str = "") -> Iterator[RunningContainer]:
    """A confined container of an image that is made of the image by a script of root's."""
    with opened(made, script) as there:
        spoilt = str(there.container.commit().id)
    container = made.engine.sdk.containers.create(
        spoilt,
        entrypoint=["sleep", "infinity"],
        environment={"DLIMG_CELL": cell_json(made.built.planned)},
        mounts=[Mount(ROOT, None, type="volume")],
        **container_options(kind),
    )
    try:
        container.start()
        container.put_archive(ROOT, scripts_archive(read_scripts(files_in(IMAGES), "jax"), ROOT))
        api = made.engine.sdk.api
        yield RunningContainer(container=container, api=api, environment={}, memory=0, grace=15.0)
    finally:
        container.remove(force=True, v=True)
        made.engine.sdk.images.remove(spoilt)


@pytest.mark.parametrize("name", CONFINED)
def test_a_confined_image_works(name: str, made: Made) -> None:
    with confined(made, CONFINED[name], KEEP_JAX) as there:
        said = judged(there, made, name)
        limit = 20 * slowness(there)
    assert said.status is CheckStatus.PASSED, said
    assert said.seconds < limit


OVERLAY = "/usr/local/bin/dlimg-overlay"
WRITES = f'echo \'open("{{0}}", "w")\' >> {SITE}/jax.py'
VARIABLES = "/etc/dlimg/environment /etc/environment"
NO_ENTRY = [
    (f"rm {LIBRARY}/dlimg_start.pth", "/usr/local/bin/python3 lacks LANG, PIP_CONSTRAINT, "),
    (f"sed -i s/UTC/CET/ {VARIABLES}", "environment: TZ is not as the image sets it"),
    ("echo A=b >> /etc/environment", "/etc/environment is not as /etc/dlimg/environment"),
    ("rm /etc/dlimg/environment", "/etc/dlimg/environment names no variable"),
    ("rm /usr/local/bin/pip", "`pip` is nothing on /usr/local/bin:"),
    ("ln -sf /usr/bin/true /usr/local/bin/pip", "pip on /usr/local/bin:/usr/bin:/bin ends with 0"),
    ("echo > /opt/env/pip.conf", "would replace six"),
    ("sed -i s/==/\\>=/ /etc/uv/uv.toml", "/etc/uv/uv.toml lacks six==1.17.0"),
    ("rm /etc/uv/uv.toml", "/etc/uv/uv.toml lacks six==1.17.0"),
    ("rm -r /usr/local/lib/dlimg/packages/*/SIX", "uv would take six 1.17.0 for None"),
    ("sed -i 's/^find_overlay$//' /usr/local/bin/python3", "has installed from nowhere"),
    (f"rm {OVERLAY}", "pip install ends with "),
    (f"echo 'import os; os._exit(139)' > {SITE}/jax.py", "a step of training ends with 139"),
]
# The home's packages are out of sight there.
KEEP_JAX = f"cp {SITE}/jax.py {LIBRARY}/jax.py"
CONFINED_FILES = [
    *(("without_entrypoint", f"{script}; {KEEP_JAX}", reason) for script, reason in NO_ENTRY),
    ("read_only", WRITES.format("/opt/env/made"), "a step of training: it ends with 1"),
    ("read_only", WRITES.format("/code/made"), "Read-only file system: '/code/made'"),
    ("read_only", f"sed -i '/HOME=.tmp/d' {ENTRY}", "a home: it ends with "),
    ("read_only", f"rm {OVERLAY}", "pip install ends with 1: "),
    ("arbitrary_uid", WRITES.format("/code/made"), "Permission denied: '/code/made'"),
    (
        "arbitrary_uid",
        f"chmod 775 /opt/env; {WRITES.format('/opt/env/made')}",
        "this has been written: /opt/env/made",
    ),
    ("arbitrary_uid", f"sed -i '/HOME=.tmp/d' {ENTRY}", "a home: it ends with "),
    ("arbitrary_uid", "chmod 700 /tmp", "Permission denied"),
    ("arbitrary_uid", f"sed -i 's/2.0/1.5/' {SITE}/jax.py", "prints '4.5', not '6.0'"),
    ("arbitrary_uid", f"sed -i 's/^LOGNAME=.*/USER= LOGNAME=/' {ENTRY}", "a cache: it ends with "),
    ("arbitrary_uid", "chmod 700 /home/user/env", "a step of training: it ends with 1"),
    ("arbitrary_uid", "rm -r /opt/env/lib/python/site-packages/pip", "No module named 'pip'"),
]


@pytest.mark.parametrize(("name", "script", "reason"), CONFINED_FILES)
def test_an_image_that_is_spoilt_fails_confined(
    name: str, script: str, reason: str, made: Made
) -> None:
    with confined(made, CONFINED[name], script) as there:
        said = judged(there, made, name)
    assert said.status is CheckStatus.FAILED
    assert reason in said.reason


def test_a_container_that_is_not_confined_proves_nothing(made: Made) -> None:
    with opened(made) as there:
        said = {name: judged(there, made, name) for name in CONFINED}
    assert {one.status for one in said.values()} == {CheckStatus.NOT_RUN}
    assert said["read_only"].reason.startswith("this container is not read-only: /, /code")
    assert said["without_entrypoint"].reason == "no volume is over this container's /home/user"
    assert said["arbitrary_uid"].reason == "the user 1000 is one that the image knows"


def test_without_a_cell_nothing_passes(made: Made) -> None:
    names = (*ORDINARY, *CONFINED)
    with opened(made, DLIMG_CELL="") as there:
        said = {judged(there, made, name).status for name in names if name != "tls"}
    assert said == {CheckStatus.NOT_RUN}


def test_every_runtime_check_has_a_sabotage() -> None:
    found = {path.stem for path in Path(IMAGES, "common", "checks").glob("runtime_*.py")}
    assert found == {f"runtime_{name}" for name in (*ORDINARY, *CONFINED)} - {"runtime_whole"}
    assert {name for name, _, _ in FILES} == set(ORDINARY)
    assert {name for name, _, _ in CONFINED_FILES} == set(CONFINED)
