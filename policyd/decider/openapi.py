"""The OpenAPI document of a decision server, `/openapi.json`."""

from __future__ import annotations

from typing import Any

import orjson

from policyd.decider.documents import DOCUMENTS

Json = dict[str, Any]


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _answer(words: str, schema: Json) -> Json:
    return {"description": words, "content": _json(schema)}


def _flag(name: str, words: str = "On where it is empty or `true`; any other value is off.") -> Json:
    """OPA refuses no value of a flag, and neither do we."""
    return {"name": name, "in": "query", "schema": {}, "allowEmptyValue": True, "description": words}


_FLAGS = [_flag(name) for name in ("pretty", "metrics", "provenance")]
_EXPLAIN = _flag("explain", "On where it is `notes`, `fails`, `full` or `debug`.")
_INPUT = {"name": "input", "in": "query", "content": _json({}), "description": "The input as JSON."}
_ERRORS = {
    "400": _answer("The body, or the parameter `input`, cannot be read.", _ref("Error")),
    "401": _answer("No token, or one that is not known.", _ref("Error")),
    "403": _answer("The token lacks the role `decide`.", _ref("Error")),
    "413": _answer("The body is too large.", _ref("Error")),
}


_AT = {
    "name": "at",
    "in": "query",
    "schema": {"enum": ["promoted", "head"]},
    "description": "Whose rules answer: those that are promoted, `head`; also a commit, or `node:ID`.",
}


def _v1(path: str, *, at: bool) -> Json:
    answer = {"200": _answer("The value of the document; none where it is undefined.", _ref("Answer")), **_ERRORS}
    body = {"required": False, "content": _json({"type": ["object", "null"], "properties": {"input": {}}})}
    name, flags = path or "everything", [*_FLAGS, *([_AT] if at else [])]
    if at:
        answer |= {"502": _answer("The controller gives no answer.", _ref("Error"))}
        answer |= {"503": _answer("The controller cannot say yet.", _ref("Error"))}
    return {
        "get": {
            "operationId": f"get {name}",
            "parameters": [*flags, _EXPLAIN, _INPUT],
            "responses": answer,
        },
        "post": {
            "operationId": f"post {name}",
            "parameters": [*flags, _EXPLAIN],
            "requestBody": body,
            "responses": answer,
        },
    }


def _v0(path: str) -> Json:
    responses = {
        "200": _answer("The value itself.", {}),
        "404": _answer("The document is undefined.", _ref("Error")),
        **_ERRORS,
    }
    body = {"required": False, "content": _json({})}
    parameters = _FLAGS[:1]
    name = f"v0 {path or 'everything'}"
    return {"post": {"operationId": name, "parameters": parameters, "requestBody": body, "responses": responses}}


def _batch(path: str) -> Json:
    asked = {
        "type": ["object", "null"],
        "properties": {"inputs": {"type": "object"}, "common_input": {"type": "object"}},
    }
    responses = {"200": _answer("The answers by the keys of the inputs.", _ref("Batch")), **_ERRORS}
    name = f"batch {path or 'everything'}"
    body = {"required": False, "content": _json(asked)}
    return {"post": {"operationId": name, "parameters": _FLAGS, "requestBody": body, "responses": responses}}


_SCHEMAS: Json = {
    "Error": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    },
    "Answer": {
        "type": "object",
        "properties": {
            "decision_id": {"type": "string"},
            "provenance": {"type": "object"},
            "explanation": {"type": "array", "items": {"type": "string"}},
            "metrics": {"type": "object"},
            "result": {},
            "warning": {"type": "object"},
            "live": {"type": "object"},
        },
        "additionalProperties": False,
    },
    "Batch": {
        "type": "object",
        "required": ["responses"],
        "properties": {
            "batch_decision_id": {"type": "string"},
            "metrics": {"type": "object"},
            "provenance": {"type": "object"},
            "responses": {"type": "object", "additionalProperties": _ref("Answer")},
        },
        "additionalProperties": False,
    },
}


def openapi(version: str, *, at: bool = False) -> bytes:
    """The document as JSON; `at`: whether other rules than the promoted ones may be asked for."""
    health = {
        "200": _answer("It answers.", {"type": "object"}),
        "500": _answer("With `bundles`: nothing is loaded yet.", {"type": "object"}),
    }
    bundles = _flag("bundles")
    paths: Json = {
        "/health": {"get": {"operationId": "health", "security": [], "parameters": [bundles], "responses": health}}
    }
    for path in DOCUMENTS:
        tail = f"/{path}" if path else ""
        paths[f"/v1/data{tail}"] = _v1(path, at=at)
        paths[f"/v0/data{tail}"] = _v0(path)
        paths[f"/v1/batch/data{tail}"] = _batch(path)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "policyd decisions", "version": version, "license": {"name": "Apache-2.0"}},
            "security": [{}, {"bearer": []}],
            "paths": paths,
            "components": {
                "schemas": _SCHEMAS,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
        }
    )
