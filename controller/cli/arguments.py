"""Types of arguments, and the policy's file, which every command takes in the same way."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from controller.adapters.clock import SystemClock
from controller.core.moments import moment_of
from controller.core.problems import ConfigurationError, Problem
from controller.core.units import DurationTooLongError, seconds_of

ENVIRONMENT = "`autoscaler help environment` lists the variables that it reads."
"""What the help of a command says of them."""
_NEGATIVE = re.compile(r"-\.?[0-9]")
_DIGITS_OF_DAYS = 4
_MOST_DIGITS = 18
_SHOWN = 40
_LARGEST = 1_000_000
"""Workers, dollars, gigabytes: more is a typing error."""


# --- the policy's file ---


def default_policy() -> Path:
    """AUTOSCALER_POLICY, or policy.yaml."""
    return Path(os.environ.get("AUTOSCALER_POLICY") or "policy.yaml")


def add_policy(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """FILE and --policy FILE, which mean the same; policy_of() reads them."""
    told = f"the policy's file, default {for_help(default_policy())}"
    if positional:
        takes(parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help=told), "file")
    told = "the same as FILE" if positional else told
    takes(parser.add_argument("--policy", type=Path, metavar="FILE", help=told), "file")


def policy_of(parsed: argparse.Namespace, named: Path | None = None, what: str = "FILE") -> Path:
    """The file that was named, either way, or the default. named: in the place of parsed.file.

    Raises:
        ConfigurationError: two files were named.
    """
    by_place = named if named is not None else getattr(parsed, "file", None)
    if by_place is not None and parsed.policy is not None and not same_file(by_place, parsed.policy):
        problem = f"name two files, {by_place} and {parsed.policy}; leave one of them out"
        raise ConfigurationError([Problem(f"{what} and --policy", problem)])
    return by_place or parsed.policy or default_policy()


def same_file(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except (OSError, ValueError):  # which of them is not there is said where it is read
        return False


def names_a_file(text: str) -> bool:
    """Whether an argument is a policy's file rather than a name: the file exists, or the name ends in .yaml or .yml."""
    if text.endswith((".yaml", ".yml")):
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def for_help(value: object) -> str:
    """Text for argparse's help, in which a % is written twice."""
    return str(value).replace("%", "%%")


Value = Literal["file", "folder"] | Callable[[], Iterable[str]]


def takes(action: argparse.Action, *values: Value) -> argparse.Action:
    """Notes for the completion what a value may be: a file, a folder, or one of the words that a function lists."""
    action.takes = values  # type: ignore[attr-defined]  # argparse has no place for it
    return action


def taken_by(action: argparse.Action) -> tuple[Value, ...]:
    """What takes() noted."""
    return getattr(action, "takes", ())


# --- types ---


def duration(text: str) -> float:
    """Seconds: as in a policy, or in days: `7d`."""
    days = text.removesuffix("d")
    if _NEGATIVE.match(text):
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is negative; write 500ms, 30s, 2m, 1h or 7d")
    try:
        if not (text.endswith("d") and days.isascii() and days.isdigit()):
            return seconds_of(text)
        if len(days) <= _DIGITS_OF_DAYS:
            return float(days) * 86_400.0
        raise argparse.ArgumentTypeError(f"{text!r} is longer than {10**_DIGITS_OF_DAYS - 1:,} days")
    except DurationTooLongError as error:
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} {error}") from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 500ms, 30s, 2m, 1h or 7d") from None


def now() -> float:
    """Seconds since the epoch, by the one clock."""
    return SystemClock().wall()


def moment(text: str) -> float:
    """Seconds since the epoch."""
    try:
        return moment_of(text, now())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def some_time(text: str) -> float:
    """Seconds above 0."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} must be above 0")
    return seconds


def drain(text: str) -> float:
    """Seconds; infinity for `unlimited`."""
    return math.inf if text == "unlimited" else duration(text)


def number(text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is not a number")
    return value


def positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    if value > _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {_LARGEST:,}")
    return value


def share(text: str) -> float:
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to below 1")
    return value


def budget(text: str) -> float:
    """Dollars a month: `20`, `20$` or `20$/month`."""
    return positive(text.lower().removesuffix("/month").replace("$", ""))


def whole(text: str) -> int:
    if _NEGATIVE.match(text):
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is negative; write a whole number above 0")
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is not a whole number of at most {_MOST_DIGITS} digits")
    return int(text)


def some(text: str) -> int:
    value = whole(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to 1000")
    return value


def port(text: str) -> int:
    return _one_of(text, range(65536), "a port, 0 to 65535")


def replicas(text: str, most: int = 50) -> int:
    return _one_of(text, range(most + 1), f"a number of replicas, 0 to {most}")


def seconds(text: str) -> int:
    return _one_of(text, range(1, 86_401), "a number of seconds, 1 to 86400")


def _one_of(text: str, allowed: range, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) not in allowed:
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is not {what}")
    return int(text)


def shell_words(text: str) -> str:
    """A command that a shell could split into words."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a command: {error}") from None
    if not words:
        raise argparse.ArgumentTypeError("an empty text is not a command")
    return text
