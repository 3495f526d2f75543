"""Secrets: which text looks like one, and how it is kept out of what is written.

Three nets, because none is enough alone: the names of settings that hold secrets, the shapes of well-known tokens, and
the values that this process's own environment holds under such names. The last one finds a key of 40 hex digits in a
command line, which by its shape could as well be a commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

MARK = "<redacted>"
MIN_KNOWN = 6  # a shorter value would be found in innocent words
FILE_SUFFIXES = (
    *(".json", ".jsonl", ".yaml", ".yml", ".txt", ".log", ".md", ".toml", ".ini", ".cfg", ".env", ".sh", ""),
    *(".jinja", ".csv", ".out", ".err"),
)
# Weights, states of optimizers and generators, pictures: not read, and no claim is about what they hold.
BINARY_SUFFIXES = (".safetensors", ".pt", ".pth", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")

_NAME = re.compile(
    r"(?:^|[^a-z])(?:secrets?|passwords?|passwd|pwd|credentials?|api_?keys?|access_?keys?(?:_?ids?)?|secret_?keys?"
    r"|private_?keys?|authorization|cookies?|netrc"
    r"|(?:hf|hub|hugging_?face|auth|oauth|access|api|bearer|refresh|session|security|github|gitlab|git|wandb|sdk|slack"
    r"|modelscope|ms|id|private|personal|deploy|service)_?tokens?)$"
)
_BARE = re.compile(r"^(?:token|auth|passphrase|pat)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Shapes of tokens that name their issuer. `keep` is the part that is no secret and stays.
SHAPES: dict[str, re.Pattern[str]] = {
    "password in a URL": re.compile(r"(?P<keep>(?<![\w+.-])[A-Za-z][\w+.-]*://)[^\s/@'\"<>]+@"),
    "key in a URL's query": re.compile(
        r"(?P<keep>[?&](?:[\w-]*(?:token|secret|password|signature|credential)|api_?key|key|sig|auth)=)[^\s&#'\"<>]+",
        re.IGNORECASE,
    ),
    "Hugging Face token": re.compile(r"\b(?P<keep>)(?:hf|api_org)_[A-Za-z0-9]{16,}"),
    "GitHub token": re.compile(r"\b(?P<keep>)(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
    "GitLab token": re.compile(r"\b(?P<keep>)gl(?:pat|dt|rt|cbt|ptt)-[\w-]{16,}"),
    "AWS access key": re.compile(r"\b(?P<keep>)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    "Slack token": re.compile(r"\b(?P<keep>)xox[abeoprs]-[\w-]{10,}"),
    "Google key": re.compile(r"\b(?P<keep>)(?:AIza[\w-]{30,}|ya29\.[\w-]{20,})"),
    "provider key": re.compile(r"\b(?P<keep>)(?:sk|pk|rk)-[\w-]{20,}"),
    "PyPI token": re.compile(r"\b(?P<keep>)pypi-[\w-]{20,}"),
    "web token": re.compile(r"(?<![\w-])(?P<keep>)eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{6,}"),
    "authorization header": re.compile(r"(?P<keep>\b(?:Bearer|Basic)\s+)(?!<)[\w+/=.~-]{12,}", re.IGNORECASE),
    "private key": re.compile(
        r"(?P<keep>)-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    ),
}
# `name: value`, `"name": "value"`, `name=value`, `--name value` in text that is not parsed.
_QUOTED = r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
_STATED = rf"""{_QUOTED}|[|>][-+\d]*[ \t]*(?:\n[ \t]+[^\n]*)+|[^\n,;}}\]&"'#]+"""
_NEXT = rf"""{_QUOTED}|[^\s,;}}\]&"']+"""
_KEY = r"""(?<![\w.-])(?:--)?["']?(?P<name>[A-Za-z][\w.-]*)["']?"""
_PAIR = re.compile(rf"{_KEY}(?:\s*[:=][ \t]*(?P<stated>{_STATED})|[ \t]+(?P<next>{_NEXT}))")
_EMPTY = re.compile(r"^[\"']?(?:null|none|true|false|~|[\d.]+|\*+|\$\{?\w+\}?|<\w*>|)[\"']?$", re.IGNORECASE)


