"""YAML with the same meaning in versions 1.1 and 1.2: ambiguous texts are quoted. Pure."""

import re
from typing import Any, Final

import yaml

# No number, boolean, null or time, and no character that YAML gives a meaning.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*(:[A-Za-z0-9_./@-]+)*")
_RESERVED: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_BLOCK: Final = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff\ud800-\udfff]*")


class _Dumper(yaml.SafeDumper):
    """Writes lists below their keys with an indent, and no references to equal values."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - the base's arguments
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base's argument
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    is_block = (
        len(lines) > 2
        and text.endswith("\n")
        and not text.startswith((" ", "\n"))
        and _BLOCK.fullmatch(text)
        and all(line == line.rstrip() for line in lines)
    )
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _RESERVED
    style = "|" if is_block else None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(*documents: Any) -> str:  # noqa: ANN401 - JSON's values
    """Return the documents as YAML, in the order of their keys."""
    text: str = yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=float("inf"),
        explicit_start=len(documents) > 1,
    )
    return text
