"""The presets: those that ship, one file each beside this module, and a user's own, named by their path.

The folder is the list. A file of the user's own is read when the policy is, and stays as it was then, as the policy
does, until it is read again.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from controller.config.plain_files import CannotReadError, read, shown, text_of
from controller.core.problems import ConfigurationError, Problem
from controller.policy import Preset, is_own, read_preset, unknown_preset

_ENDING = ".toml"
_MOST_BYTES = 400_000
"""Of four each, the most characters that a preset's reader takes."""
_own: dict[str, Preset] = {}
"""By the absolute path, as the file was when a policy was read that names it."""


def _folder() -> Traversable:
    return files("controller.adapters.postgres.presets")


def names() -> tuple[str, ...]:
    """Of the presets that ship, sorted."""
    found = (path.name for path in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING)))


def load(name: str) -> Preset:
    """By its name, or a user's own by the absolute path that a policy that was read has in queue.preset.

    Raises:
        ConfigurationError: there is none, or the user's own is wrong.
    """
    if is_own(name):
        return _own[name] if name in _own else _read_own(Path(name), Path(name).parent, shown(Path(name)))
    return _shipped(name)


@functools.cache
def _shipped(name: str) -> Preset:
    if name not in names():
        raise ConfigurationError([Problem("preset", f"{name[:80]!r} {unknown_preset(name, names())}")])
    text = (_folder() / f"{name}{_ENDING}").read_text(encoding="utf-8")
    return read_preset(text, name=name, place=f"{name}{_ENDING}")


@dataclass(frozen=True, slots=True)
class PresetFiles:
    """The presets as a policy in `folder` names them; each file is read once.

    folder: where the path of a user's own begins, if it is not absolute.
    """

    folder: Path = Path()
    names: tuple[str, ...] = field(default_factory=names)
    _loaded: dict[str, Preset] = field(default_factory=dict, repr=False)

    def load(self, name: str) -> Preset:
        """By its name, or a user's own by its path; its name is the absolute path then.

        Raises:
            ConfigurationError: there is none, or it is wrong.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Preset:
        if not is_own(name):
            return load(name)
        # Not resolved: a path through a link that is set anew leads to the new file at the next start.
        folder = self.folder.absolute()
        preset = _read_own(folder / name, folder, shown(Path(name)))
        _own[preset.name] = preset
        return preset


def _read_own(path: Path, folder: Path, place: str) -> Preset:
    try:
        text = text_of(read(path, _MOST_BYTES, missing=f"relative paths start at {shown(folder)}"))
    except CannotReadError as error:
        line = "" if error.line is None else f":{error.line}"
        raise ConfigurationError([Problem(f"{place}{line}", str(error))]) from None
    return read_preset(text, name=str(path), place=place)
