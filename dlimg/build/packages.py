"""The packages of planned images that this machine knows, and by them the images' content keys.

A Dockerfile of dlimg's own form installs packages in its stage `system` and nowhere else, so the
store's record of that system has them. Any other Dockerfile has to be built before they are
known; what came out is remembered beside the names of images that were built.

    packages/<source>.json   the packages of a whole Dockerfile on a base, by both
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dlimg.build.explain import MOVED, MOVED_HINT
from dlimg.draw.dockerfile import EPOCH
from dlimg.draw.fit import obstacle
from dlimg.draw.key import ARCHITECTURE, with_key
from dlimg.engine.folders import state_folder
from dlimg.errors import Negative
from dlimg.layers.index import source_of
from dlimg.layers.packages import moved_text, packages_digest
from dlimg.layers.store import Store
from dlimg.layers.systems import forget, kept, system_source
from dlimg.model import Planned
from dlimg.whole import read_now


def with_known_keys(
    planned: Sequence[Planned], store: Store, environment: Mapping[str, str]
) -> tuple[Planned, ...]:
    """The images with their keys, as far as their packages are known here; the rest as it is.

    No engine is asked, and no network.
    """
    digests: dict[str, str] = {}
    found = []
    for one in planned:
        source = packages_source(one)
        if source not in digests:
            packages = known_packages(one, store, environment)
            digests[source] = "" if packages is None else packages_digest(packages)
        found.append(with_key(one, digests[source]) if digests[source] else one)
    return tuple(found)


def packages_source(planned: Planned) -> str:
    """One sha256 for what decides on the packages: the system, or else the whole Dockerfile."""
    if not obstacle(planned.image):
        return system_source(planned)
    return source_of([ARCHITECTURE, str(EPOCH), planned.base.identity, planned.image.dockerfile])


def known_packages(
    planned: Planned, store: Store, environment: Mapping[str, str]
) -> tuple[str, ...] | None:
    """The packages of the image, where what decides on them was built here."""
    if obstacle(planned.image):
        return _recorded(record_of(planned, environment))
    system = kept(store, system_source(planned))
    return system.packages if system else None


def record_of(planned: Planned, environment: Mapping[str, str]) -> Path:
    """Where the packages of a whole Dockerfile are remembered."""
    return state_folder(environment) / "packages" / f"{packages_source(planned)}.json"


def check_packages(planned: Planned, found: Sequence[str]) -> None:
    """Nothing; Negative where the system has come out with other packages than the key names."""
    if packages_digest(found) != planned.packages:
        raise _moved(planned, "")


def forget_packages(
    planned: Planned, found: Sequence[str], store: Store, environment: Mapping[str, str]
) -> Negative:
    """What to tell of an image that has these packages, and not those that its key names.

    The record that the key was computed from is forgotten: the next build computes another.
    """
    before = known_packages(planned, store, environment)
    if obstacle(planned.image):
        with contextlib.suppress(OSError):
            record_of(planned, environment).unlink(missing_ok=True)
    else:
        forget(store, system_source(planned))
    return _moved(planned, "" if before is None else moved_text(before, found))


def _moved(planned: Planned, text: str) -> Negative:
    message = f"{MOVED}: {text}" if text else MOVED
    return Negative(message, where=planned.image.cell.id, hint=MOVED_HINT)


def _recorded(record: Path) -> tuple[str, ...] | None:
    try:
        found = json.loads(read_now(record))
    except (OSError, ValueError, RecursionError):
        return None
    is_right = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if is_right else None
