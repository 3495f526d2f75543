"""The worker: answers surfaces inside the target's interpreter. Standard library only, Python 3.10 and later.

Started by path, not as a package: `python worker.py READ_FD WRITE_FD [SOCKET_FD]`, or forked by one that was so
started with a socket, which answers nothing then (`sandbox/forking.py`). It speaks frames on these two private pipes: 4
bytes of length, big-endian, then that many bytes of UTF-8 JSON. The first frame sets up (`tree`, `scratch`, `answers`:
the folder of the pipeline's modules of answers, `frame`: the largest answer in bytes, `preload`: what a fork server is
to import, `readable`: what may be read beside its own). Every frame has an `id`, and its answer carries the same `id`
and one of `ready` (the process id, with that of its `supervisor` and the `walls` around it), `about`, `value`,
`refusal` {"type", "message", and `where` {"path", "line"}: the innermost line of the tree, if one raised}, `traced`
(what ran, of a question that came with `trace`; `kit.lines`), `unbound` (a reason) or `failed` (a reason, one line;
with `spent` the worker is not to be asked again). With an answer come its `stand_ins`: [what is not installed, what
stood in for it, whether the answer is the same], if there were any.

With an `adapter` (a path) in the first frame, that file answers (`sandbox/adapting.py`); `config` is the user's file
for it. It tells what it `declared`, and answers also `unsupported` (an option): of this case there is no answer.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import re
import socket
import struct
import sys
import sysconfig
import traceback
import types
import zlib
from typing import Any

LIBRARY, OWN_ANSWERS = "coordexp_audit_lib", "coordexp_audit_answers"
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
SHARED_PREFIXES = ("/", "/usr", "/usr/local", "/opt")


def bare_library():
    """Make the library's `kit` and `pipelines` importable under their own names in an interpreter that lacks it.

    Its packages are made without running an `__init__` outside these two, and its dependencies are not needed.
    """
    if LIBRARY not in sys.modules:
        package = types.ModuleType(LIBRARY)
        package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
        sys.modules[LIBRARY] = package


def load_answers(folder, module):
    """Import a module of answers and return its name: the library's own by that name, others as a private package."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(here))
    if not inside.startswith(os.pardir):
        package = ".".join([LIBRARY, *inside.split(os.sep)])
    else:
        package = OWN_ANSWERS + "_" + format(zlib.crc32(folder.encode()), "x")
        if package not in sys.modules:
            sys.modules[package] = types.ModuleType(package)
            sys.modules[package].__path__ = [folder]
    name = package + "." + module
    importlib.import_module(name)
    return name


def bound_in(folder, module):
    """What a module of answers binds: by surface, its `pipelines.api.Bound`."""
    return importlib.import_module(LIBRARY + ".pipelines.api").bound_by(load_answers(folder, module))


class Paths:
    """Replaces this machine's paths in text, so that an answer is the same on every machine."""

    def __init__(self, tree, scratch):
        named = [(tree, "<tree>"), (scratch, "<scratch>"), (sys.executable, "<prefix>/bin/python")]
        places = [sys.prefix, sys.base_prefix, *(sysconfig.get_path(k) for k in ("stdlib", "purelib", "platlib"))]
        named += [(p, "<prefix>") for p in places if p not in SHARED_PREFIXES]
        self.names: dict[str, str] = {}
        for path, label in named:
            for form in (path, os.path.realpath(path)):
                self.names.setdefault(json.dumps(form, ensure_ascii=False)[1:-1], label)
        longest_first = sorted(self.names, key=len, reverse=True)
        self.pattern = re.compile("(?<![\\w.-])(%s)(?![\\w-])" % "|".join(map(re.escape, longest_first)))

    def hide(self, text):
        """`text` with the paths named by their role and memory addresses blanked."""
        text = self.pattern.sub(lambda m: self.names[m.group(1)], text)
        return ADDRESS.sub("0x0", text) if "0x" in text else text


