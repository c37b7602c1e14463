"""Documents that cannot rot: every word that the program uses is explained, and what ships is what is described."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from controller.adapters.postgres.presets.reader import load, names
from controller.adapters.railway import operations
from controller.core.reasons import Reason
from controller.core.wanted import tier_replicas
from controller.doctor.postgres_rights import READER
from controller.loop import levels
from controller.loop.cycle import Outcome
from controller.policy import Policy, WorkerPolicy, load_policy
from controller.web.metrics import DEPRECATED, METRICS
from tests.docs.pages import PAGES, ROOT, anchors, cells, links, marked, prose, rows
from tests.support.processes import autoscaler

README = PAGES["README.md"]
TABLES = (
    *("commands", "deprecated-metrics", "environment", "events", "metrics"),
    *("policy-keys", "presets", "reasons", "touches"),
)
"""What the code knows, and the pages list between markers."""


def text_of(node: ast.AST) -> str | None:
    """Of a string literal."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@cache
def tree() -> Mapping[str, ast.Module]:
    """Every module of the program, by its path. Read when a test asks for it: to parse them all takes a second."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for path in sorted((ROOT / "controller").rglob("*.py"))
    }


_NO_CONTROLLER = (
    "controller/demo/",
    "controller/fake_railway/",
    "controller/fake_kubernetes/",
    "controller/fake_swarm/",
    "controller/simulation/",
)
"""They write no log of a controller, and what they read of the environment is their own."""


@cache
def texts() -> frozenset[str]:
    """Every string literal of the program."""
    return frozenset(
        text
        for path, module in tree().items()
        if not path.startswith(_NO_CONTROLLER)
        for text in map(text_of, ast.walk(module))
        if text is not None
    )


def named(table: str) -> list[str]:
    """The code spans in the first column of a marked table."""
    return [name for row in rows(table) for name in re.findall(r"`([^`]+)`", row[0])]


def test_each_marked_table_stands_on_one_page_and_has_no_other_name() -> None:
    begun = [name for text in PAGES.values() for name in re.findall(r"^<!-- begin: (.*) -->$", text, re.MULTILINE)]
    ended = [name for text in PAGES.values() for name in re.findall(r"^<!-- end: (.*) -->$", text, re.MULTILINE)]
    assert sorted(begun) == sorted(ended) == list(TABLES)
    assert [name for name in TABLES if not rows(name)] == []


def test_there_is_a_row_for_every_reason_and_for_no_other() -> None:
    assert sorted(named("reasons")) == sorted(Reason)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_page_on_the_log_has_a_row_for_every_outcome(outcome: Outcome) -> None:
    assert f"| `{outcome}` |" in PAGES["docs/log.md"]


@pytest.mark.parametrize("name", names())
def test_it_is_marked_what_each_preset_was_tested_with(name: str) -> None:
    preset = load(name)
    tested = {"library": "its own client and worker", "schema": "its published tables"}[preset.tested or ""]
    row = f"| `{name}` | {preset.library} ({preset.language}) | {tested}, {preset.versions} |"
    assert row in marked("presets").splitlines()


def test_there_is_a_row_for_every_preset_and_for_no_other() -> None:
    assert named("presets") == list(names())


def test_there_is_a_row_for_every_metric_and_for_no_other() -> None:
    assert sorted(named("metrics")) == sorted(METRICS)
    assert sorted(named("deprecated-metrics")) == sorted(DEPRECATED)


@pytest.mark.costly
def test_there_is_a_row_for_every_metric_that_stands_anywhere_in_the_program() -> None:
    found = {text for text in texts() if re.fullmatch("autoscaler_[a-z_]+", text)} - {READER}
    assert found >= set(METRICS)
    assert sorted(found - set(named("metrics")) - set(named("deprecated-metrics"))) == []


TIME_COLUMN = "TimeColumn"
"""What each column with a time may be, in the place of its name: told once for all of them."""


def keys(part: type[BaseModel], *before: str) -> Iterator[tuple[str, ...]]:
    """The path of every key of a policy's part, and of the parts within it."""
    for name, field in part.model_fields.items():
        if any(name in getattr(base, "model_fields", ()) for base in part.__bases__):
            continue  # a queue of several has the keys of `queue`, which have their rows
        path = (*before, field.alias or name)
        yield path
        for inner in dict.fromkeys(parts(field.annotation)):
            if inner.__name__ != TIME_COLUMN:
                yield from keys(inner, *path)


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


