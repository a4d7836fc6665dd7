"""`facts --refresh` against an index on the loopback, with wheels made up for it."""

import io
import os
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput, NetworkFailure
from dlimg.facts.parse import rows_of
from dlimg.facts.write import FieldDifference
from dlimg.pipeline.facts_refresh import FactsRefresh, refresh_facts
from dlimg.pypi.cache import PackageIndexCache
from dlimg.pypi.framework_releases import release_readers
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import default_addresses
from dlimg.pypi.simple_api import IndexFile, list_files, parse_html
from tests.support import elf_files
from tests.support.http_server import served
from tests.support.image_folders import files_in

ROOT = Path(__file__).parents[3]
TORCH = """\
# Written by people.
framework:
  name: "torch"
  unpinned_cuda: "bundled"
  source: somebody
  checked: "2026-01-02"
releases:
  - version: "9.0"   # the first
    released: "2026-01-01"
    pythons: ["3.12"]
    cuda: ["13.0"]
    pins: {"13.0": {nvidia-cudnn-cu13: "9.1.0.1"}}
    source: somebody
    checked: "2026-01-02"
# Kept, too.
statements:
  - name: "one"
    says: "something"
    source: somebody
    checked: "2026-01-02"
"""
JAX = """\
framework:
  name: "jax"
  unpinned_cuda: "bundled"
  source: somebody
  checked: "2026-01-02"
releases:
  - {version: "1.0", pythons: ["3.12"], cuda: [], source: somebody, checked: "2026-01-02"}
"""


def wheel(files: Mapping[str, bytes | str], name: str, *needs: str) -> bytes:
    content = io.BytesIO()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    with zipfile.ZipFile(content, "w") as archive:
        for path, inside in files.items():
            archive.writestr(path, inside)
        archive.writestr(f"{name}-1.dist-info/METADATA", "\n".join(lines))
    return content.getvalue()


def torch(cuda: str, flags: str, *needs: str) -> bytes:
    files: dict[str, bytes | str] = {
        "torch/version.py": f"__version__ = '1'\ncuda: Optional[str] = {cuda!r}\n",
        "torch/lib/libtorch_python.so": b"\0ELF\0" + flags.encode() + b"\0",
    }
    return wheel(files, "torch", *needs)


@dataclass
class Shop:
    """Wheels by file name, with the day each came; `yanked` names those taken back."""

    wheels: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    yanked: set[str] = field(default_factory=set)
    address: str = ""

    def page(self, project: str) -> str:
        rows = []
        for name, (_, day) in self.wheels.items():
            if name.partition("-")[0].replace("_", "-") != project:
                continue
            taken = ' data-yanked="bad"' if name in self.yanked else ""
            asked = escape(">=3.12", quote=True)
            rows.append(
                f'<a href="../../files/{name}#sha256=00" data-requires-python="{asked}"'
                f' data-upload-time="{day}T10:00:00Z"{taken}>{name}</a>'
            )
        return "<html><body>" + "\n".join(rows) + "</body></html>" if rows else ""


@pytest.fixture
def shop() -> Iterator[Shop]:
    state = Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            place, _, name = self.path.strip("/").rpartition("/")
            if place == "simple":
                page = state.page(name).encode()
                self.answer(200 if page else 404, page, {"Content-Type": "text/html"})
                return
            content = state.wheels[name][0]
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, len(content) - int(last))
            end = min(int(last), len(content) - 1) if first and last else len(content) - 1
            told = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
            self.answer(206, content[start : end + 1], told)

        def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, one in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, one)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as address:
        state.address = f"{address}/simple"
        yield state


