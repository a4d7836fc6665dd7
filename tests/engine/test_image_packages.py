"""After an update of the distribution, an image has another name with either builder."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import docker
import pytest

from dlimg.assembly.system import import_layer
from dlimg.builders.build_failure import PACKAGES_DIFFER_HINT, explain_failure
from dlimg.builders.content_keys import with_built_keys, with_known_keys
from dlimg.builders.executor import EngineExecutor
from dlimg.builders.image_packages import packages_in_image
from dlimg.builders.secrets import Secrets
from dlimg.engine.client import Engine, list_images
from dlimg.model import Base, BuildFailure, BuiltImage, PlannedImage
from dlimg.store.store import Store, layer_store
from dlimg.store.systems import (
    load_system,
    packages_digest,
    packages_of_layers,
    save_system,
    system_source,
)
from tests.support import small_images
from tests.support.one_cell_project import BUILD, OneCellProject, one_cell_project

pytestmark = pytest.mark.engine

STATUS = "var/lib/dpkg/status"
# What a package manager would write; no network is asked.
INSTALL = "printf '\\nPackage: mine\\nStatus: install ok installed\\nArchitecture: all\\n'"
OWN = f"""FROM debian:trixie-slim
RUN {INSTALL} >> /{STATUS}; echo "Version: $(date +%N)" >> /{STATUS}
RUN mkdir -p /opt/python/cpython-3.12.16 && ln -s cpython-3.12.16 /opt/python/current && \\
    echo 20261110 > /opt/python/cpython-3.12.16/BUILD
