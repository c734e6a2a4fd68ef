"""How ``/openapi.json`` describes bodies that are read by hand, and answers that are passed on as they come."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_ORIGIN = {
    "type": "object", "required": ["detector", "model_version", "dataset_version", "config_hash"],
    "properties": {
        "detector": TEXT, "model_version": TEXT, "dataset_version": {"type": ["string", "null"]}, "config_hash": TEXT,
    },
}  # fmt: skip
_INTERVAL = {
    "type": "object", "required": ["start", "end", "score", "label", "note"],
    "properties": {"start": TEXT, "end": TEXT, "score": NUMBER, "label": TEXT, "note": TEXT},
}  # fmt: skip
_FAULT = {
    "type": "object", "required": ["code", "message", "remedy"],
    "properties": {"code": TEXT, "message": TEXT, "remedy": TEXT},
}  # fmt: skip
PREDICTED: dict[str, Any] = {
    "type": "object", "title": "Predicted",
    "required": ["loop", "point_id", "model_version", "origin", "points", "threshold", "intervals", "seconds"],
    "properties": {
        "loop": TEXT, "point_id": TEXT, "model_version": TEXT, "origin": _ORIGIN, "points": {"type": "integer"},
        "start": TEXT, "end": TEXT, "threshold": NUMBER, "intervals": {"type": "array", "items": _INTERVAL},
        "seconds": {**NUMBER, "description": "that the model took"},
        "notes": {"type": "object", "description": "what was mended, e.g. duplicates_dropped"},
        "scores": {"type": ["array", "null"], "items": NUMBER},
        "explanations": {"type": ["array", "null"], "items": {"type": "object"}},
    },
}  # fmt: skip
_EITHER = {"anyOf": [_INTERVAL, {"type": "null"}]}
_CHANGE = {"type": "object", "required": ["before", "now"], "properties": {"before": _EITHER, "now": _EITHER}}
CHANGED: dict[str, Any] = {
    "type": "object", "title": "PointChanged",
    "required": ["loop", "point_id", "model_version", "origin", "points", "appended", "changes", "threshold"],
    "properties": {
        "loop": TEXT, "point_id": TEXT, "model_version": TEXT, "origin": _ORIGIN, "points": {"type": "integer"},
        "appended": {"type": "integer"}, "start": TEXT, "end": TEXT, "threshold": NUMBER,
        "proposed": {"type": "integer"}, "changes": {"type": "array", "items": _CHANGE}, "seconds": NUMBER,
        "state": {"type": ["string", "null"]}, "refitted": TEXT, "too_old": {"type": "integer"},
        "notes": {"type": "object"}, "scores": {"type": ["array", "null"], "items": NUMBER},
    },
}  # fmt: skip
FAILED: dict[str, Any] = {
    "type": "object", "title": "NotPredicted", "required": ["point_id", "error"],
    "properties": {"point_id": TEXT, "error": _FAULT},
}  # fmt: skip
ITEMS: dict[str, Any] = {
    "type": "object", "required": ["items"],
    "properties": {"items": {"type": "array", "items": {"anyOf": [PREDICTED, FAILED]}}},
}  # fmt: skip
_TABLE = {"text/csv": {"schema": TEXT}}
ANSWER = {"application/json": {"schema": {"anyOf": [PREDICTED, ITEMS]}}, **_TABLE}
ANSWERS = {"application/json": {"schema": ITEMS}, **_TABLE}
CSV = {"text/csv": {"schema": {**TEXT, "description": "a header, then rows of time and values"}}}


def accepts(model: type[BaseModel], others: dict[str, Any] | None = None) -> dict[str, Any]:
    """What an endpoint that reads its body by hand says of it; ``others`` are bodies of other types."""
    content = {"application/json": {"schema": placed_schema(model)}, **(others or {})}
    return {"requestBody": {"required": True, "content": content}}


def placed_schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema with everything that it refers to in its place."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    placed: dict[str, Any] = _placed(schema, definitions)
    return placed


def _placed(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _placed(definitions[node["$ref"].rpartition("/")[2]], definitions)
        return {key: _placed(value, definitions) for key, value in node.items()}
    if isinstance(node, list):
        return [_placed(value, definitions) for value in node]
    return node
