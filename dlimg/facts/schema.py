"""Forms of fields, from the annotations of the rows' classes, and the JSON schema of facts."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin
from typing import get_type_hints as type_hints

from dlimg.document.patterns import Pattern
from dlimg.facts.model import (
    DERIVED,
    FRAMEWORK,
    KEY,
    SECTIONS,
    WHOLE_DAY,
    FrameworkRelease,
    Section,
)

SUFFIXES: Final = ("_source", "_verified", "_note")
TOP: Final = ("framework", *SECTIONS)
ANYTHING: Final = Pattern(r".+", "a text", "")
Kind: TypeAlias = Literal["text", "list", "flag", "table", "lists", "tables"]
_INNER: Final[Mapping[Kind, Kind]] = {"table": "text", "lists": "list", "tables": "table"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldForm:
    """The form of a field; `choices` is a closed set of texts, empty if any fit `pattern`.

    A `table` has texts by name, `lists` and `tables` have lists and tables by name.
    """

    kind: Kind = "text"
    pattern: Pattern = ANYTHING
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def inner(self) -> "FieldForm":
        """The form of a value of a table."""
        return FieldForm(kind=_INNER[self.kind], pattern=self.pattern)


FLAG: Final = FieldForm(kind="flag")
EVERY_ROW: Final[Mapping[str, FieldForm]] = {
    "source": FieldForm(required=True),
    "checked": FieldForm(pattern=WHOLE_DAY, required=True),
    "verified": FLAG,
    "note": FieldForm(),
}


@cache
def forms_of(row: type) -> Mapping[str, FieldForm]:
    """Return the fields of a row's class by their keys in the YAML."""
    hints = type_hints(row, include_extras=True)
    forms = {}
    for field in fields(row):
        if field.name == "origin" or field.metadata.get(DERIVED):
            continue
        required = field.default is MISSING and field.default_factory is MISSING
        forms[field.metadata.get(KEY, field.name)] = _form(hints[field.name], required=required)
    return {**forms, **EVERY_ROW}


def _form(hint: Any, *, required: bool) -> FieldForm:  # noqa: ANN401 - an annotation
    origin, args = get_origin(hint), get_args(hint)
    if hint is bool:
        return FieldForm(kind="flag", required=required)
    if hint is str:
        return FieldForm(required=required)
    if origin is Annotated:
        return FieldForm(pattern=args[1], required=required)
    if origin is Literal:
        return FieldForm(choices=tuple(filter(None, args)), required=required)
    if origin in (Union, UnionType):
        return _form(next(arg for arg in args if arg is not NoneType), required=required)
    inner = _form(args[0] if origin is tuple else args[1], required=False)
    kinds: Mapping[Kind, Kind] = {"text": "table", "list": "lists", "table": "tables"}
    kind: Kind = "list" if origin is tuple else kinds[inner.kind]
    return FieldForm(kind=kind, pattern=inner.pattern, required=required)


def extra_keys(section: Section) -> frozenset[str]:
    """Return the keys about a field or a group of fields: `eol_source`, `image_verified`."""
    names = (*forms_of(section.row), *section.groups)
    return frozenset(f"{name}{suffix}" for name in names for suffix in SUFFIXES)


def schema() -> dict[str, Any]:
    """Return the JSON schema of every file of facts."""
    sections = {name: {"type": "array", "items": _row(part)} for name, part in SECTIONS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Facts of dlimg: one subject",
        "type": "object",
        "properties": {"framework": _row(FRAMEWORK), **sections},
        "additionalProperties": False,
    }


def _row(section: Section) -> dict[str, Any]:
    forms = forms_of(section.row)
    extras = {
        name: {"type": "boolean" if name.endswith("_verified") else "string"}
        for name in sorted(extra_keys(section))
    }
    # The note of a paired package is called after its package: torchvision_note.
    has_paired_packages = section.row is FrameworkRelease
    notes = {"patternProperties": {"_note$": {"type": "string"}}} if has_paired_packages else {}
    return {
        "type": "object",
        "properties": {**{name: _field(form) for name, form in forms.items()}, **extras},
        **notes,
        "required": [name for name, form in forms.items() if form.required],
        "additionalProperties": False,
    }


def _field(form: FieldForm) -> dict[str, Any]:
    if form.kind == "flag":
        return {"type": "boolean"}
    if form.kind == "text":
        if form.choices:
            return {"enum": list(form.choices)}
        is_open = form.pattern is ANYTHING
        pattern = {} if is_open else {"pattern": f"^(?:{form.pattern.pattern})$"}
        return {"type": "string", **pattern}
    if form.kind == "list":
        return {"type": "array", "items": _field(FieldForm(pattern=form.pattern))}
    return {"type": "object", "additionalProperties": _field(form.inner)}
