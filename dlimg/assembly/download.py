"""Wheels to disk: from extra folders, or from an index, each held to its lock's sha256.

What was fetched by half waits under another name, by the wheel's sha256, and is gone on with.
A wheel's own name means that all of it is there and is the one that was locked.
"""

import errno
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
from dlimg.host.local_state import file_lock
from dlimg.lock.local_wheels import is_locked, wheel_in
from dlimg.model import Wheel
from dlimg.pypi.wheel_urls import Target, gone
from dlimg.store.store import DISK_FULL_HINT

PARALLEL: Final = 4
ATTEMPTS: Final = 4
PAUSE: Final = 0.2  # seconds, more after each failure
SECONDS: Final = 60
_CANCELLED: Final = "it was not waited for"
CHUNK_SIZE: Final = 1 << 18  # what of a broken transfer may be lost

FindUrls = Callable[[Sequence[Wheel], Target], Mapping[str, str]]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The end of all fetching, which breaks off what is still read: a server may stop sending.

    One that has not even begun to answer is waited for, `SECONDS` at most.
    """

    stop: Event = field(default_factory=Event)
    answers: set[requests.Response] = field(default_factory=set)

    def come(self) -> None:
        """From now on nothing is waited for, and whoever waits hears so."""
        self.stop.set()
        for answer in tuple(self.answers):
            with suppress(ValueError, RuntimeError, OSError):  # read or broken meanwhile
                answer.raw.shutdown()

    @contextmanager
    def hearing(self, answer: requests.Response) -> Iterator[None]:
        """Inside, the answer is read, until `come`; ConnectionError where that was before."""
        self.answers.add(answer)
        try:
            if self.stop.is_set():
                raise requests.ConnectionError(_CANCELLED)
            yield
        finally:
            self.answers.discard(answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """Where wheels come from: extra folders first, then addresses, through a session.

    `folder` takes what is fetched; `addresses` is asked once for each target; whoever is
    interrupted lets the `end` come.
    """

    folders: tuple[Path, ...]
    folder: Path
    addresses: FindUrls
    session: requests.Session
    say: Say
    end: Cancellation = field(default_factory=Cancellation)


@contextmanager
def downloading(
    wanted: Mapping[Target, Sequence[Wheel]], source: WheelSource
) -> Iterator[LocateWheel]:
    """Inside, a function that waits until a wheel is on disk, and says where.

    The first wheels are fetched first, few at once; what is not needed any more when the block
    ends is not fetched. Raises BadInput for a local wheel that is in no folder. The function
    raises NetworkFailure, or Negative for a wheel that no index has, that is not the locked one,
    or that does not fit on the disk.
    """
    wheels = {wheel.sha256: wheel for group in wanted.values() for wheel in group}
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        looked = pool.map(lambda wheel: wheel_in(source.folders, wheel), wheels.values())
        here = {key: path for key, path in zip(wheels, looked, strict=True) if path}
        away = {
            target: [wheel for wheel in group if wheel.sha256 not in here]
            for target, group in wanted.items()
        }
        # Asked before anything is fetched, so nobody in the pool waits for one behind it.
        asked = {
            target: pool.submit(source.addresses, group, target)
            for target, group in away.items()
            if group
        }
        coming: dict[str, Future[Path]] = {}
        for target, group in away.items():
            for wheel in group:
                if wheel.sha256 not in coming:
                    coming[wheel.sha256] = pool.submit(
                        _download_found, wheel, asked[target], source
                    )

        def locate(wheel: Wheel) -> Path:
            if source.end.stop.is_set():
                raise NetworkFailure(f"{wheel.file}: {_CANCELLED}")
            path = here.get(wheel.sha256)
            return path or coming[wheel.sha256].result()

        try:
            yield locate
        finally:
            source.end.come()
            pool.shutdown(cancel_futures=True)


def _download_found(wheel: Wheel, asked: Future[Mapping[str, str]], source: WheelSource) -> Path:
    address = asked.result().get(wheel.sha256)
    if not address:
        raise gone(wheel)
    return download_wheel(wheel, address, source)


def download_wheel(wheel: Wheel, address: str, source: WheelSource) -> Path:
    """The wheel on disk, fetched unless it is there; see `fetching` for what is raised."""
    path = source.folder / wheel.file
    half = source.folder / f"{wheel.sha256}.half"
    try:
        with file_lock(half.with_suffix(".turn"), doing=f"fetching {wheel.file}", say=source.say):
            if not _is_whole(path, wheel):
                _download_all(wheel, address, source, half)
                half.replace(path)
    except OSError as error:
        # The session's own errors are OSErrors, too, and were seen to.
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise Negative(
            f"{wheel.file} cannot be put on the disk: {(error.strerror or str(error)).lower()}",
            where=str(source.folder),
            hint=DISK_FULL_HINT if is_full else "",
        ) from error
    return path


def _is_whole(path: Path, wheel: Wheel) -> bool:
    return path.is_file() and path.stat().st_size == wheel.size and is_locked(path, wheel)


def _download_all(wheel: Wheel, address: str, source: WheelSource, half: Path) -> None:
    """Puts all of the wheel into the half file, in as many goes as bring something."""
    reason = _CANCELLED
    failed = 0
    while failed < ATTEMPTS and not source.end.stop.wait(PAUSE * failed):
        before = _size(half)
        try:
            digest = _download_rest(wheel, address, source, half)
        except requests.RequestException as error:
            reason = _first_line(error)
            failed = 0 if _size(half) > before else failed + 1
            continue
        if digest == wheel.sha256:
            return
        if source.end.stop.is_set():
            break
        half.unlink()
        if not before:
            # Nothing of an earlier go was in it, so it would be the same again.
            raise Negative(
                f"{_host(address)} sends a {wheel.file} whose sha256 is not the lock's",
                hint="run `dlimg lock` and review the change, or name another index",
            )
    raise NetworkFailure(
        f"{_host(address)} does not give {wheel.file}: {reason}",
        hint="check the network and the proxy, then run it again; what was fetched is kept",
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download_rest(wheel: Wheel, address: str, source: WheelSource, half: Path) -> str:
    """The sha256 of the half file after what was missing was added to it, as far as it came."""
    half.parent.mkdir(parents=True, exist_ok=True)
    with half.open("ab+") as file:
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")
        have = file.tell()
        if have == wheel.size:
            return digest.hexdigest()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with (
            source.session.get(
                address, stream=True, headers=headers, timeout=SECONDS, verify=source.session.verify
            ) as answer,
            source.end.hearing(answer),
        ):
            answer.raise_for_status()
            if have and not _is_continued(answer, have):
                file.truncate(0)
                digest, have = hashlib.sha256(), 0
                if answer.status_code == requests.codes.partial_content:
                    raise requests.ConnectionError("it sends another part than was asked for")
            for piece in answer.iter_content(CHUNK_SIZE):
                have += len(piece)
                if source.end.stop.is_set() or have > wheel.size:
                    break
                file.write(piece)
                digest.update(piece)
    if have < wheel.size and not source.end.stop.is_set():
        raise requests.ConnectionError(f"it ended after {have} of {wheel.size} bytes")
    return digest.hexdigest()


def _is_continued(answer: requests.Response, have: int) -> bool:
    """Whether what comes begins where the half file ends."""
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return answer.status_code == requests.codes.partial_content and start == str(have)


def _host(address: str) -> str:
    return urlsplit(address).hostname or address


def _first_line(error: requests.RequestException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
