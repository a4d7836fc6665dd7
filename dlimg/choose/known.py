"""The names in a matrix that only the facts know: distributions, frameworks, Pythons."""

from collections.abc import Iterable
from dataclasses import replace

from dlimg.choose.facts import Facts
from dlimg.choose.matrix import NO_FACTS, Matrix
from dlimg.errors import Problem, nearest


def known_to(facts: Facts, matrix: Matrix, problems: list[Problem]) -> Matrix:
    """The matrix without what stands on a name that the facts do not have; each is a problem."""
    systems = {}
    for system in matrix.operating_systems.values():
        if system.distribution in facts.distributions:
            systems[system.name] = system
        else:
            what = f"no facts about the distribution {system.distribution!r}"
            known = facts.distributions
            problems.append(
                _problem(matrix, system.line, what, nearest(system.distribution, known))
            )
    families = {}
    for family in matrix.families.values():
        if family.framework != NO_FACTS and family.framework not in facts.releases:
            what = f"family {family.name}: no facts about the framework {family.framework!r}"
            hint = _framework_hint(family.framework, facts.releases)
            problems.append(_problem(matrix, family.lines["framework"], what, hint))
        elif systems.keys() >= set(family.axes["os"]):
            families[family.name] = family
    problems += _unknown_pythons(facts, matrix)
    if len(families) == len(matrix.families) and len(systems) == len(matrix.operating_systems):
        return matrix
    unsound = matrix.unsound | (matrix.families.keys() - families.keys())
    return replace(matrix, operating_systems=systems, families=families, unsound=unsound)


def _framework_hint(framework: str, known: Iterable[str]) -> str:
    hint = nearest(framework, known)
    return f"{hint}; `framework: {NO_FACTS}` if nothing is to be checked"


def _unknown_pythons(facts: Facts, matrix: Matrix) -> Iterable[Problem]:
    """Stacks whose Python neither a distribution nor uv has."""
    known = {one.python for one in facts.distributions.values()} | facts.managed.keys()
    for stack in matrix.stacks.values():
        if stack.python not in known:
            what = f"stack {stack.name}: nobody has Python {stack.python}"
            yield _problem(matrix, stack.python_line, what, nearest(stack.python, known))


def _problem(matrix: Matrix, line: int, message: str, hint: str) -> Problem:
    return Problem(message=message, where=f"{matrix.source}:{line}", hint=hint)
