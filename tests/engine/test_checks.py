"""Checks in containers: every one ends, is judged, and leaves nothing behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, cast

import docker
import pytest
from docker.models.containers import Container

from dlimg.checks import run, side_by_side
from dlimg.checks.run import LABEL, CheckSettings
from dlimg.checks.verdicts import is_gpu_tested, outcome_of
from dlimg.engine.client import Engine
from dlimg.engine.gpu import gpu_devices
from dlimg.errors import BadInput, Negative, NoEngine
from dlimg.host.process import wait_until
from dlimg.model import Base, BuiltImage, Check, CheckStatus, Evidence
from tests.support import engine_proxy, small_images
from tests.support.image_folders import files_in

pytestmark = pytest.mark.engine

FAMILY = "pytorch"
ONLINE = "test -e /sys/class/net/eth0"
OFFLINE = f"! {ONLINE}"
# A script prints the volume that its container has, by its folder in the engine.
VOLUME = "grep -o '/volumes/[0-9a-f]*/' /proc/self/mountinfo"


@pytest.fixture(scope="module")
def built(engine: Engine, base: Base) -> Iterator[BuiltImage]:
    with small_images.image(small_images.planned(base, small_images.WITH_PYTHON), engine) as result:
        yield result


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for folder in ("common", FAMILY):
        (tmp_path / "images" / folder / "checks").mkdir(parents=True)
    return tmp_path / "images"


def check(
    images: Path,
    name: str,
    script: str,
    *,
    seconds: int = 30,
    needs: str = "",
    **header: str,
) -> Check:
    path = images / FAMILY / "checks" / f"{name}.py"
    path.write_text(script)
    return Check(
        name=name,
        path=str(path),
        script=script,
        sha256=f"sha of {script}",
        proves="a thing",
        needs=frozenset({needs} - {""}),
        seconds=seconds,
        **cast("dict[str, Any]", header),
    )


def settings(
    images: Path,
    *,
    memory: int = 0,
    cores: int = 1,
    patience: float = 15.0,
    processes: int = 4096,
) -> CheckSettings:
    """With one core a check has the container that the one before it had."""
    return CheckSettings(
        evidence=images.parent / "evidence",
        log=print,
        memory=memory,
        cores=cores,
        grace=patience,
        processes=processes,
    )


def run_checks(
    engine: Engine,
    built: BuiltImage,
    images: Path,
    *checks: Check,
    device: str | None = None,
    using: CheckSettings | None = None,
) -> Evidence:
    return run.run_checks(
        built,
        checks,
        engine,
        device=device,
        images=files_in(images),
        settings=using or settings(images),
    )


def left_over(engine: Engine, built: BuiltImage) -> list[str]:
    label = f"{LABEL}={built.digest}"
    result = engine.sdk.api.containers(all=True, filters={"label": label})
    return [container["Names"][0].removeprefix("/") for container in result]


def volumes(engine: Engine) -> set[str]:
    return {volume["Name"] for volume in engine.sdk.api.volumes()["Volumes"] or ()}


def test_scripts_get_their_inputs_and_a_verdict(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    (images / "common" / "checks" / "_shared.py").write_text("value=shared")
    about = """
