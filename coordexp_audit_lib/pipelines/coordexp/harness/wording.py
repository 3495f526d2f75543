"""How a tree's era writes an answer: `{"objects": [...]}` with bare coordinate tokens, or, before 2026-02-18, numbered
records, `{"object_1": {...}}`, in strict JSON with quoted tokens.

Claims are about the newer writing. What an older tree renders is read as JSON and written anew, object by object and
coordinate by coordinate, so that what is lost, doubled or moved is seen just as well.
"""

import functools
import json
import re

from coordexp_audit_lib.pipelines.api import CannotImport, Unbound, load
from coordexp_audit_lib.pipelines.coordexp import symbols

OPENING = '{"objects": ['
TOKEN = re.compile(r"<\|coord_[0-9]+\|>")
NUMBERED = re.compile("object_([0-9]+)")


@functools.lru_cache(maxsize=None)
def numbered():
    """Whether this tree writes numbered records: it has no transpiler of the newer writing."""
    try:
        load(symbols.TRANSPILER[0])
    except CannotImport:
        return True
    return False


def payload(objects):
    """The structured answer that a dataset's sample carries."""
    return {"object_%d" % i: one for i, one in enumerate(objects, 1)} if numbered() else {"objects": objects}


def objects_of(payload):
    """The objects of such an answer, in order."""
    return payload["objects"] if "objects" in payload else list(payload.values())


def rendered(text):
    """A whole answer that the tree rendered, in the newer writing; as it is where it is none of numbered records."""
    if not numbered():
        return text
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except ValueError:
        return text
    if not isinstance(pairs, list) or not all(NUMBERED.fullmatch(str(key)) for key, _ in pairs):
        return text
    if [key for key, _ in pairs] != ["object_%d" % i for i in range(1, len(pairs) + 1)]:
        return text  # a number left out or out of order is the reader's to refuse
    return '{"objects": [%s]}' % ", ".join(record(fields) for _, fields in pairs)


def record(fields):
    written = []
    for key, given in fields:
        value = given
        if isinstance(given, list) and given and all(isinstance(v, list) and len(v) == 2 for v in given):
            value = [one for pair in given for one in pair]  # a polygon as points [x, y]
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            written.append("%s: [%s]" % (json.dumps(key), ", ".join(value)))
        else:
            written.append("%s: %s" % (json.dumps(key), json.dumps(value, ensure_ascii=False)))
    return "{%s}" % ", ".join(written)


def spoken(text):
    """A rollout of the newer writing, whole or broken off, in this tree's."""
    if not numbered() or not text.startswith(OPENING):
        return text
    made, depth, count, inside = ["{"], 0, 0, False
    at = len(OPENING)
    while at < len(text):
        token = None if inside else TOKEN.match(text, at)
        if token:
            made.append('"%s"' % token.group())
            at = token.end()
            continue
        char = text[at]
        if inside and char == "\\":
            made.append(text[at : at + 2])
            at += 2
            continue
        inside ^= char == '"'
        if not inside and char == "{" and depth == 0:
            count += 1
            made.append('"object_%d": ' % count)
        if not (char == "]" and depth == 0 and not inside):
            made.append(char)
        if not inside:
            depth += (char == "{") - (char == "}")
        at += 1
    return "".join(made)


def newer_only(what):
    """Raises:
    Unbound: this tree reads numbered records, which the inputs of this question are not.
    """
    if numbered():
        raise Unbound("%s of this tree are numbered records (before 2026-02-18), which the inputs are not" % what)
