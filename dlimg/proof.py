"""The nouns of proof: checks, what they said, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """The outcome of a check; not-run is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A script that proves one thing inside an image; `needs` holds e.g. `gpu`.

    `container` is the kind that it runs in, where that is not the ordinary one; `flaky` is why it
    may fail by no fault of the image, and then it is tried once more. An image whose `required`
    checks did not all run has not passed.
    """

    name: str
    path: str
    script: str
    sha256: str
    proves: str
    needs: frozenset[str] = frozenset()
    seconds: int = 300
    container: str = ""
    flaky: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check said: `figures` is its JSON line, `output` the end of what it printed.

    `first_reason` is why the first of two attempts failed; empty where there was only one.
    """

    check: str
    sha256: str
    status: Status
    reason: str
    seconds: float
    required: bool = True
    figures: Mapping[str, object] = field(default_factory=dict)
    output: str = ""
    needs: frozenset[str] = frozenset()
    attempts: int = 1
    first_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine that checks ran on, without its name; `memory` in bytes, 0 where unknown."""

    system: str = ""
    kernel: str = ""
    architecture: str = ""
    processor: str = ""
    cores: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All verdicts for one image digest on one device (`none` when no GPU was given).

    `bare` names the family whose scripts ran on a machine without an engine: then there is no
    digest. `vanished` are checks that the cell's last evidence had and that are no longer there.
    `revision` is the commit of the project whose checks these are, where git knows it, and
    `dirty` whether its files were changed since.
    """

    digest: str
    cell: str
    device: str
    day: str
    dlimg: str
    engine: str
    verdicts: tuple[Verdict, ...]
    host: Host = Host()
    bare: str = ""
    vanished: tuple[str, ...] = ()
    revision: str = ""
    dirty: bool = False
