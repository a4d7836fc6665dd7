"""The form of the facts as a JSON schema, for editors."""

from typing import Any, Final

from dlimg.choose.facts_form import ANYTHING, EVERY_ROW, SECTIONS, Field, Section

_INNER: Final = {"table": "text", "lists": "list", "tables": "table"}


def schema() -> dict[str, Any]:
    """The schema of every file of facts, from the same table that dlimg reads them with."""
    sections = {name: {"type": "array", "items": _row(one)} for name, one in SECTIONS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Facts of dlimg: one subject",
        "type": "object",
        "properties": {"framework": {"type": "string"}, **sections},
        "additionalProperties": False,
    }


def _row(section: Section) -> dict[str, Any]:
    fields = {**section.fields, **EVERY_ROW}
    extras = {
        name: {"type": "boolean" if name.endswith("_verified") else "string"}
        for name in sorted(section.extras)
    }
    # A companion is called as its package is: torchvision_note.
    notes = {"patternProperties": {"_note$": {"type": "string"}}} if "companions" in fields else {}
    return {
        "type": "object",
        "properties": {**{name: _field(one) for name, one in fields.items()}, **extras},
        **notes,
        "required": [name for name, one in fields.items() if one.needed],
        "additionalProperties": False,
    }


def _field(field: Field) -> dict[str, Any]:
    if field.kind == "flag":
        return {"type": "boolean"}
    if field.kind == "text":
        if field.among:
            return {"enum": list(field.among)}
        pattern = {} if field.shape is ANYTHING else {"pattern": f"^(?:{field.shape.pattern})$"}
        return {"type": "string", **pattern}
    if field.kind == "list":
        return {"type": "array", "items": _field(Field(shape=field.shape))}
    inner = _field(Field(kind=_INNER[field.kind], shape=field.shape))
    return {"type": "object", "additionalProperties": inner}
