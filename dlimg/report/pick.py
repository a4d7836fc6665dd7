"""Answers of `pick` as rows, text and data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from dlimg.compat.addition import Addition
from dlimg.compat.pick import (
    EXACT,
    MAJOR,
    PTX,
    Advice,
    PickMatch,
    PickRequest,
    PickResult,
    Rejection,
    group_by_build,
)
from dlimg.model import Cell, LocalMachine
from dlimg.report.why import os_option, requirement
from dlimg.units import counted

MATCH_HEADINGS: Final = ("image", "runs with", "tested")
REJECTION_HEADINGS: Final = ("rejected images", "reason", "source")
Name = Callable[[Cell], str]


def request_text(wish: PickRequest) -> str:
    """Return `RTX 4090 (sm_89), driver 570.86.10, Python 3.13`."""
    gpus = [f"{gpu.name} ({gpu.sm})" if gpu.name != gpu.sm else gpu.sm for gpu in wish.gpus]
    parts = [" and ".join(gpus)]
    parts += ["no GPU"] if wish.without_gpu else []
    parts += [f"driver {wish.driver}"] if wish.driver else []
    parts += [f"Python {wish.python}"] if wish.python else []
    parts += [f"{wish.family}{wish.versions}"] if wish.family else []
    return ", ".join(part for part in parts if part)


def match_rows(
    picked: PickResult, wish: PickRequest, name: Name, tested: Name, *, every: bool
) -> Iterator[Sequence[str]]:
    """Yield a row for the best image of each build, or with `every` for every image."""
    for group in group_by_build(picked.matches):
        for fit in group if every else group[:1]:
            yield name(fit.cell), _how(fit, wish), tested(fit.cell)


def without_empty(
    headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return the table without its last column if that is empty in all rows."""
    if any(row[-1] for row in rows):
        return headings, [(*row[:-1], row[-1] or "-") for row in rows]
    return headings[:-1], [row[:-1] for row in rows]


def hidden_matches(picked: PickResult) -> int:
    """Return the number of images that `--all` would add."""
    return len(picked.matches) - len(group_by_build(picked.matches))


def _how(fit: PickMatch, wish: PickRequest) -> str:
    """Return `sm_89 code; CUDA 12.9 is the driver's own`, with doubts."""
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
    parts += [f"doubtful: {doubt.message}" for doubt in fit.doubts]
    return "; ".join(parts) or f"CUDA {cell.stack.cuda}"


def _code(fit: PickMatch) -> str:
    names = " and ".join(dict.fromkeys(name or "unknown" for name in fit.code))
    return f"{names}, compiled at the first start" if fit.match == PTX else f"{names} code"


def other_release_text(wish: PickRequest) -> str:
    """Return how to get an image of a release that the matrix does not have."""
    name = f"{wish.family}{wish.versions}"
    return (
        f"  add it to a matrix of yours: `dlimg why '{name}'` says with what, `dlimg add` adds it"
    )


def nothing_text(picked: PickResult, wish: PickRequest) -> str:
    """Return the message that no image runs; it names architectures if those are the reason."""
    rules = {rejection.reason.rule for rejection in picked.rejections}
    of_rules: Mapping[str, list[str]] = {
        "this-machine": [wish.arch],
        "gpu-host": [gpu.arch for gpu in wish.gpus],
    }
    candidates = (arch for rule in of_rules if rule in rules for arch in of_rules[rule])
    archs = dict.fromkeys(arch for arch in candidates if arch)
    if archs and rules <= of_rules.keys():
        names = " and ".join(archs)
        return (
            f"No image in this matrix runs on that machine: it has none for {names}; for such"
            f" machines, a matrix of its own has `platform: {next(iter(archs))}-manylinux_2_28`"
            " (docs/matrix.md)"
        )
    if wish.versions and not picked.rejections:
        return f"No image in this matrix has {wish.family}{wish.versions}"
    return "No image in this matrix runs on that machine"


def rejection_rows(picked: PickResult) -> Iterator[Sequence[str]]:
    for rejection in picked.rejections:
        on = f"on {rejection.on}: " if rejection.on else ""
        yield _cells(rejection), f"{on}{rejection.reason.message}", rejection.reason.source


