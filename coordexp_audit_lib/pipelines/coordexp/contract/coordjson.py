"""Where CoordExp reads and writes its format: the functions by name, and the folders that runs pass through."""

from __future__ import annotations

CONTRACT = {
    "coordjson.format": {
        "transpilers": ("coordjson_to_strict_json", "coordjson_to_strict_json_with_meta", "parse_coordjson"),
        "writers": ("dumps_coordjson",),
    },
    "coordjson.scanned": {"roots": ("src",), "leave_out": ("src/analysis",)},
}
