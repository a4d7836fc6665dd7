"""Matrix text -> Matrix: everything that is wrong with the file is said at once."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final, TypeVar

from dlimg.choose import shapes
from dlimg.choose.compression import named
from dlimg.choose.form import Form
from dlimg.choose.linted import read_accepted, read_gpus
from dlimg.choose.matrix import AXES, Family, Matrix, OperatingSystemChoice, StackChoice
from dlimg.choose.read_family import read_family, read_groups, read_kinds
from dlimg.choose.required import read_required
from dlimg.choose.yamltext import Node, Table, parse_yaml
from dlimg.errors import nearest
from dlimg.model import CPU, GZIP, Flavour, StackException

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
    form = Form(source, repeats)
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
        registry=form.shaped(top.get("registry"), "registry", shapes.REGISTRY, "dlimg").rstrip("/"),
        platform=form.shaped(top.get("platform"), "platform", shapes.PLATFORM, PLATFORM),
        compression=named(
            form.shaped(top.get("compression"), "compression", shapes.COMPRESSION, GZIP)
        ),
        source_url=form.shaped(top.get("source"), "source", shapes.URL),
        licenses=form.shaped(top.get("licenses"), "licenses", shapes.LICENSES),
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
    form: Form, node: Node | None, what: str, read: Callable[[Form, str, Node], Entry]
) -> tuple[dict[str, Entry], set[str]]:
    """The entries of a mapping whose keys are parts of tags, and the names of the wrong ones."""
    every = {}
    unsound = set()
    for name, entry in form.table(node, what).items():
        before = len(form.problems)
        line = node.lines[name] if isinstance(node, Table) else entry.line
        form.fits(line, f"the name in {what}", name, shapes.NAME)
        every[name] = read(form, name, entry)
        if len(form.problems) > before or (isinstance(entry, Table) and not entry.whole):
            unsound.add(name)
    return every, unsound


def _without(entries: Mapping[str, Entry], names: set[str]) -> dict[str, Entry]:
    return {name: entry for name, entry in entries.items() if name not in names}


def _system(form: Form, name: str, node: Node) -> OperatingSystemChoice:
    keys = ("distribution", "image")
    table = form.table(node, f"operating system {name}", known=keys, needed=keys)
    return OperatingSystemChoice(
        name=name,
        line=node.line,
        distribution=form.text(table.get("distribution"), "distribution"),
        image=form.shaped(table.get("image"), "image", shapes.IMAGE),
    )


def _stack(form: Form, name: str, node: Node) -> StackChoice:
    what = f"stack {name}"
    keys = ("cuda", "cudnn", "leader", "python", "exceptions")
    table = form.table(node, what, known=keys, needed=("cuda", "leader", "python"))
    if name == CPU:
        form.refuse(node.line, "a stack cannot be called cpu")
    return StackChoice(
        name=name,
        line=node.line,
        python_line=table.get("python", node).line,
        cuda=form.shaped(table.get("cuda"), "cuda", shapes.CUDA),
        cudnn=form.shaped(table.get("cudnn"), "cudnn", shapes.CUDNN),
        leader=form.shaped(table.get("leader"), "leader", shapes.REQUIREMENT),
        python=form.shaped(table.get("python"), "python", shapes.PYTHON),
        exceptions=tuple(
            _exception(form, item, f"an exception of {what}")
            for item in form.items(table.get("exceptions"), f"the exceptions of {what}")
        ),
    )


def _exception(form: Form, node: Node, what: str) -> StackException:
    keys = ("package", "why")
    table = form.table(node, what, known=keys, needed=keys)
    package = form.shaped(table.get("package"), "package", shapes.PACKAGE)
    return StackException(package=package, why=form.prose(table.get("why"), "why"))


def _flavours(form: Form, node: Node | None) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        name: read_kinds(form, entry, f"flavour {name}")
        for name, entry in form.table(node, "flavours", known=FLAVOURS).items()
    }


def _family(closed: Mapping[str, Collection[str]], form: Form, name: str, node: Node) -> Family:
    """The family; the values of closed axes are among these, those of the others are versions."""
    family = read_family(form, name, node)
    for axis in AXES:
        line = family.lines[axis]
        for value in family.axes[axis]:
            if axis not in closed:
                shape = shapes.PYTHON if axis == "python" else shapes.VERSION
                form.fits(line, f"{name}: {axis}", value, shape)
            elif value not in closed[axis]:
                message = f"{name}: unknown {axis} {value!r}"
                form.refuse(line, message, nearest(value, closed[axis]))
    return family
