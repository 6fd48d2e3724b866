"""What a stage's code is: the digest of everything it imports inside the project.

The static import graph is followed, lazy imports included; blocks under `if TYPE_CHECKING` are
not, since they never run. Docstrings and the sentences of config fields do not count. Of modules
of declarations (configs and the contract) only the names that are imported count, with what those
names refer to: a new field of one source's config must not retrain every model.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the project, in which its modules are found."""

ROOMS = ("data", "models", "pipeline")

DECLARATIONS = frozenset({"data.contract", "data.config", "models.config", "pipeline.config", "pipeline.ledger"})
"""Modules of which only the imported names count."""

Reference = tuple[str, str | None]
"""A module, and the name taken from it where the module is one of declarations."""


def code_parts(entries: Iterable[Reference]) -> dict[str, str]:
    """Digests all code that some entry points reach.

    Args:
        entries: modules, or names in modules of declarations, to start from.

    Returns:
        Module name -> digest of its code (16 hexadecimal digits); `module:Name` for declarations.
    """
    parts: dict[str, str] = {}
    waiting = list(entries)
    seen: set[Reference] = set()
    while waiting:
        reference = waiting.pop()
        if reference in seen:
            continue
        seen.add(reference)
        module, name = reference
        if module in DECLARATIONS and name is not None:
            digest, needed = _declaration(module, name)
            if digest is not None:
                parts[f"{module}:{name}"] = digest
        else:
            parts[module], needed = _module(module)
        waiting.extend(needed)
    return dict(sorted(parts.items()))


def _path(module: str) -> Path | None:
    """Returns the file of a project's module; None for anything else."""
    if module.split(".")[0] not in ROOMS:
        return None
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.is_file() else None


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} is no module of this project")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    _strip_sentences(tree)
    return tree


def _strip_sentences(tree: ast.AST) -> None:
    """Removes docstrings, attribute docstrings among them, in place."""
    for node in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                kept = [statement for statement in statements if not _is_sentence(statement)]
                setattr(node, block, kept)


def _is_sentence(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _digest(nodes: Iterable[ast.AST]) -> str:
    text = "\n".join(ast.dump(node) for node in nodes)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _module(module: str) -> tuple[str, tuple[Reference, ...]]:
    tree = _tree(module)
    return _digest([tree]), tuple(sorted(set(_imports(tree)), key=str))


def _imports(tree: ast.AST) -> Iterator[Reference]:
    """Yields what a tree imports from the project."""
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _path(alias.name) is not None:
                    yield alias.name, None
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                if _path(f"{node.module}.{alias.name}") is not None:
                    yield f"{node.module}.{alias.name}", None
                elif _path(node.module) is not None:
                    yield node.module, (alias.name if node.module in DECLARATIONS else None)


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walks a tree, leaving out what only a type checker sees."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


@cache
def _definitions(module: str) -> dict[str, list[ast.AST]]:
    """Maps each name a module of declarations defines to the statements that define it."""
    found: dict[str, list[ast.AST]] = {}
    for statement in _tree(module).body:
        names: list[str] = []
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names = [statement.name]
        elif isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names = [statement.target.id]
        for name in names:
            found.setdefault(name, []).append(statement)
    return found


@cache
def _declaration(module: str, name: str) -> tuple[str | None, tuple[Reference, ...]]:
    """Digests one declared name; what it refers to is returned to be digested too."""
    statements = _definitions(module).get(name)
    if statements is None:
        return None, ()
    used = {node.id for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Name)}
    own = [(module, other) for other in used if other in _definitions(module) and other != name]
    elsewhere = [
        (source, taken) for source, taken in _imports(_tree(module)) if taken in used or source not in DECLARATIONS
    ]
    return _digest(statements), tuple(sorted([*own, *elsewhere], key=str))
