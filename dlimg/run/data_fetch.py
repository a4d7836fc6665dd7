"""Downloads of data: resumed, checked by size and digest, with progress."""

import hashlib
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests

from dlimg.context import Context, Log
from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.host.process import run
from dlimg.pypi.mirrors import certificates
from dlimg.run.data_source import DataSource, RemoteFile, file_name, is_safe_path
from dlimg.units import bytes_text, counted, seconds_text

ATTEMPTS: Final = 4
# Another attempt would not change these answers.
FINAL_STATUSES: Final = (401, 403, 404, 410)
_PAUSE: Final = 0.5
_TIMEOUT: Final = 60
_CHUNK: Final = 1 << 18
_EVERY: Final = 5.0  # seconds between two messages about progress
_GIT_SECONDS: Final = 3600
HF_ADDRESS: Final = "https://huggingface.co"
KAGGLE_FILE: Final = ".kaggle.zip"
KAGGLE_ADDRESS: Final = "https://www.kaggle.com"


@dataclass(kw_only=True)
class DownloadProgress:
    """Logs a download every few seconds: the amount so far, the rate, the time left."""

    name: str
    total: int
    log: Log
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    _began: float = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._last = self.clock()

    def add(self, size: int) -> None:
        self.done += size
        now = self.clock()
        if now - self._last >= _EVERY:
            self._last = now
            self.log(self.text(now))

    def text(self, now: float) -> str:
        rate = self.done / max(now - self._began, 0.001)
        seconds = max(self.total - self.done, 0) / rate if rate and self.total > 0 else 0
        amount = f" of {bytes_text(self.total)}" if self.total > 0 else ""
        time_left = f", {seconds_text(seconds)} left" if seconds else ""
        return f"{self.name}: {bytes_text(self.done)}{amount}, {bytes_text(int(rate))}/s{time_left}"


def fetch(source: DataSource, name: str, folder: Path, context: Context) -> None:
    """Download data into a folder; files that are complete there are not downloaded again.

    Raises BadInput, Negative or NetworkFailure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if source.kind == "git":
        _clone(source, folder, context)
        return

    def download_here(
        file: RemoteFile, session: requests.Session, progress: DownloadProgress
    ) -> None:
        download(file, folder, session, progress)

    fetch_files(source, name, download_here, context)
    if source.kind == "kaggle":
        unzip(folder / KAGGLE_FILE, folder)


Download = Callable[[RemoteFile, requests.Session, DownloadProgress], None]


def fetch_files(
    source: DataSource, name: str, download_file: Download, context: Context, *, on: str = ""
) -> None:
    """Fetch each file of a source by this function; log how many, from where, on which machine."""
    session = requests.Session()
    session.verify = certificates(context) or True
    with session:
        files = tuple(_files(source, session, context))
        total = sum(file.size for file in files) if all(file.size >= 0 for file in files) else -1
        amount = f", {bytes_text(total)}" if total >= 0 else ""
        count = counted(len(files), "file")
        machine = f", on {on}" if on else ""
        context.log(f"{name}: fetching {count}{amount} from {source.location}{machine}")
        progress = DownloadProgress(name=name, total=total, log=context.log)
        for file in files:
            download_file(file, session, progress)


def _files(source: DataSource, session: requests.Session, context: Context) -> Iterator[RemoteFile]:
    environment = context.environment
    if source.kind == "https":
        yield RemoteFile(url=source.location, path=file_name(source.location), sha256=source.sha256)
    elif source.kind == "hf":
        if environment.get("HF_TOKEN"):
            session.headers["Authorization"] = f"Bearer {environment['HF_TOKEN']}"
        yield from _hf_files(source, session, environment.get("HF_ENDPOINT") or HF_ADDRESS)
    else:
        session.auth = _kaggle_login(environment)
        address = environment.get("KAGGLE_API_ENDPOINT") or KAGGLE_ADDRESS
        competition = source.location.removeprefix("competitions/")
        path = (
            f"competitions/data/download-all/{competition}"
            if competition != source.location
            else f"datasets/download/{source.location}"
        )
        yield RemoteFile(url=f"{address}/api/v1/{path}", path=KAGGLE_FILE)


def _hf_files(source: DataSource, session: requests.Session, address: str) -> Iterator[RemoteFile]:
    """Yield the files of a repository at Hugging Face, with sizes, and sha256 of large ones."""
    kind = "" if source.location.startswith(("datasets/", "spaces/")) else "models/"
    url = f"{address}/api/{kind}{source.location}/revision/{source.revision}"
    document = _json(session, url)
    revision = document.get("sha") or source.revision
    for row in document.get("siblings") or ():
        path = str(row["rfilename"])
        if not is_safe_path(path):
            raise Negative(f"{address} names a file outside of the data: {path!r}")
        large = row.get("lfs") or {}
        yield RemoteFile(
            url=f"{address}/{source.location}/resolve/{revision}/{quote(path)}",
            path=path,
            size=int(row.get("size", -1)),
            sha256=str(large.get("sha256", "")),
        )


def _json(session: requests.Session, url: str) -> Mapping[str, Any]:
    try:
        with session.get(url, params={"blobs": "true"}, timeout=_TIMEOUT) as response:
            _raise_for(response)
            document = response.json()
    except requests.RequestException as error:
        raise NetworkFailure(f"{url} cannot be read: {error}") from error
    return document if isinstance(document, dict) else {}


def _kaggle_login(environment: Mapping[str, str]) -> tuple[str, str]:
    user, key = environment.get("KAGGLE_USERNAME", ""), environment.get("KAGGLE_KEY", "")
    file = Path(environment.get("HOME") or Path.home()) / ".kaggle/kaggle.json"
    if not (user and key) and file.is_file():
        document = json.loads(file.read_text(encoding="utf-8"))
        user, key = str(document.get("username", "")), str(document.get("key", ""))
    if not (user and key):
        hint = f"set KAGGLE_USERNAME and KAGGLE_KEY, or save Kaggle's file as {file}"
        raise BadInput("Kaggle's downloads need a login", hint=hint)
    return user, key


def _raise_for(response: requests.Response) -> None:
    """Raise Negative for an answer that another attempt would not change."""
    if response.status_code in FINAL_STATUSES:
        raise refused(response.url, f"{response.status_code} {response.reason}")
    response.raise_for_status()


def refused(url: str, status: str) -> Negative:
    hint = "check the name; private data needs a login (HF_TOKEN, KAGGLE_KEY, ~/.netrc)"
    return Negative(f"{url} answers {status}", hint=hint)


def not_fetched(url: str, reason: str) -> NetworkFailure:
    hint = "check the network, then repeat the command: it goes on where it ended"
    return NetworkFailure(f"{url} cannot be fetched: {reason}", hint=hint)


def download(
    file: RemoteFile, folder: Path, session: requests.Session, progress: DownloadProgress
) -> None:
    """Download one file, from where an earlier attempt ended. Raises Negative, NetworkFailure."""
    target = folder / file.path
    if target.is_file():  # complete, as it is renamed last
        progress.add(target.stat().st_size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    failures, reason = 0, ""
    while failures < ATTEMPTS:
        time.sleep(_PAUSE * failures)
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _append(file, partial, session, progress)
        except requests.RequestException as error:
            reason = str(error)
            failures = 0 if partial.exists() and partial.stat().st_size > before else failures + 1
            continue
        _check_file(file, partial)
        partial.replace(target)
        _validator(partial).unlink(missing_ok=True)
        return
    raise not_fetched(file.url, reason)


def _validator(partial: Path) -> Path:
    """Return the file with the ETag of the partial file's version."""
    return partial.with_suffix(".etag")


