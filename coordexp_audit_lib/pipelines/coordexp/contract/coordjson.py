"""Where CoordExp reads and writes its format: the functions by name, and the folders that runs pass through."""

from __future__ import annotations

CONTRACT = {
    "coordjson.format": {
        "transpilers": ("coordjson_to_strict_json", "coordjson_to_strict_json_with_meta", "parse_coordjson"),
        "writers": ("dumps_coordjson",),
    },
    "coordjson.integers": False,  # whether a geometry may be of bare integers 0..999 instead of coordinate tokens
    "coordjson.scanned": {"roots": ("src",), "leave_out": ("src/analysis",)},
}
# "either with bare coord tokens or bare norm1000 JSON integers" (docs/data/CONTRACT.md, since 2026-04-18, d68a4bb).
CHANGES = {"2026-04-18": {"coordjson.integers": True}}
