"""Of uv.toml only the indexes count, of pip.conf only index-url; never what chooses versions."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.builders.secrets import pip_conf
from dlimg.context import Context
from dlimg.errors import BadInput, NetworkFailure
from dlimg.pypi.mirrors import Mirrors, default_addresses, mirrors, uv_environment
from tests.support.index_project import DEFAULT, IndexProject
from tests.support.package_index import PackageIndexServer, made_wheel, package_index

OLD = made_wheel("numlike", "1.0")
CHOICES = [
    'resolution = "lowest"',
    'resolution = "lowest-direct"',
    'exclude-newer = "2001-01-01"',
    'override-dependencies = ["numlike==1.0"]',
    'constraint-dependencies = ["numlike<2"]',
    'exclude-dependencies = ["numlike"]',
    'prerelease = "allow"',
    'index-strategy = "unsafe-best-match"',
    'fork-strategy = "fewest"',
    "no-index = true",
    'find-links = ["/nowhere"]',
    'no-binary-package = ["numlike"]',
    "offline = true",
    'torch-backend = "cpu"',
]


@pytest.fixture
def index() -> Iterator[PackageIndexServer]:
    with package_index(*DEFAULT, OLD) as server:
        yield server


def own_project(folder: Path, default: str = "", **variables: str) -> IndexProject:
    own = IndexProject(folder=folder, default=default, packages="[numlike]", variables=variables)
    own.write("")
    return own


def put(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("choice", "table"),
    [
        *((choice, "") for choice in CHOICES),
        (CHOICES[0], "[pip]\n"),
        *(pytest.param(choice, "[pip]\n", marks=pytest.mark.slow) for choice in CHOICES[1:]),
    ],
)
def test_nothing_in_uv_toml_chooses_versions(
    tmp_path: Path, index: PackageIndexServer, choice: str, table: str
) -> None:
    own = own_project(tmp_path)
    put(
        own.home / ".config/uv/uv.toml",
        f'{"" if table else choice}\n[[index]]\nurl = "{index.url}"\ndefault = true\n'
        f"{table}{choice if table else ''}\n",
    )
    own.lock()
    assert {wheel.name: wheel.version for wheel in own.locked.wheels} == {
        "numlike": "2.0",
        "pip": "26.3",
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("UV_RESOLUTION", "lowest"),
        ("UV_EXCLUDE_NEWER", "2001-01-01"),
        ("UV_EXCLUDE_NEWER_PACKAGE", "numlike=2001-01-01"),
        ("UV_OVERRIDE", "/nowhere"),
        ("UV_BUILD_CONSTRAINT", "/nowhere"),
        ("UV_OFFLINE", "1"),
        ("UV_PRERELEASE", "allow"),
    ],
)
def test_no_variable_of_uv_chooses_versions(
    tmp_path: Path, index: PackageIndexServer, variable: str, value: str
) -> None:
    own = own_project(tmp_path, index.url, **{variable: value})
    own.lock()
    assert own.locked.version_of("numlike") == "2.0"


@pytest.mark.parametrize(
    "text",
    [
        'index-url = "{url}"',
        '[pip]\nindex-url = "{url}"',
        '[[index]]\nname = "mine"\nurl = "{url}"\ndefault = true',
    ],
)
@pytest.mark.parametrize("place", ["home/.config/uv/uv.toml", "etc/uv/uv.toml"])
def test_indexes_of_uv_toml(
    tmp_path: Path, index: PackageIndexServer, text: str, place: str
) -> None:
    own = own_project(tmp_path)
    put(tmp_path / place, text.format(url=index.url))
    own.lock()
    assert own.locked.version_of("numlike") == "2.0"


def test_index_url_of_pip_conf(tmp_path: Path, index: PackageIndexServer) -> None:
    own = own_project(tmp_path)
    put(own.home / ".config/pip/pip.conf", f"[global]\nindex-url = {index.url}\n")
    own.lock()
    assert own.locked.version_of("numlike") == "2.0"
    assert mirrors(own.context).default == index.url, "builds use the same"


@pytest.mark.parametrize(
    ("variables", "uv", "expected"),
    [
        ({}, "", "https://pip.test/simple"),
        ({"PIP_INDEX_URL": "https://variable.test"}, "", "https://variable.test"),
        ({"PIP_CONFIG_FILE": "/dev/null"}, "", "https://pypi.org/simple"),
        ({}, 'index-url = "https://uv.test"', "https://uv.test"),
        ({"UV_NO_CONFIG": "1"}, 'index-url = "https://uv.test"', "https://pip.test/simple"),
        ({"UV_DEFAULT_INDEX": "https://v.test"}, 'index-url = "https://uv.test"', "https://v.test"),
    ],
)
def test_variables_come_first_and_uv_comes_before_pip(
    tmp_path: Path, variables: dict[str, str], uv: str, expected: str
) -> None:
    own = own_project(tmp_path, **variables)
    put(own.home / ".config/pip/pip.conf", "[global]\nindex-url = https://pip.test/simple\n")
    put(own.home / ".config/uv/uv.toml", uv)
    assert default_addresses(own.context) == (expected,)


def test_extra_index_url_of_pip_conf_is_refused(tmp_path: Path, index: PackageIndexServer) -> None:
    own = own_project(tmp_path)
    path = put(
        own.home / ".config/pip/pip.conf",
        f"[global]\nindex-url = {index.url}\n"
        "extra-index-url =\n    https://me:s3cret@pypi.nvidia.com\n    https://b.example/simple\n",
    )
    with pytest.raises(BadInput) as caught:
        own.lock()
    (problem,) = caught.value.problems
    assert problem.where == path
    assert (
        "`indexes: {nvidia: {url: https://pypi.nvidia.com, packages: [...]}, "
        "b: {url: https://b.example/simple, packages: [...]}}`" in problem.hint
    )
    assert "s3cret" not in str(caught.value)
    aside = own_project(tmp_path, PIP_EXTRA_INDEX_URL="")
    aside.lock()
    assert aside.locked.version_of("numlike") == "2.0"


def test_an_extra_index_in_a_folder_is_left_aside_with_a_note(
    tmp_path: Path, index: PackageIndexServer
) -> None:
    own = own_project(tmp_path)
    path = put(
        own.home / ".config/pip/pip.conf",
        f"[global]\nindex-url = {index.url}\nextra-index-url = file:///opt/other/simple\n",
    )
    own.lock()
    assert f"{path}: extra-index-url is not used; name a folder of wheels with --find-links" in (
        own.messages
    )


@pytest.mark.parametrize("value", ["true", "1", "no"])
def test_no_index_of_pip_conf_is_left_aside_with_a_note(
    tmp_path: Path, index: PackageIndexServer, value: str
) -> None:
    own = own_project(tmp_path)
    text = f"[global]\nindex-url = {index.url}\n[install]\nno_index = {value}\n"
    path = put(own.home / ".config/pip/pip.conf", text)
    own.lock()
    note = f"{path}: no-index is not used: the package index is asked"
    assert (note in own.messages) is (value != "no")


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        (".config/uv/uv.toml", "index-url = ", "uv's configuration cannot be read"),
        (".config/pip/pip.conf", "index-url", "pip's configuration cannot be read"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, place: str, text: str, message: str) -> None:
    own = own_project(tmp_path)
    path = put(own.home / place, text)
    with pytest.raises(BadInput, match=message) as caught:
        mirrors(own.context)
    assert caught.value.problems[0].where == path


def test_errors_name_the_index_that_was_asked(tmp_path: Path) -> None:
    with package_index() as empty:
        with_login = empty.url.replace("http://", "http://me:s3cret@")
        own = own_project(tmp_path, with_login)
        with pytest.raises(BadInput) as caught:
            own.lock()
        assert f"(index: {empty.url})" in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_a_login_that_the_index_does_not_get(tmp_path: Path) -> None:
    with package_index(*DEFAULT, login="me:p@ss") as closed:
        own = own_project(tmp_path, closed.url)
        with pytest.raises(NetworkFailure) as caught:
            own.lock()
    assert f"the package index {closed.url} wants a login" in str(caught.value)
    assert "UV_INDEX_<NAME>_USERNAME" in caught.value.problems[0].hint


def test_uv_reads_no_file(tmp_path: Path) -> None:
    own = own_project(tmp_path, UV_CONFIG_FILE=put(tmp_path / "mine.toml", ""))
    assert uv_environment(own.context)["UV_NO_CONFIG"] == "1"


def test_pip_reads_the_login_that_it_is_given(tmp_path: Path) -> None:
    with package_index(*DEFAULT, login="me:p@ss%1") as index:
        address = index.url.replace("http://", "http://me:p%40ss%251@")
        path = put(tmp_path / "pip.conf", pip_conf(Mirrors(default=address)))
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(tmp_path)]
        subprocess.run(
            [*command, "--no-cache-dir", "numlike"],
            env={"PIP_CONFIG_FILE": path, "NO_PROXY": "127.0.0.1", "PATH": "/usr/bin:/bin"},
            check=True,
            capture_output=True,
        )
    assert "me:p@ss%1" in index.logins


def test_a_context_without_a_home_reads_no_file() -> None:
    assert mirrors(Context.of({}, print)) == Mirrors()
