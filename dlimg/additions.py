"""A project's additions to its images, beside packages of the index."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFile:
    """A file of the project in an image: its place in the project's folder, and its path there.

    `mode` is such as `644`; `content` is empty until the file is read.
    """

    source: str
    path: str
    mode: str
    content: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckException:
    """An exception of a check: `about` is a pattern for paths, `why` the reason."""

    check: str
    about: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PathException:
    """A path that wheels may fill with different content: a pattern, and the reason."""

    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """The additions to one image.

    `apt` are packages of its distribution, `ports` such as `8080/tcp`. `build` are requirements of
    packages whose source distributions are built to wheels before the lock is made. The exceptions
    are for checks, and for the lock where wheels fill one path differently.
    """

    apt: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    files: tuple[ProjectFile, ...] = ()
    build: tuple[str, ...] = ()
    check_exceptions: tuple[CheckException, ...] = ()
    path_exceptions: tuple[PathException, ...] = ()


NO_ADDITIONS = Additions()
