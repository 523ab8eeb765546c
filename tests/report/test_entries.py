"""The table of entries: columns, order, selections, and what it refuses."""

import copy
import dataclasses
import importlib
import math
import pickle
import time
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest

from gradproof._errors import InputError
from gradproof.numerics import agreement
from gradproof.report.entries import VERDICTS, Entries, Entry

NAN, INF = math.nan, math.inf


def three_tensors(**changes: Any) -> Entries:
    """Six rows of a matrix, a scalar and a vector, in this order of verdicts: m x u x k m."""
    columns: dict[str, Any] = {
        "tensor": ["w", "w", "w", "scale", "b", "b"],
        "flat_index": [0, 5, 4, 0, 2, 1],
        "value": 1.0,
        "analytic": [1.0, -2.0, NAN, 4.0, 5.0, 0.0],
        "numeric": [1.0, 2.0, 3.0, 2.0, 5.5, 0.0],
        "error": [1e-9, 1e-9, 1e-9, 1e-3, 1e-12, 0.0],
        "verdict": ["match", "mismatch", "unresolved", "mismatch", "kink", "match"],
        "reason": ["", "opposite sign", "NaN", "twice", "between both slopes", ""],
    }
    return Entries.build(["w", "scale", "b"], [(2, 3), (), (3,)], **columns | changes)


def many(rows: int) -> Entries:
    rng = np.random.default_rng(0)
    numeric = rng.standard_normal(rows)
    return Entries.build(
        ["a", "b"],
        [(rows, 4), (7, rows)],
        tensor=rng.integers(0, 2, rows),
        flat_index=rng.permutation(rows),
        value=0.0,
        analytic=numeric * (1 + 1e-9),
        numeric=numeric,
        error=1e-10,
        verdict=rng.integers(0, len(VERDICTS), rows),
        reason="so be it",
    )


def test_the_columns_are_the_fields_of_an_entry() -> None:
    entries = three_tensors()
    assert entries.columns == tuple(field.name for field in dataclasses.fields(Entry))
    for name in entries.columns:
        assert entries[name].shape == (len(entries),)


def test_rows_have_their_tensor_index_and_name() -> None:
    rows = list(three_tensors())
    assert [row.name for row in rows] == ["w[0, 0]", "w[1, 2]", "w[1, 1]", "scale", "b[2]", "b[1]"]
    assert rows[1] == Entry(
        tensor="w",
        index=(1, 2),
        value=1.0,
        analytic=-2.0,
        numeric=2.0,
        error=1e-9,
        rounding=0.0,
        difference=-4.0,
        same_sign=False,
        relative_error=2.0,
        digits_agree=0.0,
        digits_attainable=-math.log10(1e-9 / 2.0),
        verdict="mismatch",
        reason="opposite sign",
    )
    assert type(rows[1].same_sign) is bool
    assert type(rows[1].index[0]) is int


def test_derived_columns_are_those_of_numerics() -> None:
    entries = three_tensors()
    a, n = entries["analytic"], entries["numeric"]
    np.testing.assert_array_equal(entries["difference"], a - n)
    np.testing.assert_array_equal(entries["relative_error"], agreement.relative_error(a, n))
    np.testing.assert_array_equal(entries["digits_agree"], agreement.digits_agree(a, n))
    attainable = agreement.digits_attainable(n, entries["error"])
    np.testing.assert_array_equal(entries["digits_attainable"], attainable)


def test_nan_has_no_sign_and_zero_has_either() -> None:
    entries = three_tensors(analytic=[0.0, -0.0, NAN, INF, -1.0, 0.0], numeric=[1, 1, 1, 1, 1, 0])
    assert entries["same_sign"].tolist() == [True, True, False, True, False, True]


def test_infinite_rows_warn_of_nothing() -> None:
    entries = three_tensors(analytic=INF, numeric=INF, error=INF)
    assert np.isnan(entries["difference"]).all()
    assert np.isnan(entries["relative_error"]).all()
    assert len(entries.worst(3)) == 3


