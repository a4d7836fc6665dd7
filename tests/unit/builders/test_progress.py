"""Progress from BuildKit's JSON lines, recorded from builds with buildx 0.29."""

import base64
import json
from functools import reduce

import pytest

from dlimg.builders.build_failure import explain_failure
from dlimg.builders.progress import LOG_LINES, BuildProgress, advance, failure_log, with_state
from dlimg.model import BuildFailure
from tests.support import samples

TIME = "2026-11-21T09:38:3{}.57911996Z"


def vertex(name: str, digest: str = "", **more: object) -> str:
    return json.dumps({"vertexes": [{"digest": digest or name, "name": name, **more}]})


def log(digest: str, text: str) -> str:
    data = base64.b64encode(text.encode()).decode()
    return json.dumps({"logs": [{"vertex": digest, "stream": 1, "data": data}]})


def after(*lines: str) -> BuildProgress:
    return reduce(advance, lines, BuildProgress(cell="a-cell"))


SYSTEM = "[system 1/2] RUN apt-get install"
FINAL = "[stage-1 1/1] RUN uv pip install"
GRAPH = (
    vertex("[internal] load build definition from Dockerfile", started=TIME.format(0)),
    vertex("[context debian:trixie-slim] dlimg-base:debian13"),
    vertex(SYSTEM),
    vertex(FINAL),
)


def test_only_the_steps_of_the_dockerfile_count() -> None:
    progress = after(*GRAPH)
    assert (progress.number, progress.total, progress.name) == (1, 2, "")


def test_a_step_at_work_is_named_and_numbered() -> None:
    done = vertex(SYSTEM, started=TIME.format(1), completed=TIME.format(3))
    running = vertex(FINAL, started=TIME.format(3))
    progress = after(*GRAPH, done, running)
    assert (progress.number, progress.total, progress.name) == (2, 2, FINAL)
    assert progress.state == "running"
    assert progress.seconds == pytest.approx(3.0)


def test_older_buildx_lays_an_event_out_over_many_lines() -> None:
    done = vertex(SYSTEM, started=TIME.format(1), completed=TIME.format(3))
    lines = [
        line
        for event in (*GRAPH, done)
        for line in json.dumps(json.loads(event), indent=2).splitlines()
    ]
    assert after(*lines) == after(*GRAPH, done)
    assert after(*lines, "ERROR: it ended badly").messages == ("ERROR: it ended badly",)


def test_a_cached_step_is_done() -> None:
    progress = after(*GRAPH, vertex(SYSTEM, started=TIME.format(1), cached=True))
    assert progress.steps[SYSTEM].state == "cached"
    assert progress.number == 2


def test_the_year_one_means_not_completed() -> None:
    status = {"statuses": [{"vertex": SYSTEM, "timestamp": "0001-01-01T00:00:00Z"}]}
    assert after(json.dumps(status)).seconds == 0.0


def test_a_line_that_arrives_in_two_parts_is_one_line() -> None:
    failed = vertex(SYSTEM, error="exit code: 1")
    progress = after(*GRAPH, log(SYSTEM, "one\ntw"), log(SYSTEM, "o\nthree\n"), failed)
    assert failure_log(progress) == ("one", "two", "three", "exit code: 1")


def test_a_progress_bar_is_what_a_terminal_shows_of_it() -> None:
    failed = vertex(SYSTEM, error="x")
    assert failure_log(after(log(SYSTEM, "10%\r50%\r90%\r\n"), failed))[0] == "90%"


def test_a_long_log_ends_with_its_last_lines() -> None:
    text = "".join(f"line {number}\n" for number in range(10_000))
    progress = after(*GRAPH, log(SYSTEM, text), vertex(SYSTEM, error="exit code: 1"))
    assert failure_log(progress)[-2:] == ("line 9999", "exit code: 1")
    assert len(failure_log(progress)) == LOG_LINES + 1


def test_the_error_is_told_without_the_script() -> None:
    error = 'process "/bin/bash -c set\nmany\nlines" did not complete successfully: exit code: 7'
    assert failure_log(after(vertex(SYSTEM, error=error))) == ("exit code: 7",)


def test_the_step_that_failed_is_told_and_not_one_that_was_only_cancelled() -> None:
    cancelled = vertex(FINAL, error="context canceled: context canceled")
    progress = with_state(after(*GRAPH, cancelled, vertex(SYSTEM, error="exit code: 1")), "failed")
    assert progress.failing is not None
    assert progress.failing.name == SYSTEM
    assert progress.state == "failed"


def test_where_no_step_failed_the_words_of_buildx_tell() -> None:
    progress = after("ERROR: no builder found", '{"half":', "[1, 2]")
    assert progress.failing is None
    assert failure_log(progress) == ("ERROR: no builder found", '{"half":', "[1, 2]")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("write /x: no space left on device", "no space left"),
        ("error: No space left on device (os error 28)", "no space left"),
        ("Hash mismatch for `jax==0.12.0.1`", "sha256"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "sha256"),
        ("Because jax was not found in the package registry", "not on the index"),
        ("invalid peer certificate: UnknownIssuer", "does not trust"),
        ("dns error: failed to lookup address: Temporary failure in name resolution", "reached"),
        ("E: Failed to fetch http://mirror/x  Connection refused", "reached"),
        ("x: it came out with other packages than its content key says: -a=1", "other packages"),
        ("exit code: 1", "the build failed"),
    ],
)
def test_the_cause_is_named(said: str, message: str) -> None:
    planned = samples.planned()
    failure = BuildFailure(planned=planned, step=FINAL, log=("a", said, "b"), seconds=1.0)
    problem = explain_failure(failure)
    assert message in problem.message
    assert problem.where == planned.image.cell.id
    assert FINAL in problem.message
    assert problem.hint
