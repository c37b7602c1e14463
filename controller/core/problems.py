"""Errors in what a person wrote: the environment, the policy, a trace. Raised before anything is started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: its place, and what to do about it.

    place: a variable, a flag, or a file with line and key (`policy.yaml:7: workers.mail.queue`). text: begins with a
    verb, so that place and text read as one sentence.
    """

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ConfigurationError(Exception):
    """The environment, the policy or a file cannot be used; nothing was started or changed."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
