"""The command line: what there is to say, and to whom it goes. Every command says what it touches."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from controller.cli import output as command
from controller.cli import simulate_args as tryout
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.escaping import visible
from controller.core.text.masking import Masker, secrets_of_a_crash
from controller.loop import signals

_ENVIRONMENT = """\
environment:
  RAILWAY_API_TOKEN          account or workspace token; or RAILWAY_TOKEN, a project token (one of the two)
  RAILWAY_PROJECT_ID         project
  RAILWAY_ENVIRONMENT_ID     environment
  RAILWAY_WORKER_SERVICE_ID  the service to scale (named by the shipped policy)
  DATABASE_URL               the queue's PostgreSQL
  DATABASE_DIRECT_URL        the same without a pooler in between, to be woken by (not required)
  REDIS_URL                  Redis: lease, journal, rate limit
  PORT                       of the HTTP server, default 8080
  HTTP_TOKEN                 what a client has to show there for all but /health (not required)
  LOG_FORMAT                 json or text, default text on a terminal and json elsewhere
  AUTOSCALER_POLICY          the policy's file, default policy.yaml
  LEASE_TTL_MS               how long a lease lasts unrenewed, default 15000
  LEASE_RENEW_MS             how often it is renewed, default 1500
  REDIS_TIMEOUT_MS           deadline of one call of Redis, default 2000
  RAILWAY_TIMEOUT_MS         deadline of one change asked of Railway, default 5000
  LANDING_BOUND_MS           how long an unknown outcome keeps all else waiting, default 60000
  REDIS_KEY_PREFIX           of our own keys, default autoscaler
  RAILWAY_API_URL            another endpoint, such as the one of `autoscaler fake-railway`
  and whatever ${NAMES} the policy uses; the shipped one: MAX_WORKERS, MIN_WORKERS, GLOBAL_RPM_LIMIT, POLL_INTERVAL_MS,
  SCALE_UP_COOLDOWN_MS, SCALE_DOWN_COOLDOWN_MS
"""

_MOST_PROBLEMS = 20

_FAKE_EXAMPLES = """\
The first lines on stdout are the `export NAME=value` lines that point a controller at it:

  eval "$(autoscaler fake-railway --port 4000 | head -n 5 & )"     # or copy them

Besides the API at /graphql/v2 it answers:

  GET  /mutations      every mutation as JSON: when, by whom, with what effect
  GET  /state          the services, deployments and instances as JSON
  POST /faults         scripts a fault for the next matching requests, one object or a list:
                       curl -d '{"fault": "429", "retry_after": 2, "times": 1, "on": "query"}' localhost:4000/faults
                       faults: 429, cloudflare (the 1015 page), 502, problem ("Problem processing request"), hang, lost
                       (applied, the answer lost), not_honoured (true, and nothing happens), null, plan_clamp, slow,
                       not_authorized; "on" is any, query, mutation, or an operation's name
  GET  /faults         what is still to come;  DELETE /faults clears it
  POST /services/ID    changes a service as a person in the dashboard would: {"replicas": 3}, {"stopped": true},
                       {"on_start": "crash", "crash": 9} (or "exit"), {"hangs_in": "BUILDING", "deploy": true} …

touches: nothing but the port it listens on.
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `autoscaler` command, with the arguments of the process where none are given.

    Exit codes: 0 done, 1 failed, 2 wrong input; 128 and its number where a signal ended it, but 0 for `run`.
    """
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
        parsed = _parser().parse_args(arguments)
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
        # Whoever read our output has gone, or can take no more; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    return code


def _look_at_key_log() -> None:
    """TLS opens it while modules are imported, and would end in a traceback there."""
    name = os.environ.get("SSLKEYLOGFILE")
    if name:
        try:
            with open(name, "ab"):  # noqa: PTH123  # any name that there may be
                pass
        except (OSError, ValueError):
            problem = "cannot be written to; unset it, or name a file that can"
            raise ConfigurationError([Problem("SSLKEYLOGFILE", problem)]) from None


def _look_at_libpq() -> None:
    """Which of its implementations psycopg takes; of one that is not installed, its import ends in a traceback."""
    if os.environ.get("PSYCOPG_IMPL"):
        try:
            import psycopg  # noqa: F401, PLC0415  # most commands do without
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
    """Where a bug ends the process, or a library warns before there is a log, Python itself prints what it knows."""
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
    print(
        f"autoscaler: {'one thing is' if count == 1 else f'{count} things are'} wrong; nothing was changed:",
        file=sys.stderr,
    )
    for problem in error.problems[:_MOST_PROBLEMS]:
        print(f"  {visible(mask.text(str(problem)))}", file=sys.stderr)
    if count > _MOST_PROBLEMS:
        print(f"  … and {count - _MOST_PROBLEMS} more", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """What it refuses it repeats: an escape sequence, or a token, may have come into the command line."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(_masked(message)))

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(_masked(message), file)


