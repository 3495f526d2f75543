"""What a launcher script starts, read from its text: bash is never run.

Covered is what launchers use: comments, quoting, continued lines, here-documents (their bodies are skipped), scalar
and array variables, `NAME+=(…)`, `"${NAME[@]}"`, `eval`, leading assignments and wrappers such as `env` and `setsid`.
Branches are all taken, in order. A command counts only where it is run: an array that is built and never run starts
nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.tree import Tree, text_of, walk

_HEREDOC = re.compile(r"(?<!<)<<(?!<)-?\s*(['\"]?)(\w+)\1")
_ASSIGN = re.compile(r"^(\w+)(\+?)=(.*)$", re.DOTALL)
_WHOLE_ARRAY = re.compile(r"^\$\{(\w+)\[[@*]\]\}$")
_SCALAR = re.compile(r"\$\{(\w+)(?:\[[@*]\])?\}|\$(\w+)")
_UNKNOWN = re.compile(r"^\$\{.*\}$|^\$\w+$", re.DOTALL)
_PREFIXES = frozenset(
    {"if", "then", "else", "elif", "while", "until", "do", "!", "{", "declare", "export", "local", "command", "time"}
)
_WRAPPERS = _PREFIXES | {"env", "setsid", "exec", "nohup", "eval"}
_PYTHONS = frozenset({"python", "python3", "torchrun", "accelerate", "deepspeed"})
_SHELLS = frozenset({"bash", "sh"})
_BREAKS = frozenset(";&|\n()")
_NAMELESS = re.compile(r"\$\{(?![\w@*#?$!-])")  # an expansion of no variable: bash stops with "bad substitution"
_BLANK = re.compile(r"[ \t\r]+|\\\n|#[^\n]*")
MOST_WORDS, MOST_CHARACTERS = 2_000, 100_000  # of one variable: a script that doubles a text forty times is cut short


class Command(msgspec.Struct, frozen=True):
    """A command that a script runs, with variables filled in as far as the text tells, and its line."""

    line: int
    words: tuple[str, ...]


class Start(msgspec.Struct, frozen=True):
    """Something that a launcher starts. kind: `module` (python -m), `script` (a file), `command` (a program).

    file: the path in the tree, empty if there is none. path, line: where it is started.
    """

    kind: str
    what: str
    file: str
    path: str
    line: int


class Word(msgspec.Struct, frozen=True):
    """A word with its line; `array` holds the words in the parentheses of `NAME=(…)`."""

    text: str
    line: int
    quoted: bool = False
    array: tuple[Word, ...] | None = None


def without_heredocs(text: str) -> str:
    """The script with the bodies of its here-documents blanked, so that line numbers stay."""
    lines, until = [], ""
    for line in text.split("\n"):
        lines.append("" if until else line)
        if until:
            until = "" if line.strip() == until else until
        elif not line.lstrip().startswith("#") and (opened := _HEREDOC.search(line)):
            until = opened[2]
    return "\n".join(lines)


class _Scanner:
    """Cuts a script into simple commands of words."""

    def __init__(self, text: str, line: int = 1) -> None:
        self.text, self.at, self.line = text, 0, line
        self.refused = 0  # the line of the first expansion that bash refuses

    @property
    def here(self) -> str:
        """The next character; empty at the end."""
        return self.text[self.at : self.at + 1]

    def commands(self) -> Iterator[list[Word]]:
        words: list[Word] = []
        while self.here:
            if self.here in _BREAKS:
                if words:
                    yield words
                words = []
                self._take()
            elif not self._skip_blank():
                words.append(self._word())
        if words:
            yield words

    def _take(self, count: int = 1) -> str:
        taken = self.text[self.at : self.at + count]
        self.at, self.line = self.at + count, self.line + taken.count("\n")
        return taken

    def _skip_blank(self) -> bool:
        """Pass over blanks, a continued line or a comment; True if there was one."""
        blank = _BLANK.match(self.text, self.at)
        return bool(blank and self._take(len(blank[0])))

    def _word(self) -> Word:
        line, quoted, text = self.line, False, ""
        while self.here and self.here not in " \t\r" and not self.text.startswith("\\\n", self.at):
            if self.here == "(" and text.endswith("="):
                return Word(text, line, array=self._array())
            if self.here in _BREAKS:
                break
            if self.here in "\"'":
                quoted, text = True, text + self._quoted()
            elif self.here == "$":
                text += self._dollar()
            else:
                if self.here == "\\":
                    self._take()
                text += self._take()
        return Word(text, line, quoted)

    def _array(self) -> tuple[Word, ...]:
        self._take()
        words: list[Word] = []
        while self.here and self.here != ")":
            if self.here in _BREAKS:
                self._take()
            elif not self._skip_blank():
                words.append(self._word())
        self._take()
        return tuple(words)

    def _quoted(self) -> str:
        mark, text = self._take(), ""
        while self.here and self.here != mark:
            if mark == '"' and self.here == "$":
                text += self._dollar()
            else:
                if mark == '"' and self.here == "\\":
                    self._take()
                text += self._take()
        self._take()
        return text

    def _dollar(self) -> str:
        """`$name`, `${…}`, `$(…)`: kept as written, nested brackets included."""
        text = self._take()
        pair = {"(": "()", "{": "{}"}.get(self.here, "")
        depth = int(bool(pair))
        text += self._take() if pair else ""
        while self.here and depth:
            depth += (self.here == pair[0]) - (self.here == pair[1])
            text += self._take()
        if _NAMELESS.search(text) and not self.refused:
            self.refused = self.line
        return text


def refused(text: str) -> int:
    """The line at which bash stops for an expansion without a name, as in `${:-900}`; 0 where there is none."""
    scanner = _Scanner(without_heredocs(text))
    for _ in scanner.commands():
        pass
    return scanner.refused


def word_lists(text: str, line: int = 1) -> Iterator[list[Word]]:
    """The words of each command and array of a script as they stand, and of those in a quoted text that is not told."""
    for words in _Scanner(without_heredocs(text), line).commands():
        yield words
        for word in words if words[0].text not in ("echo", "printf") else ():
            if word.array:
                yield list(word.array)
            elif word.quoted and len(word.text.split()) > 1:
                yield from word_lists(word.text, word.line)


def listed(module: ast.Module) -> Iterator[list[Word]]:
    """The words of each list or tuple that a Python module writes down; what is no string is an empty one."""
    for node in walk(module):
        if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
            yield [Word(text_of(e) or "", e.lineno) for e in node.elts]


class _Shell:
    """Runs through a script's commands, keeping variables, without running anything."""

    def __init__(self) -> None:
        self.scalars: dict[str, str] = {}
        self.arrays: dict[str, list[str]] = {}

    def run(self, text: str, line: int = 1) -> Iterator[Command]:
        for words in _Scanner(text, line).commands():
            rest = self._after_assignments(words)
            if not rest:
                continue
            filled = [w for word in rest for w in self._fill(word)]
            if filled and filled[0] == "eval":
                inner = " ".join(filled[1:])
                yield from (Command(rest[0].line, c.words) for c in _Shell().run(inner))
            else:
                yield Command(rest[0].line, tuple(filled))

    def _after_assignments(self, words: list[Word]) -> list[Word]:
        """Keep what leading assignments set, if nothing follows them; return the command's own words."""
        at, pending = 0, []
        for word in words:
            if word.text in _PREFIXES:
                at += 1
                continue
            match = _ASSIGN.match(word.text)
            if not match or word.text.startswith("-"):
                break
            pending.append((match, word))
            at += 1
        if at == len(words):
            for match, word in pending:
                self._assign(match, word)
        return words[at:]

    def _assign(self, match: re.Match[str], word: Word) -> None:
        name, adds, value = match.groups()
        if word.array is not None:
            items = [w for inner in word.array for w in self._fill(inner)]
            self.arrays[name] = [*(self.arrays.get(name, []) if adds else []), *items][:MOST_WORDS]
        elif not value.startswith("$("):
            self.scalars[name] = (self.scalars.get(name, "") if adds else "") + self._filled(value)

    def _fill(self, word: Word) -> list[str]:
        whole = _WHOLE_ARRAY.match(word.text)
        if whole and whole.group(1) in self.arrays:
            return self.arrays[whole.group(1)]
        return [self._filled(word.text)]

    def _filled(self, text: str) -> str:
        def value(m: re.Match[str]) -> str:
            name = m.group(1) or m.group(2)
            if m.group(0).endswith(("[*]}", "[@]}")):
                return " ".join(self.arrays[name]) if name in self.arrays else m.group(0)
            return self.scalars.get(name, m.group(0))

        return _SCALAR.sub(value, text)[:MOST_CHARACTERS]


