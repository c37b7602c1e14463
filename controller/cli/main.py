"""The command line: the list of commands, exit codes, streams, and the masking of what Python itself prints.

Exit codes: 0 done, 1 failed, 2 wrong input; 128 and its number where a signal ended it, but 0 for `run`.
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import NoReturn

from controller.cli import output
from controller.cli.parser import Commands, Parser
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.escaping import visible
from controller.core.text.layout import wrap
from controller.core.text.masking import Masker, secrets_of_a_crash
from controller.loop import signals

COMMANDS = (
    *("run", "once", "explain", "doctor"),
    *("pause", "hold", "at-least", "resume", "overrides"),
    *("history", "cost", "status", "notify-test"),
    *("init", "import-keda", "check", "simulate", "plan", "tune"),
    *("queues", "queue-trigger"),
    *("demo", "fake-railway", "fake-kubernetes"),
    *("docs", "completion", "help"),
)
"""In the order of the help. Each is a module of this folder: add(commands) says what it takes, run(parsed) does it.

`run` pays for each import with memory, for as long as it runs: of a command that is named, only its own module is
imported, and that imports what it needs when it runs.
"""
_MOST_PROBLEMS = 20


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `autoscaler` command, with the arguments of the process where none are given."""
    if arguments is None:
        signals.take_over(exit_code=0 if sys.argv[1:2] == ["run"] else None)
    _prepare_streams()
    mask = _mask_what_python_prints()
    code = _done(arguments, mask)
    signals.over(code)
    sys.exit(code)


def _done(arguments: Sequence[str] | None, mask: Masker) -> int:
    """The command's exit code."""
    code: int
    try:
        _look_at_key_log()
        _look_at_libpq()
        words = sys.argv[1:] if arguments is None else arguments
        parsed = commands(words[0] if words else None)[0].parse_args(words)
        code = parsed.command(parsed)
        sys.stdout.flush()
    except ConfigurationError as error:
        code = _refuse(error, mask)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as ended:
        code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
    except (OSError, BaseExceptionGroup) as error:
        if not _is_of_our_output(error):
            raise
        # The reader of our output has gone, or can take no more: nothing more can be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    return code


def _look_at_key_log() -> None:
    """The ssl module opens SSLKEYLOGFILE on import; an unusable file would end in a traceback."""
    name = os.environ.get("SSLKEYLOGFILE")
    if name:
        try:
            with open(name, "ab"):  # noqa: PTH123  # any name that there may be
                pass
        except (OSError, ValueError):
            problem = "cannot be written to; unset it, or name a file that can"
            raise ConfigurationError([Problem("SSLKEYLOGFILE", problem)]) from None


def _look_at_libpq() -> None:
    """PSYCOPG_IMPL selects psycopg's implementation; one that is not installed would end in a traceback."""
    if os.environ.get("PSYCOPG_IMPL"):
        try:
            import psycopg  # noqa: F401  # most commands do without
        except ImportError:
            problem = "names an implementation of psycopg that is not installed here; unset it"
            raise ConfigurationError([Problem("PSYCOPG_IMPL", problem)]) from None


def _is_of_our_output(error: BaseException) -> bool:
    """A broken pipe or a full device, by itself or as the first of a group of tasks that it ended."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return isinstance(error, OSError) and error.errno in {errno.EPIPE, errno.ENOSPC, errno.EBADF}


def _prepare_streams() -> None:
    """Output that cannot be encoded or has nowhere to go must not stop a controller."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # or a connection would get that number, and be taken for an output
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _mask_what_python_prints() -> Masker:
    """Python itself prints tracebacks, and warnings of libraries before the log exists; both are masked here."""
    mask = Masker(secrets_of_a_crash(os.environ))

    def tell(kind: type[BaseException], bug: BaseException, trace: TracebackType | None) -> None:
        print(mask.text("".join(traceback.format_exception(kind, bug, trace))), end="", file=sys.stderr)

    class MaskedFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return mask.text(super().format(record))

    sys.excepthook = tell
    sys.unraisablehook = lambda told: tell(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    threading.excepthook = lambda told: tell(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(MaskedFormatter())
    return mask


def _refuse(error: ConfigurationError, mask: Masker) -> int:
    count = len(error.problems)
    said = f"{'one thing is' if count == 1 else f'{count} things are'} wrong; nothing was changed:"
    output.complain(said)
    for problem in error.problems[:_MOST_PROBLEMS]:
        lines = wrap(visible(mask.text(str(problem))), output.width(), first="  ", rest="    ")
        print("\n".join(lines), file=sys.stderr)
    if count > _MOST_PROBLEMS:
        print(f"  … and {count - _MOST_PROBLEMS} more", file=sys.stderr)
    return 2


def commands(only: str | None = None) -> tuple[Parser, Commands]:
    """The whole parser, and the parsers in it. only: the one command that is needed; any other text: all of them."""
    parser = Parser(
        prog="autoscaler",
        description="Watches a PostgreSQL job queue and keeps the right number of worker replicas running.",
        epilog="`autoscaler help COMMAND` describes one command. `autoscaler help environment` lists the variables.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    parser.set_defaults(command=_help, topic=None)
    every = Commands(parser)
    for name in [only] if only in COMMANDS else COMMANDS:
        import_module(f"controller.cli.{name.replace('-', '_')}").add(every)
    return parser, every


def _help(parsed: argparse.Namespace) -> int:
    """Of `autoscaler` alone."""
    from controller.cli import help as command

    return command.run(parsed)


class _Version(argparse.Action):
    """Looked up only where it is asked for."""

    def __call__(self, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"autoscaler {version('worker-autoscaler')}")
        except PackageNotFoundError:
            print("autoscaler (not installed)")
        raise SystemExit(0)
