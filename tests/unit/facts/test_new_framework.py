"""A framework is one file of facts: questions about it need no code of its own."""

from datetime import date

import pytest

from dlimg.compat.parse_names import parse_requirement, parse_version
from dlimg.compat.query import Query
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.rule_result import refusals
from dlimg.compat.why import WhyAnswer, answer
from dlimg.facts.load import Facts, facts_of
from dlimg.facts.parse import rows_of
from dlimg.pipeline.facts_files import read_rows, subject_names

TODAY = date(2026, 11, 21)
MADE_UP = """\
framework:
  name: "paddle"
  aliases: ["paddlepaddle"]
  extra: "with-cuda"
  unpinned_cuda: "system"
  source: "made up"
  checked: "2026-11-21"
packages:
  - package: "paddlepaddle-gpu"
    builds: "cuda"
    last_version: "2.9"
    instead: "paddle[with-cuda]"
    source: "made up: the package's page"
    checked: "2026-11-21"
releases:
  - version: "2.0.0"
    pythons: ["3.12", "3.13"]
    cuda: ["12.4"]
    source: "made up"
    checked: "2026-11-21"
  - version: "3.0.0"
    pythons: ["3.12", "3.13"]
    cuda: ["12.6"]
    pins:
      "12.6": {nvidia-cudnn-cu12: "9.5.1.17"}
    architectures:
      "12.6": [sm_80, sm_90]
    architectures_source: "made up"
    source: "made up"
    checked: "2026-11-21"
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    files = {f"{name}.yaml": read_rows(name) for name in subject_names()}
    return facts_of({**files, "paddle.yaml": rows_of(MADE_UP, "paddle.yaml")})


def asked(facts: Facts, text: str, gpu: str = "") -> WhyAnswer:
    requirement = parse_requirement(facts, text)
    query = Query(
        framework=requirement.framework,
        package=requirement.package,
        version=parse_version(facts, requirement.framework, requirement.version),
        gpu=facts.gpu(gpu) if gpu else None,
    )
    return answer(RuleEngine(facts, rules(TODAY)), query, TODAY, count=1)


def test_its_builds_are_installed_with_the_extra(facts: Facts) -> None:
    result = asked(facts, "paddlepaddle", gpu="A100")
    assert result.valid
    assert result.combination.version == "3.0.0"
    assert result.combination.build is not None
    assert result.combination.build.package == "paddle[with-cuda]"


def test_its_code_decides_about_gpus(facts: Facts) -> None:
    result = asked(facts, "paddle==3.0.0", gpu="T4")
    assert result.fails_at == "runtime"
    assert {reason.rule for reason in refusals(result.reasons)} == {"gpu-code"}


def test_a_package_that_ended_names_its_successor(facts: Facts) -> None:
    result = asked(facts, "paddlepaddle-gpu==3.0.0")
    (refusal,) = (reason for reason in refusals(result.reasons) if reason.rule == "package-name")
    assert "ends with 2.9; the GPU build is called paddle[with-cuda]" in refusal.message
    assert refusal.source == "made up: the package's page"


def test_a_build_without_pins_takes_cuda_from_the_base(facts: Facts) -> None:
    result = asked(facts, "paddle==2.0.0")
    assert "base-image" in {reason.rule for reason in result.reasons}
