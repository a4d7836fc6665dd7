"""Comparison of the catalogue's rows with the answers of `why` and `list`."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.why import answer
from dlimg.document.versions import newest
from dlimg.facts.load import Facts
from dlimg.matrix.feasibility import Feasibility
from dlimg.model import CPU, Framework
from dlimg.pipeline.catalogue import SYSTEMS, CatalogueQuestion, CatalogueRow, matrix_of
from dlimg.pipeline.why import WhyQuestion, query_of


def disagreements(
    rows: Iterable[CatalogueRow], facts: Facts, frameworks: Mapping[str, Framework], today: date
) -> Iterator[str]:
    """Yield a sentence for each row with which `why` or `list` disagrees."""
    engine = RuleEngine(facts, rules(today))
    for row in rows:
        truth = "works" if row.works else f"does not work: {row.reason}"
        reason = _why_refuses(row, engine, today)
        if row.works == bool(reason):
            yield f"{row.requirement} py{row.python} {truth}; why: {reason or 'it works'}"
        reason = _list_refuses(row, facts, frameworks)
        if row.works == bool(reason):
            yield f"{row.requirement} py{row.python} {truth}; list: {reason or 'a cell'}"


def _why_refuses(row: CatalogueRow, engine: RuleEngine, today: date) -> str:
    """Return the first reason of `why` against a row, empty if there is none."""
    question = WhyQuestion(text=row.requirement, python=row.python, os=SYSTEMS[row.os][0])
    query = query_of(engine.facts, question)
    judged = answer(engine, query, today, count=0)
    return "" if judged.valid else judged.reasons[0].message


def _list_refuses(row: CatalogueRow, facts: Facts, frameworks: Mapping[str, Framework]) -> str:
    """Return why a matrix drops a row, empty if it lists it; `cuda` is the row's or its kind's."""
    cuda = "" if row.accelerator == CPU else row.cuda or _cuda_of_kind(row, facts)
    if row.accelerator != CPU and not cuda:
        return "no CUDA is known"
    fields = {name: getattr(row, name) for name in CatalogueQuestion.__slots__}
    matrix = matrix_of(CatalogueQuestion(**fields), cuda, facts, frameworks)
    (family,) = matrix.families.values()
    values = {axis: chosen[0] for axis, chosen in family.axes.items()}
    refusal = Feasibility(matrix, facts, family).verdict(values)
    return refusal.message if refusal else ""


def _cuda_of_kind(row: CatalogueRow, facts: Facts) -> str:
    """Return the CUDA that a matrix would name: that of the facts, or the newest of its major."""
    release = facts.releases.get(row.framework, {}).get(row.version)
    major = row.accelerator.removeprefix("cuda")
    cudas = [cuda for cuda in release.cuda if cuda.startswith(major)] if release else []
    exact = next((cuda for cuda in cudas if "." in cuda), "")
    return exact or newest(cuda for cuda in facts.cuda if cuda.startswith(f"{major}."))