class Worker:
    """Answers one message at a time."""

    def __init__(self, setup):
        self.tree, self.scratch, self.limit = setup["tree"], setup["scratch"], setup["frame"]
        self.paths = Paths(self.tree, self.scratch)
        bare_library()
        self.api = importlib.import_module(LIBRARY + ".pipelines.api")
        self.stand_ins = importlib.import_module(LIBRARY + ".kit.stand_ins")
        self.answers = setup["answers"]
        self.heres = {}
        self.adapted: Any = None
        self.adapter = setup.get("adapter") or ""
        if setup.get("adapter"):
            self.adapted = importlib.import_module(LIBRARY + ".sandbox.adapting").Adapted(setup, load_answers)
        sys.path[:0] = [p for p in setup.get("paths", [self.tree]) if p not in sys.path]
        os.chdir(self.scratch)

    def answer(self, message):
        """The bytes of the answer: strict JSON, not larger than the limit."""
        try:
            return self.pack(message["id"], self.said(message))
        except MemoryError:
            return self.pack(message["id"], {"failed": "it ran out of memory", "spent": True})
        except BaseException as error:  # also what hostile objects raise while they are written down
            reason = "the answer is not strict JSON: %s: %s" % (type(error).__name__, short(error))
            return self.pack(message["id"], {"failed": reason})

    def said(self, message):
        if "about" in message:
            return {"about": about(message["about"])}
        if "declare" in message:
            return self.declared()
        return self.trace(message) if "trace" in message else self.ask(message)

    def declared(self):
        """What the adapter says of itself."""
        try:
            return {"declared": self.adapted.declaration(), "source": self.adapted.source()}
        except BaseException as error:  # whatever its file raises
            return {"failed": "%s: %s%s" % (type(error).__name__, short(error), place(error, self.adapter))}

    def trace(self, message):
        """Answer anew, and tell which lines of the tree ran instead of the answer's value."""
        lines = importlib.import_module(LIBRARY + ".kit.lines")
        kept = os.path.join(self.scratch, ".lines")
        with self.api.anew(), lines.Watch(self.tree, kept, message["trace"]) as watch:
            answer = self.ask(message)
        if "failed" in answer or "unbound" in answer:
            return answer
        return {"traced": dict(watch.told(), refused="refusal" in answer)}

    def refusal(self, refused):
        """What the target's own function raised, and where."""
        told = {"type": escaped(refused.type_name), "message": escaped(refused.message)}
        raised = refused.__cause__ or refused
        place = importlib.import_module(LIBRARY + ".kit.lines").innermost(raised, self.tree)
        return dict(told, where={"path": escaped(place[0]), "line": place[1]}) if place else told

    def pack(self, number, answer):
        text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if len(text) > self.limit:
            raise ValueError("it is larger than the limit of %d bytes" % self.limit)
        packed = json.dumps({"id": number})[:-1].encode() + b"," + self.paths.hide(text)[1:].encode("utf-8")
        if len(packed) > self.limit:
            raise ValueError("it is larger than the limit of %d bytes" % self.limit)
        return packed

    def ask(self, message):
        """The answer, with what stood in for something that is not installed."""
        used = self.stand_ins.USED
        used.clear()
        answer = self.asked(message)
        return dict(answer, stand_ins=[list(one) for _, one in sorted(used.items())]) if used else answer

    def asked(self, message):
        """Call the binding; whatever is raised outside the target's own call is a failure, never a refusal."""
        api = self.api
        try:
            return {"value": self.value(message)}
        except api.Refused as refused:
            return {"refusal": self.refusal(refused)}
        except (api.Unbound, api.NotSupported) as error:
            word = "unbound" if isinstance(error, api.Unbound) else "unsupported"
            return {word: escaped(str(error))}
        except api.CannotImport as error:
            return {"failed": "cannot import " + short(error)}
        except MemoryError:
            return {"failed": "it ran out of memory", "spent": True}
        except BaseException as error:  # SystemExit and KeyboardInterrupt of the target end nothing here
            return {"failed": "%s: %s%s" % (type(error).__name__, short(error), place(error, self.adapter))}

    def value(self, message):
        """What the binding, or the adapter, answers."""
        if self.adapted is not None:
            return self.adapted.answer(message["surface"], message["request"])
        bound, here = self.find(message)
        return bound.function(message["request"], here)

    def find(self, message):
        """The binding of the surface and its `Here`, made when first asked for."""
        surface = message["surface"]
        if surface not in self.heres:
            bound = bound_in(self.answers, message["module"])[surface]
            self.heres[surface] = (bound, self.api.Here(self.tree, self.scratch, message["chosen"]))
        return self.heres[surface]


