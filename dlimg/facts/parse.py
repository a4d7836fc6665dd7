"""Facts as YAML text -> checked rows: plain data, their fields as in the file, and `line`."""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlScalar, parse_yaml
from dlimg.errors import BadInput
from dlimg.facts.schema import EVERY_ROW, SECTIONS, TOP, FieldSchema, SectionSchema

# Another number where the same rows would be read differently.
FORMAT: Final = 1
Rows = Mapping[str, Any]


def compiled(rows: Rows, text: str) -> str:
    """The JSON of a YAML text's rows: one line for each row, so that changes can be read."""
    parts = [_head(text)]
    for name, value in rows.items():
        if isinstance(value, str):
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
            continue
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{" + ",\n".join(parts) + "}\n"


def uncompiled(kept: str, text: str) -> Rows | None:
    """The rows in a JSON, or None where it was not made from just this YAML by this dlimg."""
    if not kept.startswith("{" + _head(text)):
        return None
    rows: Rows = json.loads(kept)
    return rows


def _head(text: str) -> str:
    written = text.encode()
    return f'"format": {FORMAT}, "size": {len(written)}, "crc": {zlib.crc32(written)}'


_INNER: Final = {"table": "text", "lists": "list", "tables": "table"}
# What YAML itself takes for a number or a day: 3.10 would be 3.1 to everybody else.
_NOT_TEXT: Final = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9]*)?|[0-9]{4}-[0-9]{2}-[0-9]{2}")


def rows_of(text: str, source: str) -> Rows:
    """The rows of one file by section, and its `framework`, if it has one.

    Raises BadInput with every row that lacks a field, a source or a day, has a field that is not
    known or not of its form, or stands there twice.
    """
    tree, repeats = parse_yaml(text, source)
    form = Validator(source, repeats)
    top = form.table(tree, source, known=TOP)
    found: dict[str, Any] = {}
    if "framework" in top:
        found["framework"] = form.text(top["framework"], "framework")
    for name, section in SECTIONS.items():
        if name in top:
            found[name] = list(_section(form, name, section, top[name]))
    if form.problems:
        raise BadInput.of(form.problems)
    return found


def _section(
    form: Validator, name: str, section: SectionSchema, node: Node
) -> Iterator[dict[str, Any]]:
    seen: dict[tuple[str, ...], int] = {}
    for one in form.items(node, name):
        row = _row(form, name, section, one)
        key = tuple(str(row.get(field, "")) for field in section.key)
        if key in seen and any(key):
            what = " ".join(key)
            hint = f"it stands first in line {seen[key]}; keep one of the two"
            form.refuse(one.line, f"{what} has a second row in {name}", hint)
        seen.setdefault(key, one.line)
        yield row


def _row(form: Validator, name: str, section: SectionSchema, node: Node) -> dict[str, Any]:
    fields = {**section.fields, **EVERY_ROW}
    known = {*fields, *section.extras, *(f"{one}_note" for one in _companions(node))}
    needed = [one for one, field in fields.items() if field.needed]
    table = form.table(node, f"a row of {name}", known=known, needed=needed)
    row: dict[str, Any] = {"line": node.line}
    for key, value in table.items():
        if key in known:
            row[key] = _value(form, key, fields.get(key) or _extra(key), value)
    if row.get("architectures") and not {"architectures_source", "versions"} & row.keys():
        form.refuse(node.line, f"a row of {name} needs the key 'architectures_source'")
    return row


def _companions(node: Node) -> tuple[str, ...]:
    """The names in a row's companions: each may have a note."""
    found = getattr(node, "entries", {}).get("companions")
    return tuple(getattr(found, "entries", ()))


def _extra(key: str) -> FieldSchema:
    return FieldSchema(kind="flag" if key.endswith("_verified") else "text")


def _value(form: Validator, key: str, field: FieldSchema, node: Node) -> Any:  # noqa: ANN401 - plain data
    if field.kind == "flag":
        return form.choice(node, key, ("true", "false")) == "true"
    if field.kind == "text":
        return _one(form, key, field, node)
    if field.kind == "list":
        return [_one(form, key, field, item) for item in form.items(node, key)]
    inner = FieldSchema(kind=_INNER[field.kind], shape=field.shape)
    entries = form.table(node, key).items()
    return {name: _value(form, f"{key} {name}", inner, value) for name, value in entries}


def _one(form: Validator, key: str, field: FieldSchema, node: Node) -> str:
    if isinstance(node, YamlScalar) and node.plain and _NOT_TEXT.fullmatch(node.value):
        hint = f'write "{node.value}": without quotes YAML reads a number or a day'
        form.refuse(node.line, f"{key} is not quoted", hint)
        return ""
    if field.among:
        return form.choice(node, key, field.among)
    return form.shaped(node, key, field.shape)