def stocked(shop: Shop) -> None:
    """One torch that has a row, a newer one with paired packages, and what must be passed over."""
    pin = "nvidia-cudnn-cu13==9.1.0.1"
    old = torch("13.0", "sm_80 sm_90", pin)
    new = torch("13.9", "sm_80 sm_90 sm_120", "nvidia-cudnn-cu13==9.9", "triton~=4.0", "jinja2")
    arm = torch("13.9", "sm_90 sm_121")
    shop.wheels |= {
        "torch-9.0-cp312-cp312-manylinux_2_28_x86_64.whl": (old, "2026-01-01"),
        "torch-9.1-cp312-cp312-manylinux_2_28_x86_64.whl": (new, "2026-02-02"),
        "torch-9.1-cp313-cp313-manylinux_2_28_x86_64.whl": (new, "2026-02-01"),
        "torch-9.1-cp313-cp313t-manylinux_2_28_x86_64.whl": (new, "2026-02-01"),
        "torch-9.1-cp313-cp313-manylinux_2_28_aarch64.whl": (arm, "2026-02-01"),
        "torch-9.1-cp313-cp313-win_amd64.whl": (b"", "2026-02-01"),
        "torch-9.2rc1-cp313-cp313-manylinux_2_28_x86_64.whl": (b"", "2026-03-01"),
        "torch-9.3-cp313-cp313-manylinux_2_28_x86_64.whl": (b"", "2026-03-01"),
        "torch-8.0-cp313-cp313-manylinux_2_28_x86_64.whl": (b"", "2025-03-01"),
        "torchvision-0.9-py3-none-any.whl": (wheel({}, "torchvision", "torch==9.1"), "2026-02-01"),
    }
    shop.yanked.add("torch-9.3-cp313-cp313-manylinux_2_28_x86_64.whl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "facts"
    path.mkdir()
    for name, text in (("torch", TORCH), ("jax", JAX)):
        (path / f"{name}.yaml").write_text(text)
    return path


def refresh(shop: Shop, folder: Path, *, write: bool = True, commit: bool = False) -> FactsRefresh:
    environment = {"PATH": os.environ["PATH"]}
    index_cache = PackageIndexCache(
        index=open_index(Context.of(environment, print), folder.parent / "cache"),
        addresses=(shop.address,),
        fatbin=ROOT / "images/common/checks/_fatbin.py",
    )
    return FactsRefresh(
        folder=folder,
        readers=release_readers(files_in(ROOT / "images")),
        index_cache=index_cache,
        context=Context.of(environment, print),
        today="2026-02-03",
        write=write,
        commit=commit,
    )


NEW = """\
  - version: "9.1"
    released: "2026-02-01"
    requires_python: ">=3.12"
    pythons: ["3.12", "3.13"]
    free_threaded: ["3.13t"]
    platform: "manylinux_2_28"
    cuda: ["13.9"]
    pins:
      "13.9": {nvidia-cudnn-cu13: "9.9", triton: "~=4.0"}
    paired_packages:
      torchvision: ["0.9"]
      torchaudio: []
    torchaudio_note: "none pins this torch; the newest torchaudio is "
    architectures:
      "13.9": [sm_80, sm_90, sm_120]
    architectures_source: "the wheel: torch._C._cuda_getArchFlags()"
    ptx_known: false
    aarch64_cuda: ["13.9"]
    aarch64_architectures:
      "13.9": [sm_90, sm_121]
    aarch64_architectures_source: "the aarch64 wheel: torch._C._cuda_getArchFlags()"
    aarch64_ptx_known: false
    source: "PyPI metadata of torch 9.1"
    checked: "2026-02-03"
"""


def refreshed(
    refresh: FactsRefresh, subjects: Sequence[str]
) -> tuple[int, tuple[FieldDifference, ...]]:
    result = refresh_facts(refresh, subjects)
    return len(result.new), result.differences


def test_a_new_release_becomes_a_row_and_nothing_else_changes(shop: Shop, folder: Path) -> None:
    stocked(shop)
    assert refreshed(refresh(shop, folder), ["torch"]) == (1, ())
    text = (folder / "torch.yaml").read_text()
    assert text == TORCH.replace("# Kept, too.\n", f"{NEW}# Kept, too.\n")
    assert rows_of(text, "torch.yaml")["releases"][1]["version"] == "9.1"
    assert refreshed(refresh(shop, folder), ["torch"]) == (0, ())


def test_to_check_writes_nothing(shop: Shop, folder: Path) -> None:
    stocked(shop)
    assert refreshed(refresh(shop, folder, write=False), ["torch"]) == (1, ())
    assert (folder / "torch.yaml").read_text() == TORCH


def test_one_commit_for_each_release(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "before"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    (folder / "jax.yaml").write_text(f"{JAX}# half done\n")
    stocked(shop)
    refreshed(refresh(shop, folder, commit=True), ["torch"])
    outcome = subprocess.run(
        ["git", "log", "--format=%s", "--name-only", "-1"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    assert outcome == ["Facts: torch 9.1", "", "torch.yaml", ""]


@pytest.mark.parametrize(
    ("written", "wrong", "told"),
    [
        ('"9.1.0.1"', '"9.1.0.2"', "pins 13.0 nvidia-cudnn-cu13 is 9.1.0.2 here"),
        (
            'pythons: ["3.12"]',
            'pythons: ["3.11"]',
            "pythons is 3.11 here, and 3.12 at the index",
        ),
        ('cuda: ["13.0"]', 'cuda: ["13.1"]', "cuda is 13.1 here, and 13.0 at the index"),
        ('"2026-01-01"', '"2026-01-03"', "released is 2026-01-03 here"),
    ],
)
def test_a_difference_is_said_and_left(
    shop: Shop, folder: Path, written: str, wrong: str, told: str
) -> None:
    stocked(shop)
    del shop.wheels["torch-9.1-cp313-cp313-manylinux_2_28_x86_64.whl"]
    text = TORCH.replace(written, wrong, 1)
    (folder / "torch.yaml").write_text(text)
    _, result = refreshed(refresh(shop, folder, write=False), ["torch"])
    assert [str(item) for item in result if told in str(item)]
    assert len(result) == 1
    assert result[0].where == "torch.yaml:8"
    assert (folder / "torch.yaml").read_text() == text


@pytest.mark.parametrize(("taken", "seen"), [(True, "yanked"), (False, "not at the")])
def test_a_release_that_went_away_is_said(
    shop: Shop, folder: Path, seen: str, *, taken: bool
) -> None:
    stocked(shop)
    name = "torch-9.0-cp312-cp312-manylinux_2_28_x86_64.whl"
    if taken:
        shop.yanked.add(name)
    else:
        del shop.wheels[name]
    _, result = refreshed(refresh(shop, folder, write=False), ["torch"])
    assert [item.seen.startswith(seen) for item in result] == [True]


def test_jax_by_its_plugins(shop: Shop, folder: Path) -> None:
    code = elf_files.library(elf_files.container(elf_files.entry(2, 75), elf_files.entry(1, 120)))
    shop.wheels |= {
        "jax-1.0-py3-none-any.whl": (wheel({}, "jax", "jaxlib==1.0"), "2026-01-01"),
        "jax-1.1-py3-none-any.whl": (
            wheel(
                {},
                "jax",
                "jaxlib<=1.1,>=1.0",
                'jax-cuda13-plugin[with-cuda]<=1.1; extra == "cuda13"',
                'jax-cuda12-plugin[with-cuda]==1.1; extra == "cuda12"',
            ),
            "2026-02-01",
        ),
        "jaxlib-1.0-cp312-cp312-manylinux_2_27_x86_64.whl": (b"", "2026-01-01"),
        "jaxlib-1.1-cp313-cp313-manylinux_2_27_x86_64.whl": (b"", "2026-02-01"),
        "jaxlib-1.1-cp314-cp314t-manylinux_2_27_x86_64.whl": (b"", "2026-02-01"),
        "jax_cuda13_plugin-1.1-cp313-cp313-manylinux_2_27_x86_64.whl": (
            wheel({}, "jax_cuda13_plugin", 'nvidia-cublas>=13; extra == "with-cuda"', "numpy"),
            "2026-02-01",
        ),
        "jax_cuda13_pjrt-1.1-py3-none-manylinux_2_27_x86_64.whl": (
            wheel({"jax_plugins/xla_cuda13/xla_cuda_plugin.so": code}, "jax_cuda13_pjrt"),
            "2026-02-01",
        ),
    }
    assert refreshed(refresh(shop, folder), ["jax"]) == (1, ())
    row = rows_of((folder / "jax.yaml").read_text(), "jax.yaml")["releases"][-1]
    assert (row["pythons"], row["cuda"], row["plugin"]) == (["3.13"], ["13"], {"13": "1.1"})
    assert row["free_threaded"] == ["3.14t"]
    assert row["pins"] == {"13": {"nvidia-cublas": ">=13"}}
    assert row["architectures"] == {"13": ["sm_75", "compute_120"]}


def test_a_broken_wheel_is_a_network_failure(shop: Shop, folder: Path) -> None:
    stocked(shop)
    shop.wheels["torch-9.1-cp313-cp313t-manylinux_2_28_x86_64.whl"] = (b"no zip", "2026-02-01")
    with pytest.raises(NetworkFailure, match="does not give torch-9"):
        refreshed(refresh(shop, folder), ["torch"])
    assert (folder / "torch.yaml").read_text() == TORCH


def test_subjects_without_an_index_are_refused(shop: Shop, folder: Path) -> None:
    with pytest.raises(BadInput, match="says nothing about 'gpus'"):
        refreshed(refresh(shop, folder), ["gpus"])


def test_a_page_in_html() -> None:
    text = (
        '<a href="/f/a%2B1.whl#sha256=ab" data-yanked data-requires-python="&gt;=3">x</a>'
        '<a href="b.whl" data-yanked="why">b</a><a name="no link"></a>'
    )
    assert parse_html(text, "https://index.example/simple/x/") == (
        IndexFile(
            file="a+1.whl",
            url="https://index.example/f/a%2B1.whl",
            sha256="ab",
            yanked="yanked",
            requires_python=">=3",
        ),
        IndexFile(file="b.whl", url="https://index.example/simple/x/b.whl", yanked="why"),
    )


def test_an_unknown_project_has_no_files(shop: Shop, tmp_path: Path) -> None:
    index = open_index(Context.of({}, print), tmp_path)
    assert list_files(index, (shop.address,), "nothing-of-this-name") == ()


def test_indexes_are_asked_in_uvs_order() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "UV_DEFAULT_INDEX": "https://last.example/simple",
        "UV_INDEX": "mine=https://first.example/simple file:///somewhere",
    }
    assert default_addresses(Context.of(environment, print)) == (
        "https://first.example/simple",
        "https://last.example/simple",
    )
