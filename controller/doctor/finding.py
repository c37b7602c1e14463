"""One result of `autoscaler doctor`: its level, its subject, what is wrong, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.core.text.masking import Masker


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """The controller works, but a person should change something."""
    ERROR = "error"
    """The controller cannot work, or cannot do what the policy asks for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """about: the subject in one or two words, the same at every level, so that runs can be compared.

    says: what was found. fix: what to do about it. sql: statements that fix it; a person runs them, doctor never does.
    """

    level: Level
    about: str
    says: str
    fix: str = ""
    sql: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`Redis saves nothing: a restart forgets the cooldowns; set appendonly yes`."""
        return f"{self.says}; {self.fix}" if self.fix else self.says

    def masked(self, mask: Masker) -> Finding:
        """A copy with every secret masked."""
        says, fix = mask.text(self.says), mask.text(self.fix)
        return Finding(self.level, mask.text(self.about), says, fix, tuple(map(mask.text, self.sql)))


def ok(about: str, says: str) -> Finding:
    return Finding(Level.OK, about, says)


def warning(about: str, says: str, fix: str = "", sql: tuple[str, ...] = ()) -> Finding:
    return Finding(Level.WARNING, about, says, fix, sql)


def error(about: str, says: str, fix: str = "", sql: tuple[str, ...] = ()) -> Finding:
    return Finding(Level.ERROR, about, says, fix, sql)
