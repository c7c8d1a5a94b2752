"""The mutants of a module: each is its syntax tree with one place changed as a careless edit might change it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.FloorDiv: (ast.Mult,),
    ast.Break: (ast.Continue,),
    ast.Continue: (ast.Break,),
}
UNTOUCHED = {"annotation", "returns", "type_params", "names"}
"""Fields that say types and imports: no change in them changes what a module does."""


@dataclass(frozen=True)
class Mutant:
    path: Path
    number: int
    lines: range
    function: str
    was: str
    now: str


def _changes(node: ast.AST, field: str) -> Iterator[ast.AST | None]:
    """What may stand in the place of `node`; None stands for nothing."""
    for operator in SWAPS.get(type(node), ()):
        yield operator()
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value) | bytes(value)) if value:
            yield ast.Constant(type(value)())
        case ast.JoinedStr():
            yield ast.Constant("")
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Name() | ast.Call() | ast.Attribute() | ast.NamedExpr() if field in ("test", "ifs"):
            yield ast.UnaryOp(ast.Not(), node)
        case ast.Return(value=ast.expr()) if not _is_none(node.value):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield() | ast.YieldFrom()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _names(node.value):
            yield ast.Pass()
    if field == "decorator_list" and "overload" not in _names(node):
        yield None


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _is_none(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _places(node: ast.AST, lines: list[str]) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every place below `node` that may change: its parent, the field, the index in it, and what stands there."""
    for field, value in ast.iter_fields(node):
        if field in UNTOUCHED or (isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or "pragma: no cover" in lines[getattr(child, "lineno", 1) - 1]:
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):  # a docstring
                continue
            if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
                continue
            yield node, field, index, child
            if not isinstance(child, ast.JoinedStr):
                yield from _places(child, lines)


def _function(tree: ast.Module, line: int) -> str:
    """The innermost function or class around a line."""
    names = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.lineno <= line <= (node.end_lineno or line)
    ]
    return ".".join(names) or "the module"


def _enumerated(path: Path, only: int | None = None) -> Iterator[tuple[Mutant, ast.Module]]:
    """Every mutant of a module, or one, with its tree, which holds until the next one is asked for."""
    source = path.read_text("utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    number = -1
    for parent, field, index, node in list(_places(tree, lines)):
        shown = node if hasattr(node, "lineno") else parent  # an operator has no line of its own
        kept = getattr(parent, field)
        for change in _changes(node, field):
            number += 1
            if only not in (None, number):
                continue
            was = ast.unparse(shown)
            setattr(
                parent,
                field,
                change if index is None else [*kept[:index], *[change] * bool(change), *kept[index + 1 :]],
            )
            now = "(removed)" if change is None else ast.unparse(parent if shown is parent else change)
            where = range(getattr(shown, "lineno", 1), (getattr(shown, "end_lineno", 1) or 1) + 1)
            yield Mutant(path, number, where, _function(tree, where.start), was, now), tree
            setattr(parent, field, kept)


def mutants(path: Path) -> Iterator[Mutant]:
    for mutant, _ in _enumerated(path):
        yield mutant


def compiled(mutant: Mutant) -> CodeType:
    """The module of a mutant, as it is imported."""
    _, tree = next(_enumerated(mutant.path, mutant.number))
    return compile(ast.fix_missing_locations(tree), str(mutant.path), "exec")
