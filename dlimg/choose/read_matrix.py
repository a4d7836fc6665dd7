"""Matrix text -> Matrix: everything that is wrong with the file is said at once."""

import re
from collections.abc import Mapping
from typing import Final

from dlimg.choose.form import Form, nearest
from dlimg.choose.matrix import AXES, Family, Matrix, OperatingSystemChoice, StackChoice
from dlimg.choose.read_family import read_family, read_groups
from dlimg.choose.yamltext import Node, parse_yaml
from dlimg.errors import BadInput
from dlimg.model import CPU, Flavour, StackException

TOP: Final = (
    "registry",
    "platform",
    "operating_systems",
    "stacks",
    "flavours",
    "families",
    "groups",
)
NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
PYTHON: Final = re.compile(r"3\.[0-9]{1,2}")
PLATFORM: Final = "x86_64-manylinux_2_28"


def parse_matrix(text: str, source: str) -> Matrix:
    """The matrix that this text describes.

    Raises BadInput with every problem of the file, each at `source:line`.
    """
    form = Form(source)
    top = form.table(
        parse_yaml(text, source), "the matrix", known=TOP, needed=("operating_systems", "families")
    )
    systems = _operating_systems(form, top.get("operating_systems"))
    stacks = _stacks(form, top.get("stacks"))
    families = _families(form, top.get("families"), frozenset(systems), frozenset(stacks))
    matrix = Matrix(
        source=source,
        registry=form.text(top.get("registry"), "registry", "dlimg").rstrip("/"),
        platform=form.text(top.get("platform"), "platform", PLATFORM),
        operating_systems=systems,
        stacks=stacks,
        flavours=_flavours(form, top.get("flavours")),
        families=families,
        groups=read_groups(form, top.get("groups"), families),
    )
    if form.problems:
        raise BadInput.of(form.problems)
    return matrix


def _named(form: Form, node: Node | None, what: str) -> Mapping[str, Node]:
    """The entries of a mapping whose keys become parts of file names and tags."""
    entries = form.table(node, what)
    for name, entry in entries.items():
        if not NAME.fullmatch(name):
            hint = "use small letters and digits, with single '.', '_' or '-' between them"
            form.refuse(entry.line, f"{name!r} in {what} cannot be part of a tag", hint)
    return entries


def _operating_systems(form: Form, node: Node | None) -> dict[str, OperatingSystemChoice]:
    found = {}
    for name, entry in _named(form, node, "operating_systems").items():
        keys = ("distribution", "image")
        table = form.table(entry, f"operating system {name}", known=keys, needed=keys)
        found[name] = OperatingSystemChoice(
            name=name,
            line=entry.line,
            distribution=form.text(table.get("distribution"), "distribution"),
            image=form.text(table.get("image"), "image"),
        )
    return found


def _stacks(form: Form, node: Node | None) -> dict[str, StackChoice]:
    found = {}
    for name, entry in _named(form, node, "stacks").items():
        what = f"stack {name}"
        keys = ("cuda", "cudnn", "leader", "python", "exceptions")
        table = form.table(entry, what, known=keys, needed=("cuda", "leader", "python"))
        cuda = form.text(table.get("cuda"), "cuda")
        if cuda and not re.fullmatch(r"[0-9]+\.[0-9]+", cuda):
            form.refuse(
                table["cuda"].line, f"cuda {cuda!r} is not a minor version", "write e.g. 13.2"
            )
        if name == CPU:
            form.refuse(entry.line, "a stack cannot be called cpu")
        found[name] = StackChoice(
            name=name,
            line=entry.line,
            cuda=cuda,
            cudnn=form.text(table.get("cudnn"), "cudnn"),
            leader=form.text(table.get("leader"), "leader"),
            python=_python(form, table.get("python")),
            exceptions=_exceptions(form, table.get("exceptions"), what),
        )
    return found


def _python(form: Form, node: Node | None) -> str:
    value = form.text(node, "python")
    if node is not None and value and not PYTHON.fullmatch(value):
        form.refuse(node.line, f"python {value!r} is not a minor version", "write e.g. 3.13")
    return value


def _exceptions(form: Form, node: Node | None, what: str) -> tuple[StackException, ...]:
    found = []
    for item in form.items(node, f"the exceptions of {what}"):
        keys = ("package", "why")
        table = form.table(item, f"an exception of {what}", known=keys, needed=keys)
        package = form.text(table.get("package"), "package")
        found.append(StackException(package=package, why=form.text(table.get("why"), "why")))
    return tuple(found)


def _flavours(form: Form, node: Node | None) -> dict[str, dict[str, tuple[str, ...]]]:
    known = [flavour.value for flavour in Flavour]
    found = {}
    for name, entry in form.table(node, "flavours", known=known).items():
        found[name] = read_kinds(form, entry, f"flavour {name}")
    return found


def read_kinds(form: Form, node: Node | None, what: str) -> dict[str, tuple[str, ...]]:
    """Packages by accelerator kind: `any`, `cpu`, or `cuda` with a major such as `cuda13`."""
    found = {}
    for kind, packages in form.table(node, what).items():
        if not re.fullmatch(r"any|cpu|cuda[0-9]+", kind):
            hint = "use any, cpu, or cuda with its major, e.g. cuda13"
            form.refuse(packages.line, f"unknown kind of accelerator {kind!r} in {what}", hint)
        found[kind] = form.texts(packages, f"{kind} of {what}")
    return found


def _families(
    form: Form, node: Node | None, systems: frozenset[str], stacks: frozenset[str]
) -> dict[str, Family]:
    closed = {
        "os": systems,
        "accelerator": stacks | {CPU},
        "flavour": frozenset(flavour.value for flavour in Flavour),
    }
    found = {}
    for name, entry in _named(form, node, "families").items():
        family = read_family(form, name, entry, read_kinds)
        for axis in AXES:
            _axis_values(form, family, axis, closed.get(axis))
        found[name] = family
    if node is not None and not found:
        form.refuse(node.line, "families is empty", "describe at least one family")
    return found


def _axis_values(form: Form, family: Family, axis: str, known: frozenset[str] | None) -> None:
    line = family.axis_lines[axis]
    for value in family.axes.get(axis, ()):
        if known is not None and value not in known:
            message = f"{family.name}: unknown {axis} {value!r}"
            form.refuse(line, message, nearest(value, known))
        elif known is None and not re.fullmatch(r"[0-9][A-Za-z0-9._]*", value):
            form.refuse(line, f"{family.name}: {axis} {value!r} is not a version")
        elif axis == "python" and not PYTHON.fullmatch(value):
            hint = "write e.g. 3.13"
            form.refuse(line, f"{family.name}: python {value!r} is not a minor", hint)