def _append(
    file: RemoteFile, partial: Path, session: requests.Session, progress: DownloadProgress
) -> None:
    validator = _validator(partial)
    size = partial.stat().st_size if partial.exists() and validator.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if size:
        headers |= {"Range": f"bytes={size}-", "If-Range": validator.read_text(encoding="utf-8")}
    with session.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink()  # it is of another version
        _raise_for(response)
        resumes = response.status_code == requests.codes.partial_content
        etag = response.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):
            validator.write_text(etag, encoding="utf-8")
        if progress.total < 0 and file.size < 0:
            progress.total = int(response.headers.get("Content-Length", -1)) + (size * resumes)
        with partial.open("ab" if resumes else "wb") as out:
            for chunk in response.iter_content(_CHUNK):
                out.write(chunk)
                progress.add(len(chunk))


def _check_file(file: RemoteFile, partial: Path) -> None:
    """Remove the file and raise Negative if its size or sha256 is not the stated one."""
    size, digest = partial.stat().st_size, ""
    if file.sha256:
        with partial.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    try:
        check_announced(file, size, digest)
    except Negative:
        partial.unlink()
        raise


def check_announced(file: RemoteFile, size: int, digest: str) -> None:
    """Raise Negative if this size or sha256 is not the announced one."""
    if file.size in (-1, size) and file.sha256 in ("", digest):
        return
    expected = f"{file.size} bytes, sha256 {file.sha256 or 'any'}"
    hint = "the file has changed, or is damaged on its way; repeat the command"
    raise Negative(f"{file.url}: {size} bytes, sha256 {digest} came, not {expected}", hint=hint)


def unzip(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
    except zipfile.BadZipFile as error:
        raise Negative(f"the answer is no zip archive: {error}", where=str(archive)) from error
    finally:
        archive.unlink()


def _clone(source: DataSource, folder: Path, context: Context) -> None:
    """Clone a repository at a revision, without its history."""
    shutil.rmtree(folder)
    environment = {**context.environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    revision = source.revision or "HEAD"
    steps = (
        ("init", "--quiet", str(folder)),
        ("-C", str(folder), "fetch", "--quiet", "--depth=1", "--", source.location, revision),
        ("-C", str(folder), "checkout", "--quiet", "FETCH_HEAD"),
    )
    for step in steps:
        completed = run(["git", *step], env=environment, timeout=_GIT_SECONDS)
        if completed.returncode != 0:
            hint = "check the address and the revision (a branch, a tag or a full commit)"
            raise Negative(f"git does not fetch {source.location}: {completed.tail}", hint=hint)
    shutil.rmtree(folder / ".git")
