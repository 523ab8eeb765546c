"""Input that is wrong, odd or hostile: one clear message or finding, and x as it was."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.full import check

from gradproof import InputError, Report

Vector = npt.NDArray[Any]
Function = Callable[[Any], Any]

X = np.array([0.3, -1.2, 2.0, 0.8])


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


def wrong_cosines(x: Any) -> Any:
    claim = np.cos(x)
    claim[1] *= -1
    return claim


def fingerprint(x: Any) -> tuple[bytes, Any]:
    """Every bit of x, of what it is a view of, and whether it may be written to."""
    base = getattr(x, "base", None)
    base = base if isinstance(base, np.ndarray) else None
    return pickle.dumps((x, base)), getattr(getattr(x, "flags", None), "writeable", None)


def examine(f: Any, x: Any, grad: Any, **options: Any) -> Report:
    """`check`, demanding that x is bit for bit what it was, also after an exception."""
    before = fingerprint(x)
    try:
        report = check(f, x, grad, **options)
    finally:
        assert fingerprint(x) == before
    assert str(report)
    return report


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_a_change_of_x_would_be_seen() -> None:
    x = X.copy()

    def f(_: Any) -> Any:
        x[0] = 5.0
        return 1.0

    with pytest.raises(AssertionError):
        examine(f, x, np.zeros(4))


# -- x -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3, r"got x with dtype int64: convert it to float, as in x\.astype\(float\)"),
        (np.arange(3), "got x with dtype int64: convert it to float"),
        ({"w": X, "n": 5}, "got x.n with dtype int64: convert it to float"),
        (np.array([True]), "got x with dtype bool: convert it to float"),
        (np.array([0.5, None]), "got x with dtype object: convert it to float"),
        (np.array(["a"]), "got x with dtype <U1"),
        ("abc", "got x with dtype <U3"),
        (1j, "got x with dtype complex128: split it into real and imaginary parts"),
        (np.array([1j]), "got x with dtype complex128: split it into real and imaginary parts"),
        (np.datetime64("2020"), r"got x with dtype datetime64"),
        (np.ma.array([1.0, 2.0]), "got x of <class 'numpy.ma.MaskedArray'>"),
        (slice(None), "got x of <class 'slice'>"),
        (np.array([1.0, np.nan]), r"Expected finite numbers but x\[1\] is nan"),
        ([1.0, np.inf], r"Expected finite numbers but x\.1 is inf"),
        ({"w": np.full((2, 2), -np.inf)}, r"Expected finite numbers but x\.w\[0, 0\] is -inf"),
        (np.zeros((0, 3)), "Expected at least one number but got only empty arrays"),
        ({"a": np.zeros(0), "b": []}, "Expected at least one number but got only empty arrays"),
        ([], r"Expected at least one number but got x=\[\]"),
        (None, "Expected at least one number but got x=None"),
    ],
    ids=lambda part: "" if isinstance(part, str) and " " in part else None,
)
def test_x_that_cannot_be_differentiated_is_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        examine(sines, x, np.cos)


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long doubles are doubles here")
def test_x_beyond_double_precision_is_refused() -> None:
    x = np.array(["1e400", "1"], dtype=np.longdouble)
    with pytest.raises(InputError, match="Expected numbers that fit a double but x has larger"):
        examine(lambda x: np.sum(np.log(x)), x, lambda x: 1 / x)


def read_only() -> Vector:
    x = X.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Vector] = {
    "read-only": read_only(),
    "strided": np.linspace(-1, 1, 12)[::3],
    "reversed": X[::-1],
    "broadcast": np.broadcast_to(0.5, (4,)),
    "longdouble": X.astype(np.longdouble),
    "big-endian": X.astype(">f8"),
    "unaligned": np.frombuffer(b"-" + X.tobytes(), offset=1),
    "memory-view": np.asarray(memoryview(X.tobytes()).cast("d")),
}
BY_LAYOUT = pytest.mark.parametrize("x", LAYOUTS.values(), ids=LAYOUTS)


@BY_LAYOUT
def test_layout_and_byte_order_of_x_make_no_difference(x: Vector) -> None:
    report = examine(sines, x, np.cos)
    assert report.verdict == "pass"
    assert report.entries["value"].tolist() == x.tolist()
    assert kinds(report) == []
    assert examine(sines, x, wrong_cosines).verdict == "fail"


@pytest.mark.parametrize("order", ["C", "F"])
def test_order_of_x_in_memory_does_not_permute_the_entries(order: Any) -> None:
    weights = np.arange(6.0).reshape(2, 3)
    x = np.asarray(np.arange(6.0).reshape(2, 3) / 3, order=order)
    report = examine(lambda x: np.sum(np.sin(x) * weights), x, lambda x: np.cos(x) * weights)
    assert report.verdict == "pass"
    assert report.entries["value"].tolist() == x.ravel().tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ">f4"])
def test_single_precision_is_checked_in_double(dtype: Any) -> None:
    seen = set()

    def f(x: Any) -> Any:
        seen.add(x.dtype)
        return sines(x)

    x = X.astype(dtype)
    report = examine(f, x, np.cos)
    assert report.verdict == "pass"
    assert kinds(report) == ["single-precision"]
    assert seen == {np.dtype(np.float64)}
    assert report.tensors["x"].digits_agree.minimum > 8
    assert report.entries["value"].tolist() == x.tolist()
    assert examine(sines, x, wrong_cosines).verdict == "fail"


def test_function_that_refuses_double_gets_what_it_wants() -> None:
    def f(x: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError(f"expected float32 but got {x.dtype}")
        return sines(x)

    x = X.astype(np.float32)
    report = examine(f, x, np.cos)
    assert report.verdict == "pass"
    assert set(kinds(report)) == {"single-precision"}
    assert "f does not take double precision" in report.findings[0].message
    assert examine(f, x, wrong_cosines).verdict == "fail"


def test_f_gets_arrays_of_its_own() -> None:
    x = X.copy()

    def f(point: Any) -> Any:
        assert not np.shares_memory(point, x)
        assert point.flags.writeable
        assert point.flags.c_contiguous
        return sines(point)

    assert examine(f, x, np.cos)


def test_empty_tensors_are_skipped() -> None:
    x = {"w": X, "none": np.zeros((0, 3)), "nothing": None}
    report = examine(lambda p: sines(p["w"]), x, lambda p: {**p, "w": np.cos(p["w"])})
    assert report.verdict == "pass"
    assert report.tensors["none"].checked == 0
    assert report.tensors["none"].reason == "empty: nothing to check"
    assert list(report.tensors) == ["w", "none"]


def test_ragged_lists_are_nested_parameters() -> None:
    x = [[0.1], [0.2, 0.3]]
    f = lambda p: np.sin(p[0][0]) * p[1][0] + p[1][1]  # noqa: E731
    report = examine(f, x, lambda p: [[np.cos(p[0][0]) * p[1][0]], [np.sin(p[0][0]), 1.0]])
    assert report.verdict == "pass"
    assert list(report.tensors) == ["x.0.0", "x.1.0", "x.1.1"]


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300])
def test_sizes_at_the_ends_of_double_precision(size: float) -> None:
    assert examine(lambda x: size * sines(x), X, lambda x: size * np.cos(x))
    assert (
        examine(lambda x: size * sines(x), X, lambda x: size * wrong_cosines(x)).verdict == "fail"
    )
    x = size * np.array([1.0, 2.0, 5.0])
    assert examine(lambda x: np.sum(np.log(x)), x, lambda x: 1 / x)
    assert examine(lambda x: np.sum(np.log(x)), x, lambda x: -1 / x).verdict == "fail"


# -- the gradient ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (np.ones(3), r"Expected shape \(4,\) but got grad of shape \(3,\)"),
        (np.ones((4, 1)), r"Expected shape \(4,\) but got grad of shape \(4, 1\)"),
        (1.0, r"Expected shape \(4,\) but got grad of shape \(\)"),
        (np.zeros(0), r"Expected shape \(4,\) but got grad of shape \(0,\)"),
        ([1.0, 1.0, 1.0, 1.0], r"Expected grad in the structure of x: .* unexpected grad\.0"),
        ({"x": np.ones(4)}, r"Expected grad in the structure of x: .* unexpected grad\.x"),
        (np.ones(4) + 0j, "got grad with dtype complex128: split it into real and imaginary"),
        (np.array([None] * 4), "got grad with dtype object: convert it to float"),
        (np.array(["1"] * 4), "got grad with dtype <U1"),
        (np.ma.array(np.ones(4)), "got grad of <class 'numpy.ma.MaskedArray'>"),
        ("cos", "got grad with dtype <U3"),
        (range(4), "got grad of <class 'range'>"),
    ],
    ids=lambda part: "" if isinstance(part, str) and " " in part else None,
)
def test_gradient_that_does_not_fit_x_is_refused(claim: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        examine(sines, X, claim)
    with pytest.raises(InputError, match=message):
        examine(sines, X, lambda x: claim)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"w": X}, r"missing grad\.b; unexpected none"),
        ({"w": X, "b": 0.5, "c": 1.0}, r"missing none; unexpected grad\.c"),
        ({"w": [X], "b": 0.5}, r"missing grad\.w; unexpected grad\.w\.0"),
        ((X, 0.5), r"missing grad\.w, grad\.b; unexpected grad\.0, grad\.1"),
        ({"w": X[:2], "b": 0.5}, r"Expected shape \(4,\) but got grad\.w of shape \(2,\)"),
        ({"w": X, "b": X}, r"Expected shape \(\) but got grad\.b of shape \(4,\)"),
    ],
)
def test_gradient_in_another_structure_names_what_is_missing(claim: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        examine(lambda p: sines(p["w"]) + p["b"], {"w": X, "b": 0.5}, claim)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (None, "Expected grad, a callable or the gradient itself, but got grad=None"),
        (lambda x: None, r"Expected grad to return a gradient but got grad\(x\)=None"),
    ],
)
def test_no_gradient_is_no_gradient(claim: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        examine(sines, X, claim)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (np.ones(4), r"Expected shape \(4, 4\) but got grad of shape \(4,\)"),
        (np.ones((4, 3)), r"Expected shape \(4, 4\) but got grad of shape \(4, 3\)"),
        (lambda x, cotangent: np.ones((4, 4)), r"Expected shape \(4,\) but got grad of shape"),
    ],
)
def test_jacobian_of_another_shape_is_refused(claim: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        examine(np.sin, X, claim)


@pytest.mark.parametrize("dtype", [int, bool, np.float32, np.longdouble, ">f8"])
def test_gradient_may_come_in_any_real_dtype(dtype: Any) -> None:
    assert examine(np.sum, X, np.ones(4, dtype))
    assert examine(np.sum, X, lambda x: np.ones(4, dtype))
    assert examine(lambda x: 3 * np.sum(x), X, np.ones(4, dtype)).verdict == "fail"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_called", [True, False])
def test_gradient_that_is_no_number_fails(bad: float, is_called: bool) -> None:
    claim = np.cos(X)
    claim[2] = bad
    report = examine(sines, X, (lambda x: claim) if is_called else claim)
    assert report.verdict == "fail"
    assert kinds(report) == ["nan"]
    assert report.findings[0].evidence == {"count": 1, "first": "x[2]"}
    assert report.entries[2].verdict == "mismatch"
    assert "not a finite number" in report.entries[2].reason


def test_gradient_that_is_nan_throughout_fails() -> None:
    report = examine(sines, X, np.full(4, np.nan))
    assert report.verdict == "fail"
    assert report.entries.counts()["mismatch"] == 4


def test_gradient_may_write_to_its_argument() -> None:
    def grad(x: Any) -> Any:
        claim = np.cos(x)
        x[:] = np.nan
        return claim

    assert examine(sines, X, grad)


def test_gradient_may_return_the_same_buffer_each_time() -> None:
    buffer = np.empty(4)

    def grad(x: Any) -> Any:
        return np.cos(x, out=buffer)

    assert examine(sines, X, grad)


def test_gradient_may_be_its_argument() -> None:
    assert examine(lambda x: x @ x / 2, X, lambda x: x)


def test_gradient_that_adds_to_its_last_call_is_found_out() -> None:
    buffer = np.zeros(4)

    def grad(x: Any) -> Any:
        buffer[:] += np.cos(x)
        return buffer

    report = examine(sines, X, grad)
    assert report.verdict == "fail"
    assert kinds(report) == ["accumulated"]
    assert "set it to zero first" in report.findings[0].message


@pytest.mark.parametrize("error", [KeyError("k"), ValueError("v"), KeyboardInterrupt()])
def test_exception_in_the_gradient_is_the_callers(error: BaseException) -> None:
    def grad(x: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        examine(sines, X, grad)
    assert caught.value is error


def test_gradient_is_not_asked_for_outside_of_its_domain() -> None:
    import math

    def grad(x: Any) -> Any:
        return 2.5 * math.sqrt(x) ** 3

    assert examine(lambda x: math.sqrt(x) ** 5, 0.0, grad)
    assert examine(lambda x: np.sum(x**2.5), np.array([0.0, 1.0]), lambda x: 2.5 * x**1.5)


# -- f -----------------------------------------------------------------------------------------

NO_NUMBERS: list[tuple[Any, str]] = [
    (None, r"got f\(x\)=None of <class 'NoneType'>"),
    ("1.0", r"got f\(x\)='1.0' of <class 'str'>"),
    ([1.0], r"got f\(x\)=\[1\.0\] of <class 'list'>"),
    ((1.0, X), r"got f\(x\)=\(1\.0, .* of <class 'tuple'>"),
    ([[1.0], [1.0, 2.0]], r"got f\(x\)=\[\[1\.0\], .* of <class 'list'>"),
    ({"loss": 1.0}, r"got f\(x\)=\{'loss': 1\.0\} of <class 'dict'>"),
    (1j, "got the complex number 1j"),
    (np.array([1j]), "got dtype complex128"),
    (np.array("a"), "got dtype <U1"),
    (np.array([None]), "got dtype object"),
    (np.datetime64("2020"), "got dtype datetime64"),
    (np.ma.array([1.0]), "got dtype float64"),
]


@pytest.mark.parametrize(("value", "message"), NO_NUMBERS, ids=lambda part: "")
def test_value_that_is_no_real_number_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError, match="Expected f to return a real number or .*" + message):
        examine(lambda x: value, X, np.cos)


@pytest.mark.parametrize(("value", "message"), NO_NUMBERS, ids=lambda part: "")
def test_value_that_is_no_real_number_any_more_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError, match="Expected f to return a real number or .*" + message):
        examine(later(value, 40), X, np.cos)


def test_value_of_no_numbers_is_refused() -> None:
    with pytest.raises(InputError, match=r"Expected f to return at least one number .* \(0, 2\)"):
        examine(lambda x: np.zeros((0, 2)), X, np.cos)


@pytest.mark.parametrize("call", [2, 40])
@pytest.mark.parametrize("value", [np.ones(1), np.ones(4), np.ones((1, 1))])
def test_value_of_another_shape_at_a_later_call_is_refused(value: Any, call: int) -> None:
    with pytest.raises(InputError, match=r"Expected f to return shape \(\) again but got \("):
        examine(later(value, call), X, np.cos)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float32(np.nan)])
def test_value_that_is_not_finite_decides_nothing(value: Any) -> None:
    report = examine(lambda x: value, X, np.cos)
    assert report.verdict == "inconclusive"
    assert "not-finite" in kinds(report)
    assert f"f(x) is {value}" in report.reason


@pytest.mark.parametrize("value", [True, 3, np.int8(3), np.float32(2.5), np.array(2), 2.5])
def test_constant_of_any_real_type_has_no_gradient(value: Any) -> None:
    assert examine(lambda x: value, X, np.zeros_like)
    assert examine(lambda x: value, X, np.ones_like).verdict == "fail"


@pytest.mark.parametrize("f", [3, "sin", None, X], ids=["number", "name", "none", "array"])
def test_f_that_cannot_be_called_is_refused(f: Any) -> None:
    with pytest.raises(InputError, match="Expected a callable but got f="):
        examine(f, X, np.cos)


def test_f_may_write_to_its_argument() -> None:
    def f(x: Any) -> Any:
        value = sines(x)
        x *= 0.5
        return value

    report = examine(f, X.copy(), np.cos)
    assert report.verdict == "pass"
    assert kinds(report) == ["mutates-input"]
    assert "x" in report.findings[0].message
    assert examine(f, X.copy(), wrong_cosines).verdict == "fail"


def test_f_that_writes_to_one_tensor_names_it() -> None:
    def f(p: Any) -> Any:
        value = sines(p["w"]) + p["v"] @ p["v"]
        p["v"][0] = 0.0
        return value

    x = {"w": X.copy(), "v": X.copy()}
    report = examine(f, x, lambda p: {"w": np.cos(p["w"]), "v": 2 * p["v"]})
    assert report.verdict == "pass"
    assert report.findings[0].evidence == {"tensors": ("v",)}


def test_f_may_start_to_write_to_its_argument_late() -> None:
    """A projection in place, which does nothing at x itself."""
    weights = np.array([1.0, 2.0, 3.0])

    def f(x: Any) -> Any:
        if x @ x > 1.0:
            x /= np.sqrt(x @ x)
        return weights @ np.sin(x)

    x = np.array([0.6, 0.8, 0.0]) * (1 - 1e-7)
    assert examine(f, x, lambda x: weights * np.cos(x))


class Memory:
    """Keeps its last argument, as it came, and the value there."""

    def __init__(self) -> None:
        self.x: Any = None
        self.value: Any = None

    def __call__(self, x: Any) -> Any:
        if self.x is None or not np.array_equal(self.x, x):
            self.x, self.value = x, sines(x)
        return self.value


def test_f_may_keep_its_argument() -> None:
    kept = []

    def f(x: Any) -> Any:
        kept.append(x)
        return sines(x)

    assert examine(f, X, np.cos)
    assert len({x.tobytes() for x in kept}) > len(kept) // 2


def test_f_may_remember_its_last_argument() -> None:
    assert examine(Memory(), X, np.cos)
    assert examine(Memory(), X, wrong_cosines).verdict == "fail"


def test_f_may_return_its_argument_or_the_same_buffer() -> None:
    buffer = np.empty(4)
    assert examine(lambda x: x, X, np.eye(4))
    assert examine(lambda x: x[1:3], X, np.eye(4)[1:3])
    assert examine(lambda x: np.sin(x, out=buffer), X, lambda x: np.diag(np.cos(x)))


# -- exceptions --------------------------------------------------------------------------------


def later(value: Any, call: int) -> Function:
    """A function that returns, or raises, something else at one of its calls."""
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != call:
            return sines(x)
        if isinstance(value, BaseException):
            raise value
        return value

    return f


class Own(Exception):  # noqa: N818
    """Somebody's own exception."""


