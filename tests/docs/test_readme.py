"""Documents that cannot rot: every word that the program uses is explained, and what ships is what is described."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from controller.adapters.railway import operations
from controller.config.presets import load, names
from controller.core.model import Reason
from controller.doctor.postgres_rights import READER
from controller.loop.cycle import Outcome
from controller.policy import Policy, WorkerPolicy
from controller.web.server import METRICS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def text_of(node: ast.AST) -> str | None:
    """Of a string literal."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


TREE = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted((ROOT / "controller").rglob("*.py"))
}
_NO_CONTROLLER = ("controller/demo/", "controller/simulation/")
"""They write no log of a controller, and what they read of the environment is their own."""
TEXTS = {
    text
    for path, tree in TREE.items()
    if not path.startswith(_NO_CONTROLLER)
    for text in map(text_of, ast.walk(tree))
    if text is not None
}
"""Every string literal of the program."""


@pytest.mark.parametrize("reason", list(Reason))
def test_the_readme_has_a_row_for_every_reason(reason: Reason) -> None:
    assert f"| `{reason}` |" in README


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_readme_names_every_outcome(outcome: Outcome) -> None:
    assert f"`{outcome}`" in README


@pytest.mark.parametrize("name", names())
def test_the_readme_marks_what_each_preset_was_tested_with(name: str) -> None:
    preset = load(name)
    tested = {"library": "its own client and worker", "schema": "its published tables"}[preset.tested or ""]
    assert f"| `{name}` | {preset.library} ({preset.language}) | {tested}, {preset.versions} |" in README


@pytest.mark.parametrize("metric", METRICS)
def test_the_readme_names_every_metric(metric: str) -> None:
    assert f"`{metric}`" in README


def test_the_readme_names_every_metric_that_stands_anywhere_in_the_program() -> None:
    named = {text for text in TEXTS if re.fullmatch("autoscaler_[a-z_]+", text)} - {READER}
    assert named >= set(METRICS)
    assert [name for name in sorted(named) if f"`{name}`" not in README] == []


def keys(part: type[BaseModel], *before: str) -> Iterator[tuple[str, ...]]:
    """The path of every key of a policy's part, and of the parts within it."""
    for name, field in part.model_fields.items():
        path = (*before, field.alias or name)
        yield path
        for inner in parts(field.annotation):
            yield from keys(inner, *path)


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


@pytest.mark.parametrize("path", list(keys(WorkerPolicy)), ids=".".join)
def test_the_readme_has_a_row_for_every_key_of_a_worker_s_policy(path: tuple[str, ...]) -> None:
    """Of its own, or of the part that it stands in, which names it."""
    rows = [line for line in README.splitlines() if line.startswith("| `…")]
    for own in range(len(path), 0, -1):
        key, named = ".".join(path[:own]), path[own:]
        found = [row for row in rows if re.search(rf"`…{re.escape(key)}[`.]", row.split(" | ")[0])]
        if any(all(re.search(rf"\b{re.escape(name)}\b", row) for name in named) for row in found):
            return
    pytest.fail(f"no row of README.md's table has {'.'.join(path)}")


@pytest.mark.parametrize("key", sorted(set(Policy.model_fields) - {"workers"}))
def test_the_readme_has_a_row_for_every_key_of_a_policy(key: str) -> None:
    assert f"| `{key}` |" in README


def test_the_readme_has_a_row_for_every_variable() -> None:
    shape = re.compile(r"(RAILWAY|DATABASE|REDIS|LEASE|LANDING|LOG|AUTOSCALER)_[A-Z_]+|PORT|HTTP_TOKEN")
    read = {text for text in TEXTS if shape.fullmatch(text)}
    read |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "policy.yaml").read_text()))
    read -= {"RAILWAY_REPLICA_ID", "NAME"}  # Railway sets the one; the other is a comment's example
    assert len(read) > 15
    assert [name for name in sorted(read) if f"| `{name}` |" not in README] == []


def test_the_readme_names_every_event_of_the_log() -> None:
    events, unknown = events_reported()
    assert len(events) > 18
    assert [name for name in sorted(events) if f"`{name}`" not in README] == []
    assert unknown <= {"event"}, "an event whose name no literal tells: add its names to a mapping called EVENTS"


def events_reported() -> tuple[set[str], set[str]]:
    """The names that calls of a report begin with; and what stands there where it is no literal."""
    events: set[str] = set()
    unknown: set[str] = set()
    for path, tree in TREE.items():
        if path.startswith(_NO_CONTROLLER):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and called(node) in {"event", "report", "_report", "_say"}:
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


def test_the_readme_tells_what_doctor_looks_at() -> None:
    every = "".join(path.read_text() for path in (ROOT / "controller").rglob("*.py"))
    about = set(re.findall(r'\b(?:ok|warning|error|_took)\(\s*"([\w -]+)",', every))
    assert len(about) > 15
    assert [name for name in sorted(about) if f"`{name}`" not in README] == []


def test_the_readme_s_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_operation_is_sent_that_could_ask_for_zero() -> None:
    assert not re.search(r"numReplicas:\s*0", "".join(operations.ALL.values()))
