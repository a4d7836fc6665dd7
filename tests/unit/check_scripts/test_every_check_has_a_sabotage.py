"""Each check script has tests in which it must fail; a script without one fails here."""

import ast
import importlib
from pathlib import Path

import pytest

from tests.support.check_scripts import SCRIPTS

TESTS = Path(__file__).parents[2]
GPU = "unit/check_scripts/test_gpu.py"
MORE = "unit/check_scripts/test_gpu_work.py"
FAMILIES = "unit/check_scripts/test_rapids_and_vllm.py"
REAL = "engine/test_checks_sabotage.py"
TAG = "engine/test_tag_sabotage.py"
PACKAGES = "engine/test_packages_sabotage.py"
SOURCES = "engine/test_file_sources_sabotage.py"
RUNTIME = "engine/test_runtime_sabotage.py"
CONFIG = "engine/test_config_sabotage.py"
CONFINED = "engine/test_confined_sabotage.py"

# Markers of the tests that `nox -s tests` leaves out.
LATER = {"sabotage", "slow", "gpu"}

# What is spoilt: a real image, its environment, or a machine that is made up; and the tests.
SABOTAGE = {
    "benchmark": [(MORE, "test_a_fast_gpu_that_is_wrong_fails")],
    "compiled_step": [(MORE, "test_a_compiled_step_that_differs_fails")],
    "conv_training": [
        ("unit/check_scripts/test_conv_training.py", "test_a_training_that_proves_nothing_fails"),
        (REAL, "test_a_training_that_is_spoilt_fails"),
        (REAL, "test_a_framework_that_computes_something_else_fails"),
    ],
    "cudnn_is_used": [(MORE, "test_a_convolution_without_cudnn_fails")],
    "dataframe_group_by": [(FAMILIES, "test_a_group_by_with_another_answer_fails")],
    "kmeans_fit": [(FAMILIES, "test_clusters_that_are_missed_fail")],
    "offline_generation": [(FAMILIES, "test_generation_has_to_be_that_of_the_cpu")],
    "rapids_without_gpu": [(FAMILIES, "test_pandas_code_has_its_answer")],
    "vllm_without_gpu": [
        (FAMILIES, "test_the_command_of_vllm_and_its_pytorch_are_those_of_the_image")
    ],
    "every_file_has_a_source": [
        (SOURCES, "test_every_file_without_a_source_is_named"),
        ("unit/check_scripts/test_file_sources.py", "test_files_without_a_source_are_named"),
    ],
    "is_gpu_available": [
        (GPU, "test_a_framework_that_does_not_use_the_gpu_fails"),
        (REAL, "test_a_framework_that_does_not_see_the_gpu_fails"),
    ],
    "libraries_load": [
        ("engine/test_libraries_sabotage.py", "test_a_library_that_is_spoilt_fails")
    ],
    "runtime_arbitrary_uid": [(CONFINED, "test_an_image_that_is_spoilt_fails_confined")],
    "runtime_entrypoint": [
        (RUNTIME, "test_an_image_that_is_spoilt_fails"),
        (CONFIG, "test_an_image_that_is_started_otherwise_fails"),
    ],
    "runtime_no_build_leftovers": [(RUNTIME, "test_an_image_that_is_spoilt_fails")],
    "runtime_without_entrypoint": [(CONFINED, "test_an_image_that_is_spoilt_fails_confined")],
    "runtime_read_only": [(CONFINED, "test_an_image_that_is_spoilt_fails_confined")],
    "runtime_secrets": [
        (RUNTIME, "test_an_image_that_is_spoilt_fails"),
        (RUNTIME, "test_an_environment_that_is_spoilt_fails"),
        (RUNTIME, "test_a_secret_in_the_history_fails"),
    ],
    "runtime_start": [(RUNTIME, "test_an_image_that_is_spoilt_fails")],
    "runtime_tls": [
        (RUNTIME, "test_an_image_that_is_spoilt_fails"),
        ("unit/check_scripts/test_runtime_checks.py", "test_tls_refuses_bad_certificates"),
    ],
    "runtime_user": [
        (RUNTIME, "test_an_image_that_is_spoilt_fails"),
        (RUNTIME, "test_another_user_than_the_default_one_fails"),
    ],
    "matrix_product": [(MORE, "test_a_product_that_is_wrong_fails")],
    "gpu_memory_released": [(MORE, "test_memory_is_taken_and_given_back")],
    "mixed_precision": [
        (MORE, "test_a_precision_keeps_its_tolerances"),
        (MORE, "test_a_loss_that_does_not_fall_fails"),
    ],
    "nccl_all_reduce": [(MORE, "test_nccl_all_reduce_adds_up")],
    "nvidia_smi": [
        (GPU, "test_nvidia_smi_and_nvml_agree"),
        (REAL, "test_an_nvidia_smi_that_lies_does_not_pass"),
    ],
    "pip_check": [(PACKAGES, "test_packages_that_the_lock_does_not_name_fail")],
    "os_packages_unmodified": [
        (RUNTIME, "test_an_image_that_is_spoilt_fails"),
        ("unit/check_scripts/test_system_files.py", "test_differences_from_the_packages_fail"),
    ],
    "tag_matches_image": [
        (TAG, "test_a_tag_that_lies_fails"),
        (TAG, "test_an_image_that_its_tag_does_not_tell_of_fails"),
        (TAG, "test_an_image_that_runs_as_root_fails"),
        ("unit/builders/test_image_packages.py", "test_a_package_more_or_another_version_is_a_lie"),
    ],
}
# What any check may do: not end, take all memory, need a GPU that is not there.
ANY = [
    ("engine/test_checks.py", "test_a_check_that_hangs_is_ended"),
    ("engine/test_checks.py", "test_a_check_that_takes_too_much_memory_is_named"),
    ("engine/test_no_gpu_no_pass.py", "test_without_a_gpu_no_check_passes_that_needs_one"),
]