def test_rows_are_picked_by_number_and_range() -> None:
    entries = three_tensors()
    assert entries[1] == list(entries)[1]
    assert entries[-1].name == "b[1]"
    assert [row.name for row in entries[1:3].sort("value")] == ["w[1, 2]", "w[1, 1]"]
    assert entries[::-1][0].name == "b[1]"
    with pytest.raises(IndexError):
        entries[6]


def test_columns_cannot_be_written() -> None:
    entries = three_tensors()
    for name in entries.columns:
        with pytest.raises(ValueError, match="read-only"):
            entries[name][0] = entries[name][0]
    with pytest.raises(ValueError, match="read-only"):
        entries.verdict_code[0] = 0
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        entries["analytic"].setflags(write=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        entries.names = ()  # type: ignore[misc]


def test_the_arrays_given_stay_the_callers() -> None:
    analytic = np.array([1.0, -2.0, 3.0, 4.0, 5.0, 6.0])
    entries = three_tensors(analytic=analytic)
    analytic[0] = 100.0
    assert entries["analytic"][0] == 1.0
    assert analytic.flags.writeable


def test_an_unknown_column_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"column of tensor, index, .*, reason but got 'digits'"):
        three_tensors()["digits"]
    with pytest.raises(InputError, match="but got 'gap'"):
        three_tensors().sort("gap")


def names_of(entries: Entries) -> list[str]:
    return [row.name for row in entries]


def test_sorting_puts_nan_beyond_all_numbers() -> None:
    entries = three_tensors()  # differences: 0, -4, nan, 2, -0.5, 0
    up = ["w[1, 2]", "b[2]", "w[0, 0]", "b[1]", "scale", "w[1, 1]"]
    assert names_of(entries.sort()) == up
    # Ties keep their order both ways.
    down = ["w[1, 1]", "scale", "w[0, 0]", "b[1]", "b[2]", "w[1, 2]"]
    assert names_of(entries.sort("difference", descending=True)) == down
    by_size = ["w[0, 0]", "b[1]", "b[2]", "scale", "w[1, 2]", "w[1, 1]"]
    assert names_of(entries.sort("difference", key=abs)) == by_size


def test_sorting_by_names_and_indices() -> None:
    entries = three_tensors()
    assert entries.sort("tensor")["tensor"].tolist() == ["w", "w", "w", "scale", "b", "b"]
    down = entries.sort("tensor", descending=True)
    assert names_of(down) == ["b[2]", "b[1]", "scale", "w[0, 0]", "w[1, 2]", "w[1, 1]"]
    assert entries.sort("index")["index"].tolist() == [(), (0, 0), (1,), (1, 1), (1, 2), (2,)]
    assert entries.sort("verdict")["verdict"].tolist() == sorted(entries["verdict"].tolist())
    assert entries.sort("reason")["reason"].tolist() == sorted(entries["reason"].tolist())


def test_filters_combine() -> None:
    entries = three_tensors()
    assert names_of(entries.filter(tensor="b")) == ["b[2]", "b[1]"]
    assert names_of(entries.filter(verdict=("mismatch", "unresolved"), tensor=["w", "b"])) == [
        "w[1, 2]",
        "w[1, 1]",
    ]
    assert names_of(entries.filter(where=entries["error"] > 1e-6)) == ["scale"]
    assert len(entries.filter(tensor=[])) == 0
    assert entries.filter() == entries


def test_a_filter_refuses_what_it_does_not_know() -> None:
    entries = three_tensors()
    with pytest.raises(InputError, match=r"Expected tensor in \['w', 'scale', 'b'\] but got 'v'"):
        entries.filter(tensor="v")
    with pytest.raises(InputError, match=r"Expected verdict in .* but got 'pass'"):
        entries.filter(verdict="pass")
    with pytest.raises(InputError, match=r"where=6 booleans but got int64 of shape \(2,\)"):
        entries.filter(where=[0, 1])
    with pytest.raises(InputError, match=r"where=6 booleans but got bool of shape \(1,\)"):
        entries.filter(where=[True])


