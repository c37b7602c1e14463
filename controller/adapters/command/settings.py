"""What a target of programs or of an address needs from outside the policy: programs that are there, and variables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from controller.adapters.command import SOURCE
from controller.config.platform import PlatformSettings
from controller.policy import CommandTarget, Path, Policy


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """variables: the environment; a policy names those of it that a program gets."""

    variables: Mapping[str, str] = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The platform masks what it hands on, by target."""
        return ()


def problems(policy: Policy, environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Where the policy names what is not here: places in it, and what is wrong there."""
    for name, worker in policy.workers.items():
        if worker.target.platform != COMMAND.target:
            continue
        given, place = cast("CommandTarget", worker.target.given), ("workers", name, COMMAND.target)
        for key, argv in (("scale", given.scale), ("read", given.read)):
            if argv is not None and (problem := _not_there(argv[0], environment)):
                yield (*place, key, 0), problem
        for index, variable in enumerate(given.environment):
            if variable not in environment:
                yield (*place, "environment", index), f"{variable} is not set; set it, or leave it out"
        if given.url is not None and not _can_be_called(given.url):
            yield (*place, "url"), "has a host name that does not exist; correct it"
        if given.bearer is not None and (problem := _no_token(given.bearer, environment)):
            yield (*place, "bearer"), problem


def _can_be_called(url: str) -> bool:
    from controller.adapters.http import can_be_called  # noqa: PLC0415  # 10 MB that programs do not need

    return can_be_called(url)


def _no_token(variable: str, environment: Mapping[str, str]) -> str | None:
    token = environment.get(variable, "").strip()
    if not token:
        return f"{variable} is not set; set it to the token"
    if not (token.isascii() and token.isprintable()):
        return f"{variable} holds a line break or a letter that no header can carry; set it to the token alone"
    return None


def _not_there(program: str, environment: Mapping[str, str]) -> str | None:
    if shutil.which(program, path=environment.get("PATH")) is not None:
        return None
    if "/" not in program:
        return f"{program} is not in PATH; write its path, or install it"
    if os.path.isdir(program):  # noqa: PTH112  # as it stands in the policy, which may be relative
        return f"{program} is a folder; write the path of the program in it"
    if os.path.isfile(program):  # noqa: PTH113  # the same
        return f"{program} is not executable; chmod +x"
    return f"{program} is not there; a relative path is one from where the controller is started"


COMMAND = PlatformSettings(
    name=SOURCE.name,
    target="command",
    load=CommandSettings,
    opens="controller.adapters.command.opening:open_command",
    checks="controller.doctor.command:check_command",
    problems=problems,
)
