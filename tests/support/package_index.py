"""Package indexes of made-up wheels on the loopback: plain, with a login, slow, or silent."""

import base64
import hashlib
import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from tests.support.http_server import served


def made_wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    mark: str = "",
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:
    """Return the file name and content of a wheel with one module; `mark` is in the module."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    files = {
        f"{stem}/__init__.py": f'MARK = "{mark}"\n',
        f"{info}/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(f"Requires-Dist: {text}" for text in requires),
                "",
            ]
        ),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
        rows = "".join(f"{path},{_record(text)}\n" for path, text in files.items())
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), f"{rows}{info}/RECORD,,\n")
    return f"{stem}-{version}-{tag}.whl", content.getvalue()


def _record(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(text.encode())}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class PackageIndexServer:
    """A running index: `files` by name; `login` is `user:password`, `delay` in seconds.

    `requests` are the paths that it was asked for, `logins` what clients sent.
    """

    files: dict[str, bytes]
    login: str = ""
    delay: float = 0
    status: int = 0
    host: str = ""
    requests: list[str] = field(default_factory=list)
    logins: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.host}/simple"

    def page(self, project: str) -> bytes | None:
        links = [
            f'<a href="/files/{file}#sha256={sha256(content)}">{file}</a>'
            for file, content in self.files.items()
            if file.partition("-")[0].replace("_", "-").lower() == project
        ]
        return "\n".join(links).encode() if links else None

    def content(self, path: str) -> bytes | None:
        folder, _, name = unquote(path).strip("/").partition("/")
        return self.page(name) if folder == "simple" else self.files.get(name)


@contextmanager
def package_index(
    *wheels: tuple[str, bytes], login: str = "", delay: float = 0, status: int = 0
) -> Iterator[PackageIndexServer]:
    """Serve these files until the end of the block."""
    index = PackageIndexServer(files=dict(wheels), login=login, delay=delay, status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def answer(self, *, with_body: bool) -> None:
            index.requests.append(self.path)
            time.sleep(index.delay)
            sent = self.headers.get("Authorization", "").removeprefix("Basic ")
            given = base64.b64decode(sent).decode()
            index.logins.add(given)
            content = index.content(self.path)
            if index.login and given != index.login:
                self.send_error(401)
            elif index.status or content is None:
                self.send_error(index.status or 404)
            else:
                self.send_response(200)
                kind = "text/html" if self.path.startswith("/simple") else "application/zip"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if with_body:
                    self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with served(Handler) as index.host:
        yield index