CALLS = [1, 2, 3, 5, 40, 60, 70, 80]
EXCEPTIONS = [
    TypeError("t"),
    KeyError("k"),
    RuntimeError("r"),
    AssertionError("a"),
    Own("o"),
    MemoryError(),
    KeyboardInterrupt(),
    SystemExit(3),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda error: type(error).__name__)
def test_exception_is_passed_on_unchanged(error: BaseException, call: int) -> None:
    with pytest.raises(type(error)) as caught:
        examine(later(error, call), X, np.cos)
    assert caught.value is error


OUTSIDE = [ValueError("v"), ZeroDivisionError("z"), OverflowError("o"), FloatingPointError("f")]
OUTSIDE += [np.linalg.LinAlgError("singular")]


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("error", OUTSIDE, ids=lambda error: type(error).__name__)
def test_exception_at_the_point_itself_is_passed_on(error: Exception, call: int) -> None:
    with pytest.raises(type(error)) as caught:
        examine(later(error, call), X, np.cos)
    assert caught.value is error


@pytest.mark.parametrize("call", [5, 20, 40, 60, 70, 80])
@pytest.mark.parametrize("error", OUTSIDE, ids=lambda error: type(error).__name__)
def test_a_point_outside_the_domain_is_stepped_around(error: Exception, call: int) -> None:
    assert examine(later(error, call), X, np.cos).verdict == "pass"
    assert examine(later(error, call), X, wrong_cosines).verdict == "fail"


