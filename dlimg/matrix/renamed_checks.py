"""Former names of checks: they work in `required_checks` and in evidence for one release."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

# To be removed with the release after this one.
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
    new = names[0] if len(names) == 1 else pattern.replace("manners_", "runtime_")
    return f"the check {pattern} is now called {new}"
