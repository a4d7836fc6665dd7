"""Data that another machine fetches: the machine is a home here, which a stand-in of ssh enters."""

import io
import shutil
import subprocess
import sys
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure
from dlimg.host.ssh import SshHost
from dlimg.run.data_fetch_remote import curl_options, fetch_on, missing_program
from dlimg.run.data_source import parse_source
from tests.support.http_server import served
from tests.unit.run.test_data import CONTENT, DIGEST, FileServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are on Linux machines")
SSH = """\
#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift 2
cd "$MACHINE" && HOME=$MACHINE PATH=$MACHINE/bin:$PATH exec sh -c "$*"
"""
# Notes the arguments that others on the machine could see.
CURL = '#!/bin/sh\nprintf "%s\\n" "$*" >>"$HOME/arguments"\nexec {curl} "$@"\n'


class PrivateServer(FileServer):
    """Serves files to those with a login, which it notes."""

    logins: list[str] = []  # noqa: RUF012 - of all requests of a test

    def do_GET(self) -> None:  # noqa: N802 - the server's name
        type(self).logins.append(self.headers.get("Authorization", ""))
        super().do_GET()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    FileServer.breaks, FileServer.etag, FileServer.ranges = 0, '"1"', []
    PrivateServer.breaks, PrivateServer.logins, PrivateServer.ranges = 0, [], []
    with served(PrivateServer) as address:
        yield address


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    home = tmp_path / "machine"
    (home / "bin").mkdir(parents=True)
    (home / "bin/curl").write_text(CURL.format(curl=shutil.which("curl")))
    (tmp_path / "ssh").write_text(SSH)
    for program in (home / "bin/curl", tmp_path / "ssh"):
        program.chmod(0o755)
    return home


@pytest.fixture
def host(machine: Path, tmp_path: Path) -> SshHost:
    variables = {
        "PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin",
        "MACHINE": str(machine),
        "NO_PROXY": "127.0.0.1",
    }
    return SshHost(destination="ada@vm", environment=variables)


def fetched(text: str, host: SshHost, context: Context) -> Path:
    folder = fetch_on(parse_source(text), "x", host, context)
    return Path(host.environment["MACHINE"]) / folder.path


def test_a_file_is_on_the_machine_and_a_second_fetch_takes_it_from_there(
    address: str, host: SshHost, context: Context, messages: list[str]
) -> None:
    text = f"{address}/a.bin#sha256={DIGEST}"
    folder = fetched(text, host, context)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    assert messages == [f"x: fetching 1 file from {address}/a.bin, on ada@vm"]
    fetched(text, host, context)
    assert PrivateServer.ranges == [""]


def test_a_download_that_breaks_off_goes_on_where_it_ended(
    address: str, host: SshHost, context: Context
) -> None:
    PrivateServer.breaks = 2
    folder = fetched(f"{address}/a.bin#sha256={DIGEST}", host, context)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert [bool(wanted) for wanted in PrivateServer.ranges] == [False, True, True]


def test_a_part_of_another_version_is_fetched_again(
    address: str, host: SshHost, context: Context
) -> None:
    text = f"{address}/a.bin"
    folder = fetched(text, host, context)
    (folder / "a.bin").unlink()
    (folder / ".a.bin.part").write_bytes(b"old")
    (folder / ".a.bin.head").write_text('HTTP/1.1 200 OK\r\nETag: "0"\r\n')
    assert (fetched(text, host, context) / "a.bin").read_bytes() == CONTENT


def test_a_repository_of_hugging_face_and_its_token_are_not_in_an_argument(
    address: str, host: SshHost, machine: Path, tmp_path: Path, context: Context
) -> None:
    variables = {"HF_ENDPOINT": address, "HOME": str(tmp_path), "HF_TOKEN": 'to"ken'}
    login = Context.of(variables, context.log)
    folder = fetched("hf:datasets/a/b", host, login)
    assert (folder / "data/x.bin").read_bytes() == CONTENT
    assert (folder / "README.md").read_bytes() == CONTENT
    assert set(PrivateServer.logins) == {'Bearer to"ken'}
    arguments = (machine / "arguments").read_text()
    assert "--config -" in arguments
    assert "ken" not in arguments
    left = [
        path for path in folder.rglob("*") if path.is_file() and b"to" in path.read_bytes()[:99]
    ]
    assert not left


