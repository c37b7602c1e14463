"""Railway's refusals, in its own words. Those marked invented are guesses; the others were seen live."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERNAL = "INTERNAL_SERVER_ERROR"
BAD_INPUT = "BAD_USER_INPUT"
VALIDATION = "GRAPHQL_VALIDATION_FAILED"
PARSE = "GRAPHQL_PARSE_FAILED"


class RefusalError(Exception):
    """An answer of no: HTTP 200 with a message and a code."""

    def __init__(self, message: str, code: str = INTERNAL) -> None:
        super().__init__(message)
        self.message = message
        # graphql-core copies this attribute into the error it answers with.
        self.extensions = {"code": code}


def not_authorized() -> RefusalError:
    return RefusalError("Not Authorized")


def project_token_not_found() -> RefusalError:
    return RefusalError("Project Token not found")


def deployment_not_found() -> RefusalError:
    return RefusalError("Deployment not found")


def not_stoppable() -> RefusalError:
    return RefusalError("Deployment is not stoppable", BAD_INPUT)


def not_restartable() -> RefusalError:
    return RefusalError("Deployment is not restartable", BAD_INPUT)


def not_cancellable() -> RefusalError:
    return RefusalError("Deployment is not cancellable", BAD_INPUT)  # invented


def nothing_to_redeploy() -> RefusalError:
    return RefusalError("Service has no deployment to redeploy", BAD_INPUT)  # invented


def invalid_input(field: str, code: str) -> RefusalError:
    return RefusalError(f"Error in {field} - Invalid input", code)  # invented for multiRegionConfig


def problem(message: str = "Problem processing request", code: str = INTERNAL) -> dict[str, Any]:
    """An answer that never got as far as a resolver."""
    return {"message": message, "extensions": {"code": code}, "traceId": trace_id()}


def body(error: GraphQLError) -> dict[str, Any]:
    """One member of `errors`: the trace id is a sibling of the message, whatever the documentation shows."""
    formatted: Mapping[str, Any] = error.formatted
    extensions = dict(formatted.get("extensions") or {"code": INTERNAL})
    answer = {key: formatted[key] for key in ("message", "locations", "path") if formatted.get(key) is not None}
    return {**answer, "extensions": extensions, "traceId": trace_id()}


def rejected(error: GraphQLError, code: str) -> dict[str, Any]:
    """As `body`, of a document that was never executed; graphql-js quotes names with double quotes."""
    return problem(error.message.replace("'", '"'), code)


def trace_id() -> str:
    return str(random.randrange(10**17, 10**19))
