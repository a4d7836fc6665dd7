"""Tables of questions in YAML, and a question as the command line reads it."""

import shlex
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dlimg.cli.dispatch import parse
from dlimg.cli.why import options_of
from dlimg.compat import why
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.why import WhyAnswer
from dlimg.facts.load import Facts
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.why import WhyQuestion, query_of

TODAY = date(2026, 11, 21)
TABLES = Path(__file__).parents[1] / "unit/compat/tables"


@cache
def facts() -> Facts:
    return read_facts()


@cache
def engine() -> RuleEngine:
    return RuleEngine(facts(), rules(TODAY))


def rows(name: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = yaml.safe_load((TABLES / f"{name}.yaml").read_text())
    return result


def question(command_line: str) -> WhyQuestion:
    """Return the question that the command line reads from these words."""
    return options_of(parse(["why", *shlex.split(command_line)])).question


def answer(command_line: str, *, count: int = 0) -> WhyAnswer:
    """Return the answer of `dlimg why` to these words, on a fixed day."""
    return why.answer(engine(), query_of(facts(), question(command_line)), TODAY, count=count)
