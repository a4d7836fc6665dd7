"""What each file of facts may say: sections, their fields, and what is needed, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dlimg.choose.shapes import Shape

SUFFIXES: Final = ("_source", "_verified", "_note")
_DAY: Final = "write e.g. 2026-11-21"
DAY: Final = Shape(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?", "a day, a month or a year", _DAY)
WHOLE_DAY: Final = Shape(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day", _DAY)
DIGITS: Final = Shape(r"[0-9]+(?:\.[0-9]+)*", "a version", "write e.g. 13.2 or 550.54.15")
RELEASED: Final = Shape(
    r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?",
    "a version",
    "write it as the package index does, e.g. 2.15.0 or 3.0rc1",
)
_PTX: Final = "write e.g. sm_90, or compute_90 for PTX"
ARCHITECTURE: Final = Shape(r"(?:sm|compute)_[0-9]{2,3}", "an architecture", _PTX)
CAPABILITY: Final = Shape(r"[0-9]{1,2}\.[0-9]", "a compute capability", "write e.g. 8.9")
SM: Final = Shape(r"[0-9]{2,3}", "a compute capability without its dot", "write e.g. 89")
NAME: Final = Shape(r"[a-z0-9-]+", "a name", "use small letters and dashes")
ANYTHING: Final = Shape(r".+", "a text", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field's form: how many texts, of which shape; `among` is a closed set of them."""

    kind: str = "text"  # or list, flag, table (text by name), lists and tables (by name)
    shape: Shape = ANYTHING
    among: tuple[str, ...] = ()
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows of one form; no two of a file have the same values in `key`.

    What is said of a group (`image_source`) is said of each of its fields (`image_state`).
    """

    key: tuple[str, ...]
    fields: Mapping[str, Field]
    groups: tuple[str, ...] = ()

    @property
    def extras(self) -> frozenset[str]:
        """The keys that say something about a field or a group of them."""
        names = (*self.fields, *self.groups)
        return frozenset(f"{name}{end}" for name in names for end in SUFFIXES)


def _need(shape: Shape = ANYTHING, kind: str = "text", among: tuple[str, ...] = ()) -> Field:
    return Field(kind=kind, shape=shape, among=among, needed=True)


def _text(shape: Shape = ANYTHING, kind: str = "text") -> Field:
    return Field(shape=shape, kind=kind)


def _list(shape: Shape = ANYTHING) -> Field:
    return _text(shape, "list")


FLAG: Final = Field(kind="flag")
KINDS: Final = ("datacenter", "workstation", "consumer", "jetson")
ARCHITECTURES: Final = Field(kind="lists", shape=ARCHITECTURE)
RELEASE: Final = Section(
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
        "pins": Field(kind="tables"),
        "plugin": _text(RELEASED, "table"),
        "companions": Field(kind="lists", shape=RELEASED),
        "architectures": ARCHITECTURES,
        "aarch64_cuda": _list(DIGITS),
        "aarch64_architectures": ARCHITECTURES,
        "variants": _list(),
    },
)
SECTIONS: Final[Mapping[str, Section]] = {
    "releases": RELEASE,
    "tested": Section(
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
    "variants": Section(
        key=("versions", "variant"),
        fields={
            "versions": _need(RELEASED, "list"),
            "variant": _need(),
            "architectures": _need(ARCHITECTURE, "list"),
            "ptx_known": FLAG,
            "pins": Field(kind="table"),
        },
    ),
    "floors": Section(
        key=("capability_from",),
        fields={
            "capability_from": _need(CAPABILITY),
            "min_version": _need(RELEASED),
            "min_cuda": _need(DIGITS),
        },
    ),
    "cuda": Section(
        key=("cuda",),
        fields={
            "cuda": _need(DIGITS),
            "released": _text(DAY),
            "min_driver": _need(DIGITS),
            "drivers": Field(kind="table", shape=DIGITS),
            "sm_min": _text(SM),
            "sm_max": _text(SM),
            "sm_added": _list(SM),
            "sm_removed": _list(SM),
            "nvcc_wheel": FLAG,
            "images": _list(),
            "image_os": _list(),
            "image_state": Field(among=("supported", "exists", "ended", "deleted")),
            "image_seen": _text(DAY),
            "image_tag": _text(DIGITS),
            "image_requires": _text(DIGITS),
            "image_lets_through": _list(DIGITS),
        },
        groups=("sm", "image"),
    ),
    "majors": Section(
        key=("cuda_major",), fields={"cuda_major": _need(DIGITS), "min_driver": _need(DIGITS)}
    ),
    "cudnn": Section(
        key=("cudnn",),
        fields={
            "cudnn": _need(DIGITS),
            "and_newer": FLAG,
            "cuda": _need(DIGITS, "list"),
            "sm_min": _text(SM),
            "min_driver": _text(DIGITS, "table"),
        },
    ),
    "drivers": Section(
        key=("branch",),
        fields={
            "branch": _need(DIGITS),
            "kind": _need(among=("LTSB", "PB", "NFB")),
            **dict.fromkeys(("eol", "eol_latest"), _text(DAY)),
            "ended": FLAG,
            "cuda_major": _text(DIGITS),
        },
    ),
    "forward": Section(
        key=("kind",),
        fields={"kind": _need(among=KINDS), "forward": Field(kind="flag", needed=True)},
    ),
    "gpus": Section(
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
            "machine": Field(among=("x86_64", "aarch64")),
            "mig": FLAG,
        },
    ),
    "pythons": Section(
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
    "distributions": Section(
        key=("distribution",),
        fields={
            "distribution": _need(),
            "codename": _text(),
            "python": _text(DIGITS),
            "libc": Field(among=("glibc", "musl")),
            "glibc": _text(DIGITS),
            "released": _text(DAY),
            "eol": _text(DAY),
            "extended": Field(among=("LTS", "ESM")),
            "extended_eol": _text(DAY),
        },
    ),
    "environments": Section(
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
            "obtain_python": Field(kind="table"),
            "image": _text(),
            "docs": _text(),
            "service": _text(),
            "numpy": _text(DIGITS),
        },
    ),
    "statements": Section(key=("name",), fields={"name": _need(NAME), "says": _need()}),
}
TOP: Final = ("framework", *SECTIONS)
EVERY_ROW: Final[Mapping[str, Field]] = {
    "source": _need(),
    "checked": _need(WHOLE_DAY),
    "verified": FLAG,
    "note": _text(),
}
