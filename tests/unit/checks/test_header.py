"""Headers of check scripts, and which checks a cell gets."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.checks.container_setup import ROOT, prepare_check
from dlimg.checks.discover import checks_for, header_notices, read_scripts
from dlimg.checks.header import CheckHeader, parse_header
from dlimg.checks.inputs import CheckInputs
from dlimg.errors import BadInput
from dlimg.model import Cell, Check, Flavour
from tests.support import samples
from tests.support.image_folders import checks_in, files_in

IMAGES = Path(__file__).parents[3] / "images"
FAMILIES = ("jax", "pytorch", "tensorflow")
FOUR = ("nvidia_smi", "is_gpu_available", "conv_training", "tag_matches_image")
ON_GPU = {
    "nvidia_smi",
    "is_gpu_available",
    "conv_training",
    "benchmark",
    "cudnn_is_used",
    "matrix_product",
    "gpu_memory_released",
    "mixed_precision",
    "nccl_all_reduce",
}
GOOD = '"""It proves this.\n\nneeds: nothing\nseconds: 60\n"""\n'


def header(*lines: str) -> str:
    return "\n".join(['"""It proves this.', "", *lines, '"""', ""])


def write(images: Path, *names: str, text: str = GOOD) -> Path:
    for name in names:
        file = images / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return images


def whole(images: Path) -> Path:
    return write(images, "common/checks/extra", *(f"pytorch/checks/{name}" for name in FOUR))


def names(cell: Cell, images: Path) -> list[str]:
    return [check.name for check in checks_for(cell, checks_in(images))]


def test_the_fields_of_a_header() -> None:
    text = header("needs: gpu", "seconds: 45", "applies: cuda")
    assert parse_header(text, "one.py") == CheckHeader(
        proves="It proves this.",
        needs=frozenset({"gpu"}),
        seconds=45,
        applies="cuda",
        container="",
        flaky="",
    )


def test_a_check_has_the_fields_of_its_header(tmp_path: Path) -> None:
    text = header("needs: gpu", "seconds: 45", "applies: cuda")
    write(whole(tmp_path), "common/checks/extra", text=text)
    cell = samples.cell(accelerator="cuda13.2")
    (check,) = (check for check in checks_for(cell, checks_in(tmp_path)) if check.name == "extra")
    assert check == Check(
        name="extra",
        path=str(tmp_path / "common/checks/extra.py"),
        script=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        proves="It proves this.",
        needs=frozenset({"gpu"}),
        seconds=45,
        required=check.required,
    )


def test_a_header_with_all_lines() -> None:
    result = parse_header(
        header(
            "needs: two gpus,  network, image, flavour workspace",
            "seconds: 5",
            "container: any user",
            "flaky: the GPU: others use it",
            "alone: its figures are times",
        ),
        "one.py",
    )
    assert result.needs == {"gpu", "two gpus", "network", "image", "flavour workspace"}
    assert (result.container, result.flaky) == ("any user", "the GPU: others use it")
    assert result.alone == "its figures are times"


def test_needs_nothing_is_empty() -> None:
    assert parse_header(GOOD, "one.py").needs == frozenset()


def test_prose_between_the_lines_is_no_header() -> None:
    text = header("Note: `x: y` says nothing here.", "", "needs: nothing", "seconds: 5")
    assert parse_header(text, "one.py").seconds == 5


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("import os\n", "c.py:1", "a check must begin with a docstring", "docs/checks.md"),
        ("", "c.py:1", "a check must begin with a docstring", "docs/checks.md"),
        ("x = (\n", "c.py:1", "this is not valid Python", ""),
        ("a\0b", "c.py:1", "this is not valid Python", ""),
        (header("seconds: 60"), "c.py:1", "no line `needs: ...`", "docs/checks.md"),
        (header("needs: gpu"), "c.py:1", "no line `seconds: ...`", "docs/checks.md"),
        (header("needs: gpus", "seconds: 60"), "c.py:3", "unknown need `gpus`", "'gpu'?"),
        (header("needs: gpu", "second: 60"), "c.py:4", "unknown line `second:`", "'seconds'?"),
        (header("needs: gpu", "seconds: 1m"), "c.py:4", "`seconds: 1m` is not a whole", "300"),
        (header("needs: gpu", "seconds: 0"), "c.py:4", "`seconds: 0` is not a whole", "300"),
        (header("needs: gpu", "seconds: -1"), "c.py:4", "`seconds: -1` is not a whole", "300"),
        (header("needs: gpu", "seconds: ٣"), "c.py:4", "is not a whole", "300"),
        (header("needs: gpu", f"seconds: {'9' * 5000}"), "c.py:4", "is not a whole", "300"),
        (
            header("needs: gpu", "seconds: 1", "applies: cpu"),
            "c.py:5",
            "unknown `applies: cpu`",
            "use one of cuda",
        ),
        (
            header("needs: gpu", "seconds: 1", "applies: compiler"),
            "c.py:5",
            "unknown `applies: compiler`",
            "write `needs: compiler`",
        ),
        (header("needs: ", "seconds: 1"), "c.py:3", "unknown need ``", "use one of compiler,"),
        (header("needs: gpu, netwerk", "seconds: 1"), "c.py:3", "need `netwerk`", "'network'?"),
        (
            header("needs: flavour workspce", "seconds: 1"),
            "c.py:3",
            "unknown need `flavour workspce`",
            "'flavour workspace'?",
        ),
        (header("needs: nothing, gpu", "seconds: 1"), "c.py:3", "`nothing` and some", "`nothing`"),
        (header("needs: gpu, gpu", "seconds: 1"), "c.py:3", "names `gpu` twice", "keep one"),
        (
            header("needs: flavour devel, flavour compile", "seconds: 1"),
            "c.py:3",
            "two flavours, but an image has one",
            "a check for each",
        ),
        (
            header("needs: nothing", "seconds: 1", "container: readonly"),
            "c.py:5",
            "unknown `container: readonly`",
            "'read-only'?",
        ),
        (
            header("needs: nothing", "seconds: 1", "flaky:"),
            "c.py:5",
            "`flaky` gives no reason",
            "name what may fail",
        ),
        (
            header("needs: nothing", "seconds: 1", "alone:"),
            "c.py:5",
            "`alone` gives no reason",
            "name what the check measures",
        ),
        (
            header("needs: gpu", "seconds: 1", "needs: nothing"),
            "c.py:5",
            "`needs` occurs twice",
            "keep one",
        ),
        (
            '# a comment\n"""needs: gpu\nseconds: 1\n"""',
            "c.py:2",
            "the first line of a check's docstring says what it proves",
            "",
        ),
    ],
)
def test_a_wrong_header_is_refused(text: str, where: str, message: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_header(text, "c.py")
    problem = caught.value.problems[0]
    assert problem.where == where
    assert message in problem.message
    assert hint in problem.hint


def compiled(family: str, flavour: Flavour = Flavour.RUNTIME) -> tuple[str, ...]:
    """XLA needs no compiler of the image's, PyTorch's does."""
    has_compiler = flavour is not Flavour.RUNTIME
    return ("compiled_step",) if has_compiler or family != "pytorch" else ()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("accelerator", ["cpu", "cuda13.2"])
def test_checks_that_need_a_compiler_apply_to_images_with_one(
    family: str, flavour: Flavour, accelerator: str
) -> None:
    cell = samples.cell(family, accelerator=accelerator, flavour=flavour)
    result = tuple(name for name in names(cell, IMAGES) if name == "compiled_step")
    assert result == compiled(family, flavour)


@pytest.mark.parametrize("flavour", Flavour)
def test_checks_that_need_a_flavour_apply_to_it_alone(tmp_path: Path, flavour: Flavour) -> None:
    text = header("needs: flavour workspace", "seconds: 5")
    write(whole(tmp_path), "common/checks/extra", text=text)
    result = names(samples.cell(flavour=flavour), tmp_path)
    assert ("extra" in result) is (flavour is Flavour.WORKSPACE)


def test_gpu_needs_are_removed_on_a_cpu_image(tmp_path: Path) -> None:
    text = header("needs: gpu, network, image", "seconds: 5")
    write(whole(tmp_path), "common/checks/extra", text=text)
    assert checks_for(samples.cell(), checks_in(tmp_path))[0].needs == {"network", "image"}


def test_a_check_for_two_gpus_needs_one_too() -> None:
    text = header("needs: two gpus", "seconds: 5")
    assert parse_header(text, "one.py").needs == {"gpu", "two gpus"}


def test_two_gpus_are_removed_on_a_cpu_image(tmp_path: Path) -> None:
    write(whole(tmp_path), "common/checks/extra", text=header("needs: two gpus", "seconds: 5"))
    assert checks_for(samples.cell(), checks_in(tmp_path))[0].needs == frozenset()


def test_all_problems_of_a_header_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        parse_header(header("needs: gpus", "second: 5"), "c.py")
    assert [problem.where for problem in caught.value.problems] == ["c.py:3", "c.py:4", "c.py:1"]


def scripts_of(family: str) -> list[str]:
    """The names of a family's scripts, as the folders have them."""
    folders = (IMAGES / "common/checks", IMAGES / family / "checks")
    return [path.stem for folder in folders for path in sorted(folder.glob("[!_]*.py"))]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cuda_image_gets_all_checks(family: str) -> None:
    checks = checks_for(
        samples.cell(family, accelerator="cuda13.2", flavour=Flavour.DEVEL), checks_in(IMAGES)
    )
    assert [check.name for check in checks] == scripts_of(family)
    assert {check.name for check in checks if "gpu" in check.needs} == {*ON_GPU, "compiled_step"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cpu_image_gets_what_applies_and_needs_no_gpu(family: str) -> None:
    checks = checks_for(samples.cell(family), checks_in(IMAGES))
    only_cuda = (ON_GPU - {"conv_training"}) | ({"compiled_step"} - set(compiled(family)))
    assert [check.name for check in checks] == [
        name for name in scripts_of(family) if name not in only_cuda
    ]
    assert not any("gpu" in check.needs for check in checks)


def test_common_checks_come_first_and_modules_are_none(tmp_path: Path) -> None:
    write(whole(tmp_path), "common/checks/_gpu", "pytorch/checks/_layers", text="x = 1\n")
    assert names(samples.cell(), tmp_path) == ["extra", *sorted(FOUR)]


def test_missing_common_checks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        checks_for(samples.cell(), checks_in(write(tmp_path, "pytorch/checks/nvidia_smi")))
    (folder,) = caught.value.problems
    assert folder.where == str(tmp_path / "common" / "checks")


def test_a_framework_without_tensors_gets_its_own_checks_instead() -> None:
    required = ("conv_training", "tag_matches_image", "kmeans_fit")
    rapids = replace(
        samples.cell("rapids", accelerator="cuda13.2"),
        framework=samples.FRAMEWORKS["rapids"],
        required_checks=required,
    )
    checks = {check.name: check for check in checks_for(rapids, checks_in(IMAGES))}
    assert {"dataframe_group_by", "kmeans_fit", "rapids_without_gpu"} <= checks.keys()
    assert not {"conv_training", "matrix_product", "cudnn_is_used"} & checks.keys()
    assert "nvidia_smi" in checks
    assert checks["kmeans_fit"].needs == {"gpu"}
    assert {name for name, check in checks.items() if check.required} == set(required) - {
        "conv_training"
    }
    unknown = replace(rapids, required_checks=("conv_trainings",))
    with pytest.raises(BadInput, match="has no check conv_trainings"):
        checks_for(unknown, checks_in(IMAGES))


def test_a_second_family_of_a_framework_gets_the_same_checks() -> None:
    first = samples.cell("jax")
    second = replace(first, family="jax-nlp")
    assert checks_for(second, checks_in(IMAGES)) == checks_for(first, checks_in(IMAGES))


def test_checks_of_a_framework_are_for_families_with_one() -> None:
    without = {check.name for check in checks_for(samples.cell("sklearn"), checks_in(IMAGES))}
    assert {"tag_matches_image", "runtime_start", "runtime_arbitrary_uid"} <= without
    assert not without & {"conv_training", "compiled_step"}


@pytest.mark.parametrize(
    ("wanted", "required_now"),
    [
        ("manners_*", {"runtime_start", "runtime_user"}),
        ("tag_is_true", {"tag_matches_image"}),
        ("nccl_*", {"nccl_all_reduce"}),
    ],
)
def test_former_names_of_checks_work(wanted: str, required_now: set[str]) -> None:
    cell = replace(samples.cell(accelerator="cuda13.2"), required_checks=(wanted,))
    assert required_now <= set(required(cell, IMAGES))
    assert "pip_check" not in required(cell, IMAGES)


def required(cell: Cell, images: Path, own: Path | None = None) -> list[str]:
    return [check.name for check in checks_for(cell, checks_in(images, own)) if check.required]


def test_required_checks_of_the_matrix(tmp_path: Path) -> None:
    cell = samples.cell()
    assert required(cell, whole(tmp_path)) == names(cell, tmp_path)
    listed = replace(cell, required_checks=("nvidia*", "conv_training"))
    assert required(listed, tmp_path) == ["conv_training", "nvidia_smi"]
    assert names(listed, tmp_path) == names(cell, tmp_path)


def test_a_missing_required_check_is_reported_with_its_place(
    tmp_path: Path,
) -> None:
    cell = replace(
        samples.cell(), required_checks=("conv_trainin", "runtime_*", "tag_matches_image")
    )
    with pytest.raises(BadInput) as caught:
        checks_for(cell, checks_in(whole(tmp_path)), {"conv_trainin": "matrix.yaml:7"})
    near, none = caught.value.problems
    assert (near.where, near.hint) == ("matrix.yaml:7", "did you mean 'conv_training'?")
    assert near.message == f"{cell.id} has no check conv_trainin, which is required of it"
    assert "runtime_*" in none.message


def test_a_check_that_is_not_for_the_image_cannot_be_required_of_it(tmp_path: Path) -> None:
    text = header("needs: gpu", "seconds: 5", "applies: cuda")
    write(whole(tmp_path), "common/checks/extra", text=text)
    with pytest.raises(BadInput, match="has no check extra"):
        checks_for(replace(samples.cell(), required_checks=("extra",)), checks_in(tmp_path))


def own_folder(tmp_path: Path, *names: str) -> Path:
    own = tmp_path / "own"
    own.mkdir()
    for name in names:
        write(own, name)
    return own


def test_own_checks_come_last_and_are_required(tmp_path: Path) -> None:
    images = whole(tmp_path / "images")
    own = own_folder(tmp_path, "ours", "_help", "pytorch/mine", "jax/other")
    write(images, "jax/checks/x")
    cell = replace(samples.cell(), required_checks=("tag_matches_image",))
    result = [check.name for check in checks_for(cell, checks_in(images, own))]
    assert result == ["extra", *sorted(FOUR), "ours", "mine"]
    assert required(cell, images, own) == ["tag_matches_image", "ours", "mine"]


@pytest.mark.parametrize(
    ("there", "where", "message", "hint"),
    [
        ((), "own", "there is no check in this folder", "docs/checks.md"),
        (("_help",), "own", "there is no check in this folder", "docs/checks.md"),
        (
            ("tag_matches_image",),
            "own/tag_matches_image.py",
            "has the same name, and verdicts",
            "rename",
        ),
        (("pytorch/extra",), "own/pytorch/extra.py", "common/checks/extra.py has the", "rename"),
        (("one", "pytorch/one"), "own/pytorch/one.py", "own/one.py has the same name", "rename"),
        (("one", "_gpu"), "own/_gpu.py", "common/checks/_gpu.py has the same name", "rename"),
        (("one", "pytroch/two"), "own/pytroch", "checks for no family", "'pytorch'?"),
        (("common/two",), "own/common", "checks for no family", "use one of pytorch"),
        (
            ("one", "my check"),
            "own/my check.py",
            "not a valid name for a script",
            "letters, digits",
        ),
        (
            ("one", "_my.help"),
            "own/_my.help.py",
            "not a valid name for a script",
            "letters, digits",
        ),
        (
            ("one", "pytorch/-x"),
            "own/pytorch/-x.py",
            "not a valid name for a script",
            "letters, digits",
        ),
    ],
)
def test_a_wrong_folder_of_own_checks_is_refused(
    tmp_path: Path, there: tuple[str, ...], where: str, message: str, hint: str
) -> None:
    images = write(whole(tmp_path / "images"), "common/checks/_gpu")
    with pytest.raises(BadInput) as caught:
        checks_for(samples.cell(), checks_in(images, own_folder(tmp_path, *there)))
    (problem,) = caught.value.problems
    assert problem.where == str(tmp_path / where)
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize("name", ["folder.py", "_folder.py"])
def test_other_files_among_own_checks_are_refused(tmp_path: Path, name: str) -> None:
    own = own_folder(tmp_path, "one")
    (own / name).mkdir()
    (own / f"{name.removesuffix('.py')}2.py").symlink_to("nowhere")
    with pytest.raises(BadInput, match="this is not a file") as caught:
        checks_for(samples.cell(), checks_in(whole(tmp_path / "images"), own))
    assert len(caught.value.problems) == 2


def test_an_unprintable_name_is_reported_in_ascii(tmp_path: Path) -> None:
    own = own_folder(tmp_path, "one")
    (own / os.fsdecode(b"b\xff\n.py")).write_text("")
    with pytest.raises(BadInput, match=r"b\\udcff\\n\.py"):
        checks_for(samples.cell(), checks_in(whole(tmp_path / "images"), own))


def test_a_module_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    images = whole(tmp_path / "images")
    (images / "common/checks/_gone.py").symlink_to("nowhere")
    with pytest.raises(BadInput, match=r"_gone\.py: a script or module cannot be read"):
        read_scripts(files_in(images), "pytorch")


def test_no_folder_of_own_checks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        checks_for(samples.cell(), checks_in(whole(tmp_path), tmp_path / "own"))


def test_own_checks_get_copies_of_all_modules(tmp_path: Path) -> None:
    images = write(whole(tmp_path / "images"), "common/checks/_gpu", "pytorch/checks/_layers")
    own = own_folder(tmp_path, "ours", "_help", "pytorch/mine")
    result = read_scripts(files_in(images), "pytorch", own)
    assert sorted(name for name in result if name.startswith("own/")) == [
        f"own/checks/{name}.py" for name in ("_gpu", "_help", "_layers", "mine", "ours")
    ]
    before = {
        check.name: prepare_check(check, files_in(images), result)
        for check in checks_for(samples.cell(), checks_in(images))
    }
    checks = {check.name: check for check in checks_for(samples.cell(), checks_in(images, own))}
    assert (
        prepare_check(checks["mine"], files_in(images), result).path == f"{ROOT}/own/checks/mine.py"
    )
    # What a user's own folder holds changes nothing for the checks of the project.
    without = read_scripts(files_in(images), "pytorch")
    assert {
        name: prepare_check(checks[name], files_in(images), without) for name in before
    } == before
    mine = prepare_check(checks["mine"], files_in(images), result).sha256
    write(own, "_help", text="changed = True\n")
    changed = read_scripts(files_in(images), "pytorch", own)
    assert prepare_check(checks["mine"], files_in(images), changed).sha256 != mine
    assert prepare_check(checks["extra"], files_in(images), changed) == before["extra"]


def test_the_sha256_of_a_check_covers_inputs_and_container_kind(tmp_path: Path) -> None:
    images = whole(tmp_path)
    (check, *_) = checks_for(samples.cell(), checks_in(images))
    result = read_scripts(files_in(images), "pytorch")
    first = CheckInputs(environment={"DLIMG_CELL": "{}"}, files={"common/checks/lock.json": b"1"})
    others = [
        prepare_check(check, files_in(images), result),
        prepare_check(check, files_in(images), result, first),
        prepare_check(
            check, files_in(images), result, replace(first, environment={"DLIMG_CELL": "{ }"})
        ),
        prepare_check(
            check, files_in(images), result, replace(first, files={"common/checks/lock.json": b"2"})
        ),
        prepare_check(replace(check, container="read-only"), files_in(images), result, first),
        prepare_check(
            replace(check, needs=frozenset({"network"})), files_in(images), result, first
        ),
    ]
    assert len({other.sha256 for other in others}) == len(others)
    assert prepare_check(check, files_in(images), result, replace(first)) == others[1]


def test_duplicate_check_names_are_refused(tmp_path: Path) -> None:
    write(whole(tmp_path), "common/checks/tag_matches_image")
    with pytest.raises(BadInput, match="has the same name"):
        checks_for(samples.cell(), checks_in(tmp_path))


def test_invalid_headers_of_all_scripts_are_reported_together(tmp_path: Path) -> None:
    broken = header("needs: gpu", "minutes: 5", "seconds: 5")
    write(whole(tmp_path), "common/checks/extra", "pytorch/checks/nvidia_smi", text=broken)
    with pytest.raises(BadInput) as caught:
        checks_for(samples.cell(), checks_in(tmp_path))
    assert [Path(problem.where).name for problem in caught.value.problems] == [
        "extra.py:4",
        "nvidia_smi.py:4",
    ]


def test_a_script_that_is_no_text_is_refused(tmp_path: Path) -> None:
    whole(tmp_path).joinpath("common/checks/extra.py").write_bytes(b'"""\xff"""')
    with pytest.raises(BadInput, match="cannot be read"):
        checks_for(samples.cell(), checks_in(tmp_path))


def test_a_flavour_is_read_by_its_former_name_with_a_notice() -> None:
    text = header("needs: network,  flavour notebook", "seconds: 5")
    parsed = parse_header(text, "c.py")
    assert parsed.needs == {"network", "flavour workspace"}
    (notice,) = parsed.notices
    assert notice.where == "c.py:3"
    assert notice.message == "the need `flavour notebook` is now called `flavour workspace`"
    assert "next release" in notice.hint


def test_former_names_in_own_checks_are_noticed_once(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write(tmp_path, "own/mine", text=header("needs: flavour notebook", "seconds: 5"))
    images = whole(tmp_path)
    (notice,) = header_notices({"pytorch": ""}, checks_in(images, own))
    assert notice.where == f"{own}/mine.py:3"
    assert header_notices({"pytorch": ""}, checks_in(images)) == ()


def test_the_checks_of_the_project_have_no_former_names() -> None:
    families = [path.parent.name for path in IMAGES.glob("*/Dockerfile.j2")]
    assert families
    assert header_notices(dict.fromkeys(families, ""), checks_in(IMAGES)) == ()
