"""Tags of the last release that move along."""

from dlimg.model import Flavour
from dlimg.render.naming import former_tags
from tests.support import samples


def test_a_workspace_has_its_former_tag() -> None:
    cell = samples.cell(flavour=Flavour.WORKSPACE)
    assert former_tags(cell, samples.lock()) == ("2.15.0-cpu-py3.13-debian13-notebook",)


def test_other_flavours_have_no_former_tag() -> None:
    assert former_tags(samples.cell(flavour=Flavour.COMPILE), samples.lock()) == ()
    assert former_tags(samples.cell(), samples.lock()) == ()
