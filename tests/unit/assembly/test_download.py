"""Downloads of wheels: resumed, few at a time, checked by sha256, and never incomplete."""

import contextlib
import errno
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests

from dlimg.assembly import download
from dlimg.assembly.download import (
    ATTEMPTS,
    CHUNK_SIZE,
    PARALLEL,
    Cancellation,
    WheelSource,
    downloading,
)
from dlimg.errors import BadInput, DlimgError, Negative, NetworkFailure
from dlimg.model import Wheel
from dlimg.pypi.uv_queries import Target, WheelNotFound, wheel_urls
from tests.support import samples
from tests.support.http_server import served

TARGET: Target = ("3.13", "x86_64-manylinux_2_28")
CONTENT = bytes(range(256)) * 20_000


@dataclass
class Index:
    """An index with files and faults: `cuts` are byte counts after which it hangs up."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    wrong_part: bool = False
    status: int = 0
    cuts: list[int] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    stalls: bool = False
    halfway: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    busy: int = 0
    most: int = 0
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.001)


@pytest.fixture
def index() -> Iterator[Index]:
    state = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with state.lock:
                state.busy += 1
                state.most = max(state.most, state.busy)
            try:
                self.serve()
            finally:
                with state.lock:
                    state.busy -= 1

        def serve(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            content = state.files[self.path.strip("/")]
            start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if state.ranges else 0
            status = state.status or (206 if start else 200)
            start += state.wrong_part and start > 0
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) - start))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/*")
            self.end_headers()
            cut = state.cuts.pop(0) if state.cuts else len(content)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content[start : start + cut])
                self.wfile.flush()
            if state.stalls:
                state.halfway.set()
                state.over.wait(20)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with served(Handler) as state.address:
        yield state


def wheel(
    index: Index, name: str = "big", content: bytes = CONTENT, *, local: bool = False
) -> Wheel:
    locked = samples.wheel(
        name,
        "1.0",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        local=local,
    )
    index.files[locked.file] = content
    return locked


def source(index: Index, folder: Path, *folders: Path) -> WheelSource:
    def urls(wheels: Sequence[Wheel], target: Target) -> Mapping[str, str]:
        assert target == TARGET
        return {locked.sha256: f"{index.address}/{locked.file}" for locked in wheels}

    session = requests.Session()
    session.trust_env = False
    return WheelSource(
        folders=folders, folder=folder / "fetched", find_urls=urls, session=session, log=print
    )


def fetched(index: Index, folder: Path, *wheels: Wheel) -> list[Path]:
    with downloading({TARGET: wheels}, source(index, folder)) as locate:
        return [locate(locked) for locked in wheels]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "fetched").glob("*") if path.suffix != ".turn")


def test_a_wheel_is_downloaded_once(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    for _ in range(2):
        (path,) = fetched(index, tmp_path, locked)
        assert path.name == locked.file
        assert path.read_bytes() == CONTENT
    assert index.asked == [(f"/{locked.file}", "")]
    assert left(tmp_path) == [locked.file]


def test_a_wheel_that_another_process_has_removed_is_downloaded_again(
    index: Index, tmp_path: Path
) -> None:
    locked = wheel(index, "big", CONTENT)
    with downloading({TARGET: [locked]}, source(index, tmp_path)) as locate:
        locate(locked).unlink()
        assert locate(locked).read_bytes() == CONTENT
    assert len(index.asked) == 2


def test_a_broken_download_is_resumed(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    index.cuts = [4 * CHUNK_SIZE, 8 * CHUNK_SIZE]
    (path,) = fetched(index, tmp_path, locked)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in index.asked] == [
        "",
        f"bytes={4 * CHUNK_SIZE}-",
        f"bytes={12 * CHUNK_SIZE}-",
    ]


def test_a_partial_download_is_resumed_by_another_run(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    index.cuts = [4 * CHUNK_SIZE, *[0] * ATTEMPTS]
    with pytest.raises(
        NetworkFailure, match=r"big-1\.0-.* cannot be downloaded from 127\.0\.0\.1: .*broken"
    ):
        fetched(index, tmp_path, locked)
    assert left(tmp_path) == [f"{locked.sha256}.half"]
    (path,) = fetched(index, tmp_path, locked)
    assert path.read_bytes() == CONTENT
    assert index.asked[-1][1] == f"bytes={4 * CHUNK_SIZE}-"


def test_a_server_without_ranges_starts_again(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    index.ranges, index.cuts = False, [1_000_000]
    (path,) = fetched(index, tmp_path, locked)
    assert path.read_bytes() == CONTENT


def test_another_range_than_requested_is_refused(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    index.wrong_part, index.cuts = True, [4 * CHUNK_SIZE]
    (path,) = fetched(index, tmp_path, locked)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in index.asked] == ["", f"bytes={4 * CHUNK_SIZE}-", ""]


def test_a_damaged_partial_download_is_discarded(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    half = tmp_path / "fetched" / f"{locked.sha256}.half"
    half.parent.mkdir()
    half.write_bytes(b"x" * 1_000_000)
    (path,) = fetched(index, tmp_path, locked)
    assert path.read_bytes() == CONTENT


def test_a_damaged_download_of_the_right_size_is_repeated(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    path = tmp_path / "fetched" / locked.file
    path.parent.mkdir()
    path.write_bytes(bytes(len(CONTENT)))
    assert fetched(index, tmp_path, locked)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (bytes(len(CONTENT)), "whose sha256 is not the lock's"),
        (CONTENT + b"more", "whose sha256 is not the lock's"),
        (CONTENT[:-1], "it ended after 5119999 of 5120000 bytes"),
    ],
)
def test_a_file_that_differs_from_the_lock_is_refused(
    index: Index, tmp_path: Path, sent: bytes, reason: str
) -> None:
    locked = wheel(index)
    index.files[locked.file] = sent
    with pytest.raises(DlimgError, match=reason):
        fetched(index, tmp_path, locked)
    assert locked.file not in left(tmp_path)


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_http_error_is_a_network_failure(index: Index, tmp_path: Path, status: int) -> None:
    locked = wheel(index)
    index.status = status
    with pytest.raises(NetworkFailure, match=str(status)):
        fetched(index, tmp_path, locked)


def test_downloads_run_a_few_at_a_time(index: Index, tmp_path: Path) -> None:
    wheels = [wheel(index, f"number-{number}", CONTENT + bytes([number])) for number in range(12)]
    for path, locked in zip(fetched(index, tmp_path, *wheels), wheels, strict=True):
        assert path.name == locked.file
    assert 1 < index.most <= PARALLEL


def test_a_failed_download_does_not_affect_others(index: Index, tmp_path: Path) -> None:
    bad, good = wheel(index, "bad", b"bad" * 1000), wheel(index, "good", b"good" * 1000)
    index.files[bad.file] = b"worse"
    with downloading({TARGET: [bad, good]}, source(index, tmp_path)) as locate:
        assert locate(good).read_bytes() == b"good" * 1000
        with pytest.raises(DlimgError):
            locate(bad)


def test_a_wheel_in_an_extra_folder_is_not_downloaded(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    (tmp_path / locked.file).write_bytes(CONTENT)
    with downloading({TARGET: [locked]}, source(index, tmp_path, tmp_path)) as locate:
        assert locate(locked) == tmp_path / locked.file
    assert not index.asked


def test_a_wheel_with_another_sha256_in_a_folder_is_ignored(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    (tmp_path / locked.file).write_bytes(bytes(len(CONTENT)))
    with downloading({TARGET: [locked]}, source(index, tmp_path, tmp_path)) as locate:
        assert locate(locked).read_bytes() == CONTENT


@pytest.mark.parametrize(("content", "reason"), [(b"x", "another sha256"), (None, "in none of")])
def test_a_missing_local_wheel_is_reported(
    index: Index, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    locked = wheel(index, local=True)
    if content is not None:
        (tmp_path / locked.file).write_bytes(content)
    with (
        pytest.raises(BadInput, match=reason),
        downloading({TARGET: [locked]}, source(index, tmp_path, tmp_path)),
    ):
        pytest.fail("it was taken")
    assert not index.asked


def test_a_write_error_is_reported(index: Index, tmp_path: Path) -> None:
    locked = wheel(index)
    (tmp_path / "fetched").write_text("in the way")
    with pytest.raises(Negative, match=r"cannot be written: (file exists|not a dir)"):
        fetched(index, tmp_path, locked)


PYLOCK = """
lock-version = "1.0"
[[packages]]
name = "big"
version = "1.0"
wheels = [
  {url = "https://index.example/a/big-1.0-cp312.whl", hashes = {sha256 = "aa"}},
  {url = "https://index.example/b/big-1.0-cp313.whl", hashes = {sha256 = "bb"}},
]
"""


def test_urls_are_found_by_sha256() -> None:
    locked = samples.wheel("big", "1.0", sha256="bb")
    urls = wheel_urls([locked], TARGET, lambda _index, _wheels, _target: PYLOCK)
    assert urls == {"bb": "https://index.example/b/big-1.0-cp313.whl"}


def test_a_url_with_another_sha256_is_ignored() -> None:
    locked = samples.wheel("big", "1.0", sha256="cc")
    assert wheel_urls([locked], TARGET, lambda _index, _wheels, _target: PYLOCK) == {}


@pytest.mark.parametrize("answer", ["[", "a = 1"])
def test_an_invalid_answer_of_uv_is_reported(answer: str) -> None:
    locked = samples.wheel("big", "1.0", sha256="bb")
    with pytest.raises(Negative, match="cannot be read"):
        wheel_urls([locked], TARGET, lambda _index, _wheels, _target: answer)


@pytest.mark.parametrize("lost", [{"w3"}, {"w0", "w6"}, {f"w{n}" for n in range(7)}, set()])
def test_a_missing_wheel_does_not_stop_other_downloads(lost: set[str]) -> None:
    wheels = [samples.wheel(f"w{number}", "1.0", sha256=f"w{number}") for number in range(7)]

    def ask(_index: str, group: Sequence[Wheel], _target: Target) -> str:
        if any(locked.name in lost for locked in group):
            raise WheelNotFound("uv says that one is not there")
        listed = ", ".join(
            f'{{url = "https://x/{locked.sha256}", hashes = {{sha256 = "{locked.sha256}"}}}}'
            for locked in group
        )
        return f'[[packages]]\nname = "x"\nwheels = [{listed}]\n'

    urls = wheel_urls(wheels, TARGET, ask)
    assert urls == {
        locked.name: f"https://x/{locked.name}" for locked in wheels if locked.name not in lost
    }


def test_a_wheel_without_a_url_is_reported_and_others_are_downloaded(
    index: Index, tmp_path: Path
) -> None:
    present, lost = wheel(index, "there"), wheel(index, "lost", b"other")
    usual = source(index, tmp_path)

    def urls(wheels: Sequence[Wheel], target: Target) -> Mapping[str, str]:
        answer = usual.find_urls(wheels, target)
        return {key: url for key, url in answer.items() if key != lost.sha256}

    with downloading({TARGET: [lost, present]}, replace(usual, find_urls=urls)) as locate:
        assert locate(present).read_bytes() == CONTENT
        with pytest.raises(Negative, match=r"no index has lost-1\.0"):
            locate(lost)


def test_no_wheels_need_no_query() -> None:
    def ask(_index: str, _wheels: Sequence[Wheel], _target: Target) -> str:
        raise AssertionError

    assert wheel_urls([], TARGET, ask) == {}


def test_versions_of_one_package_are_queried_one_by_one() -> None:
    wheels = [
        samples.wheel(name, version, sha256=f"{name}{version}")
        for name, version in (("big", "1.0"), ("big", "2.0"), ("small", "1.0"), ("big", "3.0"))
    ]
    asked: list[list[str]] = []

    def ask(_index: str, group: Sequence[Wheel], _target: Target) -> str:
        asked.append([f"{locked.name} {locked.version}" for locked in group])
        listed = ", ".join(
            f'{{url = "https://x/{locked.sha256}", hashes = {{sha256 = "{locked.sha256}"}}}}'
            for locked in group
        )
        return f'[[packages]]\nname = "x"\nwheels = [{listed}]\n'

    urls = wheel_urls(wheels, TARGET, ask)
    assert asked == [["big 1.0", "small 1.0"], ["big 2.0"], ["big 3.0"]]
    assert urls == {locked.sha256: f"https://x/{locked.sha256}" for locked in wheels}


def test_a_reset_connection_does_not_stop_cancellation() -> None:
    """Shutting down a connection that the server has reset raises an OSError."""

    class Reset:
        def shutdown(self) -> None:
            raise OSError(errno.ENOTCONN, "not connected")

    class Read:
        down = False

        def shutdown(self) -> None:
            self.down = True

    cancellation, read = Cancellation(), Read()
    for raw in (Reset(), read):
        response = requests.Response()
        response.raw = raw
        cancellation.responses.add(response)
    cancellation.cancel()
    assert cancellation.cancelled.is_set()
    assert read.down


def test_downloads_nobody_waits_for_are_cancelled(index: Index, tmp_path: Path) -> None:
    """The server stops sending in the middle of a response."""
    locked = wheel(index)
    index.stalls, index.cuts = True, [len(CONTENT) // 2]
    with downloading({TARGET: [locked]}, source(index, tmp_path)):
        assert index.halfway.wait(10)
        time.sleep(0.1)
        began = time.monotonic()
    took = time.monotonic() - began
    index.over.set()
    assert took < 5
    assert not (tmp_path / "fetched" / locked.file).exists()