def test_domain_may_end_near_the_point() -> None:
    import math

    x = np.array([1e-9, 1e-3, 1.0])
    assert examine(lambda x: sum(map(math.log, x)), x, lambda x: 1 / x)
    assert examine(lambda x: sum(map(math.log, x)), x, lambda x: 1.01 / x).verdict == "fail"


@pytest.mark.parametrize("error", [KeyError("k"), KeyboardInterrupt()], ids=["key", "interrupt"])
def test_exception_leaves_nested_parameters_as_they_were(error: BaseException) -> None:
    square = X.reshape(2, 2)
    x = {"w": X.copy(), "layers": [square.copy(), 0.5], "read-only": read_only()}
    calls = 0

    def f(p: Any) -> Any:
        nonlocal calls
        calls += 1
        p["w"][:] = 7.0
        if calls == 90:
            raise error
        return sines(p["layers"][0])

    with pytest.raises(type(error)):
        examine(f, x, {"w": 0 * X, "layers": [np.cos(square), 0.0], "read-only": 0 * X})


def test_warnings_of_f_away_from_the_point_are_not_shown() -> None:
    # The tests run with warnings as errors.
    with np.errstate(all="raise"):
        assert examine(lambda x: np.sum(np.sqrt(x)), np.array([1e-9, 1.0]), lambda x: 0.5 / x**0.5)
