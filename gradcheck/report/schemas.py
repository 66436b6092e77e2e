"""The JSON Schema of a report, from its types. `schema.json` beside this file is what this module gives."""
from __future__ import annotations

from typing import Any

import msgspec

from ..evidence import SCHEMA_VERSION, Report
from .codec import NON_FINITE, builtins

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REAL = {"description": "A number; JSON has no other way to say these three.", "anyOf": [{"type": "number"}, {"enum": [*NON_FINITE]}]}


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of what `to_json` writes."""
    (top,), parts = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    parts["Report"]["required"].append("schema_version")
    return {"$schema": DIALECT, "title": f"gradcheck report {SCHEMA_VERSION}", **top,
            "$defs": {**builtins(_real(parts)), "Real": REAL}}


def _real(node: Any) -> Any:
    """Every `number` of a schema as a reference to `Real`; what a schema says elsewhere stays."""
    if isinstance(node, list):
        return [_real(n) for n in node]
    if not isinstance(node, dict):
        return node
    inside = {k: v if k in ("default", "enum", "const") else _real(v) for k, v in node.items()}
    if inside.get("type") == "number":
        return {**{k: v for k, v in inside.items() if k != "type"}, "$ref": "#/$defs/Real"}
    return inside