def commands(text: str) -> list[Command]:
    """The commands that a script runs, in order."""
    return list(_Shell().run(without_heredocs(text)))


def started(command: Command) -> tuple[str, str] | None:
    """The kind and name of what a command starts: a module, a script or a program; None for anything else."""
    words = list(command.words)
    while words and (words[0] in _WRAPPERS or _ASSIGN.match(words[0]) or _UNKNOWN.match(words[0])):
        words.pop(0)
    if words[:2] in (["conda", "run"], ["micromamba", "run"]):
        words = _after_options(words[2:])
    if words[:1] == ["-m"] and len(words) > 1:  # the interpreter's name stood in a variable
        return "module", words[1]
    if not words:
        return None
    program, rest = words[0].rsplit("/", 1)[-1], words[1:]
    if program in _PYTHONS:
        return _python(rest)
    if program in _SHELLS:
        script = next((w for w in rest if not w.startswith("-")), "")
        return ("script", script) if script else None
    if program == "swift" and rest:
        return "command", f"swift {rest[0]}"
    return ("script", words[0]) if words[0].endswith((".sh", ".py")) and "/" in words[0] else None


def _after_options(words: list[str]) -> list[str]:
    """What `conda run` runs: the words after its options, of which `-n` and `-p` take a value."""
    while words and words[0].startswith("-"):
        words = words[2 if words[0] in ("-n", "-p", "--name", "--prefix", "--cwd") else 1 :]
    return words


