"""What wheels need of the system and images lack: read at an index, and told with the apt line."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dlimg.additions import Additions
from dlimg.context import Context
from dlimg.errors import NetworkFailure
from dlimg.facts.system_libraries import (
    DistributionLibraries,
    SystemLibraries,
    parse_system_libraries,
    system_libraries_text,
)
from dlimg.lint.catalogue import lint
from dlimg.lint.model import Finding, LintContext, Severity
from dlimg.lint.system_libraries import wheels_to_read
from dlimg.model import Wheel
from dlimg.pipeline.system_needs import (
    read_system_libraries,
    read_wheel_needs,
    with_known_needs,
)
from dlimg.pypi.index import open_index
from dlimg.pypi.wheel_needs import (
    cached_needs,
    has_libraries,
    read_local_needs,
    read_needs,
)
from dlimg.wheel.elf import WheelNeeds
from tests.support import elf_files, samples
from tests.support.http_server import served
from tests.unit.lint.test_findings import JAX_CPU, lint_context

FILE = "opencv_python-5.0-cp37-abi3-manylinux_2_28_x86_64.whl"
TABLE = SystemLibraries(
    source="indexes",
    checked="2026-11-29",
    distributions={
        "Debian 13": DistributionLibraries(
            packages={"libGL.so.1": "libgl1", "libxcb.so.1": "libxcb1", "libSM.so.6": "libsm6"},
            base=frozenset({"libz.so.1"}),
            brings={"libgl1": frozenset({"libgl1", "libxcb1"})},
        )
    },
)
NEEDS = WheelNeeds(
    needed={
        "cv2/cv2.abi3.so": ("libGL.so.1", "libxcb.so.1", "libz.so.1", "libc.so.6", "libcuda.so.1"),
        "cv2/qt/plugins/libqxcb.so": ("libSM.so.6",),
    }
)


def opencv(sha256: str = "") -> Wheel:
    return samples.wheel("opencv-python", "5.0", file=FILE, sha256=sha256 or "a" * 64)


def findings(
    needs: WheelNeeds = NEEDS,
    *,
    apt: tuple[str, ...] = (),
    files: Mapping[str, frozenset[str]] | None = None,
    wheel: Wheel | None = None,
) -> list[Finding]:
    """The findings about a lock with OpenCV in an image with these packages."""
    locked = wheel or opencv()
    lock = samples.lock(JAX_CPU, wheels=(samples.wheel("jax", "0.12.0.1"), locked))
    context = lint_context(locks={JAX_CPU: lock})
    cells = tuple(
        replace(cell, additions=Additions(apt=apt), framework=samples.FRAMEWORKS["jax"])
        for cell in context.resolution.cells
    )
    context = replace(
        context,
        resolution=replace(context.resolution, cells=cells),
        needs={locked.sha256: needs},
        libraries=TABLE,
        wheel_files=files or {},
    )
    return [finding for finding in lint(context).findings if finding.id == "system-library"]


def test_the_apt_line_names_what_modules_need() -> None:
    (finding,) = findings()
    assert finding.severity is Severity.WARNING
    assert finding.about == "opencv-python"
    assert finding.file == f"locks/{JAX_CPU}.json"
    assert finding.message == (
        "opencv-python 5.0 needs libraries of the system that images on Debian 13 lack: "
        "libGL.so.1, libxcb.so.1: `apt: {any: [libgl1]}` under its family; parts of it also need "
        "libSM.so.6: `apt: {any: [libsm6]}` under its family"
    )


def test_what_no_import_needs_is_a_note() -> None:
    (finding,) = findings(apt=("libgl1",))
    assert finding.severity is Severity.NOTE
    assert "lack: parts of it also need libSM.so.6" in finding.message


@pytest.mark.parametrize(
    ("apt", "files"),
    [
        (("libgl1", "libsm6"), {}),
        (("libgl1",), {"a" * 64: frozenset({"libSM.so.6"})}),
    ],
)
def test_what_apt_or_another_wheel_brings_is_there(
    apt: tuple[str, ...], files: dict[str, frozenset[str]]
) -> None:
    assert findings(apt=apt, files=files) == []


def test_a_library_of_no_known_package_is_named_without_one() -> None:
    needs = WheelNeeds(needed={"x.abi3.so": ("libodd.so.3",)})
    (finding,) = findings(needs)
    assert finding.message.endswith("lack: libodd.so.3, which no known package has")


def test_libraries_of_no_package_that_no_import_needs_are_a_short_list() -> None:
    other = {f"x/lib{number}.so": (f"libcublas.so.{number}",) for number in range(10, 30)}
    (finding,) = findings(WheelNeeds(needed={"x.abi3.so": ("libc.so.6",), **other}))
    assert finding.severity is Severity.NOTE
    assert finding.message.endswith(
        "lack: parts of it also need libcublas.so.10, libcublas.so.11, libcublas.so.12 "
        "and 17 more, which no known package has"
    )


@pytest.mark.parametrize(
    ("name", "apt", "text"),
    [
        ("libSM.so.6.0.1", (), "libSM.so.6.0.1: `apt: {any: [libsm6]}` under its family"),
        ("libSM.so.6.0.1", ("libsm6",), ""),
        ("libSM.so.7", (), "libSM.so.7, which no known package has"),
        # Of what every image has all names are known.
        ("libz.so.1.9", (), "libz.so.1.9, which no known package has"),
    ],
)
def test_a_file_is_of_the_package_that_has_its_library(
    name: str, apt: tuple[str, ...], text: str
) -> None:
    messages = [
        each.message for each in findings(WheelNeeds(needed={"x.abi3.so": (name,)}), apt=apt)
    ]
    assert [message.partition("lack: ")[2] for message in messages] == [text] * bool(text)


def test_a_wheel_of_a_folder_is_read_there(tmp_path: Path) -> None:
    content = wheel_bytes()
    (tmp_path / FILE).write_bytes(content)
    wheel = replace(opencv(hashlib.sha256(content).hexdigest()), local=True)
    other = samples.wheel("numpy", "9.0", file="numpy-9.0-cp313-cp313-linux_x86_64.whl", local=True)
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=(wheel, other))}
    variables = {"UV_FIND_LINKS": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": "/none"}
    context = Context.of(variables, lambda _: None)
    known = with_known_needs(lint_context(locks=locks), context)
    assert known.unread_wheels == 1
    (finding,) = (finding for finding in lint(known).findings if finding.id == "system-library")
    assert "`apt: {any: [libgl1]}`" in finding.message
    assert cached_needs(tmp_path / "dlimg/wheels", [wheel]).keys() == {wheel.sha256}


def test_a_file_that_is_no_wheel_is_left_out(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no wheel")
    assert read_local_needs(tmp_path, {opencv(): tmp_path / FILE}) == {}


def test_online_reads_each_wheel_at_its_index(index: tuple[str, list[int]], tmp_path: Path) -> None:
    address, sent = index
    messages: list[str] = []
    variables = {"XDG_CACHE_HOME": str(tmp_path), "HOME": "/none", "UV_DEFAULT_INDEX": address}
    context = Context.of({**variables, "NO_PROXY": "127.0.0.1"}, messages.append)
    wheel = opencv(_digest(address))
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=(wheel,))}
    cells = lint_context(locks=locks).resolution.cells
    needs = read_wheel_needs(cells, locks, (), context)
    assert needs[wheel.sha256].needed == {"cv2/cv2.abi3.so": ("libGL.so.1",)}
    assert messages == ["reading what 1 wheel needs of the system (0 MB at most)"]
    assert sent
    known = with_known_needs(lint_context(locks=locks), context)
    assert known.unread_wheels == 0
    assert any(finding.id == "system-library" for finding in lint(known).findings)


def test_online_says_which_wheels_were_not_read(tmp_path: Path) -> None:
    messages: list[str] = []
    gone = "http://127.0.0.1:1/simple"
    variables = {"XDG_CACHE_HOME": str(tmp_path), "HOME": "/none", "UV_DEFAULT_INDEX": gone}
    context = Context.of({**variables, "NO_PROXY": "127.0.0.1"}, messages.append)
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=(opencv(),))}
    assert read_wheel_needs(lint_context(locks=locks).resolution.cells, locks, (), context) == {}
    assert messages[1].startswith("not read: ")


@pytest.mark.parametrize("name", ["jaxlib", "jax", "nvidia-cudnn-cu13"])
def test_the_frameworks_and_nvidias_wheels_are_not_read(name: str) -> None:
    wheel = samples.wheel(name, "1.0", sha256="b" * 64)
    assert findings(wheel=wheel) == []
    context = lint_context(locks={JAX_CPU: samples.lock(JAX_CPU, wheels=(wheel, opencv()))})
    (cell,) = (cell for cell in context.resolution.cells if cell.id == JAX_CPU)
    cell = replace(cell, framework=samples.FRAMEWORKS["jax"])
    assert wheels_to_read(cell, context.locks[JAX_CPU]) == (opencv(),)


def wheel_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cv2/cv2.abi3.so", elf_files.needing("libGL.so.1"))
        archive.writestr("cv2/__init__.py", "")
        archive.writestr("cv2/large.bin", os.urandom(1 << 20))
        archive.writestr("opencv_python-5.0.dist-info/RECORD", "cv2/cv2.abi3.so,,\n")
    return buffer.getvalue()


@pytest.fixture
def index() -> Iterator[tuple[str, list[int]]]:
    """An index with one wheel that answers range requests, and the bytes that it sent."""
    content, sent = wheel_bytes(), list[int]()
    digest = hashlib.sha256(content).hexdigest()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/simple/"):
                page = f'<a href="/files/{FILE}#sha256={digest}">{FILE}</a>'.encode()
                result = page if "opencv-python" in self.path else b""
                self._send(200 if result else 404, result, {"Content-Type": "text/html"})
                return
            start, _, end = self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")
            first = int(start) if start else len(content) - int(end)
            last = int(end) if start and end else len(content) - 1
            part = content[first : last + 1]
            sent.append(len(part))
            total = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            self._send(206, part, total)

        def _send(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with served(Handler) as address:
        yield f"{address}/simple", sent


def context_in(folder: Path) -> Context:
    return Context.of({"XDG_CACHE_HOME": str(folder), "HOME": str(folder)}, lambda _: None)


def test_only_the_libraries_of_a_wheel_are_fetched_and_only_once(
    index: tuple[str, list[int]], tmp_path: Path
) -> None:
    address, sent = index
    wheel = opencv(hashlib.sha256(wheel_bytes()).hexdigest())
    packages = open_index(context_in(tmp_path), tmp_path / "wheels")
    # The random member differs between two makings, so the digest is that of the served file.
    offered = opencv(_digest(address))
    needs = read_needs(packages, [address], [offered, samples.wheel("other", "1.0")])
    assert needs[offered.sha256].needed == {"cv2/cv2.abi3.so": ("libGL.so.1",)}
    assert wheel.sha256 not in needs
    assert 0 < sum(sent) < 1 << 19
    count = len(sent)
    assert read_needs(packages, ["http://127.0.0.1:1/simple"], [offered]) == {
        offered.sha256: needs[offered.sha256]
    }
    assert len(sent) == count
    assert cached_needs(tmp_path / "wheels", [offered]).keys() == {offered.sha256}


def _digest(address: str) -> str:
    context = Context.of({"HOME": "/nonexistent"}, lambda _: None)
    session = open_index(context, Path("/nonexistent")).session
    page = session.get(f"{address}/opencv-python/", timeout=5).text
    return page.partition("sha256=")[2][:64]


def test_a_file_of_another_digest_is_not_read(index: tuple[str, list[int]], tmp_path: Path) -> None:
    packages = open_index(context_in(tmp_path), tmp_path)
    assert read_needs(packages, [index[0]], [opencv("c" * 64)]) == {}


def test_an_index_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    packages = open_index(context_in(tmp_path), tmp_path)
    packages.session.adapters.clear()
    with pytest.raises(NetworkFailure):
        read_needs(packages, ["http://127.0.0.1:1/simple"], [opencv()])


def test_lint_knows_what_was_read_before(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    folder = context.cache / "wheels"
    folder.mkdir(parents=True)
    (folder / f"{'a' * 64}-needs.json").write_text(
        '{"needed": {"cv2/cv2.abi3.so": ["libGL.so.1"]}, "unread": []}'
    )
    (folder / f"{'a' * 64}.json").write_text(
        '{"size": 1, "record": "cv2/cv2.abi3.so,sha256=x,1\\nx.data/data/lib/libx.so,,\\n"}'
    )
    locks = {JAX_CPU: samples.lock(JAX_CPU, wheels=(opencv(),))}
    known: LintContext = with_known_needs(lint_context(locks=locks), context)
    assert known.brought(locks[JAX_CPU]) == {"cv2.abi3.so", "libx.so"}
    (finding,) = (finding for finding in lint(known).findings if finding.id == "system-library")
    assert "`apt: {any: [libgl1]}`" in finding.message


def test_damaged_notes_are_read_again(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"needed": []}', '{"needed": {"a": 1}, "unread": []}'):
        (tmp_path / f"{'a' * 64}-needs.json").write_text(text)
        assert cached_needs(tmp_path, [opencv()]) == {}


def test_pure_wheels_have_no_libraries() -> None:
    assert has_libraries(opencv())
    assert not has_libraries(samples.wheel("jax", "1.0"))


def test_the_table_is_written_as_it_is_read() -> None:
    assert parse_system_libraries(system_libraries_text(TABLE)) == replace(
        TABLE,
        distributions={
            "Debian 13": replace(
                TABLE.distributions["Debian 13"],
                brings={"libgl1": frozenset({"libgl1", "libxcb1"})},
            )
        },
    )


@pytest.mark.parametrize(
    ("distribution", "library", "package"),
    [
        ("Debian 12", "libGL.so.1", "libgl1"),
        ("Debian 12", "libgthread-2.0.so.0", "libglib2.0-0"),
        ("Debian 13", "libgthread-2.0.so.0", "libglib2.0-0t64"),
        ("Ubuntu 24.04", "libasound.so.2", "libasound2t64"),
        ("Debian 12", "libpq.so.5", "libpq5"),
        ("Debian 13", "libsndfile.so.1", "libsndfile1"),
    ],
)
def test_the_committed_table_has_common_libraries(
    distribution: str, library: str, package: str
) -> None:
    table = read_system_libraries().distributions[distribution]
    assert table.packages[library] == package
    assert library not in table.base
    assert {"libc.so.6", "libz.so.1", "libssl.so.3", "libstdc++.so.6"} <= table.base