def _cells(rejection: Rejection) -> str:
    """Return `pytorch 2.15.0, jax 0.12.0.1 on cuda13.2 (16 images)`."""
    names = dict.fromkeys(f"{cell.family} {cell.version}" for cell in rejection.cells)
    accelerators = dict.fromkeys(cell.accelerator for cell in rejection.cells)
    images = counted(len(rejection.cells), "image")
    return f"{', '.join(names)} on {', '.join(accelerators)} ({images})"


def advice_text(advice: Advice, name: Name) -> str:
    source = f" ({advice.source})" if advice.source else ""
    return f"{advice.change}: then {name(advice.cell)} runs{source}"


def addition_lines(added: Sequence[Addition]) -> Iterator[str]:
    """Yield what runs there without being in the matrix, each with the command that adds it."""
    for addition in added:
        combination = addition.combination
        release = f"{combination.release_name} for CUDA {combination.cuda}"
        yield f"{release} runs there and is not in this matrix; to add it:"
        yield f"  {addition.command}"


def addition_json(addition: Addition) -> dict[str, object]:
    combination = addition.combination
    return {
        "command": addition.command,
        "requirement": requirement(combination),
        "cuda": combination.cuda or None,
        "python": combination.python,
        "os": os_option(combination),
    }


def pick_json(
    picked: PickResult, wish: PickRequest, advice: Sequence[Advice], name: Name, tested: Name
) -> dict[str, object]:
    """Return the answer as stable data."""
    return {
        "asked": {
            "gpus": [{"name": entry.name, "architecture": entry.sm} for entry in wish.gpus],
            "driver": wish.driver or None,
            "python": wish.python or None,
            "family": wish.family or None,
            "versions": wish.versions or None,
            "without_gpu": wish.without_gpu,
        },
        "runs": [_fit_json(fit, wish, name, tested) for fit in picked.matches],
        "does_not_run": [
            {
                "cells": [cell.id for cell in entry.cells],
                "rule": entry.reason.rule,
                "message": entry.reason.message,
                "source": entry.reason.source,
                "gpu": entry.on or None,
            }
            for entry in picked.rejections
        ],
        "change": [
            {"change": entry.change, "image": name(entry.cell), "source": entry.source or None}
            for entry in advice
        ],
    }


def machine_json(machine: LocalMachine) -> dict[str, object]:
    """Return what was detected on this machine as stable data."""
    return {
        "gpus": [
            {"name": entry.name, "architecture": entry.architecture or None}
            for entry in machine.gpus
        ],
        "driver": machine.driver or None,
        "cuda": machine.cuda or None,
        "arch": machine.arch or None,
        # The name of the field until 0.1.
        "machine": machine.arch or None,
        "findings": [{"message": entry.message, "hint": entry.hint} for entry in machine.findings],
    }


def _fit_json(fit: PickMatch, wish: PickRequest, name: Name, tested: Name) -> Mapping[str, object]:
    names = {EXACT: "exact", MAJOR: "major", PTX: "ptx"}
    last_test = tested(fit.cell)
    return {
        "image": name(fit.cell),
        "cell": fit.cell.id,
        "native_driver": fit.native if wish.driver and fit.cell.is_cuda else None,
        "code": names.get(fit.match, "unknown") if wish.gpus and fit.cell.is_cuda else None,
        "tested": last_test or None,
        "reasons": [
            {
                "rule": reason.rule,
                "level": reason.level,
                "message": reason.message,
                "source": reason.source,
                "certain": reason.certain,
            }
            for reason in fit.reasons
        ],
    }


def origin_text(registry: str) -> str:
    """Return where an image of dlimg's own matrix comes from; `registry` is the user's."""
    if registry:
        return f"these names are at {registry}, if it has them: `docker pull NAME`"
    return (
        "no registry is set (DLIMG_REGISTRY or config.yaml), so there is nothing to pull: "
        "`dlimg build CELL` makes an image here (`dlimg list` shows the cells)"
    )
