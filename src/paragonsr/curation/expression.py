"""Which tiles are wanted, said as a Python expression over the columns and carried out as SQL with parameters.

    complexity >= 0.5 and blockiness < 30
    pct(complexity) >= 0.1 and not (noise > 6 or scale < 1)

Only what is listed here is understood: `and or not`, comparisons (chains too), `+ - * /`, numbers, texts in quotes,
columns, and `pct(column)`, compared with a number. pct is the share of all tiles without error whose value is smaller:
`pct(complexity) >= 0.1` drops the tenth with the least.
"""

import ast
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from paragonsr.errors import UserError

_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "=",
    ast.NotEq: "<>",
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_COMPUTED: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_LONGEST = 2000

Value = float | str


@dataclass(frozen=True)
class Threshold:
    """One comparison of a column with a number."""

    column: str
    operator: str
    value: float
    """In the unit of the score; of `pct`, the value that it came out as in this table."""
    percentile: float | None = None
    """The share that was written, where it was `pct`."""


@dataclass(frozen=True)
class Condition:
    """An expression, ready for SQL."""

    text: str
    sql: str
    parameters: tuple[Value, ...]
    thresholds: tuple[Threshold, ...]
    columns: tuple[str, ...]
    """That it reads."""
    terms: tuple["Condition", ...] = ()
    """The parts that are joined by `and` at the top, in order; one if there is no `and`."""


@dataclass(frozen=True)
class Population:
    """What percentiles are of."""

    count: Callable[[str], int]
    """Column -> tiles that have a value there."""
    quantile: Callable[[str, int], float | None]
    """(column, position) -> the value with so many before it, least first; None beyond the last."""


def parse(text: str, columns: Sequence[str], population: Population) -> Condition:
    """Understand an expression.

    Args:
        text: at most 2000 characters.
        columns: that may be named.
        population: for `pct`.

    Raises:
        UserError: it is not such an expression, or names a column that does not exist.
    """
    if len(text) > _LONGEST:
        raise _misunderstood(text[:40] + "...", f"is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        terms = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
        whole = _Reader(text, columns, population).condition(tree)
        parts = tuple(_Reader(ast.unparse(term), columns, population).condition(term) for term in terms)
        return Condition(whole.text, whole.sql, whole.parameters, whole.thresholds, whole.columns, parts)
    except SyntaxError as error:
        place = f" at {text.strip()[(error.offset or 1) - 1 :][:12]!r}" if error.offset else ""
        raise _misunderstood(text, f"cannot be understood{place}") from None
    except (ValueError, OverflowError, RecursionError, MemoryError):
        raise _misunderstood(text, "cannot be understood") from None


class _Reader:
    def __init__(self, text: str, columns: Sequence[str], population: Population) -> None:
        self._text, self._known, self._population = text, columns, population
        self._parameters: list[Value] = []
        self._thresholds: list[Threshold] = []
        self._read: dict[str, None] = {}

    def condition(self, node: ast.expr) -> Condition:
        """The whole expression."""
        sql = self._truth(node)
        return Condition(self._text, sql, tuple(self._parameters), tuple(self._thresholds), tuple(self._read))

    def _truth(self, node: ast.expr) -> str:
        if isinstance(node, ast.BoolOp):
            word = " AND " if isinstance(node.op, ast.And) else " OR "
            return f"({word.join(self._truth(value) for value in node.values)})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"(NOT {self._truth(node.operand)})"
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return "(" + " AND ".join(self._comparison(*pair) for pair in pairs) + ")"
        raise _misunderstood(self._text, f"`{ast.unparse(node)}` is not a comparison")

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        sign = _COMPARED.get(type(operator))
        if sign is None:
            raise _misunderstood(self._text, "`is` and `in` are not understood")
        if _is_number(left) and not _is_number(right):
            left, sign, right = right, _MIRRORED[sign], left
        if isinstance(left, ast.Call):
            return self._percentile(left, sign, right)
        if isinstance(left, ast.Name) and _is_number(right):
            self._thresholds.append(Threshold(left.id, sign, _number(right)))
        return f"{self._value(left)} {sign} {self._value(right)}"

    def _percentile(self, call: ast.Call, sign: str, right: ast.expr) -> str:
        named = isinstance(call.func, ast.Name) and call.func.id == "pct" and len(call.args) == 1 and not call.keywords
        if not named or not isinstance(call.args[0], ast.Name):
            raise _misunderstood(self._text, f"`{ast.unparse(call)}` is not understood; there is pct(column)")
        if not _is_number(right) or not 0 <= (share := _number(right)) <= 1 or sign in ("=", "<>"):
            raise _misunderstood(self._text, "pct(column) is compared by < <= > >= with a number from 0 to 1")
        column = self._column(call.args[0])
        before = Fraction(str(share)) * self._population.count(column)
        # pct >= p: at least ceil(p n) tiles are smaller, so the value lies above the one at that place; the same for >.
        needed = -floor(-before) if sign in (">=", "<") else floor(before) + 1
        value = self._population.quantile(column, needed - 1) if needed else None
        upward = sign in (">", ">=")
        if value is None:  # all tiles have at least none before them, and none has all of them
            return "TRUE" if upward == (needed == 0) else "FALSE"
        self._thresholds.append(Threshold(column, ">" if upward else "<=", value, share))
        self._parameters.append(value)
        return f'"{column}" {">" if upward else "<="} ?'

    def _value(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return f'"{self._column(node)}"'
        if _is_number(node):
            self._parameters.append(_number(node))
            return "?"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._parameters.append(node.value)
            return "?"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return f"(-{self._value(node.operand)})"
        if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
            left, right = self._value(node.left), self._value(node.right)
            return f"(CAST({left} AS REAL) {_COMPUTED[type(node.op)]} {right})"
        raise _misunderstood(self._text, f"`{ast.unparse(node)}` is not understood")

    def _column(self, node: ast.Name) -> str:
        if node.id not in self._known:
            close = difflib.get_close_matches(node.id.lower(), self._known, n=1, cutoff=0.6)
            meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(self._known)}"
            raise UserError(f"unknown column {node.id!r}", where=repr(self._text), fix=meant)
        self._read[node.id] = None
        return node.id


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _number(node: ast.expr) -> float:
    return float(ast.literal_eval(node))


def _misunderstood(text: str, what: str) -> UserError:
    return UserError(
        what, where=repr(text), fix='Write comparisons joined by and, or, not: "complexity >= 0.5 and blockiness < 30".'
    )