set -eu
. "$(dirname "$0")/../../common/checks/_shared.py"
test "$value" = shared
test "$(id -u):$(id -g)" = 1000:100
test "$DLIMG_SMALL" = yes
test "$DLIMG_GPU" = none
touch here
! touch "$0"
ls /sys/class/net
echo "$DLIMG_CELL"
"""
    evidence = run_checks(
        engine,
        built,
        images,
        check(images, "about", about),
        check(images, "lacks", "echo no GPU here >&2; exit 77"),
        check(images, "fails", 'echo "{\\"loss\\": 3}"; echo 3 is not 2 >&2; exit 1'),
    )
    about_, lacks, fails = evidence.verdicts
    cell = built.planned.image.cell
    assert about_.status is CheckStatus.PASSED, about_
    assert about_.figures["version"] == cell.version
    assert about_.figures["cuda"] == ""
    assert "lo\n" in about_.output
    assert "eth0" not in about_.output
    assert (lacks.status, lacks.reason) == (CheckStatus.NOT_RUN, "no GPU here")
    assert (fails.status, fails.reason) == (CheckStatus.FAILED, "3 is not 2")
    assert fails.figures == {"loss": 3}
    assert (evidence.digest, evidence.cell, evidence.device) == (built.digest, cell.id, "none")
    assert evidence.engine.endswith(f" {engine.version}")
    assert outcome_of(evidence.verdicts) == "failed"
    assert left_over(engine, built) == []


def test_checks_of_another_folder_are_not_reported_missing(
    engine: Engine, built: BuiltImage, images: Path, tmp_path: Path
) -> None:
    """Several clones of a project share what is known on a machine, and no list of checks."""
    evidence = tmp_path / "evidence"
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.py").write_text("exit 0")
    first = check(images, "first", "exit 0")
    second = check(images, "second", "exit 0")
    mine = replace(first, name="mine", path=str(own / "mine.py"), sha256="mine")
    clone = tmp_path / "clone" / "images"
    shutil.copytree(images, clone)

    def run(folder: Path, *checks: Check, own: Path | None = None) -> tuple[Evidence, list[str]]:
        results: list[str] = []
        using = replace(settings(images), evidence=evidence, own_checks=own, log=results.append)
        placed = [
            one if one is mine else replace(one, path=one.path.replace(str(images), str(folder)))
            for one in checks
        ]
        return run_checks(engine, built, folder, *placed, using=using), results

    result, _ = run(images, first, second, mine, own=own)
    assert [verdict.check for verdict in result.verdicts] == ["first", "second", "mine"]
    for folder in (images, clone):
        again, output = run(folder, first, second)
        assert [verdict.check for verdict in again.verdicts] == ["first", "second"]
        assert (again.vanished, output) == ((), [])
    # The clone has one check less now: it is missed there, once, and by no other.
    less, output = run(clone, first)
    assert less.vanished == ("second",)
    assert [line for line in output if "is gone" in line] == output != []
    assert run(clone, first)[0].vanished == ("second",)
    assert run(clone, first)[1] == []
    for files in ((first, second), (first, second, mine)):
        again, output = run(images, *files, own=own if mine in files else None)
        assert (again.vanished, output) == ((), [])
        assert len(again.verdicts) == len(files)
    # Their own folder is given again, and lacks one.
    (own / "other.py").write_text("exit 0")
    less, _ = run(images, first, second, own=own)
    assert less.vanished == ("mine",)


def test_own_checks_run_beside_the_modules_of_the_others(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    (images / "common" / "checks" / "_shared.py").write_text("value=shared")
    own = images.parent / "own"
    (own / FAMILY).mkdir(parents=True)
    (own / "_mine.py").write_text("more=mine")
    script = """
