"""The key paths of a materialised config, through the tree's own loader, each with what set it.

Only facts leave: a short value as JSON, anything else as its kind, size and digest, prompts always so.
"""

import dataclasses
import json
import os
from collections.abc import Mapping

from coordexp_audit_lib.pipelines.api import binds
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness.configs import PROMPT_KEYS, sha

SHORT = 80
NO_DEFAULT = object()


READ = {"load": symbols.MATERIALISE, "load_yaml": symbols.LOAD_YAML, "extended": symbols.LOAD_EXTENDED}
OLDER = {"prompts": symbols.RESOLVE_PROMPTS.optional, "materialise": symbols.MATERIALISE_MERGED.optional}


@binds("pipeline_map.keys", **READ, **OLDER)
def keys(request, here):
    path = os.path.join(here.tree, *request["config"].split("/"))
    if here.chosen["load"] != symbols.MATERIALISE[0] and here.prompts and here.materialise:
        # before 2026-02-20 the public function also builds upstream's arguments, which reaches for a model
        raw = here.call(here.extended, path)
        config = here.call(here.materialise, raw, here.call(here.prompts, raw))
    else:
        config = here.call(here.load, path)
    chain = files(here, path)
    found: dict[str, list[dict[str, object]]] = {}
    for name, value, default in leaves("", config, NO_DEFAULT):
        found.setdefault(name, []).append({"path": name, "source": source(name, value, default, chain), "value": value})
    rows = [dict(found[n][0], value=shown(n, [r["value"] for r in found[n]])) for n in sorted(found)]
    return {"chain": [os.path.relpath(p, here.tree) for p, _ in chain], "keys": [placed(r, here.tree) for r in rows]}


def files(here, path, seen=()):
    """The YAML files that make up a config, the most basic first, each with its own content."""
    if path in seen:
        return []
    raw = here.call(here.load_yaml, path)
    raw = dict(raw) if isinstance(raw, Mapping) else {}
    bases = raw.pop("extends", None) or raw.pop("inherit", None) or []
    found = []
    for base in [bases] if isinstance(bases, str) else bases:
        found += files(here, os.path.normpath(os.path.join(os.path.dirname(path), base)), (*seen, path))
    return [*found, (path, raw)]


def leaves(path, value, default):
    """Every leaf below a value: dotted path, value, and the schema's default for it, if it has one."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            name = "%s.%s" % (path, field.name) if path else field.name
            inherited = getattr(default, field.name, NO_DEFAULT) if type(default) is type(value) else NO_DEFAULT
            own = inherited if inherited is not NO_DEFAULT else field_default(field)
            yield from leaves(name, getattr(value, field.name), own)
    elif isinstance(value, Mapping) and value:
        for key in value:
            inner = default.get(key, NO_DEFAULT) if isinstance(default, Mapping) else NO_DEFAULT
            yield from leaves("%s.%s" % (path, key) if path else str(key), value[key], inner)
    elif isinstance(value, (list, tuple)) and value and all(is_node(v) for v in value):
        for item in value:
            yield from leaves(path + "[]", item, NO_DEFAULT)
    else:
        yield path, value, default


def is_node(value):
    return dataclasses.is_dataclass(value) or isinstance(value, Mapping)


def field_default(field):
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return NO_DEFAULT if field.default is dataclasses.MISSING else field.default


def source(path, value, default, chain):
    """The last file that sets the key; else the schema's default; else the loader itself."""
    for name, raw in reversed(chain):
        if sets(raw, path.split(".")):
            return name
    return "schema default" if default is not NO_DEFAULT and value == default else "loader"


def sets(raw, parts):
    """Whether a file's content says something about a key: sets it, or sets a section above it to no mapping."""
    node = raw
    for i, part in enumerate(parts):
        key = part[:-2] if part.endswith("[]") else part
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
        if not isinstance(node, Mapping):
            return i == len(parts) - 1 or part.endswith("[]")
    return True


def shown(path, values):
    """A short value as JSON; a long one, a list of many, or a prompt as its kind, size and digest."""
    value = values[0] if len(values) == 1 else values
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=True)
    if value is None or (len(text) <= SHORT and path.rsplit(".", 1)[-1] not in PROMPT_KEYS):
        return text
    size = "%d characters" % len(value) if isinstance(value, str) else "%d entries" % len(value)
    kind = "text" if isinstance(value, str) else "list"
    return "%s of %s, sha256 %s" % (kind, size, sha(text))


def placed(row, tree):
    """A row with the source named from the tree's root."""
    return dict(row, source=os.path.relpath(row["source"], tree) if os.path.isabs(row["source"]) else row["source"])
