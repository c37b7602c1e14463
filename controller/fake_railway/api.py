"""From the text of a request to the body of its answer, without any transport.

GraphQL's own rules are graphql-core's, on the part of Railway's schema that is in schema.graphql; so a misspelt field
of the controller fails in the tests as it would at Railway. Which faults of a document are HTTP 400 and which are 200
with `errors` is as it was seen live.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    execute_sync,
    get_location,
    get_operation_ast,
    parse,
    validate,
)

from controller.fake_railway import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from graphql import GraphQLSchema

    from controller.fake_railway.queries import Context

Body = dict[str, Any]
Kind = Literal["query", "mutation"]
_NOT_COERCIBLE = ("Unknown type", "Variable ")
"""How complaints about a document's variables begin: these are a 400 and not a 200."""


@cache
def load_schema() -> GraphQLSchema:
    return build_schema(files(__package__).joinpath("schema.graphql").read_text(encoding="utf-8"))


@dataclass
class Asked:
    """A request as far as it could be understood; `refusal` is its answer where that is not far enough."""

    operation: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    kind: Kind = "query"
    roots: dict[str, str] = field(default_factory=dict)
    """Root fields, by their name in the answer."""
    place: Body = field(default_factory=dict)
    """`locations` and `path` of the first root field, as an error there would have them."""
    document: DocumentNode | None = None
    refusal: tuple[int, Body] | None = None

    @property
    def names(self) -> set[str]:
        return {*self.roots.values(), *([self.operation] if self.operation else [])}


class Api:
    def __init__(self, resolvers: dict[str, Callable[..., Any]]) -> None:
        self._schema = load_schema()
        self._resolvers = resolvers

    def understand(self, payload: Any) -> Asked:
        if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
            return Asked(refusal=(400, {"errors": [errors.problem(code=errors.BAD_INPUT)]}))
        asked = Asked(payload.get("operationName"))
        variables = payload.get("variables")
        if not isinstance(variables, dict | None):
            asked.refusal = (400, {"errors": [errors.problem("Variables must be an object", errors.BAD_INPUT)]})
            return asked
        asked.variables = variables or {}
        asked.document, complaints = _read(payload["query"])
        if asked.document is not None:
            _look_into(asked, asked.document)
        asked.refusal = _refusal(complaints)
        return asked

    def answer(self, asked: Asked, context: Context) -> tuple[int, Body]:
        if asked.refusal is not None or asked.document is None:
            return asked.refusal or (400, {"errors": [errors.problem()]})
        result = execute_sync(
            self._schema,
            asked.document,
            root_value=self._resolvers,
            context_value=context,
            variable_values=asked.variables,
            operation_name=asked.operation,
        )
        if not result.errors:
            return 200, {"data": result.data}
        if any(error.path is None for error in result.errors):
            # It never came to a field: a variable is missing or of the wrong kind.
            return 400, {"errors": [errors.rejected(error, errors.BAD_INPUT) for error in result.errors]}
        return 200, {"errors": [errors.body(error) for error in result.errors], "data": result.data}


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[DocumentNode | None, list[GraphQLError]]:
    """A client sends the same few documents all day long."""
    try:
        document = parse(text)
    except GraphQLSyntaxError as error:
        return None, [error]
    return document, validate(load_schema(), document)


def _refusal(complaints: list[GraphQLError]) -> tuple[int, Body] | None:
    if not complaints:
        return None
    unparsed = isinstance(complaints[0], GraphQLSyntaxError)
    bad = unparsed or any(each.message.startswith(_NOT_COERCIBLE) for each in complaints)
    code = errors.PARSE if unparsed else errors.VALIDATION
    return 400 if bad else 200, {"errors": [errors.rejected(each, code) for each in complaints]}


def _look_into(asked: Asked, document: DocumentNode) -> None:
    operation = get_operation_ast(document, asked.operation)
    if not isinstance(operation, OperationDefinitionNode):
        return
    asked.kind = "mutation" if operation.operation is OperationType.MUTATION else "query"
    if asked.operation is None and operation.name is not None:
        asked.operation = operation.name.value
    for selection in operation.selection_set.selections:
        if isinstance(selection, FieldNode):
            name = selection.name.value
            key = selection.alias.value if selection.alias else name
            asked.roots[key] = name
            if not asked.place and selection.loc is not None:
                at = get_location(selection.loc.source, selection.loc.start)
                asked.place = {"locations": [{"line": at.line, "column": at.column}], "path": [key]}
