"""Every sentence of failure that the code can say, read from its source.

Nothing is imported or run: the modules are parsed, and wherever an error of ``data/errors.py`` or what derives from it
is made (``typer.BadParameter``, ``ValueError`` and ``TypeError`` beside them), its first argument is the message. What
is only known when it runs becomes a placeholder, ‹path›.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "model", "indexer", "app")
PLAIN = frozenset({"ValueError", "TypeError", "BadParameter"})

EXPANDED = {"no_index": 1, "disk_errors": 1}
"""Functions that say a sentence for others, and which of their arguments is the part that differs."""

SENTENCES = frozenset({"indexer/verify.py", "data/sources/major_tom.py"})
"""Modules that keep sentences of failure in lists: whatever ends there like a sentence is one."""


@dataclass(frozen=True)
class Hole:
    """What is only known when it runs, by a name that says what it may be."""

    name: str


Parts = tuple[str | Hole, ...]


@dataclass(frozen=True)
class Message:
    """One sentence and where it comes from.

    Attributes:
        parts: its constant texts and what stands between them.
        kind: name of the error's class, "page" for what a page says by itself, or "" for a finding in a list.
        module: path of the module, as ``data/patch.py``.
        function: name of the function it arises in.
    """

    parts: Parts
    kind: str
    module: str
    function: str

    @property
    def text(self) -> str:
        """The sentence with ‹placeholders›."""
        return "".join(part if isinstance(part, str) else f"‹{part.name}›" for part in self.parts)


@dataclass
class _Module:
    """What has to be known of a module to read its messages."""

    path: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)


def collect() -> list[Message]:
    """All messages, in the order of modules and of their lines; a sentence said twice in a function is there once."""
    modules = [_open(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    kinds = error_names([module.tree for module in modules]) | PLAIN
    found = [message for module in modules for message in _messages(module, kinds)]
    templates = {}
    for name in EXPANDED:
        said = [message for message in found if message.function == name]
        templates[name] = (said[0], next(m.tree for m in modules if m.path == said[0].module))
        found = [message for message in found if message.function != name]
    for module in modules:
        found += _expanded(module, templates)
    unique = dict.fromkeys(message for message in found if _speaks(message.parts))
    return sorted(unique, key=lambda message: message.module)


def error_names(trees: list[ast.Module]) -> frozenset[str]:
    """Names of all classes that derive from SamewhereError, directly or not."""
    names = {"SamewhereError"}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while more := {c.name for c in classes if c.name not in names and {ast.unparse(b) for b in c.bases} & names}:
        names |= more
    return frozenset(names)


def alternatives(node: ast.expr, module: _Module, scope: ast.AST, seen: frozenset[str] = frozenset()) -> list[Parts]:
    """What an expression may say: several where it chooses, one hole where nothing is known of it."""
    match node:
        case ast.Constant(value=str(text)):
            return [(text,)]
        case ast.JoinedStr(values=values):
            return _joined([alternatives(value, module, scope, seen) for value in values])
        case ast.FormattedValue(value=ast.Name(id=name)) if name in module.constants and name.isupper():
            value = module.constants[name]
            known = isinstance(value, ast.Constant) and isinstance(value.value, str | int | float)
            return [(str(value.value),)] if known and isinstance(value, ast.Constant) else [(Hole(_name(node)),)]
        case ast.FormattedValue(value=value):
            ways = alternatives(value, module, scope, seen) if isinstance(value, ast.Name) else []
            spoken = [way for way in ways if _speaks(way)]
            return spoken if spoken and len(spoken) == len(ways) else [(Hole(_name(value)),)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([alternatives(left, module, scope, seen), alternatives(right, module, scope, seen)])
        case ast.IfExp(body=body, orelse=orelse):
            return alternatives(body, module, scope, seen) + alternatives(orelse, module, scope, seen)
        case ast.Name(id=name) if name in module.constants:
            return alternatives(module.constants[name], module, scope, seen)
        case ast.Name(id=name) if name not in seen:
            seen |= {name}
            given = [
                one.value
                for one in ast.walk(scope)
                if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in one.targets)
            ]
            said = [parts for value in given if _is_text(value) for parts in alternatives(value, module, scope, seen)]
            return said or [(Hole(name),)]
        case ast.Call(func=ast.Name(id="next"), args=[_, other]):
            return alternatives(other, module, scope, seen)
        case _:
            return [(Hole(_name(node)),)]


def _open(path: Path) -> _Module:
    module = _Module(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8")))
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
    return module


def _functions(module: _Module) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """Every node with the name and the node of the function or class that it stands in."""

    def walk(node: ast.AST, name: str, scope: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                owner = scope.name if isinstance(scope, ast.ClassDef) else ""
                inner = owner if child.name in ("__init__", "__post_init__") and owner else child.name
                yield from walk(child, inner, child)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, child.name, child)
            else:
                yield name, scope, child
                yield from walk(child, name, scope)

    yield from walk(module.tree, "", module.tree)


def _messages(module: _Module, kinds: frozenset[str]) -> Iterator[Message]:
    inside: set[int] = set()  # what stands in a message already
    for name, scope, node in _functions(module):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            kind = _kind(called, ast.unparse(node.func), kinds)
            if kind and node.args:
                inside |= {id(part) for part in ast.walk(node.args[0])}
                for parts in alternatives(node.args[0], module, scope):
                    yield Message(parts, kind, module.path, name)
        elif module.path in SENTENCES and isinstance(node, ast.JoinedStr) and id(node) not in inside:
            for parts in alternatives(node, module, scope):
                if isinstance(parts[-1], str) and parts[-1].endswith("."):
                    yield Message(parts, "", module.path, name)


def _kind(called: str, full: str, kinds: frozenset[str]) -> str:
    if full in ("st.error", "st.warning"):
        return "page"
    return called if called in kinds or called == "kind" else ""  # `kind` is the class where one is handed in


def _expanded(module: _Module, templates: dict[str, tuple[Message, ast.Module]]) -> Iterator[Message]:
    """The sentences that the functions of EXPANDED say for this module."""
    for name, scope, node in _functions(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in EXPANDED:
            function = ast.unparse(node.func)
            template, tree = templates[function]
            definition = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function)
            argument = definition.args.args[EXPANDED[function]].arg
            for given in alternatives(node.args[EXPANDED[function]], module, scope):
                parts = [piece for part in template.parts for piece in (given if part == Hole(argument) else (part,))]
                kind = next((ast.unparse(k.value) for k in node.keywords if k.arg == "kind"), "IndexStoreError")
                yield Message(_joined([[tuple(parts)]])[0], kind, module.path, name)


def _joined(pieces: list[list[Parts]]) -> list[Parts]:
    """All ways to say pieces one after the other, neighbouring texts as one."""
    ways = []
    for chosen in itertools.product(*pieces):
        parts: list[str | Hole] = []
        for part in itertools.chain(*chosen):
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
        ways.append(tuple(parts))
    return ways


def _speaks(parts: Parts) -> bool:
    """Whether there is a word in it, not holes and signs alone."""
    return any(isinstance(part, str) and re.search(r"[^\W\d_]{2}", part) for part in parts)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.IfExp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _name(node: ast.expr) -> str:
    """A word for an expression: the first name in it that says something."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "len":
        return "number"
    dull = {"len", "str", "min", "max", "sorted", "type", "next", "iter", "repr", "float", "int", "self", "cls", "join"}
    for one in _in_order(node):
        word = one.id if isinstance(one, ast.Name) else one.attr if isinstance(one, ast.Attribute) else ""
        word = word.strip("_").lower().replace("_", " ")
        if len(word) > 1 and word not in dull and not isinstance(getattr(one, "parent", None), ast.Call):
            return word
    return "…"


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all in it, attributes before what they belong to, functions that are called left out."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Call) and child is node.func:
            if isinstance(child, ast.Attribute):
                yield from _in_order(child.value)
            continue
        yield from _in_order(child)
