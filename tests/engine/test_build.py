"""Builds on a real engine: their results, and what failures and interrupts leave."""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.builders.build_failure import explain_failure
from dlimg.builders.progress import BuildProgress
from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Negative, NoEngine
from dlimg.model import Base, BuildFailure, BuiltImage
from tests.support import samples, small_images

pytestmark = pytest.mark.engine

ODD = '${HOME} %{x} $$ \\ " %s'


def test_an_image_is_built_tagged_and_labelled(engine: Engine, base: Base) -> None:
    # What was built in an earlier run comes from the cache, and its steps pass unseen.
    fresh = f"COPY <<'EOF' /fresh\n{secrets.token_hex(8)}\nEOF\n"
    text = f"FROM debian:trixie-slim\n{fresh}COPY <<'EOF' /odd\n{ODD}\nEOF\nRUN cat /odd\n"
    plan = small_images.planned(base, text)
    seen: list[BuildProgress] = []
    with small_images.unnamed_afterwards(engine, plan):
        (built,) = small_images.built_all([plan], engine, on_progress=seen.append)
        assert isinstance(built, BuiltImage), built
        image = engine.sdk.images.get(plan.reference)
        assert image.id == built.digest == engine.sdk.images.get(plan.moving_reference).id
        assert image.labels["io.dlimg.key"] == plan.key
        assert image.labels["io.dlimg.cell"] == plan.image.cell.id
        assert image.labels["io.dlimg.base-source"] == base.source
        assert built.size > 50_000_000
        assert not built.cached
        odd = engine.sdk.containers.run(plan.reference, ["cat", "/odd"], remove=True)
        assert odd.decode().rstrip("\n") == ODD
    assert [progress.state for progress in seen][-1] == "done"
    assert {progress.total for progress in seen} >= {3}
    assert any("COPY" in progress.name for progress in seen)


def test_a_built_image_is_not_built_again(engine: Engine, base: Base) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN date > /date\n")
    with small_images.image(plan, engine) as first:
        engine.sdk.images.remove(plan.moving_reference)
        seen: list[BuildProgress] = []
        (again,) = small_images.built_all([plan], engine, on_progress=seen.append)
        assert again == replace(first, cached=True, seconds=0.0)
        assert [progress.state for progress in seen] == ["cached"]
        assert small_images.has_image(engine, plan.moving_reference)


def test_the_base_takes_the_place_of_a_pinned_one(engine: Engine, base: Base) -> None:
    pinned = f"debian:trixie-slim@sha256:{'a' * 64}"
    text = f"FROM {pinned} AS one\nRUN echo made > /made\nFROM {pinned}\nCOPY --from=one /made /\n"
    with small_images.image(small_images.planned(base, text), engine) as built:
        made = engine.sdk.containers.run(built.digest, ["cat", "/made"], remove=True)
        assert made == b"made\n"


def test_another_image_under_the_immutable_name_is_replaced(engine: Engine, base: Base) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN true\n")
    with small_images.unnamed_afterwards(engine, plan):
        repository, _, tag = plan.reference.rpartition(":")
        engine.sdk.images.get(base.reference.removeprefix("docker-image://")).tag(repository, tag)
        (built,) = small_images.built_all([plan], engine)
        assert isinstance(built, BuiltImage)
        assert not built.cached


def test_an_image_that_somebody_built_on_ours_is_not_taken_for_it(
    engine: Engine, base: Base
) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN true\n")
    with small_images.image(plan, engine) as ours:
        # It inherits every label, and somebody gives it our immutable name.
        derived = small_images.derived_image(plan.reference, "ENV MINE=1", plan.reference, engine)
        assert derived.id != ours.digest
        assert derived.labels["io.dlimg.key"] == plan.key
        (again,) = small_images.built_all([plan], engine)
        assert isinstance(again, BuiltImage)
        assert (again.digest, again.cached) == (ours.digest, False)
        assert engine.sdk.images.get(plan.moving_reference).id == ours.digest


