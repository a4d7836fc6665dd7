"""What checks are told about the image they run in: what it is to be, from outside of it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dlimg.draw.labels import cuda, cudnn
from dlimg.model import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Variables of a check's environment, and files by their path beside the scripts."""

    environment: Mapping[str, str]
    files: Mapping[str, bytes]


def told(planned: Planned, labels: Mapping[str, str]) -> Told:
    """The promises of the cell and its lock; `labels` are those that the image really has."""
    del labels
    return Told(environment={"DLIMG_CELL": cell_text(planned)}, files={})


def cell_text(planned: Planned) -> str:
    """`DLIMG_CELL`: the axes of the cell as JSON, for checks that prove them."""
    cell = planned.image.cell
    axes = {
        "family": cell.family,
        "package": cell.package,
        "version": cell.version,
        "accelerator": cell.accelerator,
        "cuda": cuda(cell),
        "cudnn": cudnn(cell, planned.image.lock),
        "python": cell.python,
        "os": cell.os.name,
        "flavour": str(cell.flavour),
    }
    return json.dumps(axes)
