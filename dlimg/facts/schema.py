"""What each file of facts may say: sections, their fields, and what is needed, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dlimg.document.patterns import Pattern

SUFFIXES: Final = ("_source", "_verified", "_note")
_DAY: Final = "write e.g. 2026-11-21"
DAY: Final = Pattern(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?", "a day, a month or a year", _DAY)
WHOLE_DAY: Final = Pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day", _DAY)
DIGITS: Final = Pattern(r"[0-9]+(?:\.[0-9]+)*", "a version", "write e.g. 13.2 or 550.54.15")
RELEASED: Final = Pattern(
    r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?",
    "a version",
    "write it as the package index does, e.g. 2.15.0 or 3.0rc1",
)
_PTX: Final = "write e.g. sm_90, or compute_90 for PTX"
ARCHITECTURE: Final = Pattern(r"(?:sm|compute)_[0-9]{2,3}", "an architecture", _PTX)
CAPABILITY: Final = Pattern(r"[0-9]{1,2}\.[0-9]", "a compute capability", "write e.g. 8.9")
SM: Final = Pattern(r"[0-9]{2,3}", "a compute capability without its dot", "write e.g. 89")
NAME: Final = Pattern(r"[a-z0-9-]+", "a name", "use small letters and dashes")
ANYTHING: Final = Pattern(r".+", "a text", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSchema:
    """A field's form: how many texts, of which shape; `among` is a closed set of them."""

    kind: str = "text"  # or list, flag, table (text by name), lists and tables (by name)
    shape: Pattern = ANYTHING
    among: tuple[str, ...] = ()
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionSchema:
    """Rows of one form; no two of a file have the same values in `key`.

    What is said of a group (`image_source`) is said of each of its fields (`image_state`).
    """

    key: tuple[str, ...]
    fields: Mapping[str, FieldSchema]
    groups: tuple[str, ...] = ()

    @property
    def extras(self) -> frozenset[str]:
        """The keys that say something about a field or a group of them."""
        names = (*self.fields, *self.groups)
        return frozenset(f"{name}{end}" for name in names for end in SUFFIXES)


def _need(
    shape: Pattern = ANYTHING, kind: str = "text", among: tuple[str, ...] = ()
) -> FieldSchema:
    return FieldSchema(kind=kind, shape=shape, among=among, needed=True)


def _text(shape: Pattern = ANYTHING, kind: str = "text") -> FieldSchema:
    return FieldSchema(shape=shape, kind=kind)


def _list(shape: Pattern = ANYTHING) -> FieldSchema:
    return _text(shape, "list")


