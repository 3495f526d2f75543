"""Boundary 04: how a CoordExp tree writes and reads assistant text.

The format is that of `{"objects": [...]}` with bare coordinate tokens, which came with the transpiler module on
2026-02-18. A tree without that module speaks another format, so these surfaces are missing there.
"""

from coordexp_audit_lib.kit.boxes import TOKENS
from coordexp_audit_lib.kit.coordjson import OPENING
from coordexp_audit_lib.kit.tracing import growth
from coordexp_audit_lib.pipelines.api import binds, watched
from coordexp_audit_lib.pipelines.coordexp import symbols


@binds("coordjson.render", dumps=symbols.DUMPS_COORDJSON, build=symbols.BUILD_OBJECT, token=symbols.INT_TO_TOKEN)
def render(request, here):
    def made(thing):
        value = [here.token(k) for k in thing["values"]]
        told = {"desc": thing["desc"], "geometry_key": thing["geometry"], "geometry_value": value}
        return here.build(**told, object_field_order=request["order"])

    return {"text": here.call(lambda: here.dumps({"objects": [made(thing) for thing in request["things"]]}))}


@binds("coordjson.parse", parse=symbols.PARSE_COORDJSON)
def parse(request, here):
    made = here.call(here.parse, request["text"], mode=request["mode"], object_field_order=request["order"])
    return {
        "records": [record(r) for r in made.records],
        "dropped": dict(made.dropped_invalid_by_reason),
        "incomplete_tail": made.dropped_incomplete_tail,
        **{"container_start": made.container_start, "container_end": made.container_end},
        **{"truncated": bool(made.truncated), "failed": bool(made.parse_failed)},
        "dropped_total": getattr(made, "dropped_invalid_records", None),
    }


def record(made):
    lists = {"values": made.geometry_values, "key_order": made.key_order}
    spans = {"span": made.record_span, "geometry_span": made.geometry_span}
    values = {"index": made.index, "desc": made.desc, "geometry": made.geometry_key}
    return {**values, **{name: list(value) for name, value in {**lists, **spans}.items()}}


@binds("coordjson.transpile", transpile=symbols.TRANSPILE)
def transpile(request, here):
    text, meta = here.call(here.transpile, request["text"], mode=request["mode"], object_field_order=request["order"])
    return {"text": text, "failed": bool(meta.parse_failed)}


@binds("coordjson.growth", parse=symbols.PARSE_COORDJSON)
def salvage_growth(request, here):
    parser = here.parse  # imported before anything is measured

    def work(text):
        # What is no parser has no growth: the records must be there.
        len(parser(text, mode="salvage", object_field_order=request["order"]).records)

    return grown(here, work, request["texts"])


@binds("coordjson.prediction_growth", load=symbols.LOAD_PREDICTION)
def prediction_growth(request, here):
    def work(text):
        if not isinstance(here.load(text), (dict, type(None))):
            raise TypeError("the reading of a prediction is neither a mapping nor None")

    return grown(here, work, request["texts"])


@binds("coordjson.rollout_growth", parse=symbols.PARSE_ROLLOUT.first)
def rollout_growth(request, here):
    """A vocabulary with one token a character and one a coordinate will do: the number of tokens is what counts."""
    parser = here.parse
    options = here.fitting(parser, object_field_order=request["order"])

    def work(tokens):
        ids, letters = tokens
        len(parser(tokenizer=Letters(letters), response_token_ids=list(ids), **options).valid_objects)

    return grown(here, work, [tokenized(text) for text in request["texts"]])


def grown(here, work, inputs):
    """How the work grows; where its lines are watched the largest input is enough, and nothing is measured."""
    if watched():
        here.call(work, inputs[-1])
        return {"lines": 0.0, "time": "unclear"}
    return here.call(growth, work, inputs)


class Letters:
    """A tokenizer: ids 0..999 are the coordinate tokens, the others stand for one character each."""

    def __init__(self, letters):
        self.pieces = [*TOKENS, *letters]
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}

    def decode(self, ids, **_):
        return "".join(self.pieces[i] for i in ids)

    def encode(self, text, **_):
        return [self.ids.setdefault(c, 0) for c in text]

    def convert_tokens_to_ids(self, tokens):
        return self.ids.get(tokens, 0) if isinstance(tokens, str) else [self.ids.get(t, 0) for t in tokens]


def tokenized(text):
    """Token ids of a text, and the characters behind the ids behind the coordinate tokens."""
    pieces, at = [], 0
    while at < len(text):
        end = text.find("|>", at) + 2 if text.startswith("<|coord_", at) else at + 1
        pieces.append(text[at:end])
        at = end
    letters = sorted({p for p in pieces if len(p) == 1} | set(OPENING))
    ids = {piece: i for i, piece in enumerate([*TOKENS, *letters])}
    return [ids[p] for p in pieces], letters
