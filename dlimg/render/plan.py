"""The plan: images to build, with base and builder, and jobs for CI."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dlimg.model import Image

# GitHub runs at most 256 jobs of one matrix.
JOBS_PER_MATRIX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """A line of the plan; `base` is the source of its root file system.

    `builder` is the builder as far as it is known without an engine, `why` the reason for it.
    """

    image: Image
    base: str
    builder: str
    why: str

    @property
    def needs_gpu(self) -> bool:
        return self.image.cell.is_cuda


def plan_entries(
    images: Sequence[Image],
    base: str,
    pins: Mapping[str, str],
    builder: Callable[[Image], tuple[str, str]],
) -> tuple[PlanEntry, ...]:
    """Return the plan's lines; a pinned base has its digest.

    `builder` returns the builder of an image, and why.
    """
    plan = []
    for image in images:
        name, why = builder(image)
        plan.append(
            PlanEntry(image=image, base=_base_text(image, base, pins), builder=name, why=why)
        )
    return tuple(plan)


def _base_text(image: Image, base: str, pins: Mapping[str, str]) -> str:
    system = image.cell.os
    pin = pins.get(system.name, "")
    at_registry = f"{system.image}@{pin}" if pin else system.image
    match base:
        case "registry":
            return f"registry {at_registry}"
        case "bootstrap":
            return f"bootstrap of {system.suite}"
        case _:
            return f"registry {at_registry}, else bootstrap of {system.suite}"


def plan_json(plan: Sequence[PlanEntry]) -> list[dict[str, object]]:
    """Return the plan as data, one object for each image."""
    return [
        {
            "cell": entry.image.cell.id,
            "repository": entry.image.repository,
            "tag": entry.image.tag,
            "platform": entry.image.cell.oci_platform,
            "aliases": list(entry.image.aliases),
            "base": entry.base,
            "builder": entry.builder,
            "builder_why": entry.why,
            "wheels": len(entry.image.lock.wheels),
            "download_bytes": entry.image.lock.size,
            "needs_gpu": entry.needs_gpu,
        }
        for entry in plan
    ]


def github_jobs(plan: Sequence[PlanEntry]) -> dict[str, list[dict[str, object]]]:
    """Return a GitHub job matrix, `{"include": [...]}`, with a job for each cell.

    With more cells than GitHub allows jobs, a job takes several cells of one family and base,
    so that its layers are shared.
    """
    jobs = [[entry] for entry in plan]
    if len(jobs) > JOBS_PER_MATRIX:
        size = -(-len(plan) // JOBS_PER_MATRIX)
        ordered = sorted(
            plan, key=lambda entry: (entry.image.cell.family, entry.image.cell.accelerator)
        )
        jobs = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return {
        "include": [
            {
                "name": job[0].image.cell.id if len(job) == 1 else f"{job[0].image.cell.id} ...",
                "cells": " ".join(entry.image.cell.id for entry in job),
                "needs_gpu": any(entry.needs_gpu for entry in job),
                "platform": job[0].image.cell.oci_platform,
            }
            for job in jobs
        ]
    }
