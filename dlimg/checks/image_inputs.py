"""Inputs of checks for an image in the engine: from its config, its base and the layer store."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import docker

from dlimg.assembly.cell_layer import installer_keys
from dlimg.assembly.wheel_to_layer import read_entries
from dlimg.checks.inputs import CheckInputs, ReferenceData, make_inputs
from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.image_files import ImageFiles
from dlimg.model import BaseSource, BuiltImage, Lock, PlannedImage, Wheel
from dlimg.render.dockerfile import LAYOUT, load_templates
from dlimg.render.layout_tree import Node, layout_tree
from dlimg.store.store import Store, find_layer, layer_store

RECORD: Final = ".dist-info/RECORD"


def read_inputs(built: BuiltImage, engine: Engine, images: ImageFiles) -> CheckInputs:
    """Return the inputs of checks for an image in the engine.

    `check_inputs_from_config` must return the same for this image at a registry. Raises
    `Negative` when the engine no longer has it.
    """
    config, history = _config_and_history(built, engine)
    reference = read_reference_data(built.planned, engine, images)
    return make_inputs(built.planned, config.get("Labels") or {}, config, history, reference)


def read_reference_data(planned: PlannedImage, engine: Engine, images: ImageFiles) -> ReferenceData:
    """Return what this machine can compare the image with; `images` has the templates."""
    store = layer_store(engine.context)
    return ReferenceData(
        base_labels=_base_labels(planned, engine),
        layout=_layout(planned, images),
        records=read_wheel_records(planned.image.lock, store),
    )


def read_wheel_records(lock: Lock, store: Store) -> Mapping[str, str]:
    """Return the sha256 of each wheel's RECORD by package, for the wheels in the store.

    Both builders write the same RECORD, so a RECORD that was changed in the image together with a
    file is detected.
    """
    digests = {wheel.name: _record_digest(wheel, lock.python, store) for wheel in lock.wheels}
    return {name: digest for name, digest in digests.items() if digest}


def _record_digest(wheel: Wheel, python: str, store: Store) -> str:
    """Return the sha256 of the wheel's RECORD, or an empty text."""
    any_python, this_python = installer_keys(wheel, python=python, requested=True)
    layer = find_layer(store, any_python) or find_layer(store, this_python)
    if layer is None:
        return ""
    try:
        for entry in read_entries(store, layer, owner=wheel.file):
            if entry.path.endswith(RECORD) and isinstance(entry.content, bytes):
                return sha256(entry.content).hexdigest()
    except (Negative, OSError):
        return ""  # the next build makes a damaged layer again
    return ""


def _config_and_history(
    built: BuiltImage, engine: Engine
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the image's config with its labels, and the steps of its history, newest first.

    Raises `Negative` when the engine no longer has it.
    """
    try:
        image = engine.sdk.images.get(built.digest)
        steps = (str(step.get("CreatedBy") or "") for step in image.history())
        return dict(image.attrs.get("Config") or {}), tuple(steps)
    except docker.errors.ImageNotFound as error:
        cell = built.planned.image.cell.id
        raise Negative(
            f"the engine no longer has the image {built.digest}",
            where=cell,
            hint=f"`dlimg build {cell}` builds it again",
        ) from error


def _base_labels(planned: PlannedImage, engine: Engine) -> Mapping[str, str]:
    """Return the labels of the registry's base image, if the engine has it."""
    base = planned.base
    if base.source is not BaseSource.REGISTRY:
        return {}
    try:
        image = engine.sdk.images.get(base.reference.removeprefix("docker-image://"))
    except docker.errors.APIError:
        return {}
    return {str(name): str(value) for name, value in (image.labels or {}).items()}


def _layout(planned: PlannedImage, images: ImageFiles) -> tuple[Node, ...]:
    """Return the layout's own paths; empty if the project does not use dlimg's layout."""
    if not images.find(LAYOUT):
        return ()
    image = planned.image
    return layout_tree(image.cell, image.lock, load_templates(images))
