"""Downloads of locked wheels, from extra folders or an index, each checked by its sha256.

A partial download is named by the wheel's sha256 and resumed. A file with the wheel's own name is
complete, and the locked one.
"""

import errno
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final
from urllib.parse import urlsplit

import requests

from dlimg.assembly.wheel_to_layer import LocateWheel
from dlimg.errors import Negative, NetworkFailure
from dlimg.host.file_lock import file_lock
from dlimg.lock.local_wheels import find_local_wheel, is_locked_wheel
from dlimg.model import Wheel
from dlimg.pypi.uv_queries import Target, missing_wheel
from dlimg.store.store import DISK_FULL_HINT

PARALLEL: Final = 4
ATTEMPTS: Final = 4
PAUSE: Final = 0.2  # seconds, longer after each failure
TIMEOUT: Final = 60
CHUNK_SIZE: Final = 1 << 18  # the most that a broken transfer loses
_CANCELLED: Final = "the download was cancelled"

FindUrls = Callable[[Sequence[Wheel], Target], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """Cancels all downloads, those in progress too, because a server may stop sending.

    A server that has not begun to answer is waited for, at most for `TIMEOUT` seconds.
    """

    cancelled: Event = field(default_factory=Event)
    responses: set[requests.Response] = field(default_factory=set)

    def cancel(self) -> None:
        """Stop all downloads; those that wait or start later raise an error."""
        self.cancelled.set()
        for response in tuple(self.responses):
            with suppress(ValueError, RuntimeError, OSError):  # read or broken meanwhile
                response.raw.shutdown()

    @contextmanager
    def reading(self, response: requests.Response) -> Iterator[None]:
        """Register the response while it is read, so that `cancel` can end it.

        Raises ConnectionError if the downloads have already been cancelled.
        """
        self.responses.add(response)
        try:
            if self.cancelled.is_set():
                raise requests.ConnectionError(_CANCELLED)
            yield
        finally:
            self.responses.discard(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """Sources of wheels: extra `folders` first, then downloads into `folder` through the session.

    `find_urls` returns the URLs of wheels by sha256 and is called once for each target.
    """

    folders: tuple[Path, ...]
    folder: Path
    find_urls: FindUrls
    session: requests.Session
    log: Callable[[str], None]
    cancellation: Cancellation = field(default_factory=Cancellation)


@contextmanager
def downloading(
    wanted: Mapping[Target, Sequence[Wheel]], source: WheelSource
) -> Iterator[LocateWheel]:
    """Download wheels in threads; yield a function that waits for a wheel and returns its path.

    Downloads start in the order of `wanted`, `PARALLEL` at once, and are cancelled at the end of
    the block. Raises BadInput for a local wheel that none of the folders has. The function raises
    NetworkFailure, or Negative for a wheel that no index has, that differs from the locked one, or
    that does not fit on the disk.
    """
    wheels = {wheel.sha256: wheel for group in wanted.values() for wheel in group}
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        paths = pool.map(lambda wheel: find_local_wheel(source.folders, wheel), wheels.values())
        local = {sha256: path for sha256, path in zip(wheels, paths, strict=True) if path}
        remote = {
            target: [wheel for wheel in group if wheel.sha256 not in local]
            for target, group in wanted.items()
        }
        downloads = _start_downloads(remote, source, pool)

        def locate(wheel: Wheel) -> Path:
            if source.cancellation.cancelled.is_set():
                raise NetworkFailure(f"{wheel.file}: {_CANCELLED}")
            if path := local.get(wheel.sha256):
                return path
            job = downloads[wheel.sha256]
            path = job.first.result()
            # Another process may have removed it, when it had made its layers.
            return path if path.is_file() else job.repeat()

        try:
            yield locate
        finally:
            source.cancellation.cancel()
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DownloadJob:
    """The submitted download of a wheel, and a function that downloads it once more."""

    first: Future[Path]
    repeat: Callable[[], Path]


def _start_downloads(
    wanted: Mapping[Target, Sequence[Wheel]], source: WheelSource, pool: ThreadPoolExecutor
) -> Mapping[str, _DownloadJob]:
    """Submit a download of each wheel; return them by sha256."""
    # Submitted before all downloads, so that none of them waits for URLs behind it in the pool.
    urls = {
        target: pool.submit(source.find_urls, group, target)
        for target, group in wanted.items()
        if group
    }
    downloads: dict[str, _DownloadJob] = {}
    for target, group in wanted.items():
        for wheel in group:
            if wheel.sha256 not in downloads:
                fetch = functools.partial(_download, wheel, urls[target], source)
                downloads[wheel.sha256] = _DownloadJob(first=pool.submit(fetch), repeat=fetch)
    return downloads


def _download(wheel: Wheel, urls: Future[Mapping[str, str]], source: WheelSource) -> Path:
    url = urls.result().get(wheel.sha256)
    if not url:
        raise missing_wheel(wheel)
    return download_wheel(wheel, url, source)


def download_wheel(wheel: Wheel, url: str, source: WheelSource) -> Path:
    """Return the path of the wheel, after downloading it if needed; raises as `downloading`."""
    path = source.folder / wheel.file
    partial = source.folder / f"{wheel.sha256}.half"
    lock = partial.with_suffix(".turn")
    try:
        with file_lock(lock, doing=f"fetching {wheel.file}", log=source.log):
            if not _is_complete(path, wheel):
                _download_all(wheel, url, source, partial)
                partial.replace(path)
    except OSError as error:
        # Errors of the session are OSErrors, too, but `_download_all` has handled them.
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise Negative(
            f"{wheel.file} cannot be written: {(error.strerror or str(error)).lower()}",
            where=str(source.folder),
            hint=DISK_FULL_HINT if is_full else "",
        ) from error
    return path


def _is_complete(path: Path, wheel: Wheel) -> bool:
    return path.is_file() and path.stat().st_size == wheel.size and is_locked_wheel(path, wheel)


def _download_all(wheel: Wheel, url: str, source: WheelSource, partial: Path) -> None:
    """Complete the partial download; only attempts that receive nothing count as failures."""
    reason = _CANCELLED
    failures = 0
    while failures < ATTEMPTS and not source.cancellation.cancelled.wait(PAUSE * failures):
        before = _size(partial)
        try:
            sha256 = _download_rest(wheel, url, source, partial)
        except requests.RequestException as error:
            reason = _first_line(error)
            failures = 0 if _size(partial) > before else failures + 1
            continue
        if sha256 == wheel.sha256:
            return
        if source.cancellation.cancelled.is_set():
            break
        partial.unlink()
        if not before:
            # Nothing of an earlier attempt was in it, so another one would bring the same.
            raise Negative(
                f"{_host(url)} sends a {wheel.file} whose sha256 is not the lock's",
                hint="run `dlimg lock` and review the change, or name another index",
            )
    raise NetworkFailure(
        f"{wheel.file} cannot be downloaded from {_host(url)}: {reason}",
        hint="check the network and the proxy, then run it again; what was fetched is kept",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download_rest(wheel: Wheel, url: str, source: WheelSource, partial: Path) -> str:
    """Append what is missing to the partial download; return the sha256 of all of it."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("ab+") as file:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
        size = file.tell()
        if size == wheel.size:
            return digest.hexdigest()
        headers = {"Accept-Encoding": "identity"}
        if size:
            headers["Range"] = f"bytes={size}-"
        with (
            source.session.get(
                url, stream=True, headers=headers, timeout=TIMEOUT, verify=source.session.verify
            ) as response,
            source.cancellation.reading(response),
        ):
            response.raise_for_status()
            if size and not _continues(response, size):
                file.truncate(0)
                digest, size = hashlib.sha256(), 0
                if response.status_code == requests.codes.partial_content:
                    raise requests.ConnectionError("it sends another part than was asked for")
            for chunk in response.iter_content(CHUNK_SIZE):
                size += len(chunk)
                if source.cancellation.cancelled.is_set() or size > wheel.size:
                    break
                file.write(chunk)
                digest.update(chunk)
    if size < wheel.size and not source.cancellation.cancelled.is_set():
        raise requests.ConnectionError(f"it ended after {size} of {wheel.size} bytes")
    return digest.hexdigest()


def _continues(response: requests.Response, size: int) -> bool:
    """Return whether the response begins at this offset."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return response.status_code == requests.codes.partial_content and start == str(size)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _first_line(error: requests.RequestException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
