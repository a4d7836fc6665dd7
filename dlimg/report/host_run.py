"""How the checks of a machine without an engine ended: a row, a JSON object, and what to know."""

from typing import Final

from dlimg.checks.evidence_json import host_record
from dlimg.checks.verdicts import driver_version, gpu_names, is_gpu_tested, outcome
from dlimg.model import Evidence
from dlimg.report.evidence_text import gpu_text, reasons, verdict_json, verdicts_text

HEADINGS: Final = ("machine", "GPU", "checks")
LIMITS: Final = (
    "no container: memory was not limited, the network not cut, and what is about an image left out"
)


def bare_row(evidence: Evidence) -> tuple[str, ...]:
    """The row of the machine, as people read it."""
    text = f"{verdicts_text(evidence)}; {gpu_text(evidence)}"
    return (evidence.cell, " and ".join(gpu_names(evidence)) or "none", text)


def bare_json(evidence: Evidence) -> dict[str, object]:
    """The same as stable data."""
    return {
        "cell": evidence.cell,
        "bare": evidence.bare,
        "day": evidence.day,
        "host": host_record(evidence.host),
        "device": evidence.device,
        "gpus": list(gpu_names(evidence)),
        "driver": driver_version(evidence) or None,
        "outcome": outcome(evidence.verdicts),
        "gpu_tested": is_gpu_tested(evidence),
        "limits": LIMITS,
        "vanished": list(evidence.vanished),
        "checks": [
            verdict_json(one) | {"required": one.required, "attempts": one.attempts}
            for one in evidence.verdicts
        ],
    }


def bare_failure_text(evidence: Evidence) -> str:
    """Why what did not pass did not, and what no container has limited."""
    return "\n".join([*reasons(evidence), f"{evidence.cell}  {LIMITS}"])
