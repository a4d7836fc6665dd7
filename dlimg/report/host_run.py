"""Results of checks on this machine's own Python as rows, text and data."""

from typing import Final

from dlimg.checks.evidence_json import host_record
from dlimg.checks.verdicts import driver_version_of, gpu_names_of, is_gpu_tested, outcome_of
from dlimg.model import Evidence
from dlimg.report.evidence_text import gpu_text, reasons, verdict_json, verdicts_text

HEADINGS: Final = ("machine", "GPU", "checks")
LIMITS: Final = (
    "no container: memory was not limited, the network not cut, and what is about an image left out"
)


def host_row(evidence: Evidence) -> tuple[str, ...]:
    """Return the row of the machine."""
    text = f"{verdicts_text(evidence)}; {gpu_text(evidence)}"
    return (evidence.cell, " and ".join(gpu_names_of(evidence)) or "none", text)


def host_json(evidence: Evidence) -> dict[str, object]:
    """Return the results as stable data."""
    return {
        "cell": evidence.cell,
        "on_host": evidence.on_host,
        "bare": evidence.on_host,  # the name of the last release
        "day": evidence.day,
        "host": host_record(evidence.host),
        "device": evidence.device,
        "gpus": list(gpu_names_of(evidence)),
        "driver": driver_version_of(evidence) or None,
        "outcome": outcome_of(evidence.verdicts),
        "gpu_tested": is_gpu_tested(evidence),
        "limits": LIMITS,
        "vanished": list(evidence.vanished),
        "checks": [
            verdict_json(verdict) | {"required": verdict.required, "attempts": verdict.attempts}
            for verdict in evidence.verdicts
        ],
    }


def host_failure_text(evidence: Evidence) -> str:
    """Return why checks did not pass, and what was not limited without a container."""
    return "\n".join([*reasons(evidence), f"{evidence.cell}  {LIMITS}"])
