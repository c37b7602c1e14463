"""What a look at the world has found, for `autoscaler doctor`: how bad it is, what it is about, and what hints it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.core.text.masking import Masker


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, and a person should change something all the same."""
    ERROR = "error"
    """The controller cannot do its work, or not what the policy asks for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """about: a word or two, the same whether all is well or not. sql: statements that would mend it, for a person."""

    level: Level
    about: str
    says: str
    mend: str = ""
    sql: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`Redis saves nothing: a restart forgets the cooldowns; set appendonly yes`."""
        return f"{self.says}; {self.mend}" if self.mend else self.says

    def masked(self, mask: Masker) -> Finding:
        """The same without any secret."""
        says, mend = mask.text(self.says), mask.text(self.mend)
        return Finding(self.level, mask.text(self.about), says, mend, tuple(map(mask.text, self.sql)))


def ok(about: str, says: str) -> Finding:
    return Finding(Level.OK, about, says)


def warning(about: str, says: str, mend: str = "", sql: tuple[str, ...] = ()) -> Finding:
    return Finding(Level.WARNING, about, says, mend, sql)


def error(about: str, says: str, mend: str = "", sql: tuple[str, ...] = ()) -> Finding:
    return Finding(Level.ERROR, about, says, mend, sql)
