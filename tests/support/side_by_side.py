"""`-n N`: N processes share the files of a run. Each takes the next file, collects it and runs it.

They are forks of the process that prints: what the tests import is imported once, and each file is collected once.
(pytest-xdist collects the whole suite in each process, which took a quarter of a minute of a core each.) The files that
take longest come first, so that no process is left alone with one at the end.

A process that dies fails the test that it was in, and another one takes its place. `-n 0` is pytest's own run.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import struct
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
from _pytest.warnings import catch_warnings_for_item
from hypothesis.internal import charmap

LONGEST_FIRST = (
    "virtual/test_mutants",
    "simulation/test_tune",
    "virtual/test_scenarios",
    "virtual/test_virtual",
    "loop/test_railway_hard_cases",
    "loop/test_redis_contents",
    "cli/test_simulate",
    "cli/test_init",
    "loop/test_hard_times",
    "cli/test_cli",
    "loop/test_reconciler",
    "cli/test_init_tables",
    "adapters/railway/test_platform",
    "cli/test_secrets",
    "demo/test_servers",
    "web/test_browser",
    "doctor/test_queue",
    "queues/test_every_row",
    "virtual/test_operators",
    "demo/test_demo",
)
"""By what they took of a core. Where the times change, the run only ends a little later."""
_NUMBER = struct.Struct("<I")


_TESTS = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    # addoption() keeps the short names for pytest itself.
    parser.getgroup("side by side")._addoption(
        "-n", type=int, default=0, dest="processes", help="how many processes share the files; 0: none"
    )


def _has_processes(config: pytest.Config) -> bool:
    options = config.option
    return options.processes > 0 and not (options.collectonly or options.usepdb or options.xmlpath)


def pytest_collection(session: pytest.Session) -> bool | None:
    """With processes, each collects what it takes."""
    if not _has_processes(session.config):
        return None
    session.items = []
    # What rewrites asserts asks the session which files were named. It comes after this hook, which ends it.
    session.config.pluginmanager.getplugin("assertion").pytest_collection(session)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_collect_directory(path: Path) -> Generator[None, pytest.Collector | None, pytest.Collector | None]:
    """One for each folder, whichever files of it are collected: what its conftest.py has belongs to that one."""
    folder = yield
    return _folders.setdefault(path, folder)


_folders: dict[Path, pytest.Collector | None] = {}


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if not _has_processes(session.config):
        return None
    files = Files(_files(session.config))
    if set(session.config.args) == set(session.config.getini("testpaths")):
        _prepare()
    processes = Processes(session, files)
    try:
        for _ in range(min(session.config.option.processes, len(files.every))):
            processes.begin()
        processes.watch()
    except _IsAChild:
        pass
    finally:
        processes.end()
    return True


def _files(config: pytest.Config) -> list[str]:
    """The arguments, and in the place of each folder its files."""
    files: dict[str, None] = {}
    for argument in config.args:
        place = config.invocation_params.dir / argument
        found = sorted(place.rglob("test_*.py")) if place.is_dir() else [argument]
        files |= dict.fromkeys(map(str, found))
    first = {str(_TESTS / f"{name}.py"): number for number, name in enumerate(LONGEST_FIRST)}
    return sorted(files, key=lambda file: first.get(file, len(first)))


def _prepare() -> None:
    """What most tests need, once for all processes, and for all commands that these fork."""
    import controller
    from controller.adapters.postgres.presets import reader

    for module in pkgutil.walk_packages(controller.__path__, "controller."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for name in reader.names():
        reader.load(name)
    charmap.categories()  # what st.text() draws from


class Files:
    """What is to be run. Its numbers lie in a pipe, out of which each process takes the next."""

    def __init__(self, every: list[str]) -> None:
        self.every = every
        self.sizes = [_size(file) for file in every]
        self._next, numbers = os.pipe()
        os.set_blocking(numbers, False)
        os.write(numbers, b"".join(map(_NUMBER.pack, range(len(every)))))
        os.close(numbers)

    def taken(self) -> Iterator[int]:
        """The number of one after the other, until none is left."""
        while number := os.read(self._next, _NUMBER.size):
            yield _NUMBER.unpack(number)[0]


def _size(file: str) -> int:
    """In bytes: a measure of how many tests it may have. Of a test by its id, 1."""
    return max(1, Path(file).stat().st_size) if Path(file).is_file() else 1


class _IsAChild(BaseException):
    """In a process that has run its tests: of what its parent was about to do, nothing is left to do."""


class _Process:
    def __init__(self, pid: int, news: Connection) -> None:
        self.pid = pid
        self.news = news
        self.test: str | None = None
        """The id of the one that it is in; None before the first."""


class Processes:
    """Those that run tests, as the one that prints knows them."""

    def __init__(self, session: pytest.Session, files: Files) -> None:
        self._session = session
        self._hook = session.config.hook
        self._files = files
        self._all: dict[Any, _Process] = {}
        self._begun = 0
        self._collected = self._of_bytes = 0

    def begin(self) -> None:
        """Raises _IsAChild in the new process, after it has run its tests."""
        self._begun += 1
        places: Any = self._session.config._tmp_path_factory  # type: ignore[attr-defined]
        place = places.getbasetemp() / f"process-{self._begun}"
        told, telling = Pipe(duplex=False)
        pid = os.fork()
        if pid:
            telling.close()
            self._all[told] = _Process(pid, told)
            return
        self._all.clear()
        place.mkdir()
        places._basetemp = place
        _work(self._session, self._files, telling)
        raise _IsAChild

    def watch(self) -> None:
        """Until all have ended, or enough tests have failed."""
        session = self._session
        while self._all:
            for news in wait(list(self._all)):
                self._listen(self._all[news])
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    def end(self) -> None:
        for process in self._all.values():
            os.kill(process.pid, signal.SIGTERM)
            os.waitpid(process.pid, 0)

    def _listen(self, process: _Process) -> None:
        try:
            kind, what = process.news.recv()
        except (EOFError, OSError):
            kind, what = "died", None
        if kind not in {"done", "died"}:
            self._hear(process, kind, what)
            return
        del self._all[process.news]
        process.news.close()
        os.waitpid(process.pid, 0)
        if kind == "died":
            self._hook.pytest_runtest_logreport(report=_of_a_crash(process.test))
            if process.test is not None:  # or the next one would die as well, and so on
                self.begin()

    def _hear(self, process: _Process, kind: str, what: Any) -> None:
        if kind == "running":
            process.test = what
        elif kind == "collected":
            # How many there will be is a guess until the last file, for the percentages that are printed.
            number, tests = what
            self._collected, self._of_bytes = self._collected + tests, self._of_bytes + self._files.sizes[number]
            self._session.testscollected = self._collected * sum(self._files.sizes) // self._of_bytes
        elif kind == "report":
            self._hook.pytest_runtest_logreport(report=pytest.TestReport._from_json(what))
        elif kind == "collect report":
            self._hook.pytest_collectreport(report=pytest.CollectReport._from_json(what))
        elif kind == "warning":
            self._hook.pytest_warning_recorded.call_historic(kwargs=what)
        elif kind == "usage":
            raise pytest.UsageError(what)


def _of_a_crash(of: str | None) -> pytest.TestReport:
    test = of or "before its first test"
    return pytest.TestReport(
        nodeid=test,
        location=(test.partition("::")[0], None, test),
        keywords={},
        outcome="failed",
        longrepr=f"the process died: {test}; what comes after it in its file was not run",
        when="call",
    )


def _work(session: pytest.Session, files: Files, telling: Connection) -> None:
    config = session.config
    config.workerinput = {}  # type: ignore[attr-defined]  # by which plugins know a part of a run
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # its file is the parent's, too
    capture.start_global_capturing()
    capture.suspend_global_capture()
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(_Tells(telling))
    try:
        for item, following in _pairs(_collected(session, files, telling)):
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        telling.send(("done", None))
    except pytest.UsageError as error:
        telling.send(("usage", str(error)))


def _collected(session: pytest.Session, files: Files, telling: Connection) -> Iterator[pytest.Item]:
    for number in files.taken():
        with catch_warnings_for_item(session.config, session.config.hook, when="collect", item=None):
            items = session.perform_collect([files.every[number]])
        telling.send(("collected", (number, len(items))))
        yield from items


def _pairs(items: Iterable[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each with the next one, for which pytest keeps what both need."""
    before = None
    for item in items:
        if before is not None:
            yield before, item
        before = item
    if before is not None:
        yield before, None


class _Tells:
    """Hooks that tell the process that prints."""

    def __init__(self, telling: Connection) -> None:
        self._telling = telling

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._telling.send(("running", nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._telling.send(("report", report._to_json()))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            report.result = []  # the files it holds are this process'
            self._telling.send(("collect report", report._to_json()))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Any
    ) -> None:
        # What caused it may be anything; its words are enough.
        told = warnings.WarningMessage(
            UserWarning(f"{warning_message.category.__name__}: {warning_message.message}"),
            UserWarning,
            warning_message.filename,
            warning_message.lineno,
        )
        known = {"warning_message": told, "when": when, "nodeid": nodeid, "location": location}
        self._telling.send(("warning", known))
