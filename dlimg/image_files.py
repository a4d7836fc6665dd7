"""The files of `images/`: templates, layout, checks and frameworks, a project's before dlimg's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IMAGES: Final = "images"
_PACKAGE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Folders with the layout of `images/`; a file of an earlier one replaces a later one's."""

    folders: tuple[Path, ...]

    def find(self, name: str) -> Path | None:
        """Return the file of this name, such as `jax/Dockerfile.j2`; None without one."""
        paths = (folder / name for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def matching(self, pattern: str) -> Mapping[str, Path]:
        """Return the paths that match a glob pattern, by name and sorted by it."""
        paths = {
            path.relative_to(folder).as_posix(): path
            for folder in reversed(self.folders)
            for path in folder.glob(pattern)
        }
        return dict(sorted(paths.items()))

    def name_of(self, path: Path) -> str:
        """Return the name of a path in one of the folders; the path itself for any other."""
        for folder in self.folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.as_posix()


def shipped_root() -> Path:
    """Return the folder with dlimg's own matrix, locks and images: the package, or a checkout."""
    return _PACKAGE if (_PACKAGE / IMAGES).is_dir() else _PACKAGE.parent


def is_installed(root: Path) -> bool:
    """Return whether this folder is that of the installed package: nothing is to be written."""
    return root.resolve() == _PACKAGE


def image_files(root: Path) -> ImageFiles:
    """Return the files of a project's `images/`, if it has any, and those that dlimg ships."""
    own, shipped = root / IMAGES, shipped_root() / IMAGES
    if not own.is_dir():
        return ImageFiles((shipped,))
    return ImageFiles((own,) if own.resolve() == shipped else (own, shipped))
