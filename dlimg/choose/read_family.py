"""One family's entry of the matrix, and the groups that choose among families."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dlimg.choose import shapes
from dlimg.choose.environment import read_environment
from dlimg.choose.form import Form
from dlimg.choose.match import read_match
from dlimg.choose.matrix import AXES, Exclude, Family, Match
from dlimg.choose.yamltext import Items, Node, Table, Text
from dlimg.errors import nearest

KEYS: Final = (
    *("framework", "axes", "packages", "companions", "defaults", "env", "exclude", "aliases"),
)
VERSION: Final = "{version}"


def read_family(form: Form, name: str, node: Node) -> Family:
    """The family that this entry describes; problems are noted in the form."""
    what = f"family {name}"
    table = form.table(node, what, known=KEYS, needed=("framework", "axes", "packages"))
    axes = _axes(form, table.get("axes"), what)
    defaults = form.table(table.get("defaults"), f"the defaults of {what}", known=AXES)
    aliases = form.table(table.get("aliases"), f"the aliases of {what}")
    for alias, entry in aliases.items():
        form.fits(entry.line, f"the alias of {what}", alias, shapes.TAG)
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


def _axes(form: Form, node: Node | None, what: str) -> Mapping[str, tuple[str, ...]]:
    table = form.table(node, f"the axes of {what}", known=AXES, needed=AXES)
    axes = {axis: form.texts(table.get(axis), f"{axis} of {what}") for axis in AXES}
    return MappingProxyType(axes)


def _lines(node: Node, table: Mapping[str, Node]) -> Mapping[str, int]:
    lines = dict.fromkeys((*AXES, *KEYS), node.line)
    for one in (node, table.get("axes")):
        lines |= one.lines if isinstance(one, Table) else {}
    return lines


def read_kinds(
    form: Form, node: Node | None, what: str, placeholder: str = ""
) -> dict[str, tuple[str, ...]]:
    """Packages by accelerator kind: `any`, `cpu`, or `cuda` with a major such as `cuda13`.

    Only this placeholder may stand in them.
    """
    found = {}
    for kind, packages in form.table(node, what).items():
        if not re.fullmatch(shapes.KIND.pattern, kind):
            message = f"unknown kind of accelerator {kind!r} in {what}"
            form.refuse(packages.line, message, shapes.KIND.hint)
        found[kind] = form.texts(packages, f"{kind} of {what}")
        for item in packages.nodes if isinstance(packages, Items) else ():
            if isinstance(item, Text):
                _requirement(form, item, f"{kind} of {what}:", placeholder)
    return found


def _requirement(form: Form, item: Text, what: str, placeholder: str) -> None:
    unknown = [one for one in re.findall(r"\{[^{}]*\}?|\}", item.value) if one != placeholder]
    for one in unknown:
        hint = f"only {placeholder} is filled in" if placeholder else "nothing is filled in here"
        form.refuse(item.line, f"{what} unknown placeholder {one!r}", hint)
    if item.value.isprintable() and item.value.strip() and not unknown:
        text = item.value.replace(placeholder, "0") if placeholder else item.value
        if not re.fullmatch(shapes.REQUIREMENT.pattern, text):
            message = f"{what} {item.value!r} is not {shapes.REQUIREMENT.called}"
            form.refuse(item.line, message, shapes.REQUIREMENT.hint)


def _exclude(form: Form, node: Node, axes: Mapping[str, tuple[str, ...]], what: str) -> Exclude:
    table = form.table(node, f"an exclude of {what}")
    if isinstance(node, Table) and "why" not in table:
        hint = "add `why:` with the reason, for those who come after"
        form.refuse(node.line, f"an exclude of {what} does not say why", hint)
    why = form.prose(table.get("why"), "why")
    match = read_match(form, node, axes, f"an exclude of {what}", (*AXES, "why"))
    if isinstance(node, Table) and not match.values:
        form.refuse(node.line, f"an exclude of {what} names no axis, so it would drop everything")
    return Exclude(match=match, why=why)


def read_groups(
    form: Form, node: Node | None, families: Mapping[str, Family]
) -> dict[str, tuple[Match, ...]]:
    """The named groups: each a list of matches over `family` and the axes, the sound ones."""
    found = {}
    for name, entry in form.table(node, "groups").items():
        if isinstance(entry, Items) and not entry.nodes:
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


def _group_match(form: Form, node: Node, families: Mapping[str, Family], what: str) -> Match:
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
