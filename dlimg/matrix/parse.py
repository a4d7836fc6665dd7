"""Matrix text -> Matrix: everything that is wrong with the file is said at once."""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

from dlimg.document import patterns
from dlimg.document.patterns import COMPRESSION
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence, parse_yaml
from dlimg.errors import BadInput, nearest
from dlimg.matrix.axis_match import read_match
from dlimg.matrix.environment import read_environment
from dlimg.matrix.model import (
    AXES,
    AcceptedFinding,
    CellSelector,
    Exclude,
    Family,
    Matrix,
    OperatingSystemChoice,
    PromisedGpu,
    StackChoice,
)
from dlimg.matrix.required_checks import read_required
from dlimg.model import CPU, GZIP, Flavour, StackException

KEYS: Final = (
    *("framework", "axes", "packages", "companions", "defaults", "env", "exclude", "aliases"),
)
VERSION: Final = "{version}"


def read_family(form: Validator, name: str, node: Node) -> Family:
    """The family that this entry describes; problems are noted in the form."""
    what = f"family {name}"
    table = form.table(node, what, known=KEYS, needed=("framework", "axes", "packages"))
    axes = _axes(form, table.get("axes"), what)
    defaults = form.table(table.get("defaults"), f"the defaults of {what}", known=AXES)
    aliases = form.table(table.get("aliases"), f"the aliases of {what}")
    for alias, entry in aliases.items():
        form.fits(entry.line, f"the alias of {what}", alias, patterns.TAG)
    return Family(
        name=name,
        line=node.line,
        lines=_lines(node, table),
        framework=form.text(table.get("framework"), "framework"),
        axes=axes,
        packages=read_kinds(form, table.get("packages"), f"the packages of {what}", VERSION),
        companions=read_kinds(form, table.get("companions"), f"the companions of {what}"),
        defaults={
            axis: form.choice(value, f"{axis} in the defaults of {what}", axes.get(axis, ()))
            for axis, value in defaults.items()
        },
        env=read_environment(form, table.get("env"), axes, what),
        exclude=tuple(
            _exclude(form, item, axes, what)
            for item in form.items(table.get("exclude"), f"the exclude list of {what}")
        ),
        aliases={
            alias: read_match(form, entry, axes, f"alias {alias} of {what}", AXES)
            for alias, entry in aliases.items()
        },
    )


def _axes(form: Validator, node: Node | None, what: str) -> Mapping[str, tuple[str, ...]]:
    table = form.table(node, f"the axes of {what}", known=AXES, needed=AXES)
    axes = {axis: form.texts(table.get(axis), f"{axis} of {what}") for axis in AXES}
    return MappingProxyType(axes)


def _lines(node: Node, table: Mapping[str, Node]) -> Mapping[str, int]:
    lines = dict.fromkeys((*AXES, *KEYS), node.line)
    for one in (node, table.get("axes")):
        lines |= one.lines if isinstance(one, YamlMapping) else {}
    return lines


def read_kinds(
    form: Validator, node: Node | None, what: str, placeholder: str = ""
) -> dict[str, tuple[str, ...]]:
    """Packages by accelerator kind: `any`, `cpu`, or `cuda` with a major such as `cuda13`.

    Only this placeholder may stand in them.
    """
    found = {}
    for kind, packages in form.table(node, what).items():
        if not re.fullmatch(patterns.KIND.pattern, kind):
            message = f"unknown kind of accelerator {kind!r} in {what}"
            form.refuse(packages.line, message, patterns.KIND.hint)
        found[kind] = form.texts(packages, f"{kind} of {what}")
        for item in packages.nodes if isinstance(packages, YamlSequence) else ():
            if isinstance(item, YamlScalar):
                _requirement(form, item, f"{kind} of {what}:", placeholder)
    return found


def _requirement(form: Validator, item: YamlScalar, what: str, placeholder: str) -> None:
    unknown = [one for one in re.findall(r"\{[^{}]*\}?|\}", item.value) if one != placeholder]
    for one in unknown:
        hint = f"only {placeholder} is filled in" if placeholder else "nothing is filled in here"
        form.refuse(item.line, f"{what} unknown placeholder {one!r}", hint)
    if item.value.isprintable() and item.value.strip() and not unknown:
        text = item.value.replace(placeholder, "0") if placeholder else item.value
        if not re.fullmatch(patterns.REQUIREMENT.pattern, text):
            message = f"{what} {item.value!r} is not {patterns.REQUIREMENT.called}"
            form.refuse(item.line, message, patterns.REQUIREMENT.hint)


