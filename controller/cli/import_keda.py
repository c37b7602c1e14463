"""`autoscaler import-keda`: a policy from KEDA's ScaledObjects, and what it could not carry over."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.cli import output
from controller.cli.arguments import takes
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.core.text.escaping import visible

if TYPE_CHECKING:
    from controller.cli.keda_policy import Carried
    from controller.cli.parser import Commands

_MORE = """\
Prints a policy with a worker for each ScaledObject of FILE that has a trigger of type postgresql, and on stderr
what has no counterpart or means something else here:

  kubectl get scaledobjects -A -o yaml > keda.yaml
  autoscaler import-keda keda.yaml > policy.yaml
  autoscaler check policy.yaml
"""


def add(commands: Commands) -> None:
    parser = commands.add(
        "import-keda",
        run,
        "print a policy made of KEDA's ScaledObjects",
        _MORE,
        touches="nothing; it reads the file",
        listed="",
    )
    told = "YAML with ScaledObjects"
    takes(parser.add_argument("file", type=Path, metavar="FILE", help=told), "file")


def run(parsed: argparse.Namespace) -> int:
    import yaml

    found = _carried(parsed.file)
    fastest = min(one.interval_s for one in found)
    workers = {one.name: one.worker for one in found}
    policy = {"interval": f"{max(1, round(fastest))}s", "workers": workers}
    print(yaml.safe_dump(policy, sort_keys=False, width=120, allow_unicode=True), end="")
    sys.stdout.flush()
    for one in found:
        for words in one.lost:
            output.complain(f"{one.name}: {words}", kind="warning")
    return 0


def _carried(path: Path) -> list[Carried]:
    from controller.cli.keda_policy import NotCarriedError, StaysError, carried, objects, told_apart

    names: dict[tuple[str, ...], str] = {}
    found: list[Carried] = []
    problems: list[Problem] = []
    others: list[Problem] = []
    for one in objects(iter(_documents(path))):
        meta = one.get("metadata")
        name = bounds.cut(str(meta.get("name")), bounds.NAME) if isinstance(meta, dict) else "?"
        try:
            worker = carried(one)
            if worker.target in names:
                first = names[worker.target]
                raise NotCarriedError(f"scales what {first} scales, too; one target has one policy, so leave one out")
            names[worker.target] = worker.name
            found.append(worker)
        except NotCarriedError as error:
            told = others if isinstance(error, StaysError) else problems
            told.append(Problem(f"{path}: {visible(name)}", str(error)))
    if problems or not found:
        raise ConfigurationError(problems or others or [Problem(str(path), "holds no ScaledObject")])
    for other in others:
        output.complain(f"{other}; it is left out", kind="warning")
    told_apart(found)
    return found


def _documents(path: Path) -> list[Any]:
    from controller.config.foreign_yaml import MOST_BYTES, NotReadableError, documents

    try:
        with path.open("rb") as file:
            return documents(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise ConfigurationError([Problem(str(path), f"cannot be read ({error.strerror})")]) from None
    except NotReadableError as error:
        raise ConfigurationError([Problem(str(path), str(error))]) from None