def test_an_image_of_which_nothing_is_remembered_comes_from_the_build_cache(
    engine: Engine, base: Base, tmp_path: Path
) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN date +%N > /date\n")
    with small_images.image(plan, engine) as first:
        elsewhere = replace(engine.context, state=tmp_path / "state")
        (again,) = small_images.built_all([plan], replace(engine, context=elsewhere))
        assert isinstance(again, BuiltImage)
        assert (again.digest, again.cached) == (first.digest, False)


def test_a_failed_build_does_not_stop_other_images(engine: Engine, base: Base) -> None:
    good = "FROM debian:trixie-slim\nRUN echo good\n"
    bad = "FROM debian:trixie-slim\nRUN for n in $(seq 40); do echo line $n; done; exit 3\n"
    wanted = [small_images.planned(base, text) for text in (good, bad, good)]
    with small_images.unnamed_afterwards(engine, *wanted):
        first, failure, third = small_images.built_all(wanted, engine)
        assert isinstance(first, BuiltImage)
        assert isinstance(third, BuiltImage)
        assert isinstance(failure, BuildFailure)
        assert failure.planned == wanted[1]
        assert "RUN for n in" in failure.step
        assert failure.log[-2:] == ("line 40", "exit code: 3")
        assert "line 5" not in failure.log
        assert not small_images.has_image(engine, wanted[1].reference)
        assert not small_images.has_image(engine, wanted[1].moving_reference)
        assert explain_failure(failure).where == wanted[1].image.cell.id


def test_an_engine_that_ends_while_it_builds_is_no_engine(engine: Engine, base: Base) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN true\n")
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    lost = replace(engine, context=Context.of({**engine.environment, **nowhere}, print))
    with pytest.raises(NoEngine, match="no longer answers: No such file"):
        small_images.built_all([plan], lost)


@pytest.mark.slow
def test_an_error_before_the_first_step_is_reported(engine: Engine, base: Base) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nCOPIED nothing\n")
    (failure,) = small_images.built_all([plan], engine)
    assert isinstance(failure, BuildFailure)
    assert "COPIED" in "\n".join(failure.log)


def test_a_full_disk_is_named(engine: Engine, base: Base) -> None:
    fill = "RUN --mount=type=tmpfs,target=/full,size=1048576 head -c 2M /dev/zero > /full/x\n"
    (failure,) = small_images.built_all(
        [small_images.planned(base, f"FROM debian:trixie-slim\n{fill}")], engine
    )
    assert isinstance(failure, BuildFailure)
    assert "no space left" in explain_failure(failure).message
    assert "dlimg prune" in explain_failure(failure).hint


def test_secrets_reach_a_step_and_no_layer(engine: Engine, base: Base, tmp_path: Path) -> None:
    hidden = f"hidden-{secrets.token_hex(8)}"
    (tmp_path / "netrc").write_text(f"machine mirror password {hidden}")
    steps = (
        "RUN --mount=type=secret,id=netrc wc -c < /run/secrets/netrc > /size\n"
        "RUN --mount=type=secret,id=uv.toml cat /run/secrets/uv.toml\n"
        'RUN test "$HTTPS_PROXY" = "http://user:$(echo secret)@127.0.0.1:9" && env | wc -l\n'
    )
    environment = {
        "NETRC": str(tmp_path / "netrc"),
        "UV_DEFAULT_INDEX": f"https://user:{hidden}@mirror/simple",
        "HTTPS_PROXY": "http://user:secret@127.0.0.1:9",
    }
    plan = small_images.planned(base, f"FROM debian:trixie-slim\n{steps}")
    with (
        small_images.unnamed_afterwards(engine, plan),
        secrets_from(Context.of(environment, print)) as using,
    ):
        (built,) = small_images.built_all([plan], engine, using=using)
        assert isinstance(built, BuiltImage), built
        image = engine.sdk.images.get(plan.reference)
        about = json.dumps([image.attrs, image.history()])
        assert hidden not in about
        assert "user:secret" not in about
        size = engine.sdk.containers.run(plan.reference, ["cat", "/size"], remove=True)
        assert int(size) == len(f"machine mirror password {hidden}")
        files = ["find", "/run/secrets", "-type", "f"]
        assert (
            engine.sdk.containers.run(
                plan.reference, ["sh", "-c", f"{' '.join(files)} || true"], remove=True
            )
            == b""
        )


