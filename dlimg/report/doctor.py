"""Findings about a machine as text and JSON, and the plan that mends them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from dlimg.run.doctor import DoctorFinding
from dlimg.run.machine_setup import SetupPlan

HEADINGS: Final = ("check", "state", "finding", "remedy")


def finding_rows(findings: Sequence[DoctorFinding]) -> list[tuple[str, ...]]:
    return [
        (
            finding.check,
            finding.state,
            f"{finding.message} ({finding.source})" if finding.source else finding.message,
            finding.remedy,
        )
        for finding in findings
    ]


def doctor_json(findings: Sequence[DoctorFinding], plan: SetupPlan) -> Mapping[str, Any]:
    return {
        "findings": [asdict(finding) for finding in findings],
        "plan": [asdict(step) for step in plan.steps],
        "obstacle": plan.obstacle,
        "reboot": plan.reboot,
    }


def plan_lines(plan: SetupPlan) -> Iterator[str]:
    """Yield the plan: what would be run as root, and whether a reboot is due."""
    if plan.obstacle:
        yield f"no plan: {plan.obstacle}"
    for number, step in enumerate(plan.steps, start=1):
        yield f"# {number}. {step.name}"
        yield from step.lines
    if plan.reboot:
        yield f"# reboot: {plan.reboot}; after `sudo reboot` the same command goes on"
    if not (plan.steps or plan.obstacle or plan.reboot):
        yield "# nothing that an installation would mend"
