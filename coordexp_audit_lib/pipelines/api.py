"""How an answer is declared. Standard library only, since this runs inside the target's interpreter::

    @binds("coordjson.parse", parse=symbols.PARSE_COORDJSON)
    def parse(request, here):
        result = here.call(here.parse, request["text"], mode=request["mode"])
        return {"records": ...}

Each keyword names one symbol with its candidates, as `package.module:qualname`: first the name at the reference commit,
then the names that it had or got at other commits. The first candidate that the tree defines is used. A last candidate
`?` makes the symbol optional (`here.parse` is then None where the tree lacks it).

A pipeline's answers are the modules of one folder, packages in it included. A target's modules are imported inside the
functions, through `here`, never at the top. An answer that finds, once it runs, that the tree cannot give it raises
`Unbound`.

Any other pipeline is described by an adapter: one file that makes an `Adapter`, and decorates a function for each
surface that it can answer (`coordexp-audit adapter new` writes one).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json

from coordexp_audit_lib.kit import lacking, stand_ins

OF_A_RUN = {
    "supervision.run": ("steps", "losses", "state", "trained", "frozen", "modes", "weights", "tied"),
    "packing.epoch": ("size", "epochs", "whole", "planned", "workers"),
    "metrics.run_log": ("rows",),
    "provenance.left": ("files", "leaks", "planted"),
}
_BOUND: dict[str, dict[str, "Bound"]] = {}
_ANEW: list[bool] = []


class Refused(Exception):
    """The target's own function raised: this is its answer, not a failure of the binding."""

    def __init__(self, type_name, message):
        super().__init__(message)
        self.type_name, self.message = type_name, message
        self.told = "%s: %s" % (type_name, message)


class Unbound(Exception):
    """Raised by a binding: this tree has nothing that answers the surface. The message says why."""


class NotSupported(Exception):
    """Raised by an answer: the pipeline has no such option. That case is left out, and the others decide the claim."""


class CannotImport(Exception):
    """A symbol that stands in the source could not be imported."""


class Bound:
    """One surface's binding: its function and, by local name, the candidates of each symbol."""

    def __init__(self, surface, function, symbols):
        self.surface, self.function, self.symbols = surface, function, symbols


def binds(surface, **symbols):
    """Declare the function that answers `surface`: `(request: dict, here: Here) -> dict`."""

    def register(function):
        known = _BOUND.setdefault(function.__module__, {})
        if surface in known:
            raise ValueError("surface %s is bound twice" % surface)
        known[surface] = Bound(surface, function, symbols)
        return function

    return register


class Adapter:
    """A pipeline, as its adapter describes it::

        adapter = Adapter("my-packer", distributions=("torch", "transformers"), profile="qwen3_vl")

        @adapter.setup
        def setup(here): ...                       # once in a worker; what it returns is `here.parts`

        @adapter.answers("packing.plan")
        def plan(request, here):                   # request.lengths, or request["lengths"]
            return replies.plan(here.call(my_packer, request.lengths, request.packing_length))

    Args:
        name, title: as `--pipeline` takes it, and as people write it. distributions: packages whose versions count.
        profile: the model family, as `kit.profile.named` takes it, or a function of the config's path that tells it.
        policies: those that the pipeline keeps; claims of others are not judged. contract: further values that claims
        read, by `boundary.name`. repository: its public one, `owner/name`. demands: by claim, (path, requirement,
        commit) in that repository that demand it; by default whoever wrote the adapter demands every claim that holds
        of any pipeline. preload: packages that every worker needs, imported once, and functions that build what it
        needs, `module:name`, called once. source: packages whose source is the pipeline's; by default what the adapter
        imports from its own folder. lacks: what chats of this pipeline can't have and are asked without: `system`, a
        system prompt, or `turns`, a question after the first answer.
    """

    def __init__(
        self,
        name,
        *,
        title="",
        distributions=(),
        profile="",
        policies=(),
        contract=None,
        repository="",
        demands=None,
        preload=(),
        source=(),
        lacks=(),
    ):
        if (demands is not None) and not repository:
            raise ValueError("adapter %s: demands are cited from a repository, and none is named" % name)
        self.name, self.lacks = name, [lacks] if isinstance(lacks, str) else list(lacks)
        if unknown := [word for word in self.lacks if word not in lacking.KNOWN]:
            known = ", ".join("%s (%s)" % one for one in lacking.KNOWN.items())
            raise ValueError("adapter %s lacks %r: what it may lack is %s" % (name, unknown[0], known))
        contract = {**({"packing.lacks": self.lacks} if self.lacks else {}), **(contract or {})}
        lists = {"distributions": distributions, "policies": policies, "preload": preload, "source": source}
        cited = None if demands is None else {claim: list(where) for claim, where in demands.items()}
        self.said: dict[str, object] = {k: [v] if isinstance(v, str) else list(v) for k, v in lists.items()}
        self.said.update(name=name, title=title, profile=profile, contract=contract)
        self.said.update(repository=repository, demands=cited)
        self.bound, self.named, self.make = {}, {}, None

    def setup(self, function):
        """Declare what is run once in a worker, before the first question: `(here) -> parts`."""
        self.make = function
        return function

    def answers(self, surface, of=""):
        """Declare the function that answers `surface`, called once for each question: `(request, here) -> dict`, which
        `kit.replies` makes.

        of: the pipeline's own function behind it, as `module:qualname`; findings then point to its file and line.
        """

        def register(function):
            if surface in self.bound:
                raise ValueError("surface %s is answered twice" % surface)
            self.bound[surface], self.named[surface] = Bound(surface, remembered(self._without(function)), {}), of
            return function

        return register

    def _without(self, answer):
        """The answer, asked without what the pipeline lacks."""
        if not self.lacks:
            return answer

        @functools.wraps(answer)
        def ask(request, here):
            return answer(lacking.request(request, self.lacks), here)

        return ask

    def trains(self, function=None, *, of=""):
        """Declare the function that trains a short run, which four boundaries ask about: `(request, here) -> told`, as
        `kit.training.ran` or `kit.training.Watch.told` makes it. One run answers them all."""

        def register(train):
            once = remembered(train)
            for surface, fields in OF_A_RUN.items():
                self.answers(surface, of=of)(_part_of(once, fields, train))
            return train

        return register if function is None else register(function)