def test_every_check_has_a_sabotage() -> None:
    assert set(SABOTAGE) == {path.stem for path in SCRIPTS if not path.name.startswith("_")}


def test_every_named_test_exists_and_expects_a_verdict() -> None:
    """They run by themselves; here an empty, renamed or removed one is found."""
    for file, name in sorted({row for rows in SABOTAGE.values() for row in rows} | set(ANY)):
        functions = {
            node.name: node
            for node in ast.parse((TESTS / file).read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, f"{file} has no {name}"
        assert any(isinstance(node, ast.Assert) for node in ast.walk(functions[name])), (
            f"{file}: {name} asserts nothing"
        )


def test_every_check_has_a_sabotage_in_the_usual_session() -> None:
    """The others of a table may have a marker, and run in sessions of their own."""
    for check, tests in SABOTAGE.items():
        assert any(is_usual(check, file, name) for file, name in tests), check


def is_usual(check: str, file: str, name: str) -> bool:
    """Return whether `nox -s tests` runs this test for the check."""
    module = importlib.import_module(f"tests.{file.removesuffix('.py').replace('/', '.')}")
    marks = getattr(getattr(module, name), "pytestmark", [])
    if LATER & {mark.name for mark in marks}:
        return False
    tables = [list(mark.args[1]) for mark in marks if mark.name == "parametrize"]
    return all(any(is_usual_row(check, row) for row in rows) for rows in tables)


def is_usual_row(check: str, row: object) -> bool:
    """Return whether a row of a table has no marker, and names no other check."""
    if isinstance(row, type(pytest.param())):
        if LATER & {mark.name for mark in row.marks}:
            return False
        row = row.values
    values = row if isinstance(row, tuple) else (row,)
    named = {value for value in values if isinstance(value, str) and value in SABOTAGE}
    return named <= {check}


def test_another_markers_and_another_checks_rows_are_not_usual() -> None:
    later = pytest.param("runtime_tls", "", marks=pytest.mark.sabotage)
    assert not is_usual_row("runtime_tls", later)
    assert not is_usual_row("runtime_user", ("runtime_tls", ""))
    assert is_usual_row("runtime_tls", ("runtime_tls", ""))
    assert is_usual_row("runtime_tls", "a row")
