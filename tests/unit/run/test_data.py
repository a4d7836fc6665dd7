"""Data for runs: sources by their prefix, downloads that resume and are checked, archives."""

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from dlimg.context import Context
from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.run import data_fetch
from dlimg.run.data_fetch import DownloadProgress, download, fetch
from dlimg.run.data_source import DataSource, RemoteFile, file_name, is_safe_path, parse_source
from dlimg.run.data_volume import packed
from tests.support.http_server import served

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("../mnist", DataSource(kind="path", location="../mnist")),
        ("C:\\data", DataSource(kind="path", location="C:\\data")),
        ("https://a.b/x.zip", DataSource(kind="https", location="https://a.b/x.zip")),
        (
            f"https://a.b/x?y=1#sha256={DIGEST}",
            DataSource(kind="https", location="https://a.b/x?y=1", sha256=DIGEST),
        ),
        ("hf:a/b", DataSource(kind="hf", location="a/b", revision="main")),
        (
            "hf:datasets/a/b@v1",
            DataSource(kind="hf", location="datasets/a/b", revision="v1"),
        ),
        ("kaggle:a/b", DataSource(kind="kaggle", location="a/b")),
        ("kaggle:competitions/x", DataSource(kind="kaggle", location="competitions/x")),
        ("git:https://a.b/c#v1", DataSource(kind="git", location="https://a.b/c", revision="v1")),
        ("git:git@a.b:c", DataSource(kind="git", location="git@a.b:c")),
    ],
)
def test_the_prefix_says_where_data_comes_from(text: str, source: DataSource) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:a",
        "hf:a/../b",
        "kaggle:a",
        "kaggle:a/b/c",
        "git:",
        "git:--upload-pack=x",
        "git:https://a.b/c#--x",
        "https://",
        "https://a.b/x#sha256=00",
        "https://me:secret@a.b/x",
    ],
)
def test_other_texts_are_no_source(text: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_source(text)
    assert "secret@" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.b/c/x.zip?y", "x.zip"),
        ("https://a.b/", "data"),
        ("https://a.b/..", "run"),
        ("https://a.b/a%2Fb", "b"),
        ("https://a.b/%E4%BD%A0 1.csv", "你-1.csv"),
    ],
)
def test_a_file_is_named_after_its_address(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\\..\\x"])
def test_paths_of_a_server_stay_in_the_folder(path: str) -> None:
    assert not is_safe_path(path)
    assert is_safe_path("data/train-0.parquet")


class FileServer(BaseHTTPRequestHandler):
    """Serves CONTENT by ranges, in answers that break off as often as the class says."""

    breaks = 0
    etag = '"1"'
    ranges: list[str] = []  # noqa: RUF012 - of all requests of a test

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/"):
            return self.send(json.dumps(LISTING).encode())
        if path == "/missing":
            return self.send_error(404)
        wanted = self.headers.get("Range", "")
        type(self).ranges.append(wanted)
        goes_on = wanted and self.headers.get("If-Range") == self.etag
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if goes_on else 0
        body = CONTENT[start:]
        self.send_response(206 if goes_on else 200)
        if goes_on:
            span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.send_header("Content-Range", span)
        self.send_header("ETag", self.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.breaks:
            type(self).breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)
        return None

    def send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


LISTING = {
    "sha": "abc",
    "siblings": [
        {"rfilename": "README.md", "size": len(CONTENT)},
        {"rfilename": "data/x.bin", "size": len(CONTENT), "lfs": {"sha256": DIGEST}},
    ],
}


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(data_fetch, "_PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    FileServer.breaks, FileServer.etag, FileServer.ranges = 0, '"1"', []
    with served(FileServer) as address:
        yield address


def get(file: RemoteFile, folder: Path) -> None:
    with requests.Session() as session:
        progress = DownloadProgress(name="x", total=-1, log=print)
        download(file, folder, session, progress)


def test_a_download_that_breaks_off_goes_on_where_it_ended(address: str, tmp_path: Path) -> None:
    FileServer.breaks = 2
    get(RemoteFile(url=f"{address}/x", path="x", sha256=DIGEST), tmp_path)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [bool(wanted) for wanted in FileServer.ranges] == [False, True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_part_of_another_version_is_fetched_again(address: str, tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(b"old")
    (tmp_path / ".x.etag").write_text('"0"')
    get(RemoteFile(url=f"{address}/x", path="x"), tmp_path)
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("fields", [{"sha256": "0" * 64}, {"size": 3}])
def test_a_file_that_is_not_the_announced_one_is_refused(
    fields: dict[str, object], address: str, tmp_path: Path
) -> None:
    file = RemoteFile(url=f"{address}/x", path="x", **fields)  # type: ignore[arg-type]
    with pytest.raises(Negative, match="not "):
        get(file, tmp_path)
    assert not list(tmp_path.glob("*x"))


def test_a_missing_file_is_refused_at_once(address: str, tmp_path: Path) -> None:
    with pytest.raises(Negative, match="404"):
        get(RemoteFile(url=f"{address}/missing", path="x"), tmp_path)


def test_a_server_that_is_gone_is_named(tmp_path: Path, address: str) -> None:
    del address
    with pytest.raises(NetworkFailure, match="cannot be fetched"):
        get(RemoteFile(url="http://127.0.0.1:9/x", path="x"), tmp_path)


def test_a_repository_of_hugging_face_is_fetched_file_by_file(
    address: str, tmp_path: Path, context: Context
) -> None:
    variables = Context.of({"HF_ENDPOINT": address, "HOME": str(tmp_path)}, context.log)
    source = parse_source("hf:datasets/a/b")
    fetch(source, "x", tmp_path / "x", variables)
    assert (tmp_path / "x/data/x.bin").read_bytes() == CONTENT
    assert len(FileServer.ranges) == 2
    fetch(source, "x", tmp_path / "x", variables)
    assert len(FileServer.ranges) == 2


def test_kaggle_needs_a_login_that_is_not_in_the_message(tmp_path: Path, context: Context) -> None:
    with pytest.raises(BadInput, match="Kaggle's downloads need a login"):
        fetch(parse_source("kaggle:a/b"), "x", tmp_path / "x", context)


def test_an_archive_of_kaggle_is_unpacked_within_its_folder(tmp_path: Path) -> None:
    archive = tmp_path / "x/.kaggle.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed_files:
        packed_files.writestr("train/a.csv", "1")
        packed_files.writestr("../../evil", "2")
    data_fetch.unzip(archive, archive.parent)
    assert (tmp_path / "x/train/a.csv").read_text() == "1"
    assert not (tmp_path / "evil").exists()
    assert not archive.exists()


def test_a_git_repository_is_fetched_at_a_revision_without_its_history(
    tmp_path: Path, context: Context
) -> None:
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    for number in ("1", "2"):
        (repository / "a").write_text(number)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", number], check=True)
        subprocess.run([*git, "tag", f"v{number}"], check=True)
    fetch(parse_source(f"git:{repository}#v1"), "x", tmp_path / "x", context)
    assert (tmp_path / "x/a").read_text() == "1"
    assert not (tmp_path / "x/.git").exists()
    with pytest.raises(Negative, match="git does not fetch"):
        fetch(parse_source(f"git:{repository}#v3"), "x", tmp_path / "x", context)


def test_progress_says_how_much_how_fast_and_how_long_still() -> None:
    log: list[str] = []
    now = iter([0.0, 4.0, 10.0])
    progress = DownloadProgress(name="x", total=4_000_000, log=log.append, clock=lambda: next(now))
    progress.add(500_000)
    progress.add(500_000)
    assert log == ["x: 1 MB of 4 MB, 100 kB/s, 30.0 s left"]


def test_a_file_that_cannot_be_read_is_named_and_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    assert b"".join(packed(tmp_path))  # a link is stored as it is
    with pytest.raises(BadInput, match="the data cannot be read: ") as error:
        list(packed(tmp_path / "missing"))
    assert error.value.problems[0].where == str(tmp_path / "missing")


def test_files_in_a_volume_can_be_read_by_anybody(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "folder/你 $x").write_text("1")
    (tmp_path / "folder/你 $x").chmod(0o600)
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed(tmp_path)))) as tar:
        modes = {entry.name: (entry.mode & 0o777, entry.uid) for entry in tar}
    assert modes == {"folder": (0o755, 0), "folder/你 $x": (0o644, 0)}
