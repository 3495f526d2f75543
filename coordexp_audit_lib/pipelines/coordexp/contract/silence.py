"""Where CoordExp's core paths lie."""

CONTRACT = {"silence.core_folder": "src"}
