"""Accelerators that no stack describes: the problem with each, and what to write instead."""

import re
from collections.abc import Collection
from typing import Final

from dlimg.compat.parse_names import other_platform
from dlimg.errors import nearest
from dlimg.facts.load import ONLY_NVIDIA
from dlimg.matrix.model import NO_FACTS
from dlimg.model import CPU

_CUDA: Final = re.compile(r"(?:cuda|cu)[-_ ]?([0-9]{1,2})(?:\.?([0-9]))?(?:\.[0-9]+)?")
_ANY_GPU: Final = frozenset(("gpu", "gpus", "cuda", "nvidia"))


def unknown_accelerator(
    name: str, choices: Collection[str], framework: str = ""
) -> tuple[str, str]:
    """Return the message and the hint for a name that is not among the accelerators."""
    platform = other_platform(name)
    if platform:
        hint = f"use {CPU}, or the name of a stack with an NVIDIA CUDA"
        return f"accelerator {name!r} is {platform}: {ONLY_NVIDIA}", hint
    if name.lower() in _ANY_GPU:
        message = f"accelerator {name!r} names no CUDA"
        stacks = [choice for choice in choices if choice != CPU]
        return message, f"name a stack: {', '.join(stacks)}" if stacks else _stack_hint(
            "13.2", framework
        )
    match = _CUDA.fullmatch(name.lower())
    if match is None:
        return f"unknown accelerator {name!r}", nearest(name, choices)
    wanted = f"cuda{match[1]}.{match[2]}" if match[2] else ""
    if wanted in choices:
        return f"unknown accelerator {name!r}", f"write {wanted}"
    message = f"accelerator {name!r} has no stack"
    if not wanted:
        return message, (
            f"name a minor that is under `stacks`; `dlimg why {_package(framework)} "
            f"--cuda {match[1]}` finds one"
        )
    return message, _stack_hint(f"{match[1]}.{match[2]}", framework)


def _stack_hint(cuda: str, framework: str) -> str:
    row = f'cuda{cuda}: {{cuda: "{cuda}", leader: PACKAGE==VERSION, python: "3.13"}}'
    names = _package(framework)
    return f"add under `stacks`: {row}; `dlimg why {names} --cuda {cuda}` says which have it"


def _package(framework: str) -> str:
    return framework if framework not in ("", NO_FACTS) else "torch"
