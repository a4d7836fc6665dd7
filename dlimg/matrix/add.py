"""Another cell in the text of a matrix: what it needs, and excludes of what comes with that."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from dlimg.compat.addition import BASE_IMAGES, FOLDERS
from dlimg.compat.rule_result import RuleResult
from dlimg.compat.rules_numpy import NUMPY, NUMPY_1, built_for_numpy_1
from dlimg.document.versions import major
from dlimg.document.yaml_text import insert_item
from dlimg.errors import BadInput, Negative
from dlimg.facts.load import Facts
from dlimg.facts.model import Distribution
from dlimg.matrix.family_template import FamilyTemplate
from dlimg.matrix.indexes import indexes_for
from dlimg.matrix.leaders import accelerator_kind
from dlimg.matrix.model import (
    AXES,
    CUDNN,
    FAMILY,
    LEADER,
    NO_CUDNN,
    NO_FACTS,
    VERSION,
    CellSelector,
    Exclude,
    IgnoredFinding,
    Matrix,
    StackChoice,
)
from dlimg.matrix.survey import Point, Survey
from dlimg.matrix.text import MatrixText, flow_list, quoted
from dlimg.model import CPU

_LOCAL_CPU: Final = "+cpu"
# Rounds in which excludes are added: one for each new value of an axis, in some families.
_ROUNDS: Final = 24
# Of an exception, these are left out first where they are not needed.
_LEFT_OUT_FIRST: Final = (CUDNN, "flavour", "os", "python", "accelerator", "version", FAMILY)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCell:
    """A cell to be added. `cuda` is a minor, or empty for a CPU; `family` may be a new one.

    `template` is what a new family takes from another matrix, instead of from facts.
    """

    family: str
    framework: str
    version: str
    cuda: str
    python: str
    system: Distribution
    flavour: str
    template: FamilyTemplate | None = None


def add_cell(text: str, source: str, facts: Facts, cell: NewCell) -> tuple[str, Point]:
    """Return the text of a matrix with one more cell, and its place in it.

    A matrix that has the cell is returned as it is. Raises BadInput for a text that cannot be
    edited, and Negative for a cell that the rest of the matrix rules out.
    """
    edited = MatrixText(text, source, facts)
    before = edited.survey()
    system = _add_system(edited, cell.system)
    stack = _add_stack(edited, cell)
    if cell.family not in before.matrix.families:
        _add_family(edited, cell, stack, system)
    else:
        values = (cell.version, stack, cell.python, system, cell.flavour)
        for axis, value in zip(AXES, values, strict=True):
            had = before.matrix.families[cell.family].axes[axis]
            edited.add_axis_value(cell.family, axis, value, had if axis == "python" else ())
        _add_packages(edited, cell, stack)
    point = _point(edited.survey().matrix, cell, stack, system)
    _spare(edited, point)
    _exclude_corners(edited, before, point)
    _keep_aliases(edited, before, point)
    return edited.text, point


def _point(matrix: Matrix, cell: NewCell, stack: str, system: str) -> Point:
    choices = (NO_CUDNN,) if stack == CPU else matrix.stacks[stack].cudnn
    return Point(
        family=cell.family,
        version=cell.version,
        accelerator=stack,
        python=cell.python,
        os=system,
        flavour=cell.flavour,
        cudnn=LEADER if LEADER in choices else choices[0],
    )


def _add_system(edited: MatrixText, system: Distribution) -> str:
    """Return the name of an operating system in the matrix, which gets it if it has none."""
    matrix = edited.survey().matrix
    for choice in matrix.operating_systems.values():
        if choice.distribution == system.distribution:
            return choice.name
    vendor, _, number = system.distribution.lower().partition(" ")
    name = f"{vendor}{number}"
    if vendor not in BASE_IMAGES or name in matrix.operating_systems:
        message = f"{system.distribution} is no system that images are made from here"
        raise BadInput(message, hint="take Debian or Ubuntu, or write it under operating_systems")
    image = BASE_IMAGES[vendor].format(codename=system.codename)
    value = f'{{distribution: {system.distribution}, image: "{image}"}}'
    edited.add_entry(("operating_systems",), name, value)
    return name


def _add_stack(edited: MatrixText, cell: NewCell) -> str:
    """Return the name of the stack with the cell's CUDA, which the matrix gets if it has none."""
    if not cell.cuda:
        return CPU
    matrix = edited.survey().matrix
    if cell.template and cell.template.stack:
        return _add_templates_stack(edited, cell, cell.template, cell.template.stack)
    fitting = [name for name, stack in matrix.stacks.items() if stack.cuda == cell.cuda]
    family = matrix.families.get(cell.family)
    own = [name for name in fitting if family and name in family.axes["accelerator"]]
    if fitting:
        return (own or fitting)[0]
    name = f"cuda{cell.cuda}"
    if name in matrix.stacks:
        name = f"{name}-{cell.family}"
    requirement = _requirement(edited.facts, cell, matrix)
    fields = {"cuda": f'"{cell.cuda}"', "leader": requirement, "python": f'"{cell.python}"'}
    _write_stack(edited, name, fields)
    return name