def _exclude(
    form: Validator, node: Node, axes: Mapping[str, tuple[str, ...]], what: str
) -> Exclude:
    table = form.table(node, f"an exclude of {what}")
    if isinstance(node, YamlMapping) and "why" not in table:
        hint = "add `why:` with the reason, for those who come after"
        form.refuse(node.line, f"an exclude of {what} does not say why", hint)
    why = form.prose(table.get("why"), "why")
    match = read_match(form, node, axes, f"an exclude of {what}", (*AXES, "why"))
    if isinstance(node, YamlMapping) and not match.values:
        form.refuse(node.line, f"an exclude of {what} names no axis, so it would drop everything")
    return Exclude(match=match, why=why)


def read_groups(
    form: Validator, node: Node | None, families: Mapping[str, Family]
) -> dict[str, tuple[CellSelector, ...]]:
    """The named groups: each a list of matches over `family` and the axes, the sound ones."""
    found = {}
    for name, entry in form.table(node, "groups").items():
        if isinstance(entry, YamlSequence) and not entry.nodes:
            hint = "name at least one match, or remove it; `{}` matches all cells"
            form.refuse(entry.line, f"group {name} is an empty list", hint)
        matches = []
        for item in form.items(entry, f"group {name}"):
            before = len(form.problems)
            match = _group_match(form, item, families, f"group {name}")
            if len(form.problems) == before:
                matches.append(match)
        found[name] = tuple(matches)
    return found


def _group_match(
    form: Validator, node: Node, families: Mapping[str, Family], what: str
) -> CellSelector:
    match = read_match(form, node, {"family": tuple(families)}, what, ("family", *AXES))
    chosen = match.values.get("family", tuple(families))
    known = [families[one].axes for one in chosen if one in families]
    for axis, values in match.values.items():
        # An axis that is empty or wrong has been refused already.
        if axis in AXES and known and all(axes[axis] for axes in known):
            allowed = {value for axes in known for value in axes[axis]}
            for value in values:
                if value not in allowed:
                    hint = nearest(value, allowed)
                    form.refuse(match.line, f"{what}: no {axis} is {value!r}", hint)
    return match


def read_gpus(form: Validator, node: Node | None) -> tuple[PromisedGpu, ...]:
    """The GPUs under `gpus`; whether there are any such only the facts can say."""
    names = form.texts(node, "gpus")
    lines = [item.line for item in node.nodes] if isinstance(node, YamlSequence) else []
    return tuple(
        PromisedGpu(line=line, name=name) for name, line in zip(names, lines, strict=False)
    )


def read_accepted(form: Validator, node: Node | None) -> tuple[AcceptedFinding, ...]:
    """The entries under `lint`, each with its reason."""
    found: list[AcceptedFinding] = []
    for item in form.items(node, "lint"):
        needed = ("id", "why")
        table = form.table(item, "an entry of lint", known=(*needed, "about"), needed=needed)
        one = AcceptedFinding(
            line=item.line,
            id=form.shaped(table.get("id"), "id", patterns.FINDING),
            about=form.text(table.get("about"), "about", "*"),
            why=form.prose(table.get("why"), "why"),
        )
        if any((one.id, one.about) == (other.id, other.about) for other in found):
            form.refuse(item.line, f"{one.id} about {one.about} is accepted twice")
        found.append(one)
    return tuple(found)


_LEVEL: Final = 3  # zstd's own default


def named(text: str) -> str:
    """`gzip`, or `zstd` with its level: `zstd:9` is `zstd9`, and `zstd` alone `zstd3`."""
    return f"zstd{_LEVEL}" if text == "zstd" else text.replace(":", "")


def spelled(name: str) -> str:
    """The word for `--compression` that `named` makes this name from."""
    return name.replace("zstd", "zstd:") if name != "zstd" else name


def asked(text: str) -> str:
    """The same for a word of the command line; raises BadInput for one that names none."""
    if re.fullmatch(COMPRESSION.pattern, text):
        return named(text)
    raise BadInput(f"--compression {text!r} is not {COMPRESSION.called}", hint=COMPRESSION.hint)


TOP: Final = (
    "registry",
    "source",
    "licenses",
    "platform",
    "compression",
    "operating_systems",
    "stacks",
    "flavours",
    "required_checks",
    "gpus",
    "lint",
    "families",
    "groups",
)
FLAVOURS: Final = tuple(flavour.value for flavour in Flavour)
PLATFORM: Final = "x86_64-manylinux_2_28"

Entry = TypeVar("Entry")