. "${0%/*}/_shared.py"; . "${0%/*}/_mine.py"
test "$value$more" = sharedmine && test -z "${PYTHONPATH-}"
"""
    (own / FAMILY / "ours.py").write_text(script)
    theirs = check(images, "theirs", "! test -e ${0%/*}/_mine.py")
    ours = replace(theirs, name="ours", path=str(own / FAMILY / "ours.py"))
    using = replace(settings(images), own_checks=own)
    evidence = run_checks(engine, built, images, theirs, ours, using=using)
    assert {verdict.status for verdict in evidence.verdicts} == {CheckStatus.PASSED}, evidence


def test_valid_verdicts_are_not_repeated(
    engine: Engine, built: BuiltImage, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = check(images, "passes", "date +%N >&2")
    lacks = check(images, "lacks", "exit 77", needs="gpu")
    first = run_checks(engine, built, images, passes, lacks)
    monkeypatch.setattr(engine.sdk.api, "create_container_from_config", None)
    assert run_checks(engine, built, images, passes, lacks) == first
    monkeypatch.undo()
    (images / FAMILY / "checks" / "_helper.py").write_text("changed")
    assert run_checks(engine, built, images, passes, lacks) != first


def test_only_failed_or_changed_checks_run_again(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    passes = check(images, "passes", "date +%N")
    fails = check(images, "fails", "exit 1")
    first = run_checks(engine, built, images, passes, fails)
    mended = check(images, "fails", "exit 0")
    second = run_checks(engine, built, images, passes, mended)
    assert second.verdicts[0] == first.verdicts[0]
    assert second.verdicts[1].status is CheckStatus.PASSED


def test_a_check_that_hangs_is_ended(engine: Engine, built: BuiltImage, images: Path) -> None:
    deaf = "trap '' TERM INT HUP; echo begun; while :; do sleep 1; done"
    began = time.monotonic()
    hangs, next_ = run_checks(
        engine,
        built,
        images,
        check(images, "hangs", deaf, seconds=1),
        check(images, "next", "pgrep -f hangs.py; ls /proc/[0-9]*/cmdline | wc -l"),
    ).verdicts
    assert (hangs.status, hangs.reason) == (CheckStatus.FAILED, "time limit of 1 s")
    assert hangs.output == "begun"
    assert next_.status is CheckStatus.PASSED
    assert time.monotonic() - began < 60
    assert left_over(engine, built) == []


@pytest.mark.slow
def test_a_check_that_kills_its_guard_is_ended_from_outside(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    # `timeout` is stopped, so that it can neither end the check nor end itself.
    wedge = "kill -STOP $PPID; trap '' TERM; while :; do sleep 1; done"
    wedged, next_ = run_checks(
        engine,
        built,
        images,
        check(images, "wedged", wedge, seconds=1),
        check(images, "next", "exit 0"),
        using=settings(images, patience=1.0),
    ).verdicts
    assert (wedged.status, wedged.reason) == (CheckStatus.FAILED, "time limit of 1 s")
    assert next_.status is CheckStatus.PASSED
    assert left_over(engine, built) == []


def test_a_check_that_takes_too_much_memory_is_named(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    greedy, next_ = run_checks(
        engine,
        built,
        images,
        check(images, "greedy", "head -c 500M /dev/zero | tail -c 400M > /dev/null"),
        check(images, "next", "exit 137"),
        using=settings(images, memory=100_000_000),
    ).verdicts
    assert greedy.status is CheckStatus.FAILED
    assert greedy.reason == "killed: it exceeded the memory limit of 0.1 GB"
    assert next_.reason == "exit code 137"


GREEDY = "dd if=/dev/zero of=/dev/null bs={size}M count=1"


@pytest.fixture
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "MEMORY_EACH", 150_000_000)


@pytest.mark.usefixtures("small_shares")
@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        pytest.param("echo no >&2; exit 1", CheckStatus.FAILED, "no", id="fails"),
        pytest.param(
            "trap '' TERM; sleep 600",
            CheckStatus.FAILED,
            "limit of 2 s",
            id="hangs",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            GREEDY.format(size=800),
            CheckStatus.FAILED,
            "memory limit of 0.3 GB",
            id="takes all memory",
        ),
        # More than its share beside another, less than it has alone.
        pytest.param(GREEDY.format(size=200), CheckStatus.PASSED, "", id="takes more memory"),
        *(
            pytest.param(script, CheckStatus.FAILED, reason, id=name, marks=pytest.mark.slow)
            for name, script, reason in (
                ("kills its container", "kill -9 1; sleep 600", ""),
                ("bomb", "f() { f | f & }; f; sleep 600", ""),
                ("fills its output", "yes", "limit of 2 s"),
            )
        ),
    ],
)
def test_a_check_spoils_no_other_that_runs_beside_it(
    engine: Engine,
    built: BuiltImage,
    images: Path,
    script: str,
    status: CheckStatus,
    reason: str,
) -> None:
    lines: list[str] = []
    using = settings(images, cores=2, memory=300_000_000, patience=2.0, processes=100)
    names = ("before", "rude", "beside", "after", "last")
    checks = [check(images, name, f"sleep 0.3; {ALONE}") for name in names]
    checks[1] = check(images, "rude", script, seconds=2)
    verdicts = run_checks(
        engine, built, images, *checks, using=replace(using, log=lines.append)
    ).verdicts
    assert [verdict.check for verdict in verdicts] == list(names)
    rude = verdicts[1]
    assert (rude.status, rude.attempts) == (status, 1), rude
    assert rude.reason.endswith(reason)
    others = [verdict for verdict in verdicts if verdict.check != "rude"]
    assert {verdict.status for verdict in others} == {CheckStatus.PASSED}, others
    cell = built.planned.image.cell.id
    logged = [line.removeprefix(f"{cell}  ").partition(" ")[0] for line in lines]
    assert [name for name in logged if name != "rude"] == ["before", "beside", "after", "last"]
    assert logged.count("rude") == 1
    assert left_over(engine, built) == []


def test_checks_side_by_side_have_containers_of_their_own_and_share_the_memory(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    waits = "until [ -e /srv/code ]; do sleep 0.05; done; exit $(cat /srv/code)"
    checks = [check(images, name, waits) for name in ("one", "two")]
    limits: set[int] = set()

    def look_and_tell() -> None:
        assert wait_until(lambda: len(left_over(engine, built)) == 2, 60), "not two containers"
        for name in left_over(engine, built):
            limits.add(engine.sdk.api.inspect_container(name)["HostConfig"]["Memory"])
            container = engine.sdk.containers.get(name)
            assert wait_until(partial(_write_code, container, 0), 60), "it does not run"

    teller = Thread(target=look_and_tell)
    teller.start()
    using = settings(images, cores=2, memory=8_000_000_000)
    verdicts = run_checks(engine, built, images, *checks, using=using).verdicts
    teller.join()
    assert {verdict.status for verdict in verdicts} == {CheckStatus.PASSED}, verdicts
    assert limits == {4_000_000_000}
    assert left_over(engine, built) == []


def test_nothing_runs_beside_a_check_that_measures(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    """Its lines are first, and it has all of the memory."""
    lines: list[str] = []
    using = replace(settings(images, cores=2, memory=8_000_000_000), log=lines.append)
    memory = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    verdicts = run_checks(
        engine,
        built,
        images,
        check(images, "one", f"{memory}; sleep 0.5"),
        check(images, "measures", f"{memory}; sleep 0.5", alone="its figures are times"),
        check(images, "two", f"{memory}; sleep 0.5"),
        using=using,
    ).verdicts
    assert [verdict.check for verdict in verdicts] == ["one", "measures", "two"]
    one, measures, two = (int(verdict.output.split()[0]) for verdict in verdicts)
    assert one == two
    assert one < 4_000_000_001 <= measures <= 8_000_000_000
    assert "measures passed" in lines[0]


# The container's first process, `timeout`, a shell, and what counts them.
ALONE = "test $(ls -d /proc/[0-9]* | wc -l) -le 6"


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        pytest.param("kill -9 1; kill 1; sleep 0.2", CheckStatus.PASSED, "", id="kills the first"),
        pytest.param(
            "exec >&- 2>&-; sleep 600",
            CheckStatus.FAILED,
            "limit of 3 s",
            id="goes silent",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "exec >&- 2>&-; sleep 1; exit 3",
            CheckStatus.FAILED,
            "code 3",
            id="ends silent",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "(sleep 600) & exit 0", CheckStatus.PASSED, "", id="leaves one that holds stdout"
        ),
        pytest.param(
            "(exec >&- 2>&-; sleep 600) & exit 4",
            CheckStatus.FAILED,
            "code 4",
            id="leaves",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "setsid sh -c 'trap : 15; sleep 600' & exit 0", CheckStatus.PASSED, "", id="daemon"
        ),
        pytest.param("f() { f | f & }; f; sleep 600", CheckStatus.FAILED, "", id="bomb"),
        pytest.param(
            "f() { f | f & }; f",
            CheckStatus.PASSED,
            "",
            id="bomb that is left",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "yes", CheckStatus.FAILED, "limit of 3 s", id="fills its output", marks=pytest.mark.slow
        ),
        pytest.param(
            "head -c 9999999 /dev/zero; echo bad >&2; exit 1",
            CheckStatus.FAILED,
            "bad",
            id="0",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "rm -rf /tmp/dlimg/* /tmp/dlimg/work; exit 1", CheckStatus.FAILED, "", id="wipes"
        ),
        pytest.param(
            "kill -STOP -1; exit 0",
            CheckStatus.FAILED,
            "limit of 3 s",
            id="stops all",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "kill -9 -1", CheckStatus.FAILED, "", id="kills all it can", marks=pytest.mark.slow
        ),
        pytest.param("kill -9 $PPID; sleep 600", CheckStatus.FAILED, "", id="kills its guard"),
    ],
)
def test_every_check_gets_a_clean_container(
    engine: Engine, built: BuiltImage, images: Path, script: str, status: CheckStatus, reason: str
) -> None:
    began = time.monotonic()
    rude, next_ = run_checks(
        engine,
        built,
        images,
        check(images, "rude", script, seconds=3),
        check(images, "next", f"{ALONE} || {{ cat /proc/[0-9]*/cmdline >&2; exit 1; }}; echo > x"),
        using=settings(images, patience=2.0, processes=100),
    ).verdicts
    assert (rude.status, next_.status) == (status, CheckStatus.PASSED), (rude, next_)
    assert rude.reason.endswith(reason)
    assert time.monotonic() - began < 60
    assert left_over(engine, built) == []


def test_each_kind_of_container_has_its_restrictions(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    text = "cp /bin/true /tmp/true; /tmp/true"
    evidence = run_checks(
        engine,
        built,
        images,
        check(
            images,
            "shut",
            f"{VOLUME}; ! touch ~/x && {text} && id -u | grep -qx 1000 && {OFFLINE}",
            container="read-only",
        ),
        check(
            images,
            "anyone",
            f"{VOLUME}; id | grep '^uid=12345 gid=0(root)' && ! whoami && {OFFLINE}",
            container="any user",
        ),
        check(images, "online", f"{VOLUME}; {ONLINE} && touch ~/x", needs="network"),
        check(
            images,
            "both",
            f"{VOLUME}; {ONLINE} && ! touch ~/x",
            needs="network",
            container="read-only",
        ),
        check(images, "first", f"{VOLUME}; touch ~/first; ! test -e ~/x; {OFFLINE}"),
        check(images, "later", "test -e ~/first"),
    )
    assert {verdict.check: verdict.status for verdict in evidence.verdicts} == dict.fromkeys(
        ("shut", "anyone", "online", "both", "first", "later"), CheckStatus.PASSED
    ), evidence.verdicts
    assert left_over(engine, built) == []
    # Each container has a volume for the scripts, and goes with it.
    had = {
        name
        for verdict in evidence.verdicts
        for name in re.findall(r"/volumes/(\w+)/", verdict.output)
    }
    assert len(had) == 5
    assert wait_until(lambda: not had & volumes(engine), 10)


def test_only_flaky_checks_get_a_second_attempt_in_a_new_container(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    once = "test -e ~/x && exit 0; touch ~/x; echo not yet >&2; exit 1"
    afresh = "test -e ~/x && exit 0; touch ~/x; echo a stranger >&2; exit 1"
    evidence = run_checks(
        engine,
        built,
        images,
        check(images, "steady", once),
        check(images, "hopeless", f"rm -f ~/x; {afresh}", flaky="others use it"),
        check(images, "slow", "sleep 60", seconds=1, flaky="others use it"),
        check(images, "lacks", "exit 77", flaky="others use it"),
    )
    output = {
        verdict.check: (verdict.status, verdict.attempts, verdict.first_reason)
        for verdict in evidence.verdicts
    }
    assert output == {
        "steady": (CheckStatus.FAILED, 1, ""),
        "hopeless": (CheckStatus.FAILED, 2, "a stranger"),
        "slow": (CheckStatus.FAILED, 2, "time limit of 1 s"),
        "lacks": (CheckStatus.NOT_RUN, 1, ""),
    }


def test_what_passes_at_the_second_attempt_has_passed_and_says_so(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    # Two containers share nothing; each is told from outside how its attempt ends.
    waits = "until [ -e /srv/code ]; do sleep 0.05; done; echo too early >&2; exit $(cat /srv/code)"
    tell = Thread(target=_tell_each_container, args=(engine, built, (1, 0)))
    tell.start()
    evidence = run_checks(
        engine, built, images, check(images, "waits", waits, flaky="it begins too early")
    )
    tell.join()
    (verdict,) = evidence.verdicts
    assert (verdict.status, verdict.reason) == (CheckStatus.PASSED, ""), verdict
    assert (verdict.attempts, verdict.first_reason) == (2, "too early")
    assert outcome_of(evidence.verdicts) == "passed"


def _tell_each_container(engine: Engine, built: BuiltImage, codes: Sequence[int]) -> None:
    names: set[str] = set()
    for code in codes:
        assert wait_until(lambda: bool(set(left_over(engine, built)) - names), 60), "no container"
        (name,) = set(left_over(engine, built)) - names
        names.add(name)
        container = engine.sdk.containers.get(name)
        assert wait_until(partial(_write_code, container, code), 60), "it does not run"


def _write_code(container: Container, code: int) -> bool:
    try:
        ended = container.exec_run(
            ["sh", "-c", f"echo {code} > /srv/new; mv /srv/new /srv/code"], user="0"
        )
    except docker.errors.APIError:  # it has not been started
        return False
    return ended.exit_code == 0


def test_memory_that_ran_out_is_told_of_the_check_that_took_it(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    copes, fails = run_checks(
        engine,
        built,
        images,
        check(images, "copes", "tail -c 400M < /dev/zero > /dev/null; exit 0"),
        check(images, "fails", "echo no >&2; exit 1"),
        using=settings(images, memory=100_000_000),
    ).verdicts
    assert (copes.status, fails.reason) == (CheckStatus.PASSED, "no")


def test_an_engine_that_dies_during_a_check_is_reported(
    engine: Engine, built: BuiltImage, images: Path, tmp_path: Path
) -> None:
    with engine_proxy.proxied_engine(engine, tmp_path / "wire.sock") as (through, cut):

        def cut_when_asleep() -> None:
            _until_asleep(engine, built)
            cut()

        Thread(target=cut_when_asleep).start()
        began = time.monotonic()
        with pytest.raises(NoEngine, match="the container engine has failed"):
            run_checks(through, built, images, check(images, "sleeps", "sleep 600"))
    assert time.monotonic() - began < 60
    assert list((tmp_path / "evidence").glob("*.json")) == []
    for name in left_over(engine, built):  # the engine that is gone could not be told
        engine.sdk.api.remove_container(name, force=True, v=True)


def test_an_image_that_is_gone_is_named(engine: Engine, built: BuiltImage, images: Path) -> None:
    gone = replace(built, digest=f"sha256:{'0' * 64}")
    with pytest.raises(Negative, match=r"no longer has the image sha256:0{64}") as caught:
        run_checks(engine, gone, images, check(images, "a", "exit 0"))
    assert "dlimg build pytorch-" in caught.value.problems[0].hint


def test_a_gpu_check_that_passes_without_a_gpu_is_not_run(
    engine: Engine, built: BuiltImage, images: Path
) -> None:
    evidence = run_checks(engine, built, images, check(images, "cheats", "exit 0", needs="gpu"))
    assert evidence.verdicts[0].status is CheckStatus.NOT_RUN
    assert outcome_of(evidence.verdicts) == "not-run"
    assert not is_gpu_tested(evidence)


@pytest.fixture
def made_up_device(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A CDI device of no vendor that brings a stand-in `nvidia-smi` and a variable."""
    folders = [Path(folder) for folder in engine.sdk.info().get("CDISpecDirs") or ()]
    if not folders or not engine.host.startswith("unix://"):
        pytest.fail("the engine has no folder for CDI specifications on this machine")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho GPU 0: made up\n")
    program.chmod(0o755)
    mount = {
        "hostPath": str(program),
        "containerPath": "/usr/bin/nvidia-smi",
        "options": ["bind", "ro"],
    }
    edits = {"env": ["MADE_UP=yes"], "mounts": [mount]}
    vendor = f"test-{small_images.TOKEN}.example.com"
    spec = {
        "cdiVersion": "0.5.0",
        "kind": f"{vendor}/gpu",
        "devices": [{"name": "0", "containerEdits": edits}],
    }
    folders[-1].mkdir(parents=True, exist_ok=True)
    path = folders[-1] / f"dlimg-{vendor}.json"
    path.write_text(json.dumps(spec))
    yield f"{vendor}/gpu=0"
    path.unlink()


