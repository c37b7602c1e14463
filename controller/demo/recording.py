"""Records a run of the demo for a replay: `autoscaler simulate DIR/policy.yaml --trace DIR/jobs.csv`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg

_JOBS: LiteralString = """
SELECT extract(epoch FROM greatest(created_at, scheduled_for) - %(began)s)::float8,
       extract(epoch FROM completed_at - started_at)::float8
FROM generation_job WHERE completed_at IS NOT NULL AND started_at IS NOT NULL ORDER BY 1
"""


async def save(
    folder: Path,
    policy: str,
    environment: Mapping[str, str],
    lines: Sequence[Mapping[str, Any]],
    queue: psycopg.AsyncConnection[Any],
) -> None:
    """Writes policy.yaml with the values in force, cycles.jsonl with the log lines, and jobs.csv for `--trace`.

    Times are in seconds from the first cycle; `lines` must not be empty.
    """
    began = datetime.fromisoformat(lines[0]["at"])
    jobs = await (await queue.execute(_JOBS, {"began": began})).fetchall()

    def in_force(match: re.Match[str]) -> str:
        return environment.get(match[1], match[0])

    _write(folder, re.sub(r"\$\{(\w+)(?::-[^}]*)?\}", in_force, policy), lines, jobs)


def _write(folder: Path, policy: str, lines: Sequence[Mapping[str, Any]], jobs: Sequence[tuple[float, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{max(0.0, at):.3f},{service:.3f}\n" for at, service in jobs)
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    (folder / "cycles.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    (folder / "jobs.csv").write_text(f"t,service\n{rows}", encoding="utf-8")
