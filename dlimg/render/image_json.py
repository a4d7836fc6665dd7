"""`/etc/dlimg/image.json`: an image's description of itself, for programs inside it.

It holds neither the content key, which is computed from this file, too, nor the digest: both
stand in labels and at the registry.
"""

import json
from typing import Final

from dlimg.model import Cell, Lock
from dlimg.render.naming import cuda_version, locked_cudnn

IMAGE_JSON: Final = "/etc/dlimg/image.json"
SCHEMA: Final = 1


def image_json(cell: Cell, lock: Lock, packages: str) -> str:
    """Return the description; `packages` identifies the locked wheels.

    Texts are empty and lists have no members where nothing is known or nothing applies.
    """
    floor = cell.driver_floor
    content = {
        "schema": SCHEMA,
        "cell": cell.id,
        "family": cell.family,
        "package": cell.package,
        "module": cell.framework.module,
        "version": cell.version,
        "accelerator": cell.accelerator,
        "cuda": cuda_version(cell),
        "cudnn": locked_cudnn(cell, lock),
        "driver": {"at_least": floor.version, "source": floor.source} if floor else {},
        "gpu_architectures": list(cell.architectures),
        "python": cell.python,
        "os": cell.os.distribution,
        "flavour": str(cell.flavour),
        "packages": packages,
        "end_of_life": [
            {"part": end.part, "day": end.day, "source": end.source} for end in cell.ends_of_life
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