def test_a_device_reaches_the_checks(
    engine: Engine, built: BuiltImage, images: Path, made_up_device: str
) -> None:
    script = 'set -e; test "$MADE_UP" = yes; test "$DLIMG_GPU" = expected; nvidia-smi'
    sees = check(images, "sees", script, needs="gpu")
    without = run_checks(engine, built, images, sees)
    assert without.verdicts[0].status is CheckStatus.FAILED
    evidence = run_checks(engine, built, images, sees, device=made_up_device)
    assert evidence.verdicts[0].output == "GPU 0: made up", evidence
    assert evidence.device == made_up_device
    assert is_gpu_tested(evidence)


def test_verdicts_hold_for_one_gpu_only(
    engine: Engine, built: BuiltImage, images: Path, made_up_device: str, tmp_path: Path
) -> None:
    sight = (
        """printf '{"gpus": [{"uuid": "%s", "name": "N", "driver": "1"}]}\\n' "$(nvidia-smi)" """
    )
    looks = check(images, "nvidia_smi", sight, needs="gpu")
    draws = check(images, "draws", "date +%N", needs="gpu")
    plain = check(images, "plain", "date +%N")

    def seen(*checks: Check) -> list[str]:
        evidence = run_checks(engine, built, images, *checks, device=made_up_device)
        assert {verdict.status for verdict in evidence.verdicts} == {CheckStatus.PASSED}, evidence
        return [verdict.output for verdict in evidence.verdicts]

    first = seen(draws, looks, plain)
    assert first[1] == '{"gpus": [{"uuid": "GPU 0: made up", "name": "N", "driver": "1"}]}'
    assert seen(draws, looks, plain) == first
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho GPU 1: another one\n")
    second = seen(draws, looks, plain)
    assert second[0] != first[0]
    assert second[2] == first[2]
    assert seen(draws, looks, plain) == second
    # Without a look at it nobody knows which GPU it is.
    assert seen(draws, plain)[0] != second[0]


