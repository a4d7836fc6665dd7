"""JUnit XML: what dlimg calls no pass is none for a CI server, and every text is XML."""

import string
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlimg.model import CheckStatus
from dlimg.report.junit import junit_report
from dlimg.report.plain import clean
from dlimg.results import ImageResult, image_exit_code
from tests.support import image_results


def suites(text: str) -> list[junitparser.TestSuite]:
    return list(junitparser.JUnitXml.fromstring(text.encode()))


def test_the_junit_report_is_the_golden_one() -> None:
    golden = (image_results.GOLDEN / "junit.xml").read_text(encoding="utf-8")
    assert junit_report(image_results.LINES) == golden, (
        "run `python -m tests.support.image_results` and review the change"
    )


@pytest.mark.parametrize(("one", "code"), image_results.WALK)
def test_failures_are_failures_in_junit(one: ImageResult, code: int) -> None:
    """A suite has a failure or an error just when dlimg would end with another code than 0."""
    assert image_exit_code(one) == code
    (suite,) = suites(junit_report([one]))
    assert bool(suite.failures + suite.errors) == bool(code)
    assert bool(suite.failures) == any(v.status is CheckStatus.FAILED for v in one.verdicts)


def test_counts_agree_with_what_a_reader_counts() -> None:
    root = junitparser.JUnitXml.fromstring(junit_report(image_results.LINES).encode())
    told = (root.tests, root.failures, root.errors, root.skipped, root.time)
    root.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no types
    assert (root.tests, root.failures, root.errors, root.skipped) == told[:4]
    assert root.time == pytest.approx(told[4])
    for suite in root:
        before = (suite.tests, suite.failures, suite.errors, suite.skipped)
        suite.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no types
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == before


def test_each_check_is_one_case() -> None:
    for suite, one in zip(
        suites(junit_report(image_results.LINES)), image_results.LINES, strict=True
    ):
        names = [case.name for case in suite]
        assert len(set(names)) == len(names)
        assert {*(v.check for v in one.verdicts), *one.vanished} <= set(names)
        assert ("build" in names) == (one.image is not None)
        assert suite.name == one.cell
        assert {case.classname for case in suite} == {one.cell}


def test_what_was_not_run_is_skipped_only_where_nothing_depends_on_it() -> None:
    blind = next(
        result for result, code in image_results.WALK if code == 3 and len(result.verdicts) == 4
    )
    (suite,) = suites(junit_report([blind]))
    results = {case.name: [type(one).__name__ for one in case.result] for case in suite}
    assert results == {
        "build": [],
        "conv_training": [],
        "nvidia_smi": ["Error"],
        "is_gpu_available": ["Error"],
        "benchmark": ["Skipped"],
    }


def test_what_is_too_long_for_a_message_stands_in_the_text() -> None:
    verdict = replace(image_results.FAILED, reason="x" * 5000, output="the end")
    proof = replace(image_results.evidence(verdict), cell="a")
    (suite,) = suites(junit_report([image_results.line(image_results.built("1"), proof)]))
    (failure,) = next(case for case in suite if case.name == "tag_matches_image").result
    assert len(failure.message) < 1100
    assert failure.text == f"{'x' * 5000}\nthe end"


anything = st.text(st.characters(codec=None) | st.sampled_from(string.printable))


@given(name=anything, reason=anything, output=anything, figure=anything | st.floats())
def test_every_text_is_xml(name: str, reason: str, output: str, figure: str | float) -> None:
    verdict = replace(
        image_results.FAILED, check=name, reason=reason, output=output, figures={name: [figure]}
    )
    proof = image_results.evidence(verdict, vanished=(f"{name}!",))
    text = junit_report([image_results.line(image_results.built("1"), proof)])
    root = ET.fromstring(text.encode())  # noqa: S314 -- our own text
    failure = next(root.iter("failure"))
    assert failure.get("message") == " ".join(clean(reason).split("\r")) or "\r" in reason
    assert root.get("failures") == "1"


def test_the_file_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(junit_report(image_results.LINES), encoding="utf-8")
    assert len(list(junitparser.JUnitXml.fromfile(str(path)))) == len(image_results.LINES)
