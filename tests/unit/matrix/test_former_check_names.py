"""Former names of checks: what they mean today, and the notice about them."""

import pytest

from dlimg.matrix.former_names import RENAMED, current_name, matches, renamed_note
from tests.support.check_scripts import SCRIPTS


def test_every_new_name_is_a_check() -> None:
    assert set(RENAMED.values()) <= {path.stem for path in SCRIPTS}
    assert not set(RENAMED) & {path.stem for path in SCRIPTS}


def test_names_of_evidence_are_brought_up_to_date() -> None:
    assert current_name("tag_is_true") == "tag_matches_image"
    assert current_name("pip_check") == "pip_check"


@pytest.mark.parametrize(
    ("pattern", "note"),
    [
        ("manners_*", "the checks manners_* are now called runtime_*"),
        ("manners_us*", "the check manners_us* is now called runtime_user"),
        (
            "*manner*_s[et]*",
            "the checks *manner*_s[et]* are now called runtime_secrets, runtime_start",
        ),
        ("nccl_adds", "the check nccl_adds is now called nccl_all_reduce"),
        ("runtime_*", ""),
        ("nccl_*", ""),
        ("*", ""),
        ("pip_check", ""),
        ("no_such_check", ""),
    ],
)
def test_old_names_get_a_notice(pattern: str, note: str) -> None:
    assert renamed_note(pattern) == note


def test_patterns_match_former_names() -> None:
    assert matches("runtime_start", "manners_*")
    assert matches("runtime_start", "runtime_*")
    assert not matches("pip_check", "manners_*")
