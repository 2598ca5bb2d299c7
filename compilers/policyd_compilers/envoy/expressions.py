"""The one CEL expression that rules need, as the syntax tree that Envoy's matcher takes (it parses no text there)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cel.expr import syntax_pb2


def request_before(instant: datetime) -> Any:
    """`request.time < timestamp("2027-03-31T00:00:00Z")`: the request began before `instant`."""
    text = f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    request = syntax_pb2.Expr(id=1, ident_expr=syntax_pb2.Expr.Ident(name="request"))
    began = syntax_pb2.Expr(id=2, select_expr=syntax_pb2.Expr.Select(operand=request, field="time"))
    literal = syntax_pb2.Expr(id=3, const_expr=syntax_pb2.Constant(string_value=text))
    ends = _call(4, "timestamp", literal)
    return syntax_pb2.ParsedExpr(expr=_call(5, "_<_", began, ends))


def _call(number: int, function: str, *arguments: Any) -> Any:
    return syntax_pb2.Expr(id=number, call_expr=syntax_pb2.Expr.Call(function=function, args=arguments))
