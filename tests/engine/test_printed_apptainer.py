"""Printed runs for Apptainer do in the real tool what the run itself would do."""
# ruff: noqa: S108  # the folders are in containers

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult
from dlimg.model import Base
from dlimg.run.model import Mount, RunName, RunSpec
from dlimg.run_formats.model import PrintedRun
from dlimg.run_formats.write import write_run
from tests.support.apptainer_machine import HOME, USER, ApptainerMachine, apptainer_machine
from tests.support.layout_image import LayoutImage
from tests.support.printed_runs import HARD_FOLDER, HARD_WORDS, TRAIN

pytestmark = [pytest.mark.engine, pytest.mark.formats]
FOLDER = f"{HOME}/{HARD_FOLDER.rpartition('/')[2]}"
DATA = f"{HOME}/数据, $x"
# More than the 64 MB of memory that Apptainer gives to files of a contained run.
FILL = "head -c 100M /dev/zero >~/file; head -c 100M /dev/zero >/tmp/file; ls ~ /tmp/file; exit 3"


@pytest.fixture(scope="module")
def machine(engine: Engine, base: Base) -> Iterator[ApptainerMachine]:
    with apptainer_machine(engine, base) as machine:
        yield machine


@pytest.fixture(scope="module")
def printed(machine: ApptainerMachine, layout_image: LayoutImage) -> PrintedRun:
    write = 'mkdir -p "$1" "$2"; cat >"$1/train.py"; printf data >"$2/x"'
    made = machine.run("sh", "-euc", write, "sh", FOLDER, DATA, stdin=TRAIN)
    assert made.returncode == 0, made.stderr
    spec = RunSpec(
        run=RunName(name="你好", number=1),
        image=machine.push(layout_image.built.digest),
        digest="",
        command=("python", "train.py", *HARD_WORDS),
        mounts=(
            Mount(kind="bind", source=FOLDER, target="/code"),
            Mount(kind="bind", source=f"{FOLDER}/output", target="/output"),
            Mount(kind="bind", source=DATA, target="/data/d", read_only=True),
        ),
        variables={"HARD": " ".join(HARD_WORDS)},
    )
    return PrintedRun(spec=spec, secrets=("WANDB_API_KEY",))


def execute(machine: ApptainerMachine, text: str) -> ProcessResult:
    return machine.run("sh", "-eu", stdin=text, WANDB_API_KEY="its value")


def test_the_line_for_apptainer_runs_with_each_word_path_and_value(
    machine: ApptainerMachine, printed: PrintedRun
) -> None:
    outcome = execute(machine, write_run(printed, "apptainer"))
    assert outcome.returncode == 0, outcome.stderr
    given, place, refused = outcome.stdout.splitlines()
    assert given == repr([printed.spec.variables["HARD"], "its value", *HARD_WORDS])
    assert place.startswith("/code ")
    assert refused == "Read-only file system"
    show = 'cat "$1"; stat --format=%U "$1"; ls /tmp'
    result = machine.run("sh", "-c", show, "sh", f"{FOLDER}/output/result")
    assert result.stdout == f"data{USER}\n"


def test_a_run_has_the_disk_and_its_exit_code(
    machine: ApptainerMachine, printed: PrintedRun
) -> None:
    run = replace(printed, spec=replace(printed.spec, command=("sh", "-c", FILL)))
    outcome = execute(machine, write_run(run, "apptainer"))
    assert outcome.returncode == 3, outcome.stderr
    assert outcome.stdout.split() == ["/tmp/file", f"{HOME}:", "file"]


def test_a_shell_that_reads_the_words_again_is_noticed(
    machine: ApptainerMachine, printed: PrintedRun
) -> None:
    text = write_run(printed, "apptainer").replace(" --no-eval", "")
    assert repr(HARD_WORDS[4]) not in execute(machine, text).stdout


def test_files_in_memory_are_noticed(machine: ApptainerMachine, printed: PrintedRun) -> None:
    run = replace(printed, spec=replace(printed.spec, command=("sh", "-c", FILL)))
    text = write_run(run, "apptainer").replace('--workdir "$work"', "--writable-tmpfs")
    assert "No space left" in execute(machine, text).stderr


def test_a_line_with_an_image_that_is_nowhere_fails(
    machine: ApptainerMachine, printed: PrintedRun
) -> None:
    other = replace(printed, spec=replace(printed.spec, image="127.0.0.1:1/nothing:1"))
    assert execute(machine, write_run(other, "apptainer")).returncode != 0