def _add_templates_stack(
    edited: MatrixText, cell: NewCell, template: FamilyTemplate, choice: StackChoice
) -> str:
    """Return a stack with the same CUDA, leader and exceptions, which the matrix gets if need be.

    The leader of a stack that follows versions would be another one some day.
    """
    matrix = edited.survey().matrix
    for name, stack in matrix.stacks.items():
        same = (stack.cuda, stack.leader) == (choice.cuda, template.leader)
        if same and {*choice.exceptions} <= {*stack.exceptions}:
            return name
    name = choice.name if choice.name not in matrix.stacks else f"{choice.name}-{cell.family}"
    fields = {
        "cuda": f'"{choice.cuda}"',
        "leader": template.leader,
        "python": f'"{choice.python}"',
    }
    exceptions = [
        f"{{package: {each.package}, why: {json.dumps(each.why)}}}" for each in choice.exceptions
    ]
    _write_stack(edited, name, fields, exceptions)
    return name


def _write_stack(
    edited: MatrixText, name: str, fields: Mapping[str, str], exceptions: Sequence[str] = ()
) -> None:
    """Write a stack in the style of those that are there; `exceptions` are texts of entries."""
    stacks = edited.node("stacks")
    in_braces = {**fields, "exceptions": f"[{', '.join(exceptions)}]"} if exceptions else fields
    if stacks is None:
        lines = f"stacks:\n  {name}: {_flow_fields(in_braces)}"
        edited.add_block((), lines, "operating_systems")
    elif stacks.flow or stacks.items[-1].flow:
        edited.add_entry(("stacks",), name, _flow_fields(in_braces))
    else:
        rows = [f"  {key}: {value}" for key, value in fields.items()]
        rows += ["  exceptions:", *(f"    - {text}" for text in exceptions)] if exceptions else []
        edited.add_block(("stacks",), "\n".join([f"{name}:", *rows]))


def _flow_fields(fields: Mapping[str, str]) -> str:
    quoted_fields = (
        f'{key}: "{value}"' if VERSION in value else f"{key}: {value}"
        for key, value in fields.items()
    )
    return f"{{{', '.join(quoted_fields)}}}"


def _requirement(facts: Facts, cell: NewCell, matrix: Matrix) -> str:
    """Return the framework's requirement for the cell's CUDA: the family's own, or by facts."""
    kind = f"cuda{major(cell.cuda)}" if cell.cuda else CPU
    family = matrix.families.get(cell.family)
    if family and family.packages.get(kind):
        return family.packages[kind][0]
    if cell.framework == NO_FACTS:
        message = f"the family {cell.family} has no packages for {kind}"
        raise BadInput(message, hint=f"write `{kind}: [...]` under its packages first")
    release = facts.releases[cell.framework][cell.version]
    fact = facts.frameworks[cell.framework]
    if cell.cuda:
        extra = fact.extra.replace("{cuda}", major(cell.cuda))
        package = release.package or cell.framework
        return f"{package}[{extra}]=={VERSION}" if extra else f"{package}=={VERSION}"
    if release.cpu_package:
        return f"{release.cpu_package}=={VERSION}"
    # The index's wheel has CUDA; the build without has a local version.
    return f"{cell.framework}=={VERSION}{'' if fact.plain_runs_on_cpu else _LOCAL_CPU}"


def _add_index(edited: MatrixText, cell: NewCell, requirement: str) -> None:
    """Give the matrix the framework's own index, which alone has its build without CUDA."""
    facts, matrix = edited.facts, edited.survey().matrix
    address = facts.frameworks[cell.framework].vendor_index
    routed = {name for index in indexes_for(matrix, CPU, CPU) for name in index.packages}
    if not requirement.endswith(_LOCAL_CPU) or not address or cell.framework in routed:
        return
    pairs = facts.releases[cell.framework][cell.version].paired_packages
    name = f"{FOLDERS.get(cell.framework, cell.framework)}-{CPU}"
    packages = flow_list([cell.framework, *pairs])
    value = f'{{url: "https://{address}/{CPU}", packages: {{{CPU}: {packages}}}}}'
    if edited.node("indexes") is not None:
        edited.add_entry(("indexes",), name, value)
    else:
        after = "stacks" if matrix.stacks else "operating_systems"
        edited.add_block((), f"indexes:\n  {name}: {value}", after)


