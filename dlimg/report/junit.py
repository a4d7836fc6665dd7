"""JUnit XML: a suite for each image, a case for its build, each check and its publication.

What makes dlimg end with a code other than 0 is a failure or an error here, never a skip: a check
that was not run is skipped only where nothing depends on it. docs/evidence.md tells what is what.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Final

from dlimg.builders.build_failure import explain_failure, is_python_unreachable
from dlimg.checks.evidence_json import host_record, to_json_value
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Verdict
from dlimg.report.evidence_text import attempts_text, gpu_text
from dlimg.report.plain import clean
from dlimg.results import ImageResult, image_exit_code, required_not_run

# A message is one line in a list; the whole text stands in the element.
_MOST: Final = 1000


def junit(lines: Sequence[ImageResult]) -> str:
    """The document, with counts that agree with its cases."""
    root = ET.Element("testsuites", name="dlimg")
    root.extend([_suite(line) for line in lines])
    _count(root)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(line: ImageResult) -> ET.Element:
    suite = ET.Element("testsuite", name=clean(line.cell))
    if line.evidence:
        suite.set("timestamp", clean(f"{line.evidence.day}T00:00:00"))
    _properties(suite, _facts(line))
    cases = [_build(line)] if line.image else []
    needed = {verdict.check for verdict in required_not_run(line)}
    cases += [_check(line, verdict, needed) for verdict in line.verdicts]
    cases += [_vanished(line, name) for name in line.vanished]
    cases += _end(line, cases)
    suite.extend(cases)
    _count(suite)
    return suite


def _facts(line: ImageResult) -> dict[str, object]:
    """What holds for all cases of this image."""
    facts: dict[str, object] = {"image": line.name}
    if line.result:
        planned = line.result.planned
        facts |= {"reference": planned.reference, "base": planned.base.identity}
    if isinstance(line.result, BuiltImage):
        facts |= {"digest": line.result.digest, "bytes": line.result.size}
    if line.evidence:
        facts |= {
            "gpu": gpu_text(line.evidence),
            "device": line.evidence.device,
            "engine": line.evidence.engine,
            "dlimg": line.evidence.dlimg,
        }
        facts |= {f"host.{name}": one for name, one in host_record(line.evidence.host).items()}
    return facts


def _case(line: ImageResult, name: str, seconds: float = 0.0) -> ET.Element:
    return ET.Element(
        "testcase", classname=clean(line.cell), name=clean(name), time=f"{seconds:.3f}"
    )


def _build(line: ImageResult) -> ET.Element:
    result = line.result
    case = _case(line, "build", result.seconds if result else 0.0)
    if isinstance(result, BuildFailure):
        kind = "not-run" if is_python_unreachable(result) else "build failure"
        problem = explain_failure(result)
        text = "\n".join((*result.log, f"hint: {problem.hint}"))
        _ending(case, "error", kind, problem.message, text)
    elif result is None:
        _ending(case, "error", "no base", line.error_text or "there is no base here")
    return case


def _check(line: ImageResult, verdict: Verdict, needed: set[str]) -> ET.Element:
    case = _case(line, verdict.check, verdict.seconds)
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


def _vanished(line: ImageResult, name: str) -> ET.Element:
    # It changes no exit code, so it must not make a job red; a skip is what people still see.
    case = _case(line, name)
    _ending(case, "skipped", "gone", "the last evidence had this check, and it is gone")
    return case


def _end(line: ImageResult, cases: Sequence[ET.Element]) -> list[ET.Element]:
    """The publication, or whatever else made the image end with a code other than 0."""
    if line.published:
        case = _case(line, "publish")
        _properties(case, {"reference": line.published.reference, "digest": line.published.digest})
        return [case]
    case = _case(line, "publish" if line.evidence and line.error else "checks")
    if line.error and line.result:
        _ending(case, "error", type(line.error).__name__, line.error_text)
        return [case]
    is_told = any(one.find(kind) is not None for one in cases for kind in ("error", "failure"))
    if image_exit_code(line) and not is_told:
        _ending(case, "error", "not-run", "no required check was run")
        return [case]
    return []


def _ending(case: ET.Element, element: str, kind: str, message: str, text: str = "") -> None:
    short = message if len(message) <= _MOST else f"{message[:_MOST]} ..."
    found = ET.SubElement(case, element, type=kind, message=clean(short))
    whole = "\n".join(part for part in (message if short != message else "", text) if part)
    if whole:
        found.text = clean(whole)


def _properties(element: ET.Element, facts: dict[str, object]) -> None:
    if not facts:
        return
    held = ET.SubElement(element, "properties")
    for name, one in facts.items():
        plain = to_json_value(one)
        text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
        ET.SubElement(held, "property", name=clean(name), value=clean(text))


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(kind) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
