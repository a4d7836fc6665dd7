"""What runs on a machine, as rows and as data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from dlimg.compat.host_gpus import LocalMachine
from dlimg.compat.pick import (
    EXACT,
    MAJOR,
    PTX,
    Advice,
    PickMatch,
    PickRequest,
    PickResult,
    Rejection,
    by_build,
)
from dlimg.model import Cell
from dlimg.units import counted

FITS: Final = ("image", "runs by", "tested")
FALLEN: Final = ("does not run", "why", "source")
Name = Callable[[Cell], str]


def wish_text(wish: PickRequest) -> str:
    """`RTX 4090 (sm_89), driver 570.86.10, Python 3.13`."""
    gpus = [f"{one.name} ({one.sm})" if one.name != one.sm else one.sm for one in wish.gpus]
    parts = [" and ".join(gpus)]
    parts += ["no GPU"] if wish.without_gpu else []
    parts += [f"driver {wish.driver}"] if wish.driver else []
    parts += [f"Python {wish.python}"] if wish.python else []
    parts += [wish.family] if wish.family else []
    return ", ".join(part for part in parts if part)


def fit_rows(
    picked: PickResult, wish: PickRequest, name: Name, tested: Name, *, every: bool
) -> Iterator[Sequence[str]]:
    """A row for each build, with the best of its images; or one for every image."""
    for group in by_build(picked.matches):
        for fit in group if every else group[:1]:
            yield name(fit.cell), _how(fit, wish), tested(fit.cell)


def without_empty(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The table without its last column where that says nothing in any row."""
    if any(row[-1] for row in rows):
        return headings, [(*row[:-1], row[-1] or "-") for row in rows]
    return headings[:-1], [row[:-1] for row in rows]


def more(picked: PickResult) -> int:
    """How many images `--all` would add."""
    return len(picked.matches) - len(by_build(picked.matches))


def _how(fit: PickMatch, wish: PickRequest) -> str:
    """`sm_89 code; the driver knows CUDA 12.9`, and what is doubtful about it."""
    cell = fit.cell
    if cell.stack is None:
        return "the CPU"
    parts = []
    if wish.gpus:
        parts.append(_code(fit))
    if wish.driver:
        cuda = f"CUDA {cell.stack.cuda}"
        parts.append(
            f"{cuda} is the driver's own"
            if fit.native
            else f"{cuda} by minor-version compatibility"
        )
    parts += [f"doubtful: {one.message}" for one in fit.doubts]
    return "; ".join(parts) or f"CUDA {cell.stack.cuda}"


def _code(fit: PickMatch) -> str:
    names = " and ".join(dict.fromkeys(name or "unknown" for name in fit.code))
    return f"{names}, compiled at the first start" if fit.match == PTX else f"{names} code"


def nothing_text(picked: PickResult, wish: PickRequest) -> str:
    """That nothing runs there; and that another machine's images are missing, where they are."""
    rules = {one.reason.rule for one in picked.rejections}
    of_rules: Mapping[str, list[str]] = {
        "this-machine": [wish.arch],
        "gpu-host": [gpu.arch for gpu in wish.gpus],
    }
    found = (machine for rule in of_rules if rule in rules for machine in of_rules[rule])
    machines = dict.fromkeys(machine for machine in found if machine)
    if machines and rules <= of_rules.keys():
        return f"nothing of this matrix runs there: it has no image for {' and '.join(machines)}"
    return "nothing of this matrix runs there"


def fallen_rows(picked: PickResult) -> Iterator[Sequence[str]]:
    for one in picked.rejections:
        on = f"on {one.on}: " if one.on else ""
        yield _cells(one), f"{on}{one.reason.message}", one.reason.source


def _cells(one: Rejection) -> str:
    """`pytorch 2.15.0, jax 0.12.0.1 on cuda13.2 (16 images)`."""
    names = dict.fromkeys(f"{cell.family} {cell.version}" for cell in one.cells)
    places = dict.fromkeys(cell.accelerator for cell in one.cells)
    return f"{', '.join(names)} on {', '.join(places)} ({counted(len(one.cells), 'image')})"


def advice_text(one: Advice, name: Name) -> str:
    source = f" ({one.source})" if one.source else ""
    return f"{one.change}: then {name(one.cell)} runs{source}"


def picked_json(
    picked: PickResult, wish: PickRequest, told: Sequence[Advice], name: Name, tested: Name
) -> dict[str, object]:
    """The same as stable data."""
    return {
        "asked": {
            "gpus": [{"name": one.name, "architecture": one.sm} for one in wish.gpus],
            "driver": wish.driver or None,
            "python": wish.python or None,
            "family": wish.family or None,
            "without_gpu": wish.without_gpu,
        },
        "runs": [_fit_json(fit, wish, name, tested) for fit in picked.matches],
        "does_not_run": [
            {
                "cells": [cell.id for cell in one.cells],
                "rule": one.reason.rule,
                "message": one.reason.message,
                "source": one.reason.source,
                "gpu": one.on or None,
            }
            for one in picked.rejections
        ],
        "change": [
            {"change": one.change, "image": name(one.cell), "source": one.source or None}
            for one in told
        ],
    }


def machine_json(machine: LocalMachine) -> dict[str, object]:
    """What was seen of this machine."""
    return {
        "gpus": [
            {"name": one.name, "architecture": one.architecture or None} for one in machine.gpus
        ],
        "driver": machine.driver or None,
        "cuda": machine.cuda or None,
        "arch": machine.arch or None,
        # The name of the field until 0.1.
        "machine": machine.arch or None,
        "findings": [{"message": one.message, "hint": one.hint} for one in machine.findings],
    }


def _fit_json(fit: PickMatch, wish: PickRequest, name: Name, tested: Name) -> Mapping[str, object]:
    words = {EXACT: "exact", MAJOR: "major", PTX: "ptx"}
    said = tested(fit.cell)
    return {
        "image": name(fit.cell),
        "cell": fit.cell.id,
        "native_driver": fit.native if wish.driver and fit.cell.is_cuda else None,
        "code": words.get(fit.match, "unknown") if wish.gpus and fit.cell.is_cuda else None,
        "tested": said or None,
        "reasons": [
            {
                "rule": one.rule,
                "level": one.level,
                "message": one.message,
                "source": one.source,
                "certain": one.certain,
            }
            for one in fit.reasons
        ],
    }