class Sighting(msgspec.Struct, frozen=True):
    """Something that looks like a secret: its kind and where it stands. The text itself is never kept."""

    kind: str
    line: int
    key: str = ""


def is_secret_name(name: str) -> bool:
    """Whether a setting of that name holds a secret: `HF_TOKEN` does, `max_new_tokens` and `pad_token` do not."""
    last = re.split(r"[.\[\]]", name.strip("-").rstrip("]"))[-1]
    words = _CAMEL.sub("_", last).lower().replace("-", "_")
    if last.isupper() and words.endswith("_key"):  # as environment variables are written
        return True
    return _BARE.match(words) is not None or _NAME.search(words) is not None


def known_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values that an environment holds under secret names or with secrets in their shape, longest first."""
    found = {v for k, v in environ.items() if is_secret_name(k) and len(v) >= MIN_KNOWN and not _EMPTY.match(v)}
    for value in environ.values():
        for found_at in SHAPES["password in a URL"].finditer(value):
            password = found_at.group()[len(found_at["keep"]) : -1].partition(":")[2]
            found |= {password} if len(password) >= MIN_KNOWN else set()
    return longest_first(found | {quote(v, safe="") for v in found})


def longest_first(secrets: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order in which they are redacted: one that holds another goes before it."""
    return tuple(sorted(set(secrets), key=lambda v: (-len(v), v)))


def redact(text: str, known: Iterable[str] = ()) -> str:
    """`text` with everything that looks like a secret replaced by a mark."""
    for value in known:
        text = text.replace(value, MARK)
    for kind, shape in SHAPES.items():
        text = shape.sub(rf"\g<keep>{MARK}{'@' if kind == 'password in a URL' else ''}", text)
    return text


def redact_lines(text: str, known: Iterable[str] = ()) -> str:
    """The same for text that is not parsed (a YAML source): a value after a secret's name goes as well."""
    known = tuple(known)
    return _PAIR.sub(_without_value, redact(text, known))


def _without_value(pair: re.Match[str]) -> str:
    whole, group = pair.group(), "stated" if pair["stated"] is not None else "next"
    value = pair[group].strip()
    if MARK in value or _EMPTY.match(value) or not is_secret_name(pair["name"]):
        return whole
    if group == "next" and not whole.startswith("--"):
        return whole  # two words of prose
    return f'{whole[: pair.start(group) - pair.start()]}"{MARK}"'


def named(value: Any, key: str = "") -> Iterator[str]:
    """The texts that stand under secret names in builtins."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from named(below, str(name) if not is_secret_name(key) else key)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from named(below, key)
    elif isinstance(value, str) and is_secret_name(key) and len(value) >= MIN_KNOWN and not _EMPTY.match(value):
        yield value


def redacted(value: Any, known: Iterable[str] = (), key: str = "") -> Any:
    """Builtins without secrets: mappings' keys and values, list items, `--flag value` pairs of a command line."""
    known = tuple(known)
    if isinstance(value, Mapping):
        return {redact(str(k), known): redacted(v, known, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        flags = ["", *(v if isinstance(v, str) and v.startswith("--") else "" for v in value)]
        return [redacted(v, known, f if is_secret_name(f) else key) for v, f in zip(value, flags, strict=False)]
    if isinstance(value, str):
        if key and is_secret_name(key) and not _EMPTY.match(value) and not value.startswith("--"):
            return MARK
        return redact_lines(value, known)
    return value


def sightings(text: str, known: Iterable[str] = ()) -> Iterator[Sighting]:
    """Everything in `text` that looks like a secret, in order of kinds; what is already redacted is none."""
    for value in known:
        if value in text:
            yield Sighting("a value that the environment holds as a secret", text.count("\n", 0, text.index(value)) + 1)
    for kind, shape in SHAPES.items():
        for found in shape.finditer(text):
            if MARK not in found.group():
                yield Sighting(kind, text.count("\n", 0, found.start()) + 1)
    for pair in _PAIR.finditer(text):
        if _without_value(pair) != pair.group():
            yield Sighting("value under a secret's name", text.count("\n", 0, pair.start()) + 1, pair["name"])
