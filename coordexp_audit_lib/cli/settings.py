"""`[tool.coordexp-audit]` of the audited project's pyproject.toml: options that need not be typed each time.

It is read as data out of a tree that nobody trusts. So it may say what is judged and what fails, which the report
repeats; what runs code or widens the walls (`--python`, `--adapter`, `--claims`, `--readable`) is for the command line
alone.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.errors import UsageError, did_you_mean, unusable
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.report.text import shown

FILE, TABLE = "pyproject.toml", "coordexp-audit"
MOST = 1 << 20  # bytes of the file that are read
FAIL_ON = ("P0", "P1", "P2", "never")
NOT_THERE = ("python", "adapter", "pipeline", "claims", "readable", "time-limit", "jobs", "target", "out")


class Settings(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """What the table may hold; the names are those of the options."""

    config: list[str] | None = None
    boundary: list[str] | None = None
    select: list[str] | None = None
    ignore: list[str] | None = None
    fail_on: str | None = None
    baseline: str | None = None


KEYS = [field.encode_name for field in msgspec.structs.fields(Settings)]


def read_settings(root: Path) -> Settings:
    """What the tree says; nothing where it has no such file or table.

    Raises:
        UsageError: the file can't be read, or the table has a key or value that there is none of.
    """
    path = root / FILE
    try:
        made = tomllib.loads(content(path, MOST).decode("utf-8"))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise unusable(error, str(path)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        remedy = "mend it, or leave it unread with --isolated"
        raise UsageError(f"not TOML: {error}", where=str(path), remedy=remedy) from error
    tool = made.get("tool", {})
    table = tool.get(TABLE, {}) if isinstance(tool, dict) else {}
    where = f"{path}, [tool.{TABLE}]"
    if not isinstance(table, dict):
        raise UsageError("it is no table", where=where, remedy=f"write [tool.{TABLE}]")
    for key in table:
        if key in NOT_THERE:
            remedy = f"give --{key} on the command line"
            raise UsageError(f"{key!r} is not for the audited tree to say", where=where, remedy=remedy)
        if key not in KEYS:
            remedy = did_you_mean(key, KEYS, f"use one of {', '.join(KEYS)}")
            raise UsageError(f"there is no key {key!r}", where=where, remedy=remedy)
    try:
        settings = msgspec.convert(table, type=Settings)
    except msgspec.ValidationError as error:
        raise UsageError(str(error), where=where, remedy="see `coordexp-audit check --help`") from error
    if settings.fail_on not in (None, *FAIL_ON):
        remedy = f"use one of {', '.join(FAIL_ON)}"
        raise UsageError(f"fail-on is {settings.fail_on!r}", where=where, remedy=remedy)
    return settings


def take_settings(arguments: argparse.Namespace) -> str:
    """Fill in what the command line leaves open by what the target's tree says; a line on what was taken from there.

    Raises:
        UsageError: the tree's settings are unusable.
    """
    root = Path(arguments.target).expanduser()
    if not arguments.target or not root.is_dir() or arguments.isolated:
        return ""
    settings, taken = read_settings(root), {}
    for key in KEYS:
        name = key.replace("-", "_")
        value: Any = getattr(settings, name)
        if value is None or getattr(arguments, name) not in (None, []):
            continue
        setattr(arguments, name, root / value if name == "baseline" else value)
        taken[key] = value
    told = ", ".join(f"{key} = {shown(value)}" for key, value in taken.items())
    return f"by the tree's {FILE}: {told}" if told else ""
