"""An OCI layout with one image, written by the exporter of the store."""

from pathlib import Path

from dlimg.store.export import ExportedImage, export_layout
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store


def write_layout(folder: Path, image: AssembledImage, store: Store, *, name: str) -> None:
    """Write the image to the folder under a name such as `team/jax:tag`."""
    tag = name.rpartition(":")[2]
    export_layout(folder, [ExportedImage(name=tag, reference=name, image=image)], store)
