"""JUnit XML: a suite for each image, with cases for its build, its checks and its publication.

A suite has a failure or an error exactly when dlimg's exit code for the image is not 0. So a check
that was not run is an error if it is required, and skipped otherwise. docs/evidence.md lists the
cases.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Final

from dlimg.builders.build_failure import explain_failure, is_python_unreachable
from dlimg.checks.evidence_json import host_record, to_json_value
from dlimg.errors import NetworkFailure
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Verdict
from dlimg.report.evidence_text import attempts_text, gpu_text
from dlimg.report.plain import clean
from dlimg.results import ImageResult, image_exit_code, required_not_run

# A message is one line in a list; the whole text stands in the element.
_MOST: Final = 1000


def junit_report(results: Sequence[ImageResult]) -> str:
    """Return the document, with counts that agree with its cases."""
    root = ET.Element("testsuites", name="dlimg")
    root.extend([_suite(result) for result in results])
    _count(root)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(result: ImageResult) -> ET.Element:
    suite = ET.Element("testsuite", name=clean(result.cell))
    if result.evidence:
        suite.set("timestamp", clean(f"{result.evidence.day}T00:00:00"))
    _properties(suite, _facts(result))
    cases = [_build(result)] if result.image else []
    needed = {verdict.check for verdict in required_not_run(result)}
    cases += [_check(result, verdict, needed) for verdict in result.verdicts]
    cases += [_vanished(result, name) for name in result.vanished]
    cases += _end(result, cases)
    suite.extend(cases)
    _count(suite)
    return suite


def _facts(result: ImageResult) -> dict[str, object]:
    """Return the properties of an image's suite."""
    facts: dict[str, object] = {"image": result.name}
    if result.result:
        planned = result.result.planned
        facts |= {"reference": planned.reference, "base": planned.base.identity}
    if isinstance(result.result, BuiltImage):
        facts |= {"digest": result.result.digest, "bytes": result.result.size}
    if result.evidence:
        facts |= {
            "gpu": gpu_text(result.evidence),
            "device": result.evidence.device,
            "engine": result.evidence.engine,
            "dlimg": result.evidence.dlimg,
        }
        facts |= {
            f"host.{name}": value for name, value in host_record(result.evidence.host).items()
        }
    return facts


def _case(result: ImageResult, name: str, seconds: float = 0.0) -> ET.Element:
    return ET.Element(
        "testcase", classname=clean(result.cell), name=clean(name), time=f"{seconds:.3f}"
    )


def _build(image_result: ImageResult) -> ET.Element:
    built = image_result.result
    case = _case(image_result, "build", built.seconds if built else 0.0)
    if isinstance(built, BuildFailure):
        kind = "not-run" if is_python_unreachable(built) else "build failure"
        problem = explain_failure(built)
        text = "\n".join((*built.log, f"hint: {problem.hint}"))
        _ending(case, "error", kind, problem.message, text)
    elif image_result.skipped:
        skipped = image_result.skipped
        _ending(case, "skipped", "index", skipped.message, f"hint: {skipped.hint}")
    elif built is None and isinstance(image_result.error, NetworkFailure):
        _ending(case, "error", "index", image_result.error_text)
    elif built is None:
        _ending(case, "error", "no base", image_result.error_text or "there is no base here")
    return case


def _check(result: ImageResult, verdict: Verdict, needed: set[str]) -> ET.Element:
    case = _case(result, verdict.check, verdict.seconds)
    facts = dict(verdict.figures)
    if verdict.attempts > 1:
        facts = {"attempts": verdict.attempts, "first_reason": verdict.first_reason, **facts}
    _properties(case, facts)
    match verdict.status:
        case CheckStatus.FAILED:
            _ending(case, "failure", "failed", verdict.reason, verdict.output)
        case CheckStatus.NOT_RUN if verdict.check in needed:
            _ending(case, "error", "not-run", f"required, not run: {verdict.reason}")
        case CheckStatus.NOT_RUN:
            _ending(case, "skipped", "not-run", verdict.reason)
        case CheckStatus.PASSED if verdict.attempts > 1:
            ET.SubElement(case, "system-out").text = clean(attempts_text(verdict))
        case CheckStatus.PASSED:
            pass
    return case


def _vanished(result: ImageResult, name: str) -> ET.Element:
    # It changes no exit code, so it must not make a job red; a skip is what people still see.
    case = _case(result, name)
    _ending(case, "skipped", "gone", "the last evidence had this check, and it is gone")
    return case


def _end(result: ImageResult, cases: Sequence[ET.Element]) -> list[ET.Element]:
    """Return the case of the publication, or of another failure of the image."""
    if result.published:
        case = _case(result, "publish")
        _properties(
            case, {"reference": result.published.reference, "digest": result.published.digest}
        )
        return [case]
    case = _case(result, "publish" if result.evidence and result.error else "checks")
    if result.error and result.result:
        _ending(case, "error", type(result.error).__name__, result.error_text)
        return [case]
    is_reported = any(
        other.find(kind) is not None for other in cases for kind in ("error", "failure")
    )
    if image_exit_code(result) and not is_reported:
        _ending(case, "error", "not-run", "no required check was run")
        return [case]
    return []


def _ending(case: ET.Element, element: str, kind: str, message: str, text: str = "") -> None:
    short = message if len(message) <= _MOST else f"{message[:_MOST]} ..."
    child = ET.SubElement(case, element, type=kind, message=clean(short))
    details = "\n".join(part for part in (message if short != message else "", text) if part)
    if details:
        child.text = clean(details)


def _properties(element: ET.Element, facts: dict[str, object]) -> None:
    if not facts:
        return
    properties = ET.SubElement(element, "properties")
    for name, value in facts.items():
        plain = to_json_value(value)
        text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
        ET.SubElement(properties, "property", name=clean(name), value=clean(text))


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(kind) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