@pytest.mark.parametrize("device", ["example.com/gpu=9", "nvidia"])
def test_a_device_that_the_engine_lacks_is_wrong_input(
    engine: Engine, built: BuiltImage, images: Path, device: str
) -> None:
    if device in gpu_devices(engine):
        pytest.skip("this engine has an NVIDIA runtime")
    with pytest.raises(BadInput, match=f"cannot give {device} to a container"):
        run_checks(engine, built, images, check(images, "a", "exit 0", needs="gpu"), device=device)
    assert left_over(engine, built) == []


def test_an_image_without_python_fails(engine: Engine, base: Base, images: Path) -> None:
    text = "FROM debian:trixie-slim\nRUN rm -f /usr/bin/python*\n"
    with small_images.image(small_images.planned(base, text), engine) as broken:
        (verdict,) = run_checks(engine, broken, images, check(images, "a", "exit 0")).verdicts
    assert verdict.status is CheckStatus.FAILED
    assert "python" in verdict.reason


INTERRUPTED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from tests.support import samples
from tests.support.image_folders import files_in
from dlimg.context import Context
from dlimg.engine import discover
from dlimg.model import BuiltImage
from dlimg.model import Check
from dlimg.checks import run

engine = discover.find_engine(Context.of(os.environ, print), private="allow")
images = Path(sys.argv[2])
path = images / "pytorch" / "checks" / "sleeps.py"
check = Check(name="sleeps", path=str(path), script="", sha256="", proves="", seconds=600)
checks = [replace(check, name=f"sleeps {number}") for number in range(int(sys.argv[3]))]
built = BuiltImage(planned=samples.planned(), digest=sys.argv[1], size=0, seconds=0, cached=False)
using = run.CheckSettings(evidence=images, log=print, cores=2, memory=8_000_000_000)
try:
    run.run_checks(built, checks, engine, device=None, images=files_in(images), settings=using)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "checks"),
    [
        (signal.SIGTERM, 1),
        (signal.SIGINT, 3),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_leaves_no_container(
    engine: Engine, built: BuiltImage, images: Path, number: signal.Signals, checks: int
) -> None:
    check(images, "sleeps", "sleep 600")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, **engine.environment, "PYTHONPATH": root}
    argv = [sys.executable, "-c", INTERRUPTED, built.digest, str(images), str(checks)]
    with subprocess.Popen(argv, env=environment) as child:
        _until_asleep(engine, built)
        child.send_signal(number)
        time.sleep(0.02)
        child.send_signal(number)
        assert child.wait(timeout=30) == 130
    assert left_over(engine, built) == []
    assert list(images.glob("*.json")) == []


def _until_asleep(engine: Engine, built: BuiltImage) -> None:
    assert wait_until(lambda: _asleep(engine, built), 60), "no check sleeps"


def _asleep(engine: Engine, built: BuiltImage) -> bool:
    for name in left_over(engine, built):
        try:
            processes = engine.sdk.api.top(name)["Processes"] or []
        except docker.errors.APIError:
            continue
        if any("sleep 600" in " ".join(argv) for argv in processes):
            return True
    return False
