"""Builds without an engine give the same bytes as builds with one."""

import io
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.builders.executor import EngineExecutor, Executor, HostExecutor
from dlimg.builders.host_rootfs import record_base
from dlimg.builders.secrets import Secrets
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.layer.entries import LayerEntry
from dlimg.layer.wheel_entries import LIBRARY
from dlimg.model import Base, BuiltImage, PlannedImage
from dlimg.store.store import Store, layer_store
from dlimg.store.systems import copy_system, system_source
from tests.support import samples

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can build without an engine"),
]

# Something of each kind: new, changed, removed, made anew, linked, copied in, another's, empty.
DOCKERFILE = """\
FROM scratch AS files
COPY --chmod=755 <<'EOF' /tool
#!/bin/sh
echo "$1"
EOF
FROM debian:trixie-slim AS system
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN --mount=type=bind,from=files,target=/run/files \\
    --mount=type=secret,id=ca,mode=0444,required=false <<'EOF'
cp /run/files/tool /usr/local/bin/
ln /usr/local/bin/tool /usr/local/bin/another
ln -s tool /usr/local/bin/link
chown -R 1000:100 /srv
chmod 600 /etc/debian_version
rm /etc/issue
rm -r /etc/skel
mkdir /etc/skel
echo 1 >/etc/skel/.profile
mkdir -m 1775 /code
[ ! -e /run/secrets/ca ] || cp /run/secrets/ca /code/ca
: >"/code/$(printf '%0120d' 0)"
SYSTEM
find / -xdev \\( -path '/run/*' -o -path /dev -o -path /proc -o -path /sys \\) -prune \\
    -o ! -path /etc/hosts ! -path /etc/resolv.conf -newermt @1750000000 \\
    -exec touch --no-dereference --date=@315619200 {} +
EOF
"""


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "ca").write_text("an authority")
    return Secrets(files={"ca": str(tmp_path / "ca")})


@pytest.fixture
def both(engine: Engine, secrets: Secrets) -> tuple[Executor, Executor]:
    return EngineExecutor(engine=engine, secrets=secrets), HostExecutor(secrets=secrets)


def planned(base: Base, line: str) -> PlannedImage:
    return samples.planned(samples.image(dockerfile=DOCKERFILE.replace("SYSTEM", line)), on=base)


@pytest.mark.slow
def test_system_layers_equal_those_built_by_an_engine(
    both: tuple[Executor, Executor], base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # others mount in theirs meanwhile
    plan = planned(base, "true")
    stores = [Store(path=tmp_path / name) for name in ("theirs", "ours")]
    theirs = both[0].system(plan, stores[0], print)
    lowest, _ = theirs.layers
    stores[1].blobs.mkdir(parents=True)
    stores[1].blob(lowest).hardlink_to(stores[0].blob(lowest))
    record_base(plan.image.cell.os, base.identity, lowest, stores[1])
    for entry in stores[0].index.glob("*.json"):
        stores[1].index.mkdir(parents=True, exist_ok=True)
        (stores[1].index / entry.name).write_bytes(entry.read_bytes())
        if lowest.digest not in entry.read_text():
            (stores[1].index / entry.name).unlink()
    ours = both[1].system(plan, stores[1], print)
    assert ours.layers == theirs.layers
    assert ours.config.shell == theirs.config.shell
    if base.source.value == "bootstrap":
        assert ours == theirs
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    with pytest.raises(Negative, match="said why"):
        both[1].system(planned(base, "echo said why >&2; exit 7"), stores[1], print)


def test_byte_code_equals_that_built_by_an_engine(
    both: tuple[Executor, Executor], jax_image: BuiltImage, base: Base, tmp_path: Path
) -> None:
    store = Store(path=tmp_path / "store")
    plan = replace(jax_image.planned, base=base)
    copy_system(system_source(plan), layer_store(Context.of(os.environ, print)), store)
    system = both[0].system(plan, store, print)
    texts = {"a.py": b"x = 1\n", "p/b.py": b"def f(): return (1, 'x')\n", "p/bad.py": b"x ="}
    entries = [
        LayerEntry(path=f"{LIBRARY}/{name}", mode=0o644, content=text, owner="p")
        for name, text in texts.items()
    ]
    result = []
    for executor in both:
        spool = io.BytesIO()
        places = executor.compile(system, "3.13", store, [entries], spool)
        result.append(
            {
                name: spool.getvalue()[offset : offset + size]
                for name, (offset, size) in places[0].items()
            }
        )
    assert result[0] == result[1]
    assert len(result[0]) == 2  # what is no Python is left out
