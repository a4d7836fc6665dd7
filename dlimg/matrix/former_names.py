"""Former names of checks, matrix keys and flavours: each is read for one release, with a notice.

To be removed with the release after this one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence
from dlimg.model import OLD_FLAVOURS

RENAMED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "manners_any_user": "runtime_arbitrary_uid",
        "manners_entry": "runtime_entrypoint",
        "manners_leftovers": "runtime_no_build_leftovers",
        "manners_no_entry": "runtime_without_entrypoint",
        "manners_read_only": "runtime_read_only",
        "manners_secrets": "runtime_secrets",
        "manners_start": "runtime_start",
        "manners_tls": "runtime_tls",
        "manners_user": "runtime_user",
        "memory_given_back": "gpu_memory_released",
        "nccl_adds": "nccl_all_reduce",
        "system_is_whole": "os_packages_unmodified",
        "tag_is_true": "tag_matches_image",
    }
)
_FORMER: Final[Mapping[str, str]] = MappingProxyType({new: old for old, new in RENAMED.items()})


def current_name(name: str) -> str:
    """Return the name that a check has today."""
    return RENAMED.get(name, name)


def matches(name: str, pattern: str) -> bool:
    """Return whether a check's name of today, or its former one, matches a pattern."""
    return fnmatchcase(name, pattern) or fnmatchcase(_FORMER.get(name, name), pattern)


def renamed_note(pattern: str) -> str:
    """Return a sentence for a name or pattern that means former names, else an empty text."""
    names = [new for old, new in RENAMED.items() if fnmatchcase(old, pattern)]
    if not names or any(fnmatchcase(name, pattern) for name in _FORMER):
        return ""
    if len(names) == 1:
        return f"the check {pattern} is now called {names[0]}"
    new = pattern.replace("manners_", "runtime_")
    now = new if new != pattern else ", ".join(names)
    return f"the checks {pattern} are now called {now}"


_OLD_FAMILY_KEYS: Final = {"companions": "paired_packages"}
# Sections whose keys are flavours.
_KEYED_BY_FLAVOUR: Final = ("flavours", "required_checks")

Notify = Callable[[int, str], None]


def replace_old_keys(tree: Node, notify: Notify) -> Node:
    """Return the tree of a matrix with today's keys; `notify` gets a line and a sentence."""
    tree = _with_today_flavours(tree, notify, {})
    if not isinstance(tree, YamlMapping):
        return tree
    entries = dict(tree.entries)
    findings = entries.get("lint")
    if isinstance(findings, YamlSequence):
        line = tree.lines["lint"]
        notify(line, "a list under `lint` is now under `lint: ignore:`")
        entries["lint"] = YamlMapping(
            line=findings.line, entries={"ignore": findings}, lines={"ignore": line}
        )
    for section in _KEYED_BY_FLAVOUR:
        table = entries.get(section)
        if isinstance(table, YamlMapping):
            entries[section] = _renamed(table, OLD_FLAVOURS, f"{section}: flavour", notify)
    families = entries.get("families")
    if isinstance(families, YamlMapping):
        renamed = {
            name: _renamed(family, _OLD_FAMILY_KEYS, f"family {name}: the key", notify)
            if isinstance(family, YamlMapping)
            else family
            for name, family in families.entries.items()
        }
        entries["families"] = replace(families, entries=renamed)
    return replace(tree, entries=entries)


def _renamed(
    table: YamlMapping, names: Mapping[str, str], subject: str, notify: Notify
) -> YamlMapping:
    """Return the mapping with these keys renamed, unless it has the new name as well."""
    new_of = {old: new for old, new in names.items() if new not in table.entries}
    for old in new_of.keys() & table.entries.keys():
        notify(table.lines[old], f"{subject} {old} is now called {new_of[old]}")
    return replace(
        table,
        entries={new_of.get(key, key): node for key, node in table.entries.items()},
        lines={new_of.get(key, key): line for key, line in table.lines.items()},
    )


def _with_today_flavours(node: Node, notify: Notify, seen: dict[int, Node]) -> Node:
    """Return the node with old values of `flavour` replaced, at any depth.

    `seen` has the nodes that were walked: aliases of aliases would make them countless.
    """
    if id(node) not in seen:
        seen[id(node)] = _walked(node, notify, seen)
    return seen[id(node)]


def _walked(node: Node, notify: Notify, seen: dict[int, Node]) -> Node:
    match node:
        case YamlSequence():
            nodes = tuple(_with_today_flavours(item, notify, seen) for item in node.nodes)
            return replace(node, nodes=nodes)
        case YamlMapping():
            entries = {
                key: _today_flavour(value, notify)
                if key == "flavour"
                else _with_today_flavours(value, notify, seen)
                for key, value in node.entries.items()
            }
            return replace(node, entries=entries)
        case _:
            return node


def _today_flavour(node: Node, notify: Notify) -> Node:
    if isinstance(node, YamlSequence):
        return replace(node, nodes=tuple(_today_flavour(item, notify) for item in node.nodes))
    if isinstance(node, YamlScalar) and node.value in OLD_FLAVOURS:
        new = OLD_FLAVOURS[node.value]
        notify(node.line, f"the flavour {node.value} is now called {new}")
        return replace(node, value=new)
    return node
