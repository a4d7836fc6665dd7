"""The facts that come with dlimg: well-formed, cached, and consistent with each other."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dlimg.compat.rules_cudnn import cudnn_fact
from dlimg.document.versions import numbers
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64, CudaFact, ReleaseBuild
from dlimg.facts.parse import rows_of
from dlimg.facts.schema import schema
from dlimg.facts.write import row_lines, with_row
from dlimg.pipeline import facts_files
from dlimg.pipeline.facts_files import FACTS, read_facts, read_rows

PATHS = sorted(FACTS.glob("*.yaml"))
ALL: Facts = read_facts()
ROWS = [
    (path.stem, section, row)
    for path in PATHS
    for section, rows in read_rows(path.stem).items()
    if isinstance(rows, list)
    for row in rows
]
RELEASES = [row for known in ALL.releases.values() for row in known.values()]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_cached_rows_are_those_of_the_file(path: Path, tmp_path: Path) -> None:
    rows = rows_of(path.read_text(), path.name)
    assert read_rows(path.stem, tmp_path) == rows
    (cached,) = tmp_path.iterdir()
    assert json.loads(cached.read_text()) == rows
    assert read_rows(path.stem, tmp_path) == rows


def test_a_damaged_or_missing_cache_is_ignored(tmp_path: Path) -> None:
    rows = read_rows("cudnn", tmp_path)
    (cached,) = tmp_path.iterdir()
    for damaged in ("{", "[]", ""):
        cached.write_text(damaged)
        assert read_rows("cudnn", tmp_path) == rows
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    assert read_rows("cudnn", not_a_folder / "facts") == rows


@pytest.mark.parametrize("text", ["releases: " + "[" * 5_000, "releases:\n" + "- " * 5_000])
def test_facts_that_are_nested_too_deeply(text: str) -> None:
    with pytest.raises(BadInput, match=r"jax\.yaml:\d+: nested deeper than 50 levels"):
        rows_of(text, "jax.yaml")


def test_a_corrected_file_is_not_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (FACTS / "cuda.yaml").read_text()
    read_rows("cuda", tmp_path / "cache")
    monkeypatch.setattr(facts_files, "FACTS", tmp_path)
    (tmp_path / "cuda.yaml").write_text(text.replace('"525.60.13"', '"525.60.14"', 1))
    rows = read_rows("cuda", tmp_path / "cache")
    assert "525.60.14" in {row["min_driver"] for row in rows["cuda"]}
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_schema_is_that_of_the_table() -> None:
    assert json.loads((FACTS / "facts.schema.json").read_text()) == schema()


# dlimg reads each file with the definitions from which the schema is made; a validator is slow.
LARGE = {"accelerators", "cuda", "drivers", "gpus", "legacy", "tensorflow", "torch"}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LARGE)) for path in PATHS],
    ids=lambda path: path.stem,
)
def test_the_schema_takes_every_file(path: Path) -> None:
    # As any other program reads YAML: a version without quotes would be a number here.
    tree = yaml.load(path.read_text(), yaml.CSafeLoader)
    jsonschema.validate(tree, schema(), cls=jsonschema.Draft202012Validator)


def test_every_row_has_a_source_and_a_day() -> None:
    assert len(ROWS) > 450
    for subject, section, row in ROWS:
        assert row["source"].strip(), f"{subject} {section} {row['line']}"
        assert re.fullmatch(r"2026-\d\d-\d\d", row["checked"])


def test_unverified_facts_are_not_certain() -> None:
    """Facts that their sources call unreliable."""
    assert not ALL.releases["torch"]["2.15.0"].origin.sure_of("variants")
    for cuda in ("11.6", "11.7", "12.0"):
        assert not ALL.cuda[cuda].origin.sure_of("drivers")
    for cuda in ("13.4", "13.5"):
        assert not ALL.cuda[cuda].drivers
    assert not ALL.cuda["13.5"].origin.certain
    assert not any(
        row.origin.sure_of("first_driver") for row in ALL.gpus.values() if row.first_driver
    )
    (driver,) = (row for row in read_rows("drivers")["drivers"] if row["branch"] == "580")
    assert (driver["eol"], driver["eol_verified"]) == ("2028-06", False)
    for cuda in ("11.0", "11.1", "11.2", "11.3"):
        assert not ALL.cuda[cuda].origin.sure_of("image_state")
    for name in ("Ubuntu 16.04", "Ubuntu 26.04"):
        assert not ALL.distributions[name].origin.sure_of("glibc")
    assert not ALL.pythons["3.15"].origin.sure_of("eol")


@pytest.mark.parametrize(("arch", "held"), [("x86_64", True), ("aarch64", False)])
def test_a_t4_runs_cuda_13_builds_but_not_on_arm(arch: str, *, held: bool) -> None:
    for version in ("2.13.0", "2.15.0"):
        release = ALL.releases["torch"][version]
        build = release.builds_for(release.cuda[0], arch)[0]
        assert ("sm_75" in build.architectures) is held


def test_no_driver_row_is_an_cuda_rule() -> None:
    assert "driver-no-upper-bound" in ALL.statements
    assert not any("max_driver" in key for _, _, row in ROWS for key in row)


def builds() -> Iterator[tuple[str, ReleaseBuild]]:
    for release in RELEASES:
        for build in release.builds:
            yield f"{release.framework} {release.version} {build.variant} {build.arch}", build


def test_every_cuda_of_a_release_is_known() -> None:
    known = ALL.cuda.keys() | ALL.majors.keys() | {""}
    assert not [(name, build.cuda) for name, build in builds() if build.cuda not in known]


def test_every_architecture_is_one_that_its_cuda_compiles_for() -> None:
    wrong = [
        (name, architecture)
        for name, build in builds()
        for architecture in build.architectures
        if not any(
            compiles(fact, architecture)
            for cuda, fact in ALL.cuda.items()
            if cuda == build.cuda or cuda.startswith(f"{build.cuda}.")
        )
    ]
    assert not wrong


def compiles(fact: CudaFact, architecture: str) -> bool:
    number = int(architecture.rpartition("_")[2])
    return int(fact.sm_min) <= number <= int(fact.sm_max or number)


def test_every_python_of_a_release_is_known() -> None:
    # 3.3 and 3.4 have wheels of TensorFlow 1.0 to 1.14 and nobody asks for them.
    known = ALL.pythons.keys() | {"3.3", "3.4"}
    assert not [row.version for row in RELEASES if not set(row.pythons) <= known]
    assert all(row.pythons or row.origin.notes["pythons"] for row in RELEASES)


def test_what_a_release_says_is_what_its_first_builds_say() -> None:
    for release in RELEASES:
        indexed = [
            build for build in release.builds if build.index == PYPI and build.arch == X86_64
        ]
        assert tuple(build.cuda for build in indexed if build.cuda) == release.cuda
        for build in indexed:
            assert build.architectures == release.architectures.get(build.cuda, ())


def test_every_gpu_fits_its_cudas() -> None:
    for gpu in ALL.gpus.values():
        for cuda in (gpu.first_cuda, gpu.last_cuda):
            assert cuda not in ALL.cuda or compiles(ALL.cuda[cuda], gpu.sm), f"{gpu.name} {cuda}"
        if gpu.first_cuda and gpu.last_cuda:
            assert numbers(gpu.first_cuda) <= numbers(gpu.last_cuda)
        assert gpu.kind in ALL.forward


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("RTX 4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 D", "RTX 4090 D"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "RTX 3080"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA L4", "L4"),
        ("DGX Spark", "GB10"),
        ("Quadro RTX 6000", "Quadro RTX 6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("sm_89", "sm_89"),
        ("SM89", "sm_89"),
        ("8.9", "sm_89"),
        ("compute 12.0", "sm_120"),
    ],
)
def test_a_gpu_by_any_name(spelling: str, name: str) -> None:
    assert ALL.gpu(spelling).name == name


@pytest.mark.parametrize(
    ("spelling", "hint"), [("RTX 4091", "RTX 4090"), ("sm_999", "sm_"), ("H10", "H100"), ("", "")]
)
def test_an_unknown_gpu_has_a_neighbour(spelling: str, hint: str) -> None:
    with pytest.raises(BadInput) as refused:
        ALL.gpu(spelling)
    assert hint in refused.value.problems[0].hint


@pytest.mark.parametrize(
    ("cudnn", "row"),
    [("9.10.2.21", "9.10.2.21"), ("9.28.0.42", "9.11"), ("9.11", "9.11"), ("9.6.0", None)],
)
def test_a_cudnn_is_that_one_or_a_newer_one(cudnn: str, row: str | None) -> None:
    result = cudnn_fact(ALL, cudnn)
    assert (result.cudnn if result else None) == row


def test_doubts_and_sources_of_a_group_are_those_of_its_fields() -> None:
    origin = ALL.cuda["13.3"].origin
    assert not origin.sure_of("sm_min")
    assert origin.sure_of("min_driver")
    assert origin.source_of("sm_max") == origin.sources["sm"] != origin.source
    assert ALL.cuda["12.8"].native_driver == "570.26"
    assert origin.where.startswith("cuda.yaml:")


GOOD = """\
pythons:
  - python: "3.13"
    eol: "2029-10-31"
    source: somewhere
    checked: "2026-11-21"
