"""Who calls, and what the caller may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from controller.fake_railway import ids
from controller.fake_railway.errors import not_authorized, project_token_not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

TokenKind = Literal["account", "workspace", "project"]
CallerKind = Literal["account", "workspace", "project", "misplaced", "unknown"]

ACCOUNT_TOKEN = "fake-account-token"  # noqa: S105 -- made up, and public
WORKSPACE_TOKEN = "fake-workspace-token"  # noqa: S105 -- the same
PROJECT_TOKEN = "fake-project-token"  # noqa: S105 -- the same
OTHER_PROJECT_TOKEN = "fake-other-project-token"  # noqa: S105 -- the same

TOKENS: dict[TokenKind, str] = {
    "account": ACCOUNT_TOKEN,
    "workspace": WORKSPACE_TOKEN,
    "project": PROJECT_TOKEN,
}
_BEARERS: dict[str, CallerKind] = {
    ACCOUNT_TOKEN: "account",
    WORKSPACE_TOKEN: "workspace",
    PROJECT_TOKEN: "misplaced",
    OTHER_PROJECT_TOKEN: "misplaced",
}
_ENVIRONMENTS = {PROJECT_TOKEN: ids.ENVIRONMENT_ID, OTHER_PROJECT_TOKEN: ids.OTHER_ENVIRONMENT_ID}


@dataclass(frozen=True)
class Caller:
    """Every check raises what Railway answers, so that a resolver only names what it needs."""

    kind: CallerKind
    environment_id: str | None
    """Of a project token."""
    user_agent: str

    def __str__(self) -> str:
        return f"{self.kind} token, {self.user_agent}"

    def known(self) -> None:
        if self.kind == "misplaced":
            raise project_token_not_found()
        if self.kind == "unknown":
            raise not_authorized()

    def of_kind(self, *kinds: CallerKind) -> None:
        self.known()
        if self.kind not in kinds:
            raise not_authorized()

    def environment(self, environment_id: str | None) -> None:
        """An environment that does not exist and one that is not the caller's give the same answer."""
        self.known()
        wanted = ids.ENVIRONMENT_ID if environment_id is None else environment_id
        if wanted != ids.ENVIRONMENT_ID or self.environment_id not in {None, wanted}:
            raise not_authorized()

    def project(self, project_id: str | None) -> None:
        self.environment(None)
        if project_id not in {None, ids.PROJECT_ID}:
            raise not_authorized()


def identify(headers: Mapping[str, str]) -> Caller:
    agent = headers.get("User-Agent", "no User-Agent")
    token = headers.get("Project-Access-Token")
    if token is not None:
        environment_id = _ENVIRONMENTS.get(token)
        return Caller("misplaced" if environment_id is None else "project", environment_id, agent)
    bearer = headers.get("Authorization", "").removeprefix("Bearer ")
    return Caller(_BEARERS.get(bearer, "unknown"), None, agent)