def parse_matrix(text: str, source: str) -> Matrix:
    """The matrix that this text describes, with every problem of the file, each at `source:line`.

    `resolve` raises them, together with its own. Raises BadInput for a text that is not YAML.
    """
    tree, repeats = parse_yaml(text, source)
    form = Validator(source, repeats)
    top = form.table(tree, "the matrix", known=TOP, needed=("operating_systems", "families"))
    systems, lost = _entries(form, top.get("operating_systems"), "operating_systems", _system)
    stacks, lost_stacks = _entries(form, top.get("stacks"), "stacks", _stack)
    closed = {"os": systems, "accelerator": (*stacks, CPU), "flavour": FLAVOURS}
    families, unsound = _entries(form, top.get("families"), "families", partial(_family, closed))
    required = read_required(form, top.get("required_checks"), tuple(families))
    if "families" in top and not families:
        form.refuse(top["families"].line, "families is empty", "describe at least one family")
    unsound |= {
        name
        for name, family in families.items()
        if not lost.isdisjoint(family.axes["os"])
        or not lost_stacks.isdisjoint(family.axes["accelerator"])
    }
    return Matrix(
        source=source,
        registry=form.shaped(top.get("registry"), "registry", patterns.REGISTRY, "dlimg").rstrip(
            "/"
        ),
        platform=form.shaped(top.get("platform"), "platform", patterns.PLATFORM, PLATFORM),
        compression=named(
            form.shaped(top.get("compression"), "compression", patterns.COMPRESSION, GZIP)
        ),
        source_url=form.shaped(top.get("source"), "source", patterns.URL),
        licenses=form.shaped(top.get("licenses"), "licenses", patterns.LICENSES),
        operating_systems=_without(systems, lost),
        stacks=_without(stacks, lost_stacks),
        flavours=_flavours(form, top.get("flavours")),
        families=_without(families, unsound),
        required=required,
        gpus=read_gpus(form, top.get("gpus")),
        accepted=read_accepted(form, top.get("lint")),
        groups=read_groups(form, top.get("groups"), families),
        unsound=frozenset(unsound),
        problems=tuple(form.problems),  # last: what stands above may add to them
    )


def _entries(
    form: Validator, node: Node | None, what: str, read: Callable[[Validator, str, Node], Entry]
) -> tuple[dict[str, Entry], set[str]]:
    """The entries of a mapping whose keys are parts of tags, and the names of the wrong ones."""
    every = {}
    unsound = set()
    for name, entry in form.table(node, what).items():
        before = len(form.problems)
        line = node.lines[name] if isinstance(node, YamlMapping) else entry.line
        form.fits(line, f"the name in {what}", name, patterns.NAME)
        every[name] = read(form, name, entry)
        if len(form.problems) > before or (isinstance(entry, YamlMapping) and not entry.whole):
            unsound.add(name)
    return every, unsound


def _without(entries: Mapping[str, Entry], names: set[str]) -> dict[str, Entry]:
    return {name: entry for name, entry in entries.items() if name not in names}


def _system(form: Validator, name: str, node: Node) -> OperatingSystemChoice:
    keys = ("distribution", "image")
    table = form.table(node, f"operating system {name}", known=keys, needed=keys)
    return OperatingSystemChoice(
        name=name,
        line=node.line,
        distribution=form.text(table.get("distribution"), "distribution"),
        image=form.shaped(table.get("image"), "image", patterns.IMAGE),
    )


def _stack(form: Validator, name: str, node: Node) -> StackChoice:
    what = f"stack {name}"
    keys = ("cuda", "cudnn", "leader", "python", "exceptions")
    table = form.table(node, what, known=keys, needed=("cuda", "leader", "python"))
    if name == CPU:
        form.refuse(node.line, "a stack cannot be called cpu")
    return StackChoice(
        name=name,
        line=node.line,
        python_line=table.get("python", node).line,
        cuda=form.shaped(table.get("cuda"), "cuda", patterns.CUDA),
        cudnn=form.shaped(table.get("cudnn"), "cudnn", patterns.CUDNN),
        leader=form.shaped(table.get("leader"), "leader", patterns.REQUIREMENT),
        python=form.shaped(table.get("python"), "python", patterns.PYTHON),
        exceptions=tuple(
            _exception(form, item, f"an exception of {what}")
            for item in form.items(table.get("exceptions"), f"the exceptions of {what}")
        ),
    )


def _exception(form: Validator, node: Node, what: str) -> StackException:
    keys = ("package", "why")
    table = form.table(node, what, known=keys, needed=keys)
    package = form.shaped(table.get("package"), "package", patterns.PACKAGE)
    return StackException(package=package, why=form.prose(table.get("why"), "why"))


def _flavours(form: Validator, node: Node | None) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        name: read_kinds(form, entry, f"flavour {name}")
        for name, entry in form.table(node, "flavours", known=FLAVOURS).items()
    }


def _family(
    closed: Mapping[str, Collection[str]], form: Validator, name: str, node: Node
) -> Family:
    """The family; the values of closed axes are among these, those of the others are versions."""
    family = read_family(form, name, node)
    for axis in AXES:
        line = family.lines[axis]
        for value in family.axes[axis]:
            if axis not in closed:
                shape = patterns.PYTHON if axis == "python" else patterns.VERSION
                form.fits(line, f"{name}: {axis}", value, shape)
            elif value not in closed[axis]:
                message = f"{name}: unknown {axis} {value!r}"
                form.refuse(line, message, nearest(value, closed[axis]))
    return family
