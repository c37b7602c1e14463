"""What a platform of the user's own may read: the environment. It declares no variable here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from controller.adapters.own import SOURCE
from controller.config.platform import PlatformSettings
from controller.policy import OwnTarget, Path, Policy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "worker_autoscaler.platforms"
"""Of the entry points, whose names `use` may have."""


@dataclass(frozen=True, slots=True)
class OwnAccess:
    """environment: of the process. A secret in it is masked by its name, such as one that ends with TOKEN."""

    environment: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = ()


def problems(policy: Policy, _: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Modules that are not there. None is imported: what is wrong within one is told when the platform is opened."""
    for name, worker in policy.workers.items():
        if worker.target.platform == OWN.target:
            use = cast("OwnTarget", worker.target.given).use
            if problem := _not_there(use):
                yield ("workers", name, OWN.target, "use"), problem


def entry_point(name: str) -> EntryPoint:
    """Raises LookupError: there is none, or more than one."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # 1 MB that only such a policy needs

    found: list[EntryPoint] = [*entry_points(group=GROUP, name=name)]
    if len(found) == 1:
        return found[0]
    how_many = "several packages have" if found else "no installed package has"
    raise LookupError(f"{how_many} an entry point of that name in {GROUP}; or write MODULE:CLASS")


def _not_there(use: str) -> str | None:
    module, _, name = use.partition(":")
    try:
        if not name:
            entry_point(use)
            return None
        # To look into a package would import it, and what it does then is told when the platform is opened.
        found = importlib.util.find_spec(module.partition(".")[0])
    except ValueError:  # as of __main__, which was not imported
        found = None
    except LookupError as error:
        return str(error.args[0])
    return None if found else f"module {module} is not found; put its folder into PYTHONPATH, or install it"


OWN = PlatformSettings(
    name=SOURCE.name,
    target="platform",
    load=OwnAccess,
    opens="controller.adapters.own.platform:OwnPlatforms",
    problems=problems,
)