def about(distributions):
    """The interpreter's version and the installed versions of `distributions`."""
    from importlib import metadata

    versions = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"interpreter": platform.python_version(), "versions": versions}


def escaped(text):
    """Text fit for strict JSON: lone surrogates are written as escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def short(error):
    """An exception's message in one line of at most 500 characters."""
    try:
        text = escaped(str(error))
    except BaseException:  # a hostile __str__
        return "(its message cannot be read)"
    return " ".join(text[:2000].split())[:500]


def place(error, adapter=""):
    """Where it was raised: the last line of a binding or of the adapter, and the last line at all, as ` (packing.py:12,
    x.py:34)`."""
    while adapter and error.__cause__ is not None:  # what a failed `setup` raised is behind what every answer raises
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    mine = [f for f in frames if (f.filename == adapter if adapter else f.filename.startswith(own))]
    places = [f for f in mine if not f.filename.endswith("worker.py")][-1:]
    places += [f for f in frames[-1:] if f not in places and not f.filename.endswith("worker.py")]
    return (
        " (%s)" % ", ".join("%s:%d" % (os.path.basename(f.filename), f.lineno or 0) for f in places) if places else ""
    )


def read_exactly(fd, size):
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame(fd):
    (size,) = struct.unpack(">I", read_exactly(fd, 4))
    return json.loads(read_exactly(fd, size))


def write_frame(fd, payload):
    data = memoryview(struct.pack(">I", len(payload)) + payload)
    while data:
        data = data[os.write(fd, data) :]


def serve(read_fd, write_fd, control_fd=None):
    """Answer frames until the other side closes its pipe; with a socket, fork workers that do, until the end."""
    fds = [read_fd, write_fd] + ([control_fd] if control_fd is not None else [])
    for fd in fds:
        os.set_inheritable(fd, False)
    setup = read_frame(read_fd)
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != own]  # its modules would hide the target's
    if control_fd is None:
        serve_frames(read_fd, write_fd, setup)
        return
    worker = Worker(setup)
    write_frame(write_fd, worker.pack(setup["id"], ready()))
    forking = importlib.import_module(LIBRARY + ".sandbox.forking")
    printed = os.open(os.path.join(worker.scratch, "printed.txt"), os.O_WRONLY | os.O_CREAT, 0o600)
    for fd in (1, 2):  # nobody takes what a fork server prints
        os.dup2(printed, fd)
    if setup["preload"]:
        forking.preload(worker.tree, setup["preload"], worker.scratch)
    control = socket.socket(fileno=control_fd)
    while True:
        forking.fork(control, (read_fd, write_fd), serve_frames)


def serve_frames(read_fd, write_fd, setup=None):
    """Say that it is ready, and answer. setup: the first frame, if it was read already."""
    setup = setup or read_frame(read_fd)
    worker = Worker(setup)
    told = walled(setup)
    write_frame(write_fd, worker.pack(setup["id"], dict(ready(), walls=told)))
    while True:
        try:
            message = read_frame(read_fd)
        except EOFError:
            return
        write_frame(write_fd, worker.answer(message))


def walled(setup):
    """Close the last wall, before anything of the tree's runs; the names of those that stand."""
    walls = importlib.import_module(LIBRARY + ".sandbox.walls")
    base = os.path.dirname(setup["scratch"])
    places = [v for v in setup.values() if isinstance(v, str) and os.path.isabs(v)]
    places += [base, os.path.dirname(os.path.dirname(os.path.abspath(__file__))), *setup.get("readable", ())]
    if os.path.basename(base).startswith("forked-"):  # what its server imported may read there
        places += [os.path.join(os.path.dirname(base), name) for name in ("home", "tmp", "work")]
    if walls.only_read(walls.readable(places)):
        walls.stand([walls.READS])
    told = walls.standing()
    os.environ.pop(walls.STANDING, None)
    return told


def ready():
    """Which process answers, and which one watches over it."""
    walls = importlib.import_module(LIBRARY + ".sandbox.walls")
    own, above = walls.known_as()
    return {"ready": own, "supervisor": above}


if __name__ == "__main__":
    gc.set_threshold(100_000, 20, 50)  # what is imported stays: going over it again and again is a fifth of the time
    serve(*map(int, sys.argv[1:]))