@pytest.mark.parametrize("path", list(keys(WorkerPolicy)), ids=".".join)
def test_there_is_a_row_for_every_key_of_a_worker_s_policy(path: tuple[str, ...]) -> None:
    """Of its own, or of the part that it stands in, which names it."""
    for own in range(len(path), 0, -1):
        key, inner = ".".join(path[:own]), path[own:]
        found = [row for row in rows("policy-keys") if re.search(rf"`…{re.escape(key)}[`.]", row[0])]
        if any(all(re.search(rf"\b{re.escape(name)}\b", " ".join(row)) for name in inner) for row in found):
            return
    pytest.fail(f"no row of the table of the policy's keys has {'.'.join(path)}")


def test_it_is_told_how_a_time_in_numbers_is_written() -> None:
    assert "`{name: due, unit: s}`" in marked("policy-keys")


@pytest.mark.parametrize("key", sorted(set(Policy.model_fields) - {"workers"}))
def test_there_is_a_row_for_every_key_of_a_policy(key: str) -> None:
    assert key in named("policy-keys")


@pytest.mark.costly
def test_there_is_a_row_for_every_variable_and_for_no_other() -> None:
    rooms = "RAILWAY|KUBERNETES|DOCKER|SWARM|POD|DATABASE|REDIS|LEASE|LANDING|LOG|AUTOSCALER|OTEL"
    shape = re.compile(rf"({rooms})_[A-Z_]+|PORT|HTTP_TOKEN|KUBECONFIG")
    read = {text for text in texts() if shape.fullmatch(text)}
    read |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "policy.yaml").read_text()))
    read -= {"RAILWAY_REPLICA_ID", "NAME"}  # Railway sets the one; the other is a comment's example
    read -= {"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"}  # which each pod has
    read -= {"KUBERNETES_EXEC_INFO"}  # which is set for a plug-in
    assert len(read) > 15
    assert sorted(named("environment")) == sorted(read)


@pytest.mark.costly
def test_there_is_a_row_for_every_event_of_the_log_and_for_no_other() -> None:
    events, unknown = events_reported()
    assert len(events) > 18
    assert sorted(events - set(levels.EVENTS.values()) - set(named("events"))) == []
    assert sorted(named("events")) == sorted(levels.EVENTS)
    assert unknown <= {"event", "event.name"}, (
        "an event whose name no literal tells: add its names to a mapping called EVENTS"
    )


REPORTS = {"event", "report", "_report", "_say", "Event"}


def events_reported() -> tuple[set[str], set[str]]:
    """The names that calls of a report begin with; and what stands there where it is no literal."""
    events: set[str] = set()
    unknown: set[str] = set()
    for path, module in tree().items():
        if path.startswith(_NO_CONTROLLER):
            continue
        for node in ast.walk(module):
            if (
                isinstance(node, ast.Call)
                and node.args
                and called(node) in {"event", "report", "_report", "_say", "Event"}
            ):
                text = text_of(node.args[0])
                if text is not None:
                    events.add(text)
                elif "EVENTS[" not in ast.unparse(node.args[0]):
                    unknown.add(ast.unparse(node.args[0]))
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if [ast.unparse(target) for target in targets] == ["EVENTS"]:
                    events |= {text for value in node.value.values if (text := text_of(value)) is not None}
    return events, unknown


def called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_the_page_on_doctor_tells_what_it_looks_at() -> None:
    every = "".join(path.read_text() for path in (ROOT / "controller").rglob("*.py"))
    about = set(re.findall(r'\b(?:ok|warning|error|_took)\(\s*"([\w -]+)",', every))
    assert len(about) > 15
    assert [name for name in sorted(about) if f"`{name}`" not in PAGES["docs/doctor.md"]] == []


COMMANDS = [name.split()[1] for name in named("commands")]


