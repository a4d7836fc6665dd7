"""One family's entry of the matrix, and the groups that choose among families."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from dlimg.choose.form import Form, nearest
from dlimg.choose.matrix import AXES, Exclude, Family, Match
from dlimg.choose.yamltext import Node, Table

Kinds = Callable[[Form, Node | None, str], dict[str, tuple[str, ...]]]

KEYS: Final = ("framework", "axes", "packages", "companions", "defaults", "exclude", "aliases")
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def read_family(form: Form, name: str, node: Node, read_kinds: Kinds) -> Family:
    """The family that this entry describes; problems are noted in the form."""
    what = f"family {name}"
    table = form.table(node, what, known=KEYS, needed=("framework", "axes", "packages"))
    axes = _axes(form, table.get("axes"), what)
    defaults = form.table(table.get("defaults"), f"the defaults of {what}", known=AXES)
    aliases = form.table(table.get("aliases"), f"the aliases of {what}")
    for alias, entry in aliases.items():
        if not TAG.fullmatch(alias):
            form.refuse(entry.line, f"{alias!r} cannot be a tag")
    return Family(
        name=name,
        line=node.line,
        framework=form.text(table.get("framework"), "framework"),
        axes=axes,
        axis_lines=_axis_lines(table.get("axes"), node.line),
        packages=read_kinds(form, table.get("packages"), f"the packages of {what}"),
        companions=read_kinds(form, table.get("companions"), f"the companions of {what}"),
        defaults={
            axis: form.choice(value, f"{axis} in the defaults of {what}", axes.get(axis, ()))
            for axis, value in defaults.items()
        },
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


def _axis_lines(node: Node | None, line: int) -> Mapping[str, int]:
    return dict.fromkeys(AXES, line) | (dict(node.lines) if isinstance(node, Table) else {})


def read_match(
    form: Form,
    node: Node,
    axes: Mapping[str, tuple[str, ...]],
    what: str,
    known: tuple[str, ...],
) -> Match:
    """Values of some axes; a value that its axis does not have is refused."""
    values = {}
    for axis, value in form.table(node, what, known=known).items():
        allowed = form.one_or_more(value, f"{axis} of {what}")
        for one in allowed:
            if axis in axes and one not in axes[axis]:
                hint = nearest(one, axes[axis])
                form.refuse(value.line, f"{what}: no {axis} is {one!r}", hint)
        values[axis] = allowed
    return Match(line=node.line, values=values)


def _exclude(form: Form, node: Node, axes: Mapping[str, tuple[str, ...]], what: str) -> Exclude:
    table = form.table(node, f"an exclude of {what}")
    if "why" not in table:
        hint = "add `why:` with the reason, for those who come after"
        form.refuse(node.line, f"an exclude of {what} does not say why", hint)
    why = form.text(table.get("why"), "why")
    match = read_match(form, node, axes, f"an exclude of {what}", (*AXES, "why"))
    values = {axis: allowed for axis, allowed in match.values.items() if axis != "why"}
    if not values:
        form.refuse(node.line, f"an exclude of {what} names no axis, so it would drop everything")
    return Exclude(match=Match(line=node.line, values=values), why=why)


def read_groups(
    form: Form, node: Node | None, families: Mapping[str, Family]
) -> dict[str, tuple[Match, ...]]:
    """The named groups: each a list of matches over `family` and the axes."""
    found = {}
    for name, entry in form.table(node, "groups").items():
        matches = []
        for item in form.items(entry, f"group {name}"):
            match = read_match(
                form, item, {"family": tuple(families)}, f"group {name}", ("family", *AXES)
            )
            chosen = match.values.get("family", tuple(families))
            known = [families[one] for one in chosen if one in families]
            if known:
                _known_values(form, match, known, name)
            matches.append(match)
        found[name] = tuple(matches)
    return found


def _known_values(form: Form, match: Match, families: list[Family], group: str) -> None:
    for axis, values in match.values.items():
        known = {value for family in families for value in family.axes.get(axis, ())}
        for value in values:
            if axis != "family" and value not in known:
                hint = nearest(value, known)
                form.refuse(match.line, f"group {group}: no {axis} is {value!r}", hint)
