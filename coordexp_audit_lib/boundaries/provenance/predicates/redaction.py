"""Secrets: which text looks like one, and how it is kept out of what is written.

Three nets, because none is enough alone: the names of settings that hold secrets, the shapes of well-known tokens, and
the values that this process's own environment holds under such names. The last one finds a key of 40 hex digits in a
command line, which by its shape could as well be a commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

MARK = "<redacted>"
MIN_KNOWN = 6  # a shorter value would be found in innocent words
_NAME = re.compile(
    r"(?:^|[^a-z])(?:secrets?|passwords?|passwd|pwd|credentials?|api_?keys?|access_?keys?(?:_?ids?)?|secret_?keys?"
    r"|private_?keys?|authorization|cookies?|netrc"
    r"|(?:hf|hub|hugging_?face|auth|oauth|access|api|bearer|refresh|session|security|github|gitlab|git|wandb|sdk|slack"
    r"|modelscope|ms|id|private|personal|deploy|service)_?tokens?)$"
)
_BARE = re.compile(r"^(?:token|auth|passphrase|pat)$")
# What each of these ends in, but for an s: most names don't, and are told by it alone.
_ENDS: tuple[str, ...] = (
    "auth",
    "authorization",
    "cookie",
    "credential",
    "id",
    "key",
    "netrc",
    "passphrase",
    "passwd",
    "password",
)
_ENDS += ("pat", "pwd", "secret", "token")
# Words of prose too ("eos token: …"): amid other words they count where what follows looks like no word.
_WORDS = frozenset({"token", "auth", "pat", "secret", "secrets", "cookie", "cookies", "credential", "credentials"})
_BEFORE = re.compile(r"""(?:^|[{,;&(\[]|\b(?:export|env|set|declare -x))[\s"'\\>-]*$""")
_RANDOM = re.compile(r"""\\?["']?(?=[\w+/=.-]*\d)(?=[\w+/=.-]*[A-Za-z])[\w+/=.-]{16,}\\?["']?$""")
_STEP = re.compile(r"[.\[\]]")
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
    "authorization header": re.compile(r"(?P<keep>\b(?:Bearer|Basic)[ \t]+)(?!<)[\w+/=.~-]{12,}", re.IGNORECASE),
    "private key": re.compile(
        r"(?P<keep>)-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    ),
}
# Some piece that each of these shapes has: most texts have none, and are searched once instead of for every shape.
_SHAPED = re.compile(
    r"://|[?&]|hf_|api_org_|gh[pousr]_|github_pat_|gl(?:pat|dt|rt|cbt|ptt)-|A(?:KIA|SIA|BIA|CCA|Iza)|xox|ya29\.|[spr]k-"
    r"|pypi-|eyJ|bearer|basic|-----BEGIN",
    re.IGNORECASE,
)
# `name: value`, `"name": "value"`, `name=value`, `--name value` in text that is not parsed. What stands before a value
# is read by itself, so that a value that is no secret's hides none within it: `export X=…`, `INFO X=…`.
_QUOTED = r'\\{1,4}"[^"\n]*?\\{1,4}"|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
_STATED = re.compile(rf"""{_QUOTED}|[|>][-+\d]*[ \t]*(?:\n[ \t]+[^\n]*)+|[^\n,;}}\]&"'#]+""")
_NEXT = re.compile(rf"""{_QUOTED}|[^\s,;}}\]&"']+""")
_LITERAL = re.compile(r"""\\{0,4}(?P<q>["'])(?P<value>[^"'\s{}\\]{6,})\\{0,4}(?P=q)""")
_KEY = re.compile(
    r"""(?<![\w.-])(?P<flag>--)?(?:\\{0,4}["'])?(?P<name>[A-Za-z][\w.-]{0,200})(?![\w.-])(?:\\{0,4}["'])?"""
    r"""(?:\s*[:=][ \t]*|(?(flag)(?P<bare>[ \t]+)|(?!)))"""
)
_EMPTY = re.compile(r"^[\"']?(?:null|none|true|false|~|[\d.]+|\*+|\$\{?\w+\}?|<\|?\w*\|?>|)[\"']?$", re.IGNORECASE)
# Some word that every secret's name has; only around one is a name looked for.
_HINT = re.compile(r"token|secret|pass|pwd|credential|key|auth|cookie|netrc|pat", re.IGNORECASE)
_OPENING = re.compile(r"""(?:--)?(?:\\{0,4}["'])?[A-Za-z][\w.-]*$""")
_AROUND = 256


class Sighting(msgspec.Struct, frozen=True):
    """Something that looks like a secret: its kind and where it stands. The text itself is never kept."""

    kind: str
    line: int
    key: str = ""


def is_secret_name(name: str) -> bool:
    """Whether a setting of that name holds a secret: `HF_TOKEN` does, `max_new_tokens` and `pad_token` do not."""
    if not name.lower().rstrip("]s-").endswith(_ENDS):
        return False
    last = _last(name)
    words = _CAMEL.sub("_", last).lower().replace("-", "_")
    if last.isupper() and words.endswith("_key"):  # as environment variables are written
        return True
    return _BARE.match(words) is not None or _NAME.search(words) is not None


def _last(name: str) -> str:
    """The last step of a dotted path."""
    return _STEP.split(name.strip("-").rstrip("]"))[-1]


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
    text = (known if isinstance(known, Known) else Known(known)).replaced(text)
    for kind, shape in SHAPES.items() if _SHAPED.search(text) else ():
        text = shape.sub(rf"\g<keep>{MARK}{'@' if kind == 'password in a URL' else ''}", text)
    return text


class Known:
    """Values that are known to be secrets, found in a text in one pass however many there are.

    Each is found by its first `MIN_KNOWN` characters; where several begin at one place, the longest is taken.
    """

    FEW = 16

    def __init__(self, values: Iterable[str]) -> None:
        self.values = longest_first(v for v in values if v)
        self._by_start: dict[str, dict[int, set[str]]] = {}
        for value in self.values if len(self.values) > self.FEW else ():
            self._by_start.setdefault(value[:MIN_KNOWN], {}).setdefault(len(value), set()).add(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def replaced(self, text: str) -> str:
        """The text with a mark in the place of each."""
        if not self._by_start:
            for value in self.values:
                text = text.replace(value, MARK)
            return text
        made, kept, at = [], 0, 0
        while at + MIN_KNOWN <= len(text):
            found = self._at(text, at)
            if found:
                made += [text[kept:at], MARK]
                kept = at = at + found
            else:
                at += 1
        return "".join([*made, text[kept:]]) if made else text

    def _at(self, text: str, at: int) -> int:
        """The length of the longest that begins there; 0: none does."""
        for length, values in self._by_start.get(text[at : at + MIN_KNOWN], {}).items():
            if text[at : at + length] in values:
                return length
        return 0


def redact_lines(text: str, known: Iterable[str] = ()) -> str:
    """The same for text that is not parsed (a YAML source): a value after a secret's name goes as well."""
    text = redact(text, known)
    made, at = [], 0
    for one in _stated(text):
        quoted = text[one.end : one.end + 1] in ('"', "'")  # it stands within a text that is quoted as a whole
        made += [text[at : one.start], MARK if quoted else f'"{MARK}"']
        at = one.end
    return "".join([*made, text[at:]])


class _Stated(NamedTuple):
    """A value under a secret's name: where the name begins, and from where to where the value goes."""

    name: str
    at: int
    start: int
    end: int


def _stated(text: str, code: bool = False) -> Iterator[_Stated]:
    """What stands under secret names in unparsed text. code: of a program, in which only a literal is a value."""
    at = 0
    while hint := _HINT.search(text, at):
        opening = _OPENING.search(text, max(at, hint.start() - _AROUND), hint.end())
        key = _KEY.match(text, opening.start()) if opening else None
        at = key.end() if key else hint.end()
        if key is None:
            continue
        if not is_secret_name(key["name"]):
            continue
        kind = _LITERAL if code else _NEXT if key["bare"] else _STATED
        value = kind.match(text, at)
        if value is None or _innocent(value.group().strip(), key, text):
            continue
        # A value of several words ends where it does; blanks before a line's end are none of it.
        end = value.start() + len(value.group().rstrip())
        yield _Stated(key["name"], key.start(), value.start(), end)
        at = end


def _innocent(value: str, key: re.Match[str], text: str) -> bool:
    if MARK in value or _EMPTY.match(value):
        return True
    if key["flag"] or _last(key["name"]).lower() not in _WORDS:
        return False
    before = text[max(0, key.start() - 40) : key.start()].rpartition("\n")[2]
    return not _BEFORE.search(before) and not _RANDOM.match(value)


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
    known = known if isinstance(known, Known) else Known(known)
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


def sightings(text: str, *, code: bool = False, line: int = 1) -> Iterator[Sighting]:
    """Everything in `text` that looks like a secret, in order of kinds; what is already redacted is none.

    code: the text is a program, in which a name is followed by an expression, and only a literal is a value. line: the
    number of the text's first line.
    """
    for kind, shape in SHAPES.items() if _SHAPED.search(text) else ():
        lines = _Lines(text, line)
        for found in shape.finditer(text):
            if MARK not in found.group() and not (code and "{" in found.group()):
                yield Sighting(kind, lines.at(found.start()))
    lines = _Lines(text, line)
    for one in _stated(text, code):
        yield Sighting("value under a secret's name", lines.at(one.at), one.name)


class _Lines:
    """The numbers of lines, asked for in ascending order."""

    def __init__(self, text: str, first: int) -> None:
        self.text, self.line, self.seen = text, first, 0

    def at(self, place: int) -> int:
        self.line += self.text.count("\n", self.seen, place)
        self.seen = place
        return self.line