"""


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("    source: somewhere\n", "", "x.yaml:2: a row of pythons needs the key 'source'"),
        ('    checked: "2026-11-21"\n', "", "x.yaml:2: a row of pythons needs the key 'checked'"),
        ('"2026-11-21"', '"today"', "x.yaml:5: checked 'today' is not a day"),
        ('"3.13"', "3.13", "x.yaml:2: python is not quoted"),
        ('"2029-10-31"', "2029-10-31", "x.yaml:3: eol is not quoted"),
        ('"3.13"', '["3.13"]', "x.yaml:2: python must be one text"),
        ('"3.13"', "[3]", "x.yaml:2: python must be one text"),
        ("eol:", "eof:", "did you mean 'eol'?"),
        ("eol:", "eol_sauce:", "unknown key 'eol_sauce'"),
        ("somewhere", '""', "x.yaml:4: source is empty"),
        ("somewhere", "null", "x.yaml:4: source is empty"),
        ('"2029-10-31"', '"soon"', "x.yaml:3: eol 'soon' is not a day, a month or a year"),
        ("pythons:", "python:", "did you mean 'pythons'?"),
        ("    source", "    verified: perhaps\n    source", "unknown verified 'perhaps'"),
        ("    source", "    eol: x\n    source", "the key 'eol' is a repeat"),
        (GOOD, GOOD + GOOD.partition("\n")[2], "x.yaml:6: 3.13 has a second row in pythons"),
    ],
)
def test_a_wrong_row_is_refused(right: str, wrong: str, message: str) -> None:
    rows_of(GOOD, "x.yaml")
    assert right in GOOD
    with pytest.raises(BadInput) as refused:
        rows_of(GOOD.replace(right, wrong, 1), "x.yaml")
    assert message in str(refused.value)


ROW: Mapping[str, Any] = {
    "version": "9.0",
    "pythons": ["3.13"],
    "cuda": ["13.9"],
    "pins": {"13.9": {f"nvidia-part-{number}": f">={number}" for number in range(9)}},
    "paired_packages": {"torchvision": [], "torchaudio": ["9.0"]},
    "torchvision_note": 'none says "9.0" \\ yet',
    "architectures": {"13.9": ["sm_75", "compute_120"]},
    "architectures_source": "the wheel",
    "aarch64_cuda": [],
    "yanked": True,
    "source": "PyPI metadata of torch 9.0",
    "checked": "2026-11-21",
}


def test_a_row_is_written_as_it_is_read() -> None:
    text = "releases:\n" + "".join(row_lines(ROW))
    (read,) = rows_of(text, "torch.yaml")["releases"]
    assert read == {"line": 2, **ROW}


@pytest.mark.parametrize("path", [path for path in PATHS if path.stem in ("torch", "jax")])
def test_a_new_row_changes_nothing_else(path: Path) -> None:
    text = path.read_text()
    longer = with_row(text, "releases", ROW)
    before, after = rows_of(text, path.name), rows_of(longer, path.name)
    assert len(after["releases"]) == len(before["releases"]) + 1
    assert after["releases"][-1]["version"] == "9.0"
    kept = iter(longer.splitlines())
    assert all(line in kept for line in text.splitlines()), "lines went, or their order changed"
    assert [row["name"] for row in after["statements"]] == [r["name"] for r in before["statements"]]


def test_every_row_that_is_there_could_have_been_written_so() -> None:
    for path in PATHS:
        lines = path.read_text().splitlines()
        for row in read_rows(path.stem).get("releases", ()):
            written = [*row_lines({key: value for key, value in row.items() if key != "line"})]
            start = row["line"] - 1
            assert lines[start : start + len(written)] == [line.rstrip("\n") for line in written]