def _python(rest: list[str]) -> tuple[str, str] | None:
    if "-m" in rest[:-1]:
        return "module", rest[rest.index("-m") + 1]
    script = next((w for w in rest if w.endswith(".py")), "")
    return ("script", script) if script and "-c" not in rest else None


def starts(tree: Tree, script: str) -> list[Start]:
    """What a shell script starts by itself and through what it starts, in order: the first of each kind and name."""
    seen: dict[tuple[str, str], Start] = {}
    for start in _starts(tree, script, set()):
        seen.setdefault((start.kind, start.what), start)
    return list(seen.values())


def _starts(tree: Tree, script: str, seen: set[str]) -> Iterator[Start]:
    """What a shell script starts, and what is started by what it starts; each file is read once."""
    seen.add(script)
    for command in commands(tree.text(script)):
        what = started(command)
        if what is None:
            continue
        kind, name = what
        file = _file_of(tree, kind, name, script)
        shown = file if kind == "script" and file else name
        yield Start(kind, shown, file, script, command.line)
        if file and file not in seen:
            if file.endswith(".sh"):
                yield from _starts(tree, file, seen)
            elif kind == "module":
                seen.add(file)
                yield from _starts_of_module(tree, file)


def _file_of(tree: Tree, kind: str, name: str, script: str) -> str:
    files: tuple[str, ...] = ()
    if kind == "module":
        base = name.replace(".", "/")
        files = (f"{base}.py", f"{base}/__main__.py", f"{base}/__init__.py")
    elif kind == "script":
        below = name.split("}/", 1)[-1] if name.startswith("${") else name
        files = (below, (PurePosixPath(script).parent / below).as_posix())
    return next((f for f in files if _stands(tree, f)), "")


def _stands(tree: Tree, path: str) -> bool:
    try:
        return tree.exists(path)
    except SurfaceFailed:  # the path leaves the tree
        return False


def _starts_of_module(tree: Tree, file: str) -> Iterator[Start]:
    """Commands that a Python launcher builds: lists of words that start a program or a module."""
    for first, *rest in listed(tree.module(file)):
        words = [first.text, *(w.text for w in rest)]
        if first.text == "swift" and rest and rest[0].text:
            yield Start("command", f"swift {rest[0].text}", "", file, first.line)
        elif "-m" in words[:-1] and first.text in ("torchrun", "python", ""):
            name = words[words.index("-m") + 1]
            yield Start("module", name, _file_of(tree, "module", name, file), file, first.line)