def _add_packages(edited: MatrixText, cell: NewCell, stack: str) -> None:
    """Give the family packages for the kind of accelerator if it has none."""
    matrix = edited.survey().matrix
    family, kind = matrix.families[cell.family], accelerator_kind(matrix, stack)
    if kind in family.packages:
        return
    path = ("families", cell.family)
    requirement = _requirement(edited.facts, cell, matrix)
    edited.add_entry((*path, "packages"), kind, f'["{requirement}"]')
    if kind == CPU:
        _add_index(edited, cell, requirement)
    of_cuda = {name: pairs for name, pairs in family.paired_packages.items() if name != CPU}
    if kind != CPU and of_cuda and kind not in of_cuda and edited.node(*path, "paired_packages"):
        pairs = flow_list(next(reversed(of_cuda.values())))
        edited.add_entry((*path, "paired_packages"), kind, pairs)


def _add_family(edited: MatrixText, cell: NewCell, stack: str, system: str) -> None:
    """Write a family that has this cell alone."""
    if cell.template:
        _add_template(edited, cell, cell.template, stack, system)
        return
    facts, matrix = edited.facts, edited.survey().matrix
    release = facts.releases[cell.framework][cell.version]
    kind = accelerator_kind(matrix, stack)
    requirement = _requirement(facts, cell, matrix)
    is_old = built_for_numpy_1(facts, cell.framework, cell.version)
    pairs = [name for name, versions in release.paired_packages.items() if versions]
    lines = [
        f"{cell.family}:",
        f"  framework: {cell.framework}",
        *_axes_lines(cell, stack, system),
        "  packages:",
        f'    any: ["{NUMPY_1}"]' if is_old else f"    any: [{NUMPY}]",
        f'    {kind}: ["{requirement}"]',
        *([f"  paired_packages: {{{kind}: {flow_list(pairs)}}}"] if pairs and cell.cuda else []),
        f'  defaults: {{python: "{cell.python}", os: {system}}}',
    ]
    edited.add_block(("families",), "\n".join(lines))
    if kind == CPU:
        _add_index(edited, cell, requirement)


def _axes_lines(cell: NewCell, stack: str, system: str) -> list[str]:
    values = (cell.version, stack, cell.python, system, cell.flavour)
    axes = [f"    {axis}: {flow_list([value])}" for axis, value in zip(AXES, values, strict=True)]
    return ["  axes:", *axes]


def _add_template(
    edited: MatrixText, cell: NewCell, template: FamilyTemplate, stack: str, system: str
) -> None:
    """Write a family that has this cell alone, with all that its template has."""
    paired = [f"    {kind}: {flow_list(names)}" for kind, names in template.paired_packages.items()]
    platform = template.platform
    lines = [
        f"{cell.family}:",
        f"  framework: {cell.framework}",
        *([f"  platform: {platform} # its wheels need this glibc"] if platform else []),
        *_axes_lines(cell, stack, system),
        "  packages:",
        *(f"    {kind}: {json.dumps(names)}" for kind, names in template.packages.items()),
        *(["  paired_packages:", *paired] if paired else []),
        *(f"  {line}" for line in template.additions.splitlines()),
        f'  defaults: {{python: "{cell.python}", os: {system}}}',
    ]
    edited.add_block(("families",), "\n".join(lines))


def add_ignored(text: str, source: str, facts: Facts, entries: Iterable[IgnoredFinding]) -> str:
    """Return the text of a matrix that ignores these findings, too."""
    edited = MatrixText(text, source, facts)
    for entry in entries:
        line = f"{{id: {entry.id}, about: {json.dumps(entry.about)}, why: {json.dumps(entry.why)}}}"
        ignored = edited.node("lint", "ignore")
        if ignored is not None:
            edited.text = insert_item(edited.text, ignored, line)
        elif edited.node("lint") is not None:
            edited.add_entry(("lint",), "ignore", f"[{line}]")
        else:
            keys = edited.mapping().entries
            before = ("gpus", "exclude", "axes", "required_checks", "stacks", "operating_systems")
            after = next(key for key in before if key in keys)
            edited.add_block((), f"lint:\n  ignore:\n    - {line}", after)
    return edited.text