@pytest.mark.parametrize("name", COMMANDS)
async def test_each_command_of_the_table_has_a_help(name: str) -> None:
    ran = await autoscaler(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"autoscaler {name}" in ran.out


async def test_there_is_a_row_for_every_command() -> None:
    _, _, listed = (await autoscaler("--help")).out.partition("\ncommands:\n")
    known = re.findall(r"^ {2,4}([a-z][a-z-]*)(?=  |$)", listed.split("\n\n")[0], re.MULTILINE)
    assert "run" in known
    assert sorted(set(known) - set(COMMANDS)) == []


def policies() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("policy", policies(), ids=["a table of one's own", "a preset"])
async def test_the_policies_of_the_readme_are_complete_and_pass_the_check_without_a_warning(
    policy: str, tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text(policy)
    ran = await autoscaler("check", str(tmp_path / "policy.yaml"))
    assert (ran.code, ran.err) == (0, "")
    assert "warning" not in ran.out
    assert len(policy.splitlines()) == 10


def test_the_table_of_tiers_is_that_of_the_shipped_policy() -> None:
    (shipped,) = load_policy((ROOT / "policy.yaml").read_text(), {"RAILWAY_WORKER_SERVICE_ID": "id"})[
        0
    ].workers.values()
    told = re.findall(r"^\| (?:(\d+)(?:-(\d+))?|over (\d+)) \| (\d+) ", README, re.MULTILINE)
    assert len(told) == len(shipped.tiers or ())
    for first, last, over, replicas in told:
        for depth in (first or int(over) + 1, last or first or 1_000_000):
            assert tier_replicas(shipped, int(depth)) == int(replicas)


def test_the_readme_is_short_and_its_picture_small() -> None:
    assert len(README.encode()) <= 8_000
    pictures = [ROOT / link for link in links(README) if link.endswith((".png", ".svg"))]
    assert pictures
    assert all(picture.stat().st_size < 60_000 for picture in pictures)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page: str) -> None:
    """Relative ones: they work in a checkout and on any host that shows the repository."""
    broken = []
    for link in links(PAGES[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_each_row_of_a_table_is_as_wide_as_its_head(page: str) -> None:
    """Else a host drops the cells that are too many, as where a `|` in them is not escaped."""
    for table in re.findall(r"(?:^ *\|.*\n)+", prose(PAGES[page]), re.MULTILINE):
        assert len({len(cells(line)) for line in table.splitlines()}) == 1, table


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_two_headings_alike(page: str) -> None:
    assert len(set(anchors(PAGES[page]))) == len(anchors(PAGES[page]))


def test_the_index_leads_to_every_page() -> None:
    told = {f"docs/{link}" for link in links(PAGES["docs/README.md"])}
    assert sorted(set(PAGES) - {"README.md", "docs/README.md"} - told) == []


_WORDS = (
    *("mend", "mends", "mended", "mending", "whoever", "nobody can tell", "so many", "by other hands"),
    *("goes as far as", "is no time"),
)
RIDDLES = re.compile(
    f"(?<![a-z])(?:{'|'.join(_WORDS)})(?![a-z])".replace(" ", r"[\s_]+"),
    re.IGNORECASE,
)
"""Words that a reader would have to translate first."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_it_in_plain_words(page: str) -> None:
    assert RIDDLES.findall(PAGES[page]) == []


@pytest.mark.costly
def test_the_program_says_it_in_plain_words() -> None:
    """Its texts, docstrings and comments."""
    found = {path: RIDDLES.findall((ROOT / path).read_text()) for path in tree()}
    assert {path: words for path, words in found.items() if words} == {}


def test_each_test_has_a_name_in_plain_words() -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    names = [name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())]
    assert len(names) > 1000
    assert [name for name in names if RIDDLES.search(name) or "_nobody_" in name] == []


def test_the_map_of_the_house_names_what_there_is() -> None:
    spans = re.findall(r"`((?:controller|tests|deploy|docs)/[^`\s]*)`", "\n".join(PAGES.values()))
    assert len(spans) > 20
    assert [path for path in spans if "NAME" not in path and not (ROOT / path).exists()] == []


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named_there = {
        name for text in PAGES.values() for name in re.findall(r"(?:^|`|then )make ([a-z-]+)", text, re.MULTILINE)
    }
    assert len(named_there) > 10
    assert sorted(named_there - targets) == []


def test_no_operation_is_sent_that_could_ask_for_zero() -> None:
    assert not re.search(r"numReplicas:\s*0", "".join(operations.ALL.values()))
