"""The table of checked entries: columns as NumPy arrays, one row per entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradproof._errors import InputError
from gradproof.report.entry import VERDICTS, Entry, EntryVerdict
from gradproof.report.entry_columns import (
    CODES,
    DERIVED,
    FLOATS,
    as_column,
    codes_of,
    demand_below,
)

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["VERDICTS", "Entries", "Entry", "EntryVerdict"]


_COLUMNS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True, eq=False, repr=False)
class Entries:
    """Checked entries as a table: one row per entry, columns named as the fields of `Entry`.

    The arrays given are copied and read-only. `names` and `shapes` describe all tensors, also
    those without a row; `reasons[reason_code[i]]` is the reason of row i. The other columns are
    computed from these when asked for. Rows need no framework and no loop: 100,000 are cheap.

    Example:
        >>> entries = Entries.build(
        ...     ["weight", "bias"],
        ...     [(2, 2), (2,)],
        ...     tensor=[0, 0, 1],
        ...     flat_index=[0, 3, 1],
        ...     value=[1.0, 2.0, 3.0],
        ...     analytic=[1.0, -2.0, 0.0],
        ...     numeric=[1.0, 2.0, 0.0],
        ...     error=1e-9,
        ...     verdict=["match", "mismatch", "match"],
        ...     reason=["", "the sign is opposite", ""],
        ... )
        >>> entries
        <Entries: 3 rows of 2 tensors, 2 match, 1 mismatch>
        >>> entries["difference"].tolist()
        [0.0, -4.0, 0.0]
        >>> entries.worst(1)[0].name
        'weight[1, 1]'
        >>> len(entries.filter(tensor="weight", verdict="match"))
        1
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    tensor_code: NDArray[np.intp]
    flat_index: NDArray[np.intp]
    value: NDArray[np.float64]
    analytic: NDArray[np.float64]
    numeric: NDArray[np.float64]
    error: NDArray[np.float64]
    rounding: NDArray[np.float64]
    verdict_code: NDArray[np.uint8]
    reason_code: NDArray[np.intp]
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)  # the one way in a frozen dataclass

        put("names", tuple(self.names))
        put("shapes", tuple(tuple(int(n) for n in shape) for shape in self.shapes))
        put("reasons", tuple(self.reasons))
        for name in (*CODES, *FLOATS):
            put(name, as_column(name, getattr(self, name), len(self)))
        if len(self.shapes) != len(self.names):
            raise InputError(f"Expected {len(self.names)} shapes but got {len(self.shapes)}")
        if len(set(self.names)) != len(self.names):
            raise InputError("Expected unique tensor names but got some twice")
        sizes = np.array([np.prod(shape, dtype=np.intp) for shape in self.shapes], np.intp)
        demand_below("tensor_code", self.tensor_code, len(self.names))
        demand_below("verdict_code", self.verdict_code, len(VERDICTS))
        demand_below("reason_code", self.reason_code, len(self.reasons))
        demand_below("flat_index", self.flat_index, sizes[self.tensor_code])
        # Narrowed only now: a code of 256 would have become a 0, a match.
        put("verdict_code", self.verdict_code.astype(np.uint8))
        self.verdict_code.setflags(write=False)

    @classmethod
    def build(
        cls,
        names: Iterable[str],
        shapes: Iterable[Sequence[int]],
        *,
        tensor: Sequence[str] | ArrayLike,
        flat_index: ArrayLike,
        value: ArrayLike,
        analytic: ArrayLike,
        numeric: ArrayLike,
        error: ArrayLike,
        verdict: Sequence[str] | ArrayLike,
        rounding: ArrayLike = 0.0,
        reason: str | Sequence[str] = "",
    ) -> Entries:
        """A table from what is at hand; `flat_index` sets the number of rows.

        `tensor` and `verdict` are names or integer codes. A scalar, or a single string, holds for
        every row.
        """
        names = tuple(names)
        rows = np.size(flat_index)
        reason_of_row = [reason] * rows if isinstance(reason, str) else list(reason)
        code_of_reason = {text: code for code, text in enumerate(dict.fromkeys(reason_of_row))}

        def full(column: ArrayLike) -> NDArray[Any]:
            array = np.asarray(column)
            return np.broadcast_to(array, rows) if array.ndim == 0 else array

        return cls(
            names=names,
            shapes=tuple(tuple(shape) for shape in shapes),
            tensor_code=full(codes_of("tensor", tensor, names)),
            flat_index=np.atleast_1d(np.asarray(flat_index)),
            value=full(value),
            analytic=full(analytic),
            numeric=full(numeric),
            error=full(error),
            rounding=full(rounding),
            verdict_code=full(codes_of("verdict", verdict, VERDICTS)),
            reason_code=np.array([code_of_reason[text] for text in reason_of_row], np.intp),
            reasons=tuple(code_of_reason),
        )

    @classmethod
    def empty(cls, names: Iterable[str] = (), shapes: Iterable[Sequence[int]] = ()) -> Entries:
        """A table without rows, such as that of a check by probes alone."""
        return cls.build(
            names,
            shapes,
            tensor=(),
            flat_index=(),
            value=(),
            analytic=(),
            numeric=(),
            error=(),
            verdict=(),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return _COLUMNS

    def __len__(self) -> int:
        return int(np.size(self.flat_index))

    def __iter__(self) -> Iterator[Entry]:
        columns = (self[name].tolist() for name in self.columns)
        return (Entry(*row) for row in zip(*columns, strict=True))

    @overload
    def __getitem__(self, key: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: int) -> Entry: ...
    @overload
    def __getitem__(self, key: slice) -> Entries: ...
    def __getitem__(self, key: str | int | slice) -> NDArray[Any] | Entry | Entries:
        """A column by its name (read-only), a row by its number, or a range of rows."""
        if isinstance(key, slice):
            return self._take(np.arange(len(self))[key])
        if not isinstance(key, str):
            # range() brings IndexError and negative numbers.
            row = range(len(self))[key]
            return next(iter(self._take(np.array([row]))))
        if key not in self.columns:
            raise InputError(f"Expected a column of {', '.join(self.columns)} but got {key!r}")
        column = self._compute(key)
        column.setflags(write=False)
        return column

    def __eq__(self, other: object) -> bool:
        """Same tensors and same rows in the same order; NaN equals NaN."""
        if not isinstance(other, Entries):
            return NotImplemented
        if (self.names, self.shapes, len(self)) != (other.names, other.shapes, len(other)):
            return False
        # Reasons by their text: the codes depend on the order in which they were met.
        return np.array_equal(self["reason"], other["reason"]) and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True)
            for name in (*FLOATS, "tensor_code", "flat_index", "verdict_code")
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Entries], tuple[Any, ...]]:
        # Through the constructor: arrays restored by pickle or deepcopy would be writable.
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def __repr__(self) -> str:
        counts = "".join(f", {n} {verdict}" for verdict, n in self.counts().items() if n)
        return f"<Entries: {len(self)} rows of {len(self.names)} tensors{counts}>"

    def counts(self) -> dict[str, int]:
        """The number of rows with each verdict, zeros included."""
        numbers = np.bincount(self.verdict_code, minlength=len(VERDICTS)).tolist()
        return dict(zip(VERDICTS, numbers, strict=True))

    def sort(
        self,
        by: str = "difference",
        *,
        descending: bool = False,
        key: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    ) -> Entries:
        """Rows in the order of a column, or of `key(column)`; ties keep their order.

        `key=abs` sorts by size whatever the sign. NaN counts as larger than any number. `tensor`
        sorts in the order of the model, not of the alphabet.
        """
        column = self.tensor_code if by == "tensor" and key is None else self[by]
        column = column if key is None else np.asarray(key(column))
        if not descending:
            return self._take(np.argsort(column, kind="stable"))
        # Backwards twice, so that ties keep their order here too.
        backwards = np.argsort(column[::-1], kind="stable")[::-1]
        return self._take(len(self) - 1 - backwards)

    def filter(
        self,
        *,
        tensor: str | Iterable[str] | None = None,
        verdict: str | Iterable[str] | None = None,
        where: ArrayLike | None = None,
    ) -> Entries:
        """The rows that meet all conditions given; `where` is a boolean mask over the rows."""
        keep = np.ones(len(self), np.bool_)
        if tensor is not None:
            keep &= np.isin(self.tensor_code, codes_of("tensor", _listed(tensor), self.names))
        if verdict is not None:
            keep &= np.isin(self.verdict_code, codes_of("verdict", _listed(verdict), VERDICTS))
        if where is not None:
            mask = np.asarray(where)
            if mask.dtype != np.bool_ or mask.shape != keep.shape:
                found = f"{mask.dtype} of shape {mask.shape}"
                raise InputError(f"Expected where={len(self)} booleans but got {found}")
            keep &= mask
        return self._take(np.flatnonzero(keep))

    def head(self, n: int = 10) -> Entries:
        """The first n rows."""
        return self._take(np.arange(min(max(n, 0), len(self))))

    def worst(self, n: int = 10) -> Entries:
        """The n rows that stand out most from their bars, the worst first.

        Ranked by |difference| / (error + rounding), whatever their verdict; NaN comes first, then
        a difference where the bar is 0, the larger one before the smaller.
        """
        gap = np.abs(self["difference"])
        with np.errstate(all="ignore"):
            excess = np.where(gap == 0.0, 0.0, gap / (self.error + self.rounding))
        unknown = np.isnan(excess)
        order = np.lexsort((-gap, np.where(unknown, 0.0, -excess), ~unknown))
        return self._take(order[: max(n, 0)])

    def to_dict(self) -> dict[str, list[Any]]:
        """Each column as a list of plain Python values."""
        return {name: self[name].tolist() for name in self.columns}

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas data frame with the same columns."""
        from gradproof.report.entry_export import to_pandas

        return to_pandas(self)

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow table with the same columns; `index` is a list of integers."""
        from gradproof.report.entry_export import to_arrow

        return to_arrow(self)

    def _take(self, rows: NDArray[np.intp]) -> Entries:
        # Past the constructor: rows of a table need neither be looked at again nor copied.
        taken = object.__new__(Entries)
        for name in ("names", "shapes", "reasons"):
            object.__setattr__(taken, name, getattr(self, name))
        for name in (*CODES, *FLOATS):
            column = getattr(self, name)[rows]
            column.setflags(write=False)
            object.__setattr__(taken, name, column)
        return taken

    def _compute(self, name: str) -> NDArray[Any]:
        if name in FLOATS:
            given: NDArray[Any] = getattr(self, name)
            return given.view()
        return DERIVED[name](self)


def _listed(labels: str | Iterable[str]) -> list[str]:
    return [labels] if isinstance(labels, str) else list(labels)