def _masked(text: str) -> str:
    return Masker(secrets_of_a_crash(os.environ)).text(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="autoscaler",
        description="Watches a PostgreSQL job queue and keeps the right number of Railway worker replicas running.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"autoscaler {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_controller_commands(commands)
    _add_check(commands)
    tryout.add_commands(commands, _command, _policy_path())
    _add_queue_commands(commands)
    _add_demo_commands(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, more: str) -> Any:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def _add_controller_commands(commands: Any) -> None:
    run = _command(
        commands,
        "run",
        command.run,
        "run the controller until it is told to stop",
        "touches: reads PostgreSQL; reads and changes the worker services on Railway; writes its own keys and the\n"
        "rate-limit keys in Redis; listens on PORT. With --dry-run it only reads.\n\n" + _ENVIRONMENT,
    )
    once = _command(
        commands,
        "once",
        command.once,
        "one cycle, for cron: exit 0 where it applied or held, 1 where it failed",
        "touches: what `run` touches, once, and only while no running controller holds the lease.\n\n" + _ENVIRONMENT,
    )
    explain = _command(
        commands,
        "explain",
        command.explain,
        "observe and decide right now, print each rule's turn, change nothing",
        "touches: nothing; it reads PostgreSQL, Railway and Redis.\n\n" + _ENVIRONMENT,
    )
    doctor = _command(
        commands,
        "doctor",
        command.doctor,
        "connect to everything, read only, and say what is well and what would mend the rest",
        "Of each thing it says ok, warning or error, and what hints it; SQL is printed and never run.\n"
        "Exit 0 without an error, 1 with one.\n\n"
        "touches: nothing; it reads PostgreSQL (the depth query once more, by EXPLAIN ANALYZE), Redis and\n"
        "Railway, and sends one notification on a channel of its own.\n\n" + _ENVIRONMENT,
    )
    for parser in (run, once, explain, doctor):
        parser.add_argument("--policy", type=Path, default=_policy_path(), metavar="FILE", help="default: %(default)s")
    for parser in (run, once):
        parser.add_argument("--dry-run", action="store_true", help="decide and say so; change nothing, use no cooldown")
    for parser in (once, explain):
        parser.add_argument("--json", action="store_true", help="one JSON object per worker, with the log line's keys")
    doctor.add_argument("--json", action="store_true", help="all findings as one JSON object")


def _add_check(commands: Any) -> None:
    check = _command(
        commands,
        "check",
        command.check,
        "validate a policy offline; print what is in force, where each value comes from, and the waits that it implies",
        "A depth of d jobs that take S each makes a job wait d x S / k with k workers: that is what each tier implies\n"
        "while the depth stays there.\n\n"
        "touches: nothing; it reads the file and the environment, and with --from-database PostgreSQL.\n"
        "Exit 0 valid, 2 not.",
    )
    check.add_argument(
        "file", nargs="?", type=Path, default=_policy_path(), metavar="FILE", help="default: %(default)s"
    )
    check.add_argument("--json", action="store_true", help="the same as one JSON object")
    time = check.add_mutually_exclusive_group()
    time.add_argument("--service-time", type=tryout.some_time, metavar="TIME", help="a job takes so long; default: 20s")
    time.add_argument("--from-database", action="store_true", help="measure how long a job takes, in DATABASE_URL")
    check.add_argument("--schema", action="store_true", help="print the policy's JSON Schema, for editors, and end")


def _add_queue_commands(commands: Any) -> None:
    queues = _command(
        commands,
        "queues",
        command.queues,
        "list the queue libraries that `queue: {preset: NAME}` knows, or tell all that is known of one",
        "touches: nothing. What is not listed is read by `queue: {sql: …}`, any query that returns one row with the\n"
        "columns pending and processing (and oldest_age_s, if it likes).",
    )
    queues.add_argument("name", nargs="?", metavar="PRESET", help="tell all of this one, with the SQL that reads it")
    queues.add_argument("--json", action="store_true", help="one JSON object for each")
    trigger = _command(
        commands,
        "queue-trigger",
        command.queue_trigger,
        "print the SQL of a throttled trigger that announces new jobs, where a table has none",
        "touches: nothing; the SQL is for you to read and to run. It says what NOTIFY costs the writers.",
    )
    trigger.add_argument("worker", nargs="?", metavar="WORKER", help="of the policy; default: all")
    trigger.add_argument("--policy", type=Path, default=_policy_path(), metavar="FILE", help="default: %(default)s")


def _add_demo_commands(commands: Any) -> None:
    demo = _command(
        commands,
        "demo",
        command.demo,
        "watch a burst of jobs scale real workers up and down, on this machine alone",
        "touches: a temporary folder and free ports on 127.0.0.1; it starts a PostgreSQL, a Redis, a fake Railway,\n"
        "the controller and up to 5 workers, and leaves nothing behind. Needs: pip install 'worker-autoscaler[demo]'",
    )
    demo.add_argument("--seconds", type=_seconds, default=None, metavar="N", help="end after N seconds at the latest")
    demo.add_argument("--keep", action="store_true", help="go on until Ctrl-C, with the addresses to look around")
    demo.add_argument("--record", type=Path, metavar="DIR", help="leave its jobs and cycles there, for `simulate`")
    fake = _command(
        commands,
        "fake-railway",
        command.fake_railway,
        "serve the fake Railway alone, for integration tests",
        _FAKE_EXAMPLES,
    )
    fake.add_argument("--port", type=_port, required=True, metavar="N", help="to listen on (0: any free one)")
    fake.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on, default %(default)s")
    fake.add_argument("--replicas", type=_replicas, default=0, metavar="N", help="that run at the start; 0 is stopped")
    fake.add_argument(
        "--exec",
        type=_shell_words,
        default=None,
        metavar="CMD",
        help="start each replica as a process, with this command",
    )


def _policy_path() -> Path:
    return Path(os.environ.get("AUTOSCALER_POLICY") or "policy.yaml")


def _whole(text: str, allowed: Iterable[int], what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) not in allowed:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")
    return int(text)


def _port(text: str) -> int:
    return _whole(text, range(65536), "a port, 0 to 65535")


def _replicas(text: str) -> int:
    return _whole(text, range(51), "a number of replicas, 0 to 50")


def _shell_words(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a command: {error}") from None
    if not words:
        raise argparse.ArgumentTypeError("an empty text is not a command")
    return text


def _seconds(text: str) -> int:
    return _whole(text, range(1, 86_401), "a number of seconds, 1 to 86400")


def _version() -> str:
    try:
        return version("worker-autoscaler")
    except PackageNotFoundError:
        return "(not installed)"
