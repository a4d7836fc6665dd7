"""Streams of bytes to and from child processes."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import IO, Final

from dlimg.host.process import PipeChild, ProcessResult, open_pipe

_PIECE: Final = 1 << 16


def feed(
    argv: Sequence[str], write: Callable[[IO[bytes]], object], *, env: Mapping[str, str]
) -> ProcessResult:
    """Run a command and call `write` with its input; it may end before it has read everything."""
    child = open_pipe(argv, env=env, reads=True)
    reader = PipeReader(child)
    with _ended(child):
        pipe = child.stdin
        with contextlib.suppress(BrokenPipeError), pipe or contextlib.nullcontext():
            if pipe is not None:
                write(pipe)
        pieces = list(reader)
    return ProcessResult(
        argv=tuple(argv),
        returncode=child.returncode,
        stdout=b"".join(out for out, _ in pieces if out).decode(errors="surrogateescape"),
        stderr=b"".join(err for _, err in pieces if err).decode(errors="replace"),
    )


@contextlib.contextmanager
def _ended(child: PipeChild) -> Iterator[None]:
    try:
        yield
        child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


@dataclass
class PipeReader:
    """An iterator over a child's output: pieces of standard output and standard error."""

    child: PipeChild
    pieces: SimpleQueue[tuple[bytes | None, bytes | None] | None] = field(
        default_factory=SimpleQueue
    )

    def __post_init__(self) -> None:
        for pipe, is_error in ((self.child.stdout, False), (self.child.stderr, True)):
            threading.Thread(target=self._read, args=(pipe, is_error), daemon=True).start()

    def _read(self, pipe: IO[bytes], is_error: bool) -> None:  # noqa: FBT001 - of a thread
        with contextlib.suppress(OSError, ValueError), pipe:
            while piece := pipe.read1(_PIECE):  # type: ignore[attr-defined] # a BufferedReader
                self.pieces.put((None, piece) if is_error else (piece, None))
        self.pieces.put(None)

    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        for _ in range(2):
            while (piece := self.pieces.get()) is not None:
                yield piece

    def close(self) -> None:
        """End the child, if it has not ended."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
