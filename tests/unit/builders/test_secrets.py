"""Secret files and arguments of a build, local wheels, and the check of disk space."""

import hashlib
import signal
from pathlib import Path

import pytest

from dlimg.builders.disk_space import predicted_bytes
from dlimg.builders.secrets import pip_conf, secrets_from, uv_toml
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.lock.local_wheels import place_local_wheels
from dlimg.pypi.mirrors import mirrors
from tests.support import samples

URL = "https://user:p%40ss@mirror/simple"


@pytest.mark.parametrize(
    ("environment", "default", "extra"),
    [
        ({}, "", ()),
        ({"UV_DEFAULT_INDEX": "https://a", "UV_INDEX_URL": "https://b"}, "https://a", ()),
        ({"UV_INDEX_URL": "https://b", "PIP_INDEX_URL": "https://c"}, "https://b", ()),
        ({"PIP_INDEX_URL": "https://c"}, "https://c", ()),
        ({"UV_DEFAULT_INDEX": "mine=https://a"}, "https://a", ()),
        (
            {"UV_INDEX": "two=https://x/?a=b https://y", "UV_EXTRA_INDEX_URL": "https://z"},
            "",
            (("two", "https://x/?a=b"), ("", "https://y"), ("", "https://z")),
        ),
        (
            {"PIP_EXTRA_INDEX_URL": "https://x/?a=b https://y"},
            "",
            (("", "https://x/?a=b"), ("", "https://y")),
        ),
    ],
)
def test_the_index_is_what_uv_or_else_pip_would_use(
    environment: dict[str, str], default: str, extra: tuple[tuple[str, str], ...]
) -> None:
    result = mirrors(Context.of(environment, print))
    assert (result.default, result.extra) == (default, extra)


def test_configuration_files() -> None:
    context = Context.of({"UV_DEFAULT_INDEX": URL, "UV_INDEX": "two=https://x"}, print)
    result = mirrors(context)
    assert uv_toml(result, context) == (
        'index-strategy = "unsafe-best-match"\n\n'
        '[[index]]\nname = "two"\nurl = "https://x"\n\n'
        f'[[index]]\nurl = "{URL}"\ndefault = true\n'
    )
    assert pip_conf(result) == (
        "[global]\nindex-url = https://user:p%40ss@mirror/simple\n"
        "extra-index-url =\n    https://x\n"
    )
    nothing = Context.of({}, print)
    assert uv_toml(mirrors(nothing), nothing) == pip_conf(mirrors(nothing)) == ""


def test_secret_files_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    (tmp_path / ".netrc").write_text("machine mirror")
    environment = {
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        "HOME": str(tmp_path),
        "PIP_INDEX_URL": URL,
        "HTTPS_PROXY": "http://proxy:3128",
        "no_proxy": "localhost",
        "NO_PROXY": "",
    }
    with secrets_from(Context.of(environment, print)) as secrets:
        assert sorted(secrets.files) == ["ca", "netrc", "pip.conf", "uv.toml"]
        folder = Path(secrets.files["ca"]).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert Path(secrets.files["ca"]).read_text() == "CA"
        assert secrets.arguments == {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost"}
    assert not folder.exists()


def test_no_secret_is_made_up(tmp_path: Path) -> None:
    with secrets_from(Context.of({"HOME": str(tmp_path)}, print)) as secrets:
        assert secrets.files == {}
        assert secrets.arguments == {}


def test_the_first_named_certificate_file_counts(tmp_path: Path) -> None:
    (tmp_path / "pip.pem").write_text("PIP")
    environment = {"SSL_CERT_FILE": str(tmp_path), "PIP_CERT": str(tmp_path / "pip.pem")}
    with secrets_from(Context.of(environment, print)) as secrets:
        assert Path(secrets.files["ca"]).read_text() == "PIP"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "NETRC", "DLIMG_APT_CONF"])
def test_a_file_that_is_not_there_is_told_with_its_variable(tmp_path: Path, variable: str) -> None:
    environment = {variable: str(tmp_path / "gone")}
    with (
        pytest.raises(BadInput, match="cannot be read") as raised,
        secrets_from(Context.of(environment, print)),
    ):
        pass
    assert raised.value.problems[0].where == variable


def test_a_secret_too_large_for_a_build_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(b"x" * 600_000)
    with (
        pytest.raises(BadInput, match="600000 bytes"),
        secrets_from(Context.of({"SSL_CERT_FILE": str(tmp_path / "ca")}, print)),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_secret_files_are_gone_after_an_interrupt(tmp_path: Path, number: int) -> None:
    (tmp_path / "ca").write_text("CA")
    folders: list[Path] = []

    def interrupted() -> None:
        with secrets_from(Context.of({"SSL_CERT_FILE": str(tmp_path / "ca")}, print)) as secrets:
            folders.append(Path(secrets.files["ca"]).parent)
            signal.raise_signal(signal.Signals(number))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folders[0].exists()


def wheel_in(folder: Path, content: bytes, name: str = "torch") -> str:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}-1-py3-none-any.whl").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_only_the_locked_local_wheels_are_laid_out(tmp_path: Path) -> None:
    wheel_in(tmp_path / "a", b"another torch")
    sha256 = wheel_in(tmp_path / "b", b"torch")
    wheel_in(tmp_path / "b", b"unwanted", "unwanted")
    lock = samples.lock(
        wheels=(samples.wheel(version="1", sha256=sha256, local=True), samples.wheel("pip", "26"))
    )
    folder = tmp_path / "out"
    assert place_local_wheels(
        lock, [tmp_path / "a", tmp_path / "b", tmp_path / "c"], folder
    ) == str(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "torch-1-py3-none-any.whl": b"torch"
    }


def test_no_folder_is_made_when_no_wheel_is_local(tmp_path: Path) -> None:
    assert place_local_wheels(samples.lock(), [], tmp_path / "out") == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(b"other", "another sha256"), (b"", "in none of")]
)
def test_a_wheel_that_is_not_the_locked_one_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    if content:
        wheel_in(tmp_path / "a", content)
    lock = samples.lock(wheels=(samples.wheel(version="1", local=True),))
    with pytest.raises(BadInput, match=message) as raised:
        place_local_wheels(lock, [tmp_path / "a"], tmp_path / "out")
    assert raised.value.problems[0].where == lock.name


def test_shared_wheels_are_counted_once_in_the_cache_and_per_image_on_disk() -> None:
    lock = samples.lock(
        wheels=(samples.wheel("nvidia-cublas", size=10**9), samples.wheel("torch", size=10**9))
    )
    plan = samples.planned(samples.image(locked=lock))
    other = samples.planned(samples.image(samples.cell(os="debian12"), locked=lock))
    cache, image, system = 6.7e9, 8.7e9, 0.9e9
    assert predicted_bytes([plan]) == pytest.approx(cache + image + system)
    assert predicted_bytes([plan, plan]) == pytest.approx(cache + 2 * image + system)
    assert predicted_bytes([plan, other]) == pytest.approx(cache + 2 * image + 2 * system)