FLAG: Final = FieldSchema(kind="flag")
KINDS: Final = ("datacenter", "workstation", "consumer", "jetson")
ARCHITECTURES: Final = FieldSchema(kind="lists", shape=ARCHITECTURE)
RELEASE: Final = SectionSchema(
    key=("version",),
    fields={
        "version": _need(RELEASED),
        "released": _text(DAY),
        "yanked": FLAG,
        "requires_python": _text(),
        "jaxlib": _text(),
        "pythons": _need(DIGITS, "list"),
        "free_threaded": _list(),
        "platform": _text(),
        "package": _text(),
        "cpu_package": _text(),
        "cuda": _need(DIGITS, "list"),
        "built_for_cuda": _text(DIGITS),
        "pins": FieldSchema(kind="tables"),
        "plugin": _text(RELEASED, "table"),
        "companions": FieldSchema(kind="lists", shape=RELEASED),
        "architectures": ARCHITECTURES,
        "aarch64_cuda": _list(DIGITS),
        "aarch64_architectures": ARCHITECTURES,
        "variants": _list(),
    },
)
SECTIONS: Final[Mapping[str, SectionSchema]] = {
    "releases": RELEASE,
    "tested": SectionSchema(
        key=("minor",),
        fields={
            "minor": _need(DIGITS),
            "version": _need(RELEASED),
            "python": _need(),
            "cuda": _need(DIGITS),
            "cudnn": _need(DIGITS),
            "compiler": _text(),
            "plain_is_cuda": FLAG,
        },
    ),
    "variants": SectionSchema(
        key=("versions", "variant"),
        fields={
            "versions": _need(RELEASED, "list"),
            "variant": _need(),
            "architectures": _need(ARCHITECTURE, "list"),
            "ptx_known": FLAG,
            "pins": FieldSchema(kind="table"),
        },
    ),
    "floors": SectionSchema(
        key=("capability_from",),
        fields={
            "capability_from": _need(CAPABILITY),
            "min_version": _need(RELEASED),
            "min_cuda": _need(DIGITS),
        },
    ),
    "cuda": SectionSchema(
        key=("cuda",),
        fields={
            "cuda": _need(DIGITS),
            "released": _text(DAY),
            "min_driver": _need(DIGITS),
            "drivers": FieldSchema(kind="table", shape=DIGITS),
            "sm_min": _text(SM),
            "sm_max": _text(SM),
            "sm_added": _list(SM),
            "sm_removed": _list(SM),
            "nvcc_wheel": FLAG,
            "images": _list(),
            "image_os": _list(),
            "image_state": FieldSchema(among=("supported", "exists", "ended", "deleted")),
            "image_seen": _text(DAY),
            "image_tag": _text(DIGITS),
            "image_requires": _text(DIGITS),
            "image_lets_through": _list(DIGITS),
        },
        groups=("sm", "image"),
    ),
    "majors": SectionSchema(
        key=("cuda_major",), fields={"cuda_major": _need(DIGITS), "min_driver": _need(DIGITS)}
    ),
    "cudnn": SectionSchema(
        key=("cudnn",),
        fields={
            "cudnn": _need(DIGITS),
            "and_newer": FLAG,
            "cuda": _need(DIGITS, "list"),
            "sm_min": _text(SM),
            "min_driver": _text(DIGITS, "table"),
        },
    ),
    "drivers": SectionSchema(
        key=("branch",),
        fields={
            "branch": _need(DIGITS),
            "kind": _need(among=("LTSB", "PB", "NFB")),
            **dict.fromkeys(("eol", "eol_latest"), _text(DAY)),
            "ended": FLAG,
            "cuda_major": _text(DIGITS),
        },
    ),
    "forward": SectionSchema(
        key=("kind",),
        fields={"kind": _need(among=KINDS), "forward": FieldSchema(kind="flag", needed=True)},
    ),
    "gpus": SectionSchema(
        key=("gpu",),
        fields={
            "gpu": _need(),
            "aliases": _list(),
            "capability": _need(CAPABILITY),
            "architecture": _need(),
            "kind": _need(among=KINDS),
            "first_cuda": _text(DIGITS),
            "last_cuda": _text(DIGITS),
            "first_driver": _text(DIGITS),
            "last_driver": _text(DIGITS),
            "machine": FieldSchema(among=("x86_64", "aarch64")),
            "mig": FLAG,
        },
    ),
    "pythons": SectionSchema(
        key=("python",),
        fields={
            "python": _need(DIGITS),
            "released": _text(DAY),
            "eol": _text(DAY),
            "latest": _text(DIGITS),
            "managed_from": _text(DIGITS),
            "managed": _text(DIGITS),
            "distributions": _list(),
            "obtain": _text(),
        },
    ),
    "distributions": SectionSchema(
        key=("distribution",),
        fields={
            "distribution": _need(),
            "codename": _text(),
            "python": _text(DIGITS),
            "libc": FieldSchema(among=("glibc", "musl")),
            "glibc": _text(DIGITS),
            "released": _text(DAY),
            "eol": _text(DAY),
            "extended": FieldSchema(among=("LTS", "ESM")),
            "extended_eol": _text(DAY),
        },
    ),
    "environments": SectionSchema(
        key=("environment",),
        fields={
            "environment": _need(),
            "platform": _need(),
            "says": _need(),
            "packages": _list(),
            "pythons": _list(DIGITS),
            "cuda": _text(),
            "cudnn": _text(),
            "driver": _text(),
            "os": _text(),
            "wheel": _text(),
            "base_image": _text(),
            "obtain_python": FieldSchema(kind="table"),
            "image": _text(),
            "docs": _text(),
            "service": _text(),
            "numpy": _text(DIGITS),
        },
    ),
    "statements": SectionSchema(key=("name",), fields={"name": _need(NAME), "says": _need()}),
}
TOP: Final = ("framework", *SECTIONS)
EVERY_ROW: Final[Mapping[str, FieldSchema]] = {
    "source": _need(),
    "checked": _need(WHOLE_DAY),
    "verified": FLAG,
    "note": _text(),
}


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


def _row(section: SectionSchema) -> dict[str, Any]:
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


def _field(field: FieldSchema) -> dict[str, Any]:
    if field.kind == "flag":
        return {"type": "boolean"}
    if field.kind == "text":
        if field.among:
            return {"enum": list(field.among)}
        pattern = {} if field.shape is ANYTHING else {"pattern": f"^(?:{field.shape.pattern})$"}
        return {"type": "string", **pattern}
    if field.kind == "list":
        return {"type": "array", "items": _field(FieldSchema(shape=field.shape))}
    inner = _field(FieldSchema(kind=_INNER[field.kind], shape=field.shape))
    return {"type": "object", "additionalProperties": inner}
