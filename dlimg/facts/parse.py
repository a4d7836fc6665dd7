"""Rows of facts, parsed from YAML and checked: plain data, with the line of each row."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, parse_yaml
from dlimg.errors import BadInput
from dlimg.facts.model import FRAMEWORK, SECTIONS, Section
from dlimg.facts.schema import FLAG, TOP, FieldForm, extra_keys, forms_of

Rows = Mapping[str, Any]
Row = dict[str, Any]
# YAML's own numbers and days: without quotes any other reader would take 3.10 for 3.1.
_NOT_TEXT: Final = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9]*)?|[0-9]{4}-[0-9]{2}-[0-9]{2}")


def rows_of(text: str, source: str) -> Rows:
    """Return the rows of one file by section, and its `framework`, if it has one.

    Raises BadInput with every row that lacks a field, a source or a day, has a field that is not
    known or not of its form, or is a repeat.
    """
    tree, repeats = parse_yaml(text, source)
    validator = Validator(source, repeats)
    top = validator.table(tree, source, known=TOP)
    rows: dict[str, Any] = {}
    if "framework" in top:
        rows["framework"] = _row(validator, "framework", FRAMEWORK, top["framework"])
    for name, section in SECTIONS.items():
        if name in top:
            rows[name] = list(_section(validator, name, section, top[name]))
    if validator.problems:
        raise BadInput.of(validator.problems)
    return rows


def _section(validator: Validator, name: str, section: Section, node: Node) -> Iterator[Row]:
    lines: dict[tuple[str, ...], int] = {}
    for item in validator.items(node, name):
        row = _row(validator, f"a row of {name}", section, item)
        key = tuple(str(row.get(field, "")) for field in section.key)
        if key in lines and any(key):
            hint = f"the first is in line {lines[key]}; keep one of the two"
            validator.refuse(item.line, f"{' '.join(key)} has a second row in {name}", hint)
        lines.setdefault(key, item.line)
        yield row


def _row(validator: Validator, name: str, section: Section, node: Node) -> Row:
    forms = forms_of(section.row)
    keys = {*forms, *extra_keys(section), *(f"{name}_note" for name in _paired_packages(node))}
    required = [key for key, form in forms.items() if form.required]
    table = validator.table(node, name, known=keys, needed=required)
    row: Row = {"line": node.line}
    for key, value in table.items():
        if key in keys:
            row[key] = _value(validator, key, forms.get(key) or _extra(key), value)
    if row.get("architectures") and not {"architectures_source", "versions"} & row.keys():
        validator.refuse(node.line, f"{name} needs the key 'architectures_source'")
    return row


def _paired_packages(node: Node) -> tuple[str, ...]:
    """Return the names in a row's paired packages: each may have a note."""
    table = node.entries.get("paired_packages") if isinstance(node, YamlMapping) else None
    return tuple(table.entries) if isinstance(table, YamlMapping) else ()


def _extra(key: str) -> FieldForm:
    return FLAG if key.endswith("_verified") else FieldForm()


def _value(validator: Validator, key: str, form: FieldForm, node: Node) -> Any:  # noqa: ANN401 - plain data
    if form.kind == "flag":
        return validator.choice(node, key, ("true", "false")) == "true"
    if form.kind == "text":
        return _text(validator, key, form, node)
    if form.kind == "list":
        return [_text(validator, key, form, item) for item in validator.items(node, key)]
    return {
        name: _value(validator, f"{key} {name}", form.inner, value)
        for name, value in validator.table(node, key).items()
    }


def _text(validator: Validator, key: str, form: FieldForm, node: Node) -> str:
    if isinstance(node, YamlScalar) and node.plain and _NOT_TEXT.fullmatch(node.value):
        hint = f'write "{node.value}": without quotes YAML reads a number or a day'
        validator.refuse(node.line, f"{key} is not quoted", hint)
        return ""
    if form.choices:
        return validator.choice(node, key, form.choices)
    return validator.matching(node, key, form.pattern)
