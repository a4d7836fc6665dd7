"""The context of a command: environment variables, folders of the user, log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

Log = Callable[[str], None]


def no_log(_text: str) -> None:
    """Drop a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The environment of a command, read once when the program starts.

    `cache` holds files that can be fetched or made again, `state` holds observations, such as
    evidence, and `config` the user's settings. `log` shows one message to the user, apart from a
    command's output. `indexes` are the addresses of the matrix's package indexes by name; the
    environment may set mirrors of them.
    """

    environment: Mapping[str, str] = field(repr=False)
    cache: Path
    state: Path
    config: Path
    log: Log
    indexes: Mapping[str, str] = field(default_factory=dict)

    def with_indexes(self, addresses: Mapping[str, str]) -> "Context":
        """Return the context for a matrix with these package indexes."""
        return replace(self, indexes=addresses)

    @classmethod
    def of(cls, environment: Mapping[str, str], log: Log) -> "Context":
        """Return the context that these environment variables describe."""
        return cls(
            environment=MappingProxyType(dict(environment)),
            cache=_folder(environment, "XDG_CACHE_HOME", ".cache"),
            state=_folder(environment, "XDG_STATE_HOME", ".local/state"),
            config=_folder(environment, "XDG_CONFIG_HOME", ".config"),
            log=log,
        )


def _folder(variables: Mapping[str, str], name: str, default: str) -> Path:
    """Return dlimg's folder in one that the XDG specification names."""
    folder = variables.get(name, "")
    # The specification says to ignore a relative path.
    if not folder.startswith("/"):
        folder = f"{variables.get('HOME') or Path.home()}/{default}"
    return Path(folder) / "dlimg"
