"""A proxy of the engine's socket that can be disconnected, as if the engine had died."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from docker import DockerClient

from dlimg.engine.client import Engine


@contextlib.contextmanager
def proxied_engine(engine: Engine, path: Path) -> Iterator[tuple[Engine, Callable[[], None]]]:
    """The engine behind a proxy at this socket, and a function that disconnects it."""
    ends: list[socket.socket] = []
    is_cut = threading.Event()
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()

    def cut() -> None:
        is_cut.set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    thread = threading.Thread(target=_serve, args=(door, engine.host, ends, is_cut))
    thread.start()
    sdk = DockerClient(base_url=f"unix://{path}")
    try:
        yield replace(engine, sdk=sdk), cut
    finally:
        sdk.close()
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
        door.close()
        cut()


def _serve(
    door: socket.socket, host: str, ends: list[socket.socket], is_cut: threading.Event
) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = door.accept()
            if is_cut.is_set():
                # Whoever is refused at the door forgets to close his end; let in, he closes it.
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(host.removeprefix("unix://"))
            ends += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
