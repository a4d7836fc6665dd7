"""The RECORDs of locked wheels, as this machine's layer store has them: from outside of any image.

Both builders write the same RECORD for a wheel. Where the store has taken the wheel apart, an image
whose RECORD was changed together with a file is found out.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from dlimg.assembly.cell_layer import (installer_keys)
from dlimg.assembly.wheel_to_layer import (read_entries)
from dlimg.errors import Negative
from dlimg.model import Lock, Wheel
from dlimg.store.store import (Store, find_layer)

RECORD: Final = ".dist-info/RECORD"


def wheel_records(lock: Lock, store: Store) -> Mapping[str, str]:
    """The sha256 of each wheel's RECORD, by package; without those that the store does not have."""
    found = ((wheel.name, _record(wheel, lock.python, store)) for wheel in lock.wheels)
    return {name: digest for name, digest in found if digest}


def _record(wheel: Wheel, python: str, store: Store) -> str:
    for_any, for_this = installer_keys(wheel, python=python, requested=True)
    part = find_layer(store, for_any) or find_layer(store, for_this)
    if part is None:
        return ""
    try:
        for entry in read_entries(store, part, owner=wheel.file):
            if entry.path.endswith(RECORD) and isinstance(entry.content, bytes):
                return sha256(entry.content).hexdigest()
    except (Negative, OSError):
        return ""  # a damaged part is made again by the next build
    return ""
