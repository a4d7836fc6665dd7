"""Only images that nobody asked for by name are skipped where their index does not answer."""

import pytest

from dlimg.errors import NetworkFailure
from dlimg.model import CellSelection
from dlimg.pipeline.run import PublishSettings, may_skip
from dlimg.pipeline.skipped import unreachable_result
from dlimg.results import image_exit_code
from tests.support import samples


@pytest.mark.parametrize(
    ("selection", "publish", "expected"),
    [
        (CellSelection(), None, True),
        (CellSelection(group="default"), None, True),
        (CellSelection(group="gpu"), None, False),
        (CellSelection(patterns=("pytorch-*",)), None, False),
        (CellSelection(), PublishSettings(to="registry.test/team"), False),
    ],
)
def test_what_was_asked_for_is_not_skipped(
    selection: CellSelection, publish: PublishSettings | None, *, expected: bool
) -> None:
    assert may_skip(selection, publish) == expected
    failure = NetworkFailure("no answer", where="a-cell", hint="name a mirror")
    result = unreachable_result(samples.image(), failure, may_skip=expected)
    assert image_exit_code(result) == (0 if expected else 5)
    assert (result.skipped == failure.problems[0]) == expected
    assert (result.error is failure) != expected
