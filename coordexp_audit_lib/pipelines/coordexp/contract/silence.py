"""Where CoordExp's core paths lie."""

from __future__ import annotations

CONTRACT = {"silence.core_folder": "src"}
