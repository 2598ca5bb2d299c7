"""The CEL expressions that rules need, as the syntax trees that Envoy's matcher takes (it parses no text there)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cel.expr import syntax_pb2


def request_before(instant: datetime) -> Any:
    """`request.time < timestamp("2027-03-31T00:00:00Z")`: the request began before `instant`."""
    text = f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    request = syntax_pb2.Expr(id=1, ident_expr=syntax_pb2.Expr.Ident(name="request"))
    began = syntax_pb2.Expr(id=2, select_expr=syntax_pb2.Expr.Select(operand=request, field="time"))
    ends = _call(4, "timestamp", _text(3, text))
    return syntax_pb2.ParsedExpr(expr=_call(5, "_<_", began, ends))


def left_without(filter_name: str, key: str, field: str) -> Any:
    """`!has(metadata.filter_metadata[filter_name][key].field)`: what a filter left has no such field, of any type.

    An error, so that it does not hold, where the filter left nothing under `key`.
    """
    metadata = syntax_pb2.Expr(id=1, ident_expr=syntax_pb2.Expr.Ident(name="metadata"))
    filters = syntax_pb2.Expr(id=2, select_expr=syntax_pb2.Expr.Select(operand=metadata, field="filter_metadata"))
    left = _call(6, "_[_]", _call(4, "_[_]", filters, _text(3, filter_name)), _text(5, key))
    has = syntax_pb2.Expr(id=7, select_expr=syntax_pb2.Expr.Select(operand=left, field=field, test_only=True))
    return syntax_pb2.ParsedExpr(expr=_call(8, "!_", has))


def _text(number: int, text: str) -> Any:
    return syntax_pb2.Expr(id=number, const_expr=syntax_pb2.Constant(string_value=text))


def _call(number: int, function: str, *arguments: Any) -> Any:
    return syntax_pb2.Expr(id=number, call_expr=syntax_pb2.Expr.Call(function=function, args=arguments))