def test_the_worst_stand_out_most_from_their_bars() -> None:
    entries = three_tensors()
    # NaN; then gap/bar of 5e11, 4e9, 2e3, and two that do not differ.
    order = ["w[1, 1]", "b[2]", "w[1, 2]", "scale", "w[0, 0]", "b[1]"]
    assert names_of(entries.worst(10)) == order
    assert names_of(entries.worst(2)) == order[:2]
    assert len(entries.worst(0)) == 0


def test_a_difference_without_a_bar_is_worse_than_any_with_one() -> None:
    entries = three_tensors(analytic=[1, 2, 3, 4, 5, 6], numeric=0.0, error=[0, 1, 0, 1, 1, 1e-300])
    assert names_of(entries.worst(3)) == ["w[1, 1]", "w[0, 0]", "b[1]"]


def test_the_rounding_of_the_analytic_side_belongs_to_the_bar() -> None:
    entries = three_tensors(
        analytic=[1, 2, 3, 4, 5, 6], numeric=0.0, error=1.0, rounding=[9] + 5 * [0]
    )
    assert entries.worst(6)[-1].name == "w[0, 0]"


def test_head_takes_the_first_rows() -> None:
    entries = three_tensors()
    assert names_of(entries.head(2)) == ["w[0, 0]", "w[1, 2]"]
    assert entries.head(100) == entries
    assert len(entries.head(-1)) == 0


def test_counts_name_every_verdict() -> None:
    counts = {"match": 2, "mismatch": 2, "kink": 1, "unresolved": 1}
    assert three_tensors().counts() == counts
    assert Entries.empty().counts() == dict.fromkeys(VERDICTS, 0)


def test_an_empty_table_has_all_columns() -> None:
    entries = Entries.empty(["w"], [(2, 2)])
    assert len(entries) == 0
    assert list(entries) == []
    assert all(entries[name].shape == (0,) for name in entries.columns)
    assert len(entries.sort()) == len(entries.worst()) == len(entries.head()) == 0
    assert len(entries.filter(tensor="w", verdict="kink")) == 0
    assert repr(entries) == "<Entries: 0 rows of 1 tensors>"
    assert entries.to_pandas().shape == (0, len(entries.columns))
    assert entries.to_arrow().num_rows == 0


def test_the_repr_is_one_short_line() -> None:
    expected = "<Entries: 6 rows of 3 tensors, 2 match, 2 mismatch, 1 kink, 1 unresolved>"
    assert repr(three_tensors()) == expected


def test_equality_takes_nan_for_nan_and_compares_reasons_by_their_text() -> None:
    entries = three_tensors()
    assert entries == three_tensors()
    assert entries.sort("difference") != entries
    reordered = dataclasses.replace(
        entries,
        reasons=entries.reasons[::-1],
        reason_code=len(entries.reasons) - 1 - entries.reason_code,
    )
    assert reordered == entries
    assert three_tensors(value=2.0) != entries
    assert three_tensors(reason="") != entries
    assert entries != "entries"


def test_copies_and_pickles_are_equal_and_read_only() -> None:
    entries = three_tensors()
    for other in (copy.deepcopy(entries), pickle.loads(pickle.dumps(entries))):
        assert other == entries
        assert not other.analytic.flags.writeable