def _part_of(train, fields, wrapped):
    @functools.wraps(wrapped)
    def answer(request, here):
        told = train(request, here)
        return {name: told[name] for name in fields}

    return answer


def remembered(answer):
    """Keep what was answered or refused: several checks ask the same, and a pass through a model is dear."""
    known: dict[str, tuple[object, Exception | None]] = {}
    parts: dict[str, dict[str, tuple[str, str, bool]]] = {}  # what stood in for something missing

    @functools.wraps(answer)
    def ask(request, here):
        if _ANEW:
            return answer(request, here)
        key = json.dumps(request, sort_keys=True)
        if key not in known:
            parts[key] = {}
            try:
                with stand_ins.noted(parts[key]):
                    known[key] = answer(request, here), None
            except (Refused, Unbound, NotSupported) as error:
                known[key] = None, error
        else:
            for one in parts[key].values():
                stand_ins.used(*one)
        value, refused = known[key]
        if refused is not None:
            raise refused
        return value

    return ask


@contextlib.contextmanager
def anew():
    """Meanwhile nothing is answered from memory: what runs is to be seen."""
    _ANEW.append(True)
    try:
        yield
    finally:
        _ANEW.pop()


def watched():
    """Whether what runs is watched line by line, and what is answered goes nowhere."""
    return bool(_ANEW)


def bound_by(module):
    """What a module of answers binds: by surface, the `Bound`."""
    return dict(_BOUND.get(module, {}))


class Here:
    """What a binding sees: the tree, a scratch directory of its own, and the resolved symbols as attributes.

    tree: absolute path of the checkout (never written to). scratch: absolute path of an empty directory that
    lives as long as the worker. chosen: local name -> `module:qualname` that the audit found in the tree. config: the
    file that the user named, or None. parts: what an adapter's `setup` made.
    """

    def __init__(self, tree, scratch, chosen, config=None):
        self.tree, self.scratch, self.chosen, self.config = tree, scratch, chosen, config

    def __getattr__(self, name):
        chosen = self.__dict__.get("chosen", {})
        if name not in chosen:
            raise AttributeError("this binding declares no symbol %r" % name)
        value = None if chosen[name] is None else load(chosen[name])
        self.__dict__[name] = value
        return value

    @staticmethod
    def call(function, *args, **kwargs):
        """Call the target's own function; whatever it raises is the target's refusal."""
        try:
            return function(*args, **kwargs)
        except MemoryError:
            raise  # the worker's limit, not the target's judgement
        except Exception as error:
            raise Refused(type(error).__name__, str(error)) from error

    @staticmethod
    def fitting(function, **kwargs):
        """The keyword arguments that this commit's signature of `function` accepts."""
        parameters = inspect.signature(function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return kwargs
        return {k: v for k, v in kwargs.items() if k in parameters}

    @classmethod
    def ask(cls, function, *args, **kwargs):
        """`call` with those keyword arguments that this commit's signature accepts."""
        return cls.call(function, *args, **cls.fitting(function, **kwargs))


def load(symbol):
    """Import `package.module:Class.attribute`."""
    module_name, _, qualname = symbol.partition(":")
    try:
        value = importlib.import_module(module_name)
        for part in qualname.split(".") if qualname else ():
            value = getattr(value, part)
    except Exception as error:
        raise CannotImport("%s: %s: %s" % (symbol, type(error).__name__, error)) from error
    return value