"""


def keyed(engine: Engine, plan: PlannedImage, store: Store) -> PlannedImage:
    executor = EngineExecutor(engine=engine, secrets=Secrets())
    (result,) = with_built_keys([plan], executor, store, jobs=1, on_progress=print)
    assert isinstance(result, PlannedImage), result
    return result


def test_an_image_of_another_form_is_built_once_to_know_its_packages(
    engine: Engine, base: Base, tmp_path: Path
) -> None:
    engine = replace(engine, context=replace(engine.context, state=tmp_path / "state"))
    store = Store(path=tmp_path / "store")
    unknown = replace(small_images.planned(base, OWN), key="")
    assert with_known_keys([unknown], store, engine.context) == (unknown,)
    plan = keyed(engine, unknown, store)
    rows = list_images(engine, {"reference": "dlimg-packages"})
    assert not [name for row in rows for name in row["RepoTags"] or ()]
    assert with_known_keys([unknown], store, engine.context) == (plan,)
    with small_images.image(plan, engine) as built:
        listed = packages_in_image(engine, built.digest)
        assert "cpython-3.12.16=20261110" in listed
        assert len([line for line in listed if line.startswith("mine:all=")]) == 1
        assert packages_digest(listed) == plan.packages
        labels = engine.sdk.images.get(built.digest).labels
        assert labels["io.dlimg.packages"] == plan.packages
        assert labels["io.dlimg.key"] == plan.key
        label = {"label": "io.dlimg.check=packages"}
        assert not engine.sdk.containers.list(all=True, filters={**label})


def test_an_image_without_packages_has_a_key(engine: Engine, base: Base, tmp_path: Path) -> None:
    engine = replace(engine, context=replace(engine.context, state=tmp_path / "state"))
    text = "FROM scratch\nCOPY <<EOF /file\nx\nEOF\n"
    plan = keyed(
        engine, replace(small_images.planned(base, text), key=""), Store(path=tmp_path / "store")
    )
    assert plan.packages == packages_digest(())
    with small_images.image(plan, engine) as built:
        assert packages_in_image(engine, built.digest) == ()


def test_an_image_whose_packages_moved_while_it_was_built_gets_no_name(
    engine: Engine, base: Base, tmp_path: Path
) -> None:
    engine = replace(engine, context=replace(engine.context, state=tmp_path / "state"))
    store = layer_store(engine.context)
    unknown = replace(small_images.planned(base, OWN), key="")
    true = keyed(engine, unknown, store)
    # As if the distribution had been another when the key was computed.
    (record,) = (tmp_path / "state/packages").glob("*.json")
    record.write_text(json.dumps(["mine:all=0"]))
    (other,) = with_known_keys([unknown], store, engine.context)
    assert other.reference != true.reference
    with small_images.unnamed_afterwards(engine, other, true):
        (failed,) = small_images.built_all([other], engine)
        assert isinstance(failed, BuildFailure)
        problem = explain_failure(failed)
        assert "other packages than its content key says" in problem.message
        assert problem.hint == PACKAGES_DIFFER_HINT
        assert "-mine:all=0" in "\n".join(failed.log) or "and " in "\n".join(failed.log)
        for name in (other.reference, other.moving_reference):
            with pytest.raises(docker.errors.ImageNotFound):
                engine.sdk.images.get(name)
        # Built again, as the message says, it has its own name.
        again = keyed(engine, unknown, store)
        assert again == true
        (built,) = small_images.built_all([again], engine)
        assert isinstance(built, BuiltImage)


NAMES = ("reference", "moving_reference")


@pytest.fixture
def project(tmp_path: Path, jax_image: BuiltImage) -> Iterator[OneCellProject]:
    with one_cell_project(tmp_path, jax_image) as result:
        yield result


def move(store: Store, planned: PlannedImage, folder: Path) -> str:
    """Change the version of a package in the system; return the new packages digest."""
    source = system_source(planned)
    system = load_system(store, source)
    assert system
    with tarfile.open(store.blob(system.layers[-1])) as tar:
        file = tar.extractfile(STATUS)
        assert file
        text = file.read().replace(b"\nVersion: ", b"\nVersion: 9:", 1)
    member = tarfile.TarInfo(STATUS)
    member.size = len(text)
    with tarfile.open(folder / "moved.tar", "w") as tar:
        tar.addfile(member, io.BytesIO(text))
    diff_id = f"sha256:{sha256((folder / 'moved.tar').read_bytes()).hexdigest()}"
    layers = (*system.layers, import_layer(folder / "moved.tar", diff_id, store, print))
    packages = packages_of_layers(map(store.blob, layers))
    assert packages != system.packages
    save_system(store, source, replace(system, layers=layers, packages=packages))
    return packages_digest(packages)


def test_a_moved_distribution_is_another_image(project: OneCellProject, engine: Engine) -> None:
    store = project.ready("cache")

    def built(*arguments: str) -> dict[str, object]:
        with project.start("cache", *BUILD, "--format", "json", *arguments) as child:
            out, message = child.communicate(timeout=180)
        assert child.returncode == 0, message
        (line,) = json.loads(out)
        return dict(line)

    first = built()
    assert built() == first | {"cached": True, "seconds": 0.0}
    promised = move(store, project.real.planned, project.folder)
    second = built()
    try:
        assert second["reference"] != first["reference"]
        assert second["moving_reference"] == first["moving_reference"]
        assert not second["cached"]
        digests = []
        for line in (first, second):
            image = engine.sdk.images.get(str(line["reference"]))
            assert image.id == line["digest"]
            digests.append(packages_digest(packages_in_image(engine, str(line["reference"]))))
            assert image.labels["io.dlimg.packages"] == digests[-1]
        assert digests[-1] == promised
        assert engine.sdk.images.get(str(second["moving_reference"])).id == second["digest"]
        assert built()["cached"]
    finally:
        for name in {str(line[kind]) for line in (first, second) for kind in NAMES}:
            engine.sdk.images.remove(name)


@pytest.mark.slow
def test_two_builds_of_one_system_at_once_make_one_image(
    project: OneCellProject, engine: Engine
) -> None:
    arguments = (*BUILD, "--format", "json")
    with project.start("cache", *arguments) as one, project.start("cache", *arguments) as two:
        ends = [child.communicate(timeout=300) for child in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], ends
    lines = [json.loads(out)[0] for out, _ in ends]
    names = {line[kind] for line in lines for kind in NAMES}
    try:
        assert len({line["digest"] for line in lines}) == 1
        assert len(names) == 2
        assert all("building systems first: their packages" in message for _, message in ends)
        assert len(list(project.store("cache").path.glob("systems/*.json"))) == 1
    finally:
        for name in names:
            engine.sdk.images.remove(name)
