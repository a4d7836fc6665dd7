"""The config that a Dockerfile's last stage states, for comparisons with the data."""

from dlimg.render.config_check import with_instruction
from dlimg.render.dockerfile_parser import parse_stages
from dlimg.render.image_config import ImageConfig


def config_in(dockerfile: str) -> ImageConfig:
    """Return the config that the instructions behind the last stage's RUN add up to."""
    config = ImageConfig()
    for instruction in parse_stages(dockerfile)[-1].instructions[2:]:
        config = with_instruction(config, instruction)
    return config