class Kaggle(PrivateServer):
    """Answers with an archive."""

    logins: list[str] = []  # noqa: RUF012 - of all requests of a test

    def do_GET(self) -> None:  # noqa: N802 - the server's name
        self.logins.append(self.headers.get("Authorization", ""))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("train/a.csv", "1")
        self.send(archive.getvalue())


def test_an_archive_of_kaggle_is_unpacked_on_the_machine(
    host: SshHost, machine: Path, context: Context, tmp_path: Path
) -> None:
    with served(Kaggle) as address:
        login = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "k3y", "KAGGLE_API_ENDPOINT": address}
        variables = Context.of({**login, "HOME": str(tmp_path)}, context.log)
        folder = fetched("kaggle:a/b", host, variables)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["a.csv"]
    assert b64decode(Kaggle.logins[0].removeprefix("Basic ")) == b"ada:k3y"
    assert "k3y" not in (machine / "arguments").read_text()


def test_refused_missing_and_damaged_files_have_the_errors_of_a_fetch_here(
    address: str, host: SshHost, context: Context
) -> None:
    with pytest.raises(Negative, match="/missing answers 404"):
        fetched(f"{address}/missing", host, context)
    with pytest.raises(Negative, match="came, not -1 bytes, sha256 0000"):
        fetched(f"{address}/a.bin#sha256={'0' * 64}", host, context)
    assert not list(Path(host.environment["MACHINE"]).rglob("*a.bin*"))


def test_a_server_that_is_gone_is_named(
    host: SshHost, machine: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "bin/sleep").write_text("#!/bin/sh\n")  # between two attempts
    (machine / "bin/sleep").chmod(0o755)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(NetworkFailure, match="x cannot be fetched: curl: "):
        fetched("http://127.0.0.1:9/x", host, context)


def test_a_connection_that_breaks_is_no_missing_file(
    address: str, host: SshHost, machine: Path, context: Context
) -> None:
    (machine / "bin/curl").write_text("#!/bin/sh\nexit 1\n")
    (machine.parent / "ssh").write_text("#!/bin/sh\necho Connection reset >&2\nexit 255\n")
    with pytest.raises(NetworkFailure, match="the connection to ada@vm is broken"):
        fetched(f"{address}/a.bin", host, context)


def test_git_is_fetched_at_its_revision_without_history(
    host: SshHost, tmp_path: Path, context: Context
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    script = (
        "git init -q && echo 1 >a && git add a && git -c user.name=x -c user.email=x commit -qm x"
        " && git tag v1"
    )
    subprocess.run(["sh", "-c", script], cwd=repository, check=True)
    folder = fetched(f"git:file://{repository}#v1", host, context)
    assert [path.name for path in folder.iterdir()] == ["a"]
    with pytest.raises(Negative, match="git does not fetch x: "):
        fetched(f"git:file://{repository}#v2", host, context)


def test_a_program_that_the_machine_lacks_is_named(host: SshHost, machine: Path) -> None:
    assert missing_program(parse_source("https://a.b/c"), host) == ""
    (machine / "bin/sh").symlink_to("/bin/sh")
    bare = {**host.environment, "PATH": f"{machine.parent}:{machine}/bin"}
    lacking = SshHost(destination="ada@vm", environment=bare)
    assert missing_program(parse_source("git:https://a.b/c"), lacking) == "git"


def test_a_login_of_this_machine_is_in_the_options_that_go_over_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine a.b login ada password se\\cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with requests.Session() as session:
        assert curl_options("https://c.d/x", session) == 'url = "https://c.d/x"\n'
        assert 'user = "ada:se' in curl_options("https://a.b/x", session)
        session.auth = ("kaggler", "key")
        assert 'user = "kaggler:key"\n' in curl_options("https://a.b/x", session)
