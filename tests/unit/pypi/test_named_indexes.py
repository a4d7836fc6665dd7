"""Packages that the matrix routes to an index of its own, with a real uv and loopback indexes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.assembly.download import WheelSource, downloading
from dlimg.errors import BadInput, NetworkFailure
from dlimg.lock.check import check_locks
from dlimg.pypi.index import open_index
from dlimg.pypi.uv_queries import uv_query, wheel_urls
from tests.support.index_project import DEFAULT, ROUTED, IndexProject
from tests.support.package_index import PackageIndexServer, made_wheel, package_index, sha256

SILENT = "http://127.0.0.1:9/simple"  # nothing listens on the port `discard`
SAME_VERSION = made_wheel("torchlike", "1.0+cpu", mark="default")
NEWER = made_wheel("numlike", "9.0", mark="named")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def default() -> Iterator[PackageIndexServer]:
    with package_index(*DEFAULT, SAME_VERSION) as index:
        yield index


def project(folder: Path, default: PackageIndexServer, **variables: str) -> IndexProject:
    return IndexProject(folder=folder, default=default.url, variables=variables)


def hashes(own: IndexProject) -> dict[str, tuple[str, str]]:
    return {wheel.name: (wheel.sha256, wheel.index) for wheel in own.locked.wheels}


def test_the_routed_wheel_wins_over_the_same_version_of_the_default_index(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = project(tmp_path, default)
    with package_index(ROUTED, NEWER) as named:
        own.route(named.url)
        own.lock()
    assert hashes(own)["torchlike"] == (sha256(ROUTED[1]), "cpu-index")
    assert hashes(own)["numlike"] == (sha256(DEFAULT[0][1]), "")
    text = (tmp_path / "locks" / f"{own.cell.id}.json").read_text()
    assert '"index": "cpu-index"' in text
    assert "://" not in text
    assert not own.locked.local, "a lock with a named index is committed"
    assert not any("/torchlike" in path for path in default.requests)
    assert not any("/numlike" in path for path in named.requests)


def test_a_routed_package_that_only_another_package_requires(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = IndexProject(folder=tmp_path, default=default.url, packages='["visionlike=={version}"]')
    with package_index(made_wheel("torchlike", "1.0", requires=["numlike"])) as named:
        own.route(named.url)
        own.lock()
        assert hashes(own)["torchlike"][1] == "cpu-index"
        default.files.pop(SAME_VERSION[0])
        (tmp_path / "locks" / f"{own.cell.id}.json").unlink()
        own.lock()
    assert hashes(own)["torchlike"][1] == "cpu-index"


def test_the_most_specific_route_decides(tmp_path: Path, default: PackageIndexServer) -> None:
    own = project(tmp_path, default)
    with package_index(ROUTED) as named:
        own.write(
            f"{{other: {{url: {SILENT}, packages: [torchlike, further]}}, "
            f"cpu-index: {{url: {named.url}, packages: {{cpu: [torchlike]}}}}}}"
        )
        own.lock()
    assert hashes(own)["torchlike"] == (sha256(ROUTED[1]), "cpu-index")


def test_a_folder_stands_in_for_an_index_that_does_not_answer(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = project(tmp_path, default)
    own.route(SILENT)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / ROUTED[0]).write_bytes(ROUTED[1])
    (wheels / NEWER[0]).write_bytes(NEWER[1])
    own.lock([str(wheels)])
    assert hashes(own)["torchlike"] == (sha256(ROUTED[1]), "cpu-index")
    assert hashes(own)["numlike"] == (sha256(DEFAULT[0][1]), ""), "only what is routed"
    assert not own.locked.local


def test_without_such_a_folder_the_error_names_the_index(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = project(tmp_path, default, UV_INDEX_CPU_INDEX_PASSWORD="s3cret")  # noqa: S106
    own.route(SILENT)
    with pytest.raises(NetworkFailure) as caught:
        own.lock()
    (problem,) = caught.value.problems
    assert problem.where == own.cell.id
    assert problem.message == (
        f"the index cpu-index ({SILENT}) cannot be used: no connection to it can be made, "
        "and no extra folder has torchlike"
    )
    for remedy in ("UV_INDEX=cpu-index=URL", "UV_INDEX_CPU_INDEX_USERNAME", "--find-links"):
        assert remedy in problem.hint
    assert "s3cret" not in str(caught.value)


def test_an_error_names_the_index_of_a_routed_package(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = IndexProject(folder=tmp_path, default=default.url, packages='["torchlike==9.9"]')
    with package_index(ROUTED) as named:
        own.route(named.url)
        with pytest.raises(BadInput) as caught:
            own.lock()
    assert f"torchlike from cpu-index, {named.url}, or a folder in its place)" in str(caught.value)


def test_an_index_with_a_login(tmp_path: Path, default: PackageIndexServer) -> None:
    with package_index(ROUTED, login="me:p@ss") as named:
        own = project(
            tmp_path,
            default,
            UV_INDEX_CPU_INDEX_USERNAME="me",
            UV_INDEX_CPU_INDEX_PASSWORD="p@ss",  # noqa: S106
        )
        own.route(named.url)
        own.lock()
        assert hashes(own)["torchlike"][1] == "cpu-index"
        assert "p@ss" not in "".join(own.messages)
        assert not default.logins - {""}, "the login is for its own index"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "it wants a login (401)"),
        (
            {"UV_INDEX_CPU_INDEX_USERNAME": "me", "UV_INDEX_CPU_INDEX_PASSWORD": "wr0ng"},
            "it refuses this login (401)",
        ),
    ],
)
def test_a_missing_or_wrong_login(
    tmp_path: Path, default: PackageIndexServer, variables: dict[str, str], reason: str
) -> None:
    with package_index(ROUTED, login="me:p@ss") as named:
        own = IndexProject(folder=tmp_path, default=default.url, variables=variables)
        own.route(named.url)
        with pytest.raises(NetworkFailure) as caught:
            own.lock()
    assert reason in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_slow_index_is_waited_for(tmp_path: Path, default: PackageIndexServer) -> None:
    own = project(tmp_path, default)
    with package_index(ROUTED, delay=0.3) as named:
        own.route(named.url)
        own.lock()
    assert hashes(own)["torchlike"][1] == "cpu-index"


@pytest.mark.parametrize("of_file", [False, True])
def test_a_mirror_of_one_index(
    tmp_path: Path, default: PackageIndexServer, *, of_file: bool
) -> None:
    with package_index(ROUTED, NEWER) as mirror:
        if of_file:
            own = project(tmp_path, default)
            settings = own.home / ".config/uv/uv.toml"
            settings.parent.mkdir(parents=True)
            settings.write_text(
                f'[[index]]\nname = "cpu-index"\nurl = "{mirror.url}"\nexplicit = true\n'
            )
        else:
            own = project(tmp_path, default, UV_INDEX=f"cpu-index={mirror.url}")
        own.route(SILENT)
        own.lock()
    assert hashes(own)["torchlike"] == (sha256(ROUTED[1]), "cpu-index")
    assert hashes(own)["numlike"] == (sha256(DEFAULT[0][1]), ""), "a mirror of that index alone"


def test_a_build_downloads_from_the_index_of_the_lock(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    with package_index(ROUTED, login="me:p@ss") as named:
        own = project(
            tmp_path,
            default,
            UV_INDEX_CPU_INDEX_USERNAME="me",
            UV_INDEX_CPU_INDEX_PASSWORD="p@ss",  # noqa: S106
        )
        context = own.context.with_indexes(own.route(named.url).resolution.indexes)
        own.lock()
        default.requests.clear()
        target = ("3.11", own.cell.platform)
        ask = uv_query(context)
        source = WheelSource(
            folders=(),
            folder=tmp_path / "fetched",
            find_urls=lambda wheels, place: wheel_urls(wheels, place, ask),
            session=open_index(context, tmp_path / "wheels").session,
            log=own.messages.append,
        )
        with downloading({target: own.locked.wheels}, source) as locate:
            paths = {wheel.name: locate(wheel) for wheel in own.locked.wheels}
    assert paths["torchlike"].read_bytes() == ROUTED[1]
    assert paths["numlike"].read_bytes() == DEFAULT[0][1]
    assert not any("torchlike" in path for path in default.requests)


def test_locks_whose_index_the_matrix_no_longer_has_are_stale(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = project(tmp_path, default)
    with package_index(ROUTED) as named:
        own.route(named.url)
        own.lock()
    assert check_locks([own.cell], own.project.locks, everything=[own.cell]) == ()
    own.write("")
    (problem,) = check_locks([own.cell], own.project.locks, everything=[own.cell])
    assert problem.message == (
        "the lock is stale: torchlike is from the index cpu-index, which the matrix does not have"
    )


def test_a_package_that_is_newly_routed_makes_its_lock_stale(
    tmp_path: Path, default: PackageIndexServer
) -> None:
    own = project(tmp_path, default)
    with package_index(ROUTED) as named:
        own.route(named.url)
        own.lock()
        own.route(named.url, "[torchlike, numlike]")
        (problem,) = check_locks([own.cell], own.project.locks, everything=[own.cell])
    assert "numlike comes from the index cpu-index and is locked from no named" in problem.message


@pytest.mark.parametrize(
    ("indexes", "message"),
    [
        ("{a: {url: https://u:p@h/simple, packages: [x]}}", "is not an address"),
        ("{a: {url: https://h/simple}}", "needs the key 'packages'"),
        ("{a: {url: https://h/simple, packages: {rocm: [x]}}}", "unknown kind of accelerator"),
        ("{a: {url: https://h/simple, packages: {cuda12: [x]}}}", "no cell uses the index a"),
        ("{a: {url: https://h/simple, packages: ['x==1']}}", "is not the name of a package"),
        (
            "{a: {url: https://h/s, packages: [x_y]}, b: {url: https://h/t, packages: [X-y]}}",
            "x-y is routed to a and b, for any",
        ),
        (
            "{a-b: {url: https://h/s, packages: [x]}, a_b: {url: https://h/t, packages: [y]}}",
            "indexes a-b and a_b have the same variables",
        ),
    ],
)
def test_indexes_that_are_refused(tmp_path: Path, indexes: str, message: str) -> None:
    own = IndexProject(folder=tmp_path, default="")
    with pytest.raises(BadInput) as caught:
        own.write(indexes)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert "matrix.yaml:3" in problem.where