def test_codes_do_as_well_as_names() -> None:
    assert three_tensors(tensor=[0, 0, 0, 1, 2, 2], verdict=[0, 1, 3, 1, 2, 0]) == three_tensors()
    as_arrays = three_tensors(
        tensor=np.array(["w", "w", "w", "scale", "b", "b"]),
        verdict=np.array([0, 1, 3, 1, 2, 0], np.uint8),
    )
    assert as_arrays == three_tensors()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flat_index": [0, 6, 4, 0, 2, 1]}, "flat_index from 0 to 5 but got 6 in row 1"),
        ({"flat_index": [0, 5, 4, 1, 2, 1]}, "flat_index from 0 to 0 but got 1 in row 3"),
        ({"flat_index": [0, -1, 4, 0, 2, 1]}, "flat_index from 0 to 5 but got -1"),
        ({"tensor": [0, 0, 0, 1, 2, 3]}, "tensor_code from 0 to 2 but got 3 in row 5"),
        ({"tensor": "v"}, r"tensor in \['w', 'scale', 'b'\] but got 'v'"),
        ({"verdict": [0, 1, 256, 1, 2, 0]}, "verdict_code from 0 to 3 but got 256 in row 2"),
        ({"verdict": "pass"}, "verdict in .* but got 'pass'"),
        ({"analytic": [1.0, 2.0]}, r"analytic of shape \(6,\) but got shape \(2,\)"),
        ({"analytic": np.ones((6, 1))}, r"analytic of shape \(6,\) but got shape \(6, 1\)"),
        ({"numeric": np.ones(6) * 1j}, "numeric of float64 but got complex128"),
        ({"flat_index": [0.0, 5.0, 4.0, 0.0, 2.0, 1.0]}, "flat_index of int64 but got float64"),
        ({"reason": ["one"]}, r"reason_code of shape \(6,\) but got shape \(1,\)"),
    ],
)
def test_wrong_columns_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        three_tensors(**changes)


def test_names_must_be_unique_and_have_a_shape_each() -> None:
    with pytest.raises(InputError, match="unique tensor names"):
        Entries.empty(["w", "w"], [(1,), (1,)])
    with pytest.raises(InputError, match="Expected 2 shapes but got 1"):
        Entries.empty(["w", "b"], [(1,)])


def test_tables_of_other_packages_hold_the_same() -> None:
    entries = three_tensors()
    expected = entries.to_dict()
    assert list(expected) == list(entries.columns)
    assert expected["index"][:2] == [(0, 0), (1, 2)]

    frame = entries.to_pandas()
    assert list(frame.columns) == list(entries.columns)
    assert frame["index"].tolist() == expected["index"]
    assert frame["verdict"].tolist() == expected["verdict"]
    assert frame["same_sign"].dtype == np.bool_
    frame.loc[0, "analytic"] = 7.0  # a copy: pandas users write to their frames
    assert entries["analytic"][0] == 1.0
    pandas.testing.assert_frame_equal(entries.to_pandas(), pandas.DataFrame(expected))

    table = entries.to_arrow()
    assert table.column_names == list(entries.columns)
    assert table["index"].type == pyarrow.list_(pyarrow.int64())
    assert table["index"].to_pylist() == [list(index) for index in expected["index"]]
    assert table["reason"].to_pylist() == expected["reason"]
    assert table["same_sign"].to_pylist() == expected["same_sign"]


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    method = {"pandas": "to_pandas", "pyarrow": "to_arrow"}[package]
    monkeypatch.setattr(importlib, "import_module", refuse)
    expected = rf"Entries\.{method}\(\) needs {package}: pip install {package}"
    with pytest.raises(ImportError, match=expected):
        getattr(three_tensors(), method)()


def test_a_long_name_does_not_widen_the_others() -> None:
    entries = three_tensors()
    name = "x" * 100_000
    long = dataclasses.replace(entries, names=("w", "scale", name))
    assert long["tensor"].nbytes < 1000
    assert len(long.filter(tensor=name)) == 2


def test_a_hundred_thousand_rows_are_cheap() -> None:
    start = time.perf_counter()
    entries = many(100_000)
    worst = entries.filter(verdict=("mismatch", "kink")).sort("difference", key=abs).worst(10)
    for name in entries.columns:
        assert len(entries[name]) == 100_000
    assert [entries[i].verdict for i in range(100)] == entries["verdict"][:100].tolist()
    assert len(worst) == 10
    assert time.perf_counter() - start < 3.0  # 0.1 s when it was written