def test_local_wheels_are_at_hand_while_building(
    engine: Engine, base: Base, tmp_path: Path
) -> None:
    wheel = samples.wheel(sha256=hashlib.sha256(b"wheel").hexdigest(), local=True)
    (tmp_path / wheel.file).write_bytes(b"wheel")
    (tmp_path / "other.whl").write_bytes(b"other")
    text = "FROM debian:trixie-slim\nRUN --mount=type=bind,from=wheels,target=/w ls /w > /seen\n"
    plan = small_images.planned(base, text)
    plan = replace(plan, image=replace(plan.image, lock=samples.lock(wheels=(wheel,))))
    with small_images.unnamed_afterwards(engine, plan):
        with pytest.raises(BadInput, match="in none of the extra folders"):
            small_images.built_all([plan], engine)
        (built,) = small_images.built_all([plan], engine, find_links=[tmp_path])
        assert isinstance(built, BuiltImage), built
        seen = engine.sdk.containers.run(plan.reference, ["cat", "/seen"], remove=True)
        assert seen.decode().split() == [wheel.file]


def test_a_build_that_cannot_fit_is_refused_before_it_starts(engine: Engine, base: Base) -> None:
    plan = small_images.planned(base, "FROM debian:trixie-slim\nRUN true\n")
    huge = samples.lock(wheels=(samples.wheel(size=10**15),))
    with pytest.raises(Negative, match="no space left"):
        small_images.built_all([replace(plan, image=replace(plan.image, lock=huge))], engine)
    assert not small_images.has_image(engine, plan.reference)


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from tests.support import small_images
from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine import discover
from dlimg.model import Base, BaseSource

signal.signal(signal.SIGTERM, signal.default_int_handler)
engine = discover.find_engine(Context.of(os.environ, print), private="allow")
base = Base(os="debian13", source=BaseSource.BOOTSTRAP, identity="x", reference=sys.argv[1])
sleep = f"RUN echo asleep && sleep {sys.argv[2]}"
text = f"FROM debian:trixie-slim\\n{sleep}\\n"
wanted = [small_images.planned(base, text) for _ in range(3)]
def show(progress):
    if "sleep" in progress.name:
        print("asleep", *(one.reference for one in wanted), flush=True)
try:
    with secrets_from(Context.of(os.environ, print)) as using:
        small_images.built_all(wanted, engine, using=using, on_progress=show)
except KeyboardInterrupt:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(
    engine: Engine, base: Base, tmp_path: Path, number: signal.Signals
) -> None:
    seconds = str(30_000 + secrets.randbelow(10_000))
    environment = {
        **os.environ,
        **engine.environment,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), base.reference, seconds],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        line = next((text for text in child.stdout if text.startswith("asleep")), "")
        assert line
        assert list(tmp_path.iterdir())
        child.send_signal(number)
        time.sleep(0.2)
        child.send_signal(number)
        try:
            assert child.wait(timeout=60) == 130
        finally:
            child.kill()
    assert not [name for name in line.split()[1:] if small_images.has_image(engine, name)]
    assert list(tmp_path.iterdir()) == []
    assert small_images.processes_with(str(tmp_path)) == []
    if engine.host.startswith("unix://"):
        deadline = time.monotonic() + 60
        while small_images.processes_with(f"sleep {seconds}") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert small_images.processes_with(f"sleep {seconds}") == []
