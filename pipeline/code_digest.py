"""What a stage's code is: the digest of everything it imports inside the project.

The static import graph is followed, lazy imports included; blocks under `if TYPE_CHECKING` do not
count, since they never run, nor do docstrings and the sentences of config fields. Of modules of
declarations (configs and the contract) only the names that are imported count, with what those
names refer to: a new field of one source's config must not retrain every model. A string that
names a module (of a child process, say) counts as well.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""Folder of the project, in which its modules are found."""

ROOMS = ("data", "models", "pipeline")

DECLARATIONS = frozenset(
    f"{room}.{module}"
    for room, module in (
        ("data", "contract"),
        ("data", "config"),
        ("models", "config"),
        ("models", "classical_config"),
        ("models", "compression_config"),
        ("models", "own_model_config"),
        ("models", "rnn_config"),
        ("models", "tuning_config"),
        ("pipeline", "config"),
        ("pipeline", "ledger"),
    )
)
"""Modules of which only the imported names count. In two parts: a string that names a module would count as its use."""

Reference = tuple[str, str | None]
"""A module, and the name taken from it where the module is one of declarations."""

_MODULE_NAME = re.compile(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+")


@dataclass
class _Statement:
    """One statement of a module, read in one pass.

    Attributes:
        defines: names it defines.
        is_import: whether it is an import.
        text: its syntax without sentences; equal for equal code.
        uses: names it mentions.
        imports: (name it is bound to, what is imported) of the project, those inside of functions too.
    """

    defines: tuple[str, ...]
    is_import: bool
    text: list[str] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    imports: list[tuple[str, Reference]] = field(default_factory=list)

    @property
    def only_acts(self) -> bool:
        """Whether it neither defines nor imports, so that it can only be there for what it does."""
        return not self.defines and not self.is_import


class Code:
    """The project's code at one moment; a file is read once, and not again when it changes.

    Args:
        root: folder that holds the rooms.
        rooms: top-level names of the modules that count; None for every one that lies in the folder.

    Example:
        >>> sorted(Code().parts([("data.contract", "SPLIT_NAMES")]))
        ['data.contract:SPLIT_NAMES']
    """

    def __init__(self, root: Path = ROOT, rooms: Container[str] | None = ROOMS) -> None:
        self._root = root
        self._rooms = rooms
        self._paths: dict[str, Path | None] = {}
        self._read: dict[str, tuple[_Statement, ...]] = {}
        self._digests: dict[Reference, tuple[str | None, tuple[Reference, ...]]] = {}

    def parts(self, entries: Iterable[Reference]) -> dict[str, str]:
        """Digests all code that some entry points reach.

        Args:
            entries: modules, or names in modules of declarations, to start from.

        Returns:
            Module name -> digest of its code (16 hexadecimal digits); `module:Name` for declarations.

        Raises:
            ModuleNotFoundError: an entry is no module of the project.
        """
        parts: dict[str, str] = {}
        waiting = list(entries)
        seen: set[Reference] = set()
        while waiting:
            module, name = reference = waiting.pop()
            if reference in seen:
                continue
            seen.add(reference)
            if reference not in self._digests:
                self._digests[reference] = self._module(module) if name is None else self._declaration(module, name)
            digest, needed = self._digests[reference]
            if digest is not None:
                parts[module if name is None else f"{module}:{name}"] = digest
            waiting.extend(needed)
        return dict(sorted(parts.items()))

    def path(self, module: str) -> Path | None:
        """Returns the file of a project's module or package; None for anything else."""
        if module not in self._paths:
            found = None
            if self._rooms is None or module.split(".")[0] in self._rooms:
                stem = self._root / module.replace(".", "/")
                found = next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)
            self._paths[module] = found
        return self._paths[module]

    def _module(self, module: str) -> tuple[str, tuple[Reference, ...]]:
        """Digests a whole module; what it imports is returned to be digested too."""
        statements = self._statements(module)
        needed = {reference for statement in statements for _, reference in statement.imports}
        return _digest(statements), (*needed, *self._packages(module))

    def _packages(self, module: str) -> list[Reference]:
        """Returns the packages a module lies in, whose code runs before its own."""
        names = module.split(".")
        packages = [".".join(names[:count]) for count in range(1, len(names))]
        return [(package, None) for package in packages if self.path(package) is not None]

    def _declaration(self, module: str, name: str) -> tuple[str | None, tuple[Reference, ...]]:
        """Digests one declared name; what it refers to is returned to be digested too.

        A name that is passed on from elsewhere has no digest of its own; where a name comes from in a
        way that cannot be told from the syntax, the whole module counts.
        """
        statements = self._statements(module)
        defined = {each for statement in statements for each in statement.defines}
        bound = [pair for statement in statements for pair in statement.imports]
        if name not in defined:
            passed_on = tuple(reference for binding, reference in bound if binding == name)
            return None, passed_on or ((module, None),)
        # A statement that defines nothing may act on any name, so that it belongs to each of them.
        own = [each for each in statements if name in each.defines or each.only_acts]
        used = {each for statement in own for each in statement.uses} | {"*"}
        needed: set[Reference] = {(module, other) for other in used & defined if other != name}
        needed.update(reference for binding, reference in bound if binding in used)
        return _digest(own), (*needed, *self._packages(module))

    def _statements(self, module: str) -> tuple[_Statement, ...]:
        """Reads a module's statements, those left out that never run."""
        if module not in self._read:
            path = self.path(module)
            if path is None:
                raise ModuleNotFoundError(f"{module} is no module of this project")
            tree = ast.parse(path.read_bytes(), filename=str(path))
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            found = []
            for node in _that_run(tree.body):
                statement = _Statement(_defined_by(node), isinstance(node, ast.Import | ast.ImportFrom))
                self._follow(node, statement, package)
                found.append(statement)
            self._read[module] = tuple(found)
        return self._read[module]

    def _follow(self, node: ast.AST, into: _Statement, package: str) -> None:
        """Reads a tree into a statement, depth first."""
        text = into.text
        text.append(type(node).__name__)
        if isinstance(node, ast.Name):
            into.uses.add(node.id)
            text.append(node.id)
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            into.imports.extend(self._imported(node, package))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and self._names_module(node.value):
            into.imports.append(("*", (node.value, None)))
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if not isinstance(value, ast.expr_context):
                    self._follow(value, into, package)
            elif isinstance(value, list):
                text.append("[")
                for item in _that_run(value):
                    if isinstance(item, ast.AST):
                        self._follow(item, into, package)
                    else:
                        text.append(repr(item))
                text.append("]")
            else:
                text.append(repr(value))

    def _names_module(self, value: str) -> bool:
        return _MODULE_NAME.fullmatch(value) is not None and self.path(value) is not None

    def _imported(self, node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Reference]]:
        """Yields what an import takes from the project: (name it is bound to, what)."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if self.path(alias.name) is not None:
                    yield alias.asname or alias.name.split(".")[0], (alias.name, None)
            return
        above = package.split(".")
        base = above[: len(above) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            binding = alias.asname or alias.name
            if self.path(f"{module}.{alias.name}") is not None:
                yield binding, (f"{module}.{alias.name}", None)
            elif self.path(module) is not None:
                by_name = module in DECLARATIONS and alias.name != "*"
                yield binding, (module, alias.name if by_name else None)


def _digest(statements: Iterable[_Statement]) -> str:
    digest = hashlib.sha256()
    for statement in statements:
        digest.update(" ".join(statement.text).encode())
    return digest.hexdigest()[:16]


def _that_run(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yields the statements of a block; no sentences, nothing that only a type checker sees."""
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from _that_run(node.orelse)
        else:
            yield node


def _defined_by(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return (node.name,)
    if isinstance(node, ast.Assign):
        targets = [inner for target in node.targets for inner in ast.walk(target)]
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        targets = []
    return tuple(target.id for target in targets if isinstance(target, ast.Name))
