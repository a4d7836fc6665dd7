"""The surroundings of a command: environment, folders of the user, log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dlimg.host.local_state import cache_folder, state_folder

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The environment of a command, read once when the program starts.

    `cache` holds files that can be fetched or made again, `state` holds observations, such as
    evidence. `log` shows one message to the user, apart from a command's output.
    """

    environment: Mapping[str, str]
    cache: Path
    state: Path
    log: Log

    @classmethod
    def of(cls, environment: Mapping[str, str], log: Log) -> "Context":
        """Return the context that these environment variables describe."""
        return cls(
            environment=MappingProxyType(dict(environment)),
            cache=cache_folder(environment),
            state=state_folder(environment),
            log=log,
        )
