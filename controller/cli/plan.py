"""`autoscaler plan`: what an edit of the policy changes, in words and on the same jobs.

For a review: the diff of a policy says that 30 became 40, and not what that costs or how long jobs will wait. Both
policies get the same jobs and the same seed, so that the edit alone makes the difference. The old file comes from git,
see below.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.arguments import default_policy, for_help, policy_of, takes
from controller.cli.output import print_json, progress, show_blocks
from controller.cli.workload import (
    DAY_S,
    EXITS,
    MOST_WORKERS,
    TOUCHES,
    WORKLOAD,
    add_platform,
    add_queue_shares,
    add_workload,
    drain,
    mask_of,
    queues_of,
    read_workload,
    setting,
    with_notes,
)
from controller.core.text.escaping import visible_lines

if TYPE_CHECKING:
    from controller.cli.parser import Commands

_EXAMPLE = """\
example:
  git show main:policy.yaml > old.yaml
  autoscaler plan old.yaml policy.yaml --from-database --markdown

"""


def add(commands: Commands) -> None:
    parser = commands.add(
        "plan",
        run,
        "print what an edit changes, in words and figures",
        f"{WORKLOAD}\n{_EXAMPLE}{EXITS}",
        touches=TOUCHES,
    )
    takes(parser.add_argument("old", metavar="OLD", type=Path, help="the policy as it is"), "file")
    told = f"the policy after the edit, default {for_help(default_policy())}"
    takes(parser.add_argument("new", nargs="?", metavar="NEW", type=Path, help=told), "file")
    told = "the same as NEW"
    takes(parser.add_argument("--policy", type=Path, metavar="FILE", help=told), "file")
    parser.add_argument("--markdown", action="store_true", help="for a comment on a pull request")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    add_queue_shares(parser)
    add_workload(parser)
    add_platform(parser)


def run(parsed: argparse.Namespace) -> int:
    """Exit code 0; wrong input is raised as ConfigurationError."""
    from controller.simulation.comparison import compare
    from controller.simulation.contenders import Common, read_both, read_contender
    from controller.simulation.plan import Plan, as_blocks, as_markdown, as_object

    files = parsed.old, policy_of(parsed, parsed.new, "NEW")
    mask = mask_of(files)
    before, after = read_both(*files, parsed.worker, os.environ)
    old, new = before[1:], after[1:]
    maximum, shares = parsed.max_workers or MOST_WORKERS, parsed.queue_shares or ""
    contenders = [
        read_contender(str(path), Common(maximum, name, wakes=not parsed.no_wake, queue_shares=shares), os.environ)
        for path, name in zip(files, (before[0], after[0]), strict=True)
    ]
    workload = with_notes(read_workload(parsed, old[1], mask, queues_of(contenders)), contenders)
    platform = setting(parsed, new[1], drain(parsed, new[1]))
    with progress("simulating", " days") as shows:
        span = workload.span_s / DAY_S if workload.span_s else None
        comparison = compare(workload, contenders, platform, lambda seconds: shows(seconds / DAY_S, span))
    edit = Plan(old, new, comparison)
    if parsed.json:
        print_json(mask.value(as_object(edit)), indent=2)
    elif parsed.markdown:
        print(visible_lines(mask.text("\n".join(as_markdown(edit)))))
    else:
        show_blocks(as_blocks(edit), mask)
    return 0
