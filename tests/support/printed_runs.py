"""Runs to print, with every hard text; run it to write their golden files anew."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput
from dlimg.run.model import GpuAccess, Mount, PortMapping, RunName, RunSpec
from dlimg.run_formats.model import Format, PrintedRun
from dlimg.run_formats.write import FORMATS, write_run

GOLDEN: Final = Path(__file__).parent.parent / "golden" / "run_formats"
SUFFIXES: Final[Mapping[Format, str]] = {
    "docker": "sh",
    "podman": "sh",
    "apptainer": "sh",
    "devcontainer": "json",
}
HARD_WORDS: Final = (
    "a b",
    "it's",
    '"q"',
    "$HOME",
    "$(id)",
    "$$",
    "`id`",
    "l1\nl2",
    "你好",
    "#",
    "",
)
HARD_FOLDER: Final = '/home/me/my, "first" $x it\'s 你好'
# Prints what it was given, and what the folders of a run let it do.
TRAIN: Final = """import os, pathlib, sys
print(repr([os.environ["HARD"], os.environ["WANDB_API_KEY"], *sys.argv[1:]]))
print(pathlib.Path.cwd(), os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize)
pathlib.Path("/output/result").write_text(pathlib.Path("/data/d/x").read_text())
try:
    pathlib.Path("/data/d/x").write_text("changed")
except OSError as error:
    print(error.strerror)
"""
TRAINING: Final = PrintedRun(
    spec=RunSpec(
        run=RunName(name="mnist", number=3),
        image="registry.example/team/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13",
        digest="",
        command=("python", "train.py", "--epochs", "3"),
        mounts=(
            Mount(kind="bind", source="/home/me/mnist", target="/code"),
            Mount(kind="bind", source="/home/me/mnist/output", target="/output"),
            Mount(kind="bind", source="/srv/digits", target="/data/digits", read_only=True),
            Mount(kind="bind", source="/srv/digits", target="/input/digits", read_only=True),
        ),
        ports=(PortMapping(container=6006, host=6006),),
        variables={"OMP_NUM_THREADS": "4"},
        gpu=GpuAccess(kind="gpus"),
        user="1000:1000",
    ),
    secrets=("WANDB_API_KEY",),
    driver="580.65.06",
)
NOTEBOOK: Final = PrintedRun(
    spec=replace(
        TRAINING.spec,
        image="registry.example/team/jax:0.12.0.1-cpu-py3.13-debian13-workspace",
        command=("jupyter",),
        mounts=TRAINING.spec.mounts[:2],
        ports=(PortMapping(container=8888, host=8888),),
        variables={},
        gpu=GpuAccess(),
    ),
    mode="jupyter",
)
HARD: Final = replace(
    TRAINING,
    spec=replace(
        TRAINING.spec,
        run=RunName(name="你好", number=1),
        command=("python", *HARD_WORDS),
        mounts=(
            Mount(kind="bind", source=HARD_FOLDER, target="/code"),
            Mount(kind="bind", source=f"{HARD_FOLDER}/output", target="/output"),
            Mount(kind="bind", source=f"{HARD_FOLDER}/数据", target="/data/数据", read_only=True),
        ),
        variables={
            "HARD": " ".join(HARD_WORDS),
            "NUMBER": "1e3",
            "OCTAL": "0755",
            "SEXAGESIMAL": "12:30:45",
            "TRUTH": "yes",
            "NOTHING": "~",
            "EMPTY": "",
        },
        gpu=GpuAccess(kind="cdi", devices=("nvidia.com/gpu=1",)),
    ),
)
RUNS: Final[Mapping[str, PrintedRun]] = {
    "training": TRAINING,
    "notebook": NOTEBOOK,
    "hard": HARD,
}


def with_folders(run: PrintedRun, folder: Path, name: str) -> PrintedRun:
    """The run with folders that exist, for tools that look."""
    mounts = []
    for number, mount in enumerate(run.spec.mounts):
        source = folder / name / str(number)
        source.mkdir(parents=True)
        mounts.append(replace(mount, source=str(source)))
    return replace(run, spec=replace(run.spec, mounts=tuple(mounts)))


def golden_file(name: str, format_: Format) -> Path:
    suffix = SUFFIXES.get(format_, "yaml")
    return GOLDEN / f"{format_}-{name}.{suffix}"


def golden_text(run: PrintedRun, format_: Format) -> str:
    """Return the run in the format; empty where that format refuses it."""
    try:
        return write_run(run, format_)
    except BadInput:
        return ""


if __name__ == "__main__":
    for format_ in FORMATS:
        for name, run in RUNS.items():
            text = golden_text(run, format_)
            if text:
                golden_file(name, format_).write_text(text, encoding="utf-8")
