"""Checks side by side: how many, which alone, in which order, and what ends them."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from dlimg.checks.container_setup import ContainerKind, kind_of
from dlimg.checks.discover import checks_for
from dlimg.checks.side_by_side import (
    CheckQueue,
    OrderedLog,
    count_at_once,
    run_side_by_side,
    runs_alone,
)
from dlimg.checks.verdicts import NO_DEVICE
from dlimg.errors import Negative
from dlimg.model import Check
from tests.support import samples
from tests.support.image_folders import checks_in

IMAGES: Final = Path(__file__).parents[3] / "images"
DEVICE: Final = "nvidia.com/gpu=all"


def check(name: str, **fields: Any) -> Check:
    return Check(name=name, path=name, script="", sha256="", proves="", **fields)


def of_dlimg(accelerator: str) -> Mapping[str, Check]:
    cell = samples.cell(accelerator=accelerator)
    return {check.name: check for check in checks_for(cell, checks_in(IMAGES))}


@pytest.mark.parametrize(
    ("checks", "cores", "memory", "count"),
    [
        (9, 2, 18_000_000_000, 2),  # one for each core
        (9, 16, 18_000_000_000, 4),  # never under 4 GB each
        (9, 16, 7_900_000_000, 1),
        (9, 16, 100_000_000, 1),
        (3, 16, 96_000_000_000, 3),
        (0, 16, 96_000_000_000, 1),
    ],
)
def test_how_many_run_at_once(checks: int, cores: int, memory: int, count: int) -> None:
    every = [check(str(number)) for number in range(checks)]
    assert count_at_once(every, cores=cores, memory=memory) == count


def test_what_measures_runs_alone() -> None:
    """On a GPU that is every check which needs one; elsewhere what says so in its header."""
    on_gpu = {name for name, check in of_dlimg("cuda13.2").items() if runs_alone(check, DEVICE)}
    assert {"nvidia_smi", "benchmark", "gpu_memory_released", "conv_training"} <= on_gpu
    assert on_gpu == {
        name
        for name, check in of_dlimg("cuda13.2").items()
        if "gpu" in check.needs or name == "runtime_start"
    }
    for accelerator in ("cuda13.2", "cpu"):
        without = of_dlimg(accelerator).items()
        alone = {name for name, check in without if runs_alone(check, NO_DEVICE)}
        assert alone == {"runtime_start"}


def test_a_check_says_why_it_runs_alone() -> None:
    checks = of_dlimg("cuda13.2")
    assert checks["runtime_start"].alone
    assert checks["benchmark"].alone
    assert not checks["libraries_load"].alone


def test_the_longest_check_of_the_containers_kind_is_next() -> None:
    root, other = {"container": "root"}, {"container": "read-only"}
    queue = CheckQueue(
        [
            check("a", seconds=60),
            check("b", seconds=300),
            check("c", seconds=60),
            check("root", seconds=60, **root),
            check("roots", seconds=90, **root),
            check("other", seconds=400, **other),
        ]
    )

    def names(kind: ContainerKind | None) -> Iterator[str]:
        while next_check := queue.next(kind):
            kind = kind_of(next_check)
            yield next_check.name

    # The ordinary kind has the most seconds; of equal checks the first is taken.
    assert list(names(None)) == ["b", "a", "c", "other", "roots", "root"]


def test_nothing_is_left_of_a_closed_queue() -> None:
    queue = CheckQueue([check("a"), check("b")])
    queue.close()
    assert queue.next(None) is None


def test_lines_come_in_the_order_of_the_checks() -> None:
    a, b, c, d = map(check, "abcd")
    lines: list[str] = []
    log = OrderedLog(lines.append, [a, b, c, d])
    log.add(c, "3")
    log.add(b, "2")
    assert lines == []
    log.add(a, "1")
    assert lines == ["1", "2", "3"]
    log.add(d, "")
    assert lines == ["1", "2", "3"]


class Containers:
    """Makes stand-ins for containers, and notes what becomes of them."""

    def __init__(self) -> None:
        self.made: list[StandIn] = []
        self.lock = threading.Lock()

    def new(self, kind: ContainerKind) -> Any:
        with self.lock:
            self.made.append(StandIn(kind))
            return self.made[-1]


class StandIn:
    """A container in which a check lasts until it is told to end."""

    def __init__(self, kind: ContainerKind) -> None:
        self.kind = kind
        self.users = 0
        self.most = 0
        self.removed = 0
        self.ended = threading.Event()

    def use(self, seconds: float) -> None:
        self.users += 1
        self.most = max(self.most, self.users)
        self.ended.wait(seconds)
        self.users -= 1
        if self.ended.is_set():
            raise RuntimeError("the container is gone")

    def remove(self) -> None:
        self.removed += 1

    def end(self) -> None:
        self.ended.set()


def test_no_two_checks_share_a_container_at_a_time() -> None:
    kinds: list[Mapping[str, Any]] = [{}, {"container": "root"}, {"needs": frozenset({"network"})}]
    checks = [check(str(number), **kinds[number % 3]) for number in range(24)]
    containers, ran, at_once = Containers(), list[str](), [0, 0]

    def run_one(container: Any, check: Check) -> None:
        with containers.lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
            ran.append(check.name)
            assert container.kind == kind_of(check)
        container.use(0.01)
        with containers.lock:
            at_once[0] -= 1

    run_side_by_side(checks, 3, containers.new, run_one)
    assert sorted(ran) == sorted(check.name for check in checks)
    assert at_once[1] == 3
    assert {container.most for container in containers.made} == {1}
    assert all(container.removed for container in containers.made)
    assert len(containers.made) < len(checks)


def test_an_error_lets_no_further_check_begin() -> None:
    checks = [check(str(number)) for number in range(50)]
    containers, ran = Containers(), list[str]()

    def run_one(container: Any, check: Check) -> None:
        ran.append(check.name)
        if len(ran) == 4:
            raise Negative("the engine gives no container")
        container.use(0.01)

    with pytest.raises(Negative, match="gives no container"):
        run_side_by_side(checks, 2, containers.new, run_one)
    assert len(ran) <= 6
    assert all(container.removed for container in containers.made)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_container(number: signal.Signals) -> None:
    checks = [check(str(number)) for number in range(9)]
    containers, ran = Containers(), list[str]()

    def run_one(container: Any, check: Check) -> None:
        ran.append(check.name)
        if len(ran) == 3:
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        container.use(60)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(checks, 3, containers.new, run_one)
    assert time.monotonic() - began < 10
    assert len(ran) == 3
    assert all(container.ended.is_set() for container in containers.made)
    assert all(container.removed for container in containers.made)
