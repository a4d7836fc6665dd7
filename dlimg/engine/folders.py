"""Where dlimg keeps things of a user's: an environment comes in, a folder goes out.

The XDG specification names the variables and says that a relative path is to be ignored.
"""

from collections.abc import Mapping
from pathlib import Path


def state_folder(environment: Mapping[str, str]) -> Path:
    """What was seen and made: `$XDG_STATE_HOME/dlimg`, by default under `~/.local/state`."""
    return _folder(environment, "XDG_STATE_HOME", ".local/state")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """What can be fetched again: `$XDG_CACHE_HOME/dlimg`, by default under `~/.cache`."""
    return _folder(environment, "XDG_CACHE_HOME", ".cache")


def _folder(environment: Mapping[str, str], name: str, default: str) -> Path:
    named = environment.get(name, "")
    if not named.startswith("/"):
        named = f"{environment.get('HOME') or Path.home()}/{default}"
    return Path(named) / "dlimg"