def _spare(edited: MatrixText, point: Point) -> None:
    """Except the cell from every exclude that drops it. Raises Negative where a fact does."""
    for _ in range(_ROUNDS):
        survey = edited.survey()
        if point in survey.points:
            return
        dropped = survey.dropped[point]
        if isinstance(dropped.cause, RuleResult):
            raise Negative(dropped.cause.message, hint=f"source: {dropped.cause.source}")
        owner, index, exclude = _excluding(survey, point, dropped.cause)
        others = [
            survey.values(other)
            for other in (*survey.dropped, *survey.points)
            if other != point and exclude.fits(survey.values(other))
        ]
        values = survey.values(point)
        names = (*((FAMILY,) if not owner else ()), *AXES, CUDNN)
        coordinates = {axis: values[axis] for axis in names}
        stays = shortest(coordinates, others)
        edited.add_exception(owner, index, stays)


def _excluding(survey: Survey, point: Point, cause: Exclude) -> tuple[str, int, Exclude]:
    family = survey.matrix.families[point.family]
    for owner, excludes in ((family.name, family.exclude), ("", survey.matrix.exclude)):
        for index, exclude in enumerate(excludes):
            if exclude is cause:
                return owner, index, exclude
    raise AssertionError(cause)


def fits_values(selector: Mapping[str, str], values: Mapping[str, str]) -> bool:
    return all(values[axis] == value for axis, value in selector.items())


def shortest(
    coordinates: Mapping[str, str], others: Collection[Mapping[str, str]]
) -> dict[str, str]:
    """Return the coordinates without those that are not needed to tell the cell from others."""
    needed = dict(coordinates)
    for axis in _LEFT_OUT_FIRST:
        fewer = {name: value for name, value in needed.items() if name != axis}
        if axis in needed and fewer and not any(fits_values(fewer, values) for values in others):
            needed = fewer
    return needed


def _exclude_corners(edited: MatrixText, before: Survey, point: Point) -> None:
    """Exclude the combinations of new values with old ones that nobody asked for."""
    for _ in range(_ROUNDS):
        survey = edited.survey()
        unwanted = survey.points - before.points - {point}
        if not unwanted:
            return
        corners = [corner._asdict() for corner in unwanted]
        old = [values._asdict() for values in survey.points & before.points]
        match = max(_selectors(corners, old, point), key=partial(_worth, corners, point))
        families = {values[FAMILY] for values in corners if fits_values(match, values)}
        owner = ""
        if families == {point.family} and edited.has_own_excludes(point.family):
            owner = point.family
            match = {axis: value for axis, value in match.items() if axis != FAMILY}
        coordinates = {
            axis: value
            for axis, value in point._asdict().items()
            if axis not in match and not (owner and axis == FAMILY)
        }
        spared = [values for values in corners if fits_values(match, values)]
        is_spared = fits_values(match, point._asdict())
        stays = shortest(coordinates, spared) if is_spared else {}
        why = f"of {list(match.values())[-1]} only what was asked for"
        edited.add_exclude(owner, match, stays, why)
    message = f"what comes with {point.family} {point.version} cannot be excluded"
    raise BadInput(message, where=edited.source, hint="edit the matrix by hand")


Selector = dict[str, str]


def _worth(corners: Iterable[Mapping[str, str]], point: Point, match: Selector) -> tuple[int, ...]:
    """Return how good an exclude is: it drops much, and is short."""
    drops = sum(fits_values(match, values) for values in corners)
    return drops, -len(match), match.get(FAMILY) == point.family


def _selectors(
    corners: Iterable[Mapping[str, str]], old: Collection[Mapping[str, str]], point: Point
) -> Iterator[Selector]:
    """Yield what drops some corners and no old cell: by one value, or else a single corner."""
    for values in corners:
        for family in ({}, {FAMILY: values[FAMILY]}):
            for axis in (*AXES, CUDNN):
                match = {**family, axis: values[axis]}
                if not any(fits_values(match, others) for others in old):
                    yield match
    first = min(corners, key=str)
    yield shortest(first, [*old, point._asdict()])


def _keep_aliases(edited: MatrixText, before: Survey, point: Point) -> None:
    """Let aliases mean what they meant, by another axis where the new cell fits them too."""
    family = before.matrix.families.get(point.family)
    for alias, match in family.aliases.items() if family else ():
        if not match.fits(point._asdict()):
            continue
        meant = [p for p in before.points if p.family == point.family and _means(match, p)]
        if len(meant) != 1:
            continue
        differing = (axis for axis in AXES if getattr(meant[0], axis) != getattr(point, axis))
        axis = next((axis for axis in differing if axis not in match.values), None)
        path = ("families", point.family, "aliases", alias)
        if axis is not None and edited.node(*path) is not None:
            edited.add_entry(path, axis, quoted(getattr(meant[0], axis)))


def _means(match: CellSelector, point: Point) -> bool:
    """Return whether an alias means a combination: without `cudnn`, that of the leader."""
    return match.fits(point._asdict()) and (
        CUDNN in match.values or point.cudnn in {LEADER, NO_CUDNN}
    )
