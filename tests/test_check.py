"""The public entry point: what goes in, what comes out, and what is refused."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from tests.full import assert_gradients, check

from gradproof import GradientMismatch, Inconclusive, InputError, Report
from gradproof.tree import flatten

Vector = npt.NDArray[np.float64]

X = np.array([0.3, -1.2, 2.0, 0.8])
A = np.random.default_rng(0).normal(size=(3, 4))


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


def wrong_at(place: int, factor: float = -1.0) -> Callable[[Vector], Vector]:
    def grad(x: Vector) -> Vector:
        claim = np.cos(x)
        claim.reshape(-1)[place] *= factor
        return claim

    return grad


def mismatches(report: Report) -> list[str]:
    return [entry.name for entry in report.entries.filter(verdict="mismatch")]


def without_seconds(report: Report) -> str:
    return repr(dataclasses.replace(report, seconds=0.0, plan=None))


def same(one: Report, other: Report) -> bool:
    """Equal in everything but the time it took; NaN equals NaN."""
    return without_seconds(one) == without_seconds(other) and one.entries == other.entries


# -- verdicts ----------------------------------------------------------------------------------


def test_right_gradient_passes() -> None:
    report = check(sines, X, np.cos)
    assert report.verdict == "pass"
    assert report
    assert report.entries.counts() == {"match": 4, "mismatch": 0, "kink": 0, "unresolved": 0}
    assert report.tensors["x"].digits_agree.minimum > 8
    assert report.value == pytest.approx(np.sum(np.sin(X)))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("factor", [-1.0, 0.0, 2.0, 1.01, 1.002])
def test_wrong_entry_fails_and_is_named(place: int, factor: float) -> None:
    report = check(sines, X, wrong_at(place, factor))
    assert report.verdict == "fail"
    assert not report
    assert mismatches(report) == [f"x[{place}]"]
    assert report.steps[0].label == f"x[{place}]"


@pytest.mark.parametrize(
    "claim",
    [
        lambda x: np.cos(x) + 1e-3,
        lambda x: np.cos(x)[::-1],
        lambda x: np.zeros_like(x),
        lambda x: -np.cos(x),
        lambda x: np.cos(x) / 4,
        np.sin,
    ],
    ids=["offset", "reversed", "zero", "sign", "mean-for-sum", "another-function"],
)
def test_wrong_gradient_fails(claim: Callable[[Vector], Vector]) -> None:
    assert check(sines, X, claim).verdict == "fail"


@pytest.mark.parametrize("tiny", [0.0, 1e-300, 1e-50, 1e-20, 5e-17, 1e-14, 1e-12])
@pytest.mark.parametrize("others", [1, 3, 20])
def test_entry_that_is_zero_but_for_rounding_hides_nothing(tiny: float, others: int) -> None:
    """Its own size is no scale for steps."""
    x = np.append(tiny, np.linspace(0.5, 1, others))
    assert check(sines, x, np.cos).verdict == "pass"
    for factor in (0.0, -1.0, 5.0, 1e3):
        report = check(sines, x, wrong_at(0, factor))
        assert report.verdict == "fail"
        assert mismatches(report) == ["x[0]"]


@pytest.mark.parametrize(
    ("f", "grad"),
    [
        (lambda x: x**1.5, lambda x: 1.5 * np.sqrt(x)),
        (lambda x: np.abs(x) ** 1.5, lambda x: 1.5 * np.sign(x) * np.sqrt(np.abs(x))),
        (lambda x: x * np.abs(x) ** 0.5, lambda x: 1.5 * np.sqrt(np.abs(x))),
        (lambda x: x * np.abs(x) + x, lambda x: 2 * np.abs(x) + 1),
        (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    ],
    ids=["edge-of-1.5", "even-1.5", "odd-1.5", "odd-2", "relu-squared"],
)
def test_point_with_a_slope_but_no_curvature_is_no_kink(f: Any, grad: Any) -> None:
    x = np.array([0.0, 1.0, 2.0])
    report = check(lambda x: np.sum(f(x)), x, grad)
    assert report.verdict == "pass"
    assert report.entries.counts()["kink"] == 0
    assert check(lambda x: np.sum(f(x)), x, lambda x: grad(x) + 0.01).verdict == "fail"


def test_random_function_is_inconclusive() -> None:
    rng = np.random.default_rng(0)
    report = check(lambda x: sines(x) + 1e-3 * rng.normal(), X, np.cos)
    assert report.verdict == "inconclusive"
    assert not report
    assert [finding.kind for finding in report.findings] == ["nondeterministic"]


def test_nothing_is_claimed_about_a_function_that_is_nan_at_the_point() -> None:
    report = check(lambda x: np.nan, X, np.cos)
    assert report.verdict == "inconclusive"
    assert [finding.kind for finding in report.findings] == ["not-finite"]
    assert len(report.entries) == 0


def test_single_precision_inside_is_resolved_to_what_it_is_worth() -> None:
    def f(x: Vector) -> float:
        return float(np.sum(np.sin(x.astype(np.float32)), dtype=np.float32))

    assert check(f, X, np.cos).verdict == "pass"
    report = check(f, X, np.cos, resolution=1e-9)
    assert report.verdict == "inconclusive"
    assert "wider than the resolution" in report.reason


def test_every_report_can_be_printed() -> None:
    reports = [
        check(sines, X, np.cos),
        check(sines, X, np.sin),
        check(lambda x: np.nan, X, np.cos),
        check(np.abs, 0.0, np.sign),
    ]
    assert all(report.verdict in str(report).lower() for report in reports)


# -- what is checked: containers, scalars, arrays ----------------------------------------------


@dataclasses.dataclass
class Layer:
    weight: Any
    bias: Any


class Pair(NamedTuple):
    first: Any
    second: Any


STRUCTURES: list[tuple[Any, list[str]]] = [
    (0.7, ["x"]),
    (np.array(0.7), ["x"]),
    (np.float64(0.7), ["x"]),
    (np.ones((2, 1, 2)), ["x"]),
    ({"w": X, "b": 0.5}, ["w", "b"]),
    ([X, 0.5], ["x.0", "x.1"]),
    ((X, X[:2]), ["x.0", "x.1"]),
    (Pair(X, 0.5), ["first", "second"]),
    (Layer(A, X), ["weight", "bias"]),
    (
        {"layers": [Layer(A, X), Layer(A[:1], 0.5)], "gain": np.array(2.0), "none": None},
        ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "gain"],
    ),
]
BY_STRUCTURE = pytest.mark.parametrize(
    ("x", "names"),
    STRUCTURES,
    ids=["float", "0-d", "scalar", "array", "dict", "list", "tuple", "named", "dataclass", "deep"],
)


def weighted_sines(x: Any) -> Any:
    return sum((k + 1) * np.sum(np.sin(leaf)) for k, leaf in enumerate(flatten(x).leaves))


def weighted_cosines(x: Any) -> Any:
    tree = flatten(x)
    return tree.unflatten((k + 1) * np.cos(leaf) for k, leaf in enumerate(tree.leaves))


@BY_STRUCTURE
def test_nested_parameters_become_named_tensors(x: Any, names: list[str]) -> None:
    report = check(weighted_sines, x, weighted_cosines)
    assert report.verdict == "pass"
    assert list(report.tensors) == names


@BY_STRUCTURE
def test_f_and_grad_see_the_structure_that_was_given(x: Any, names: list[str]) -> None:
    seen: list[Any] = []

    def f(point: Any) -> Any:
        seen.append(point)
        return weighted_sines(point)

    def grad(point: Any) -> Any:
        seen.append(point)
        return weighted_cosines(point)

    check(f, x, grad)
    shapes = [leaf.shape for leaf in flatten(x).leaves]
    for point in seen:
        assert isinstance(point, type(x) if not isinstance(x, float) else float)
        assert flatten(point).names == tuple(names)
        assert [leaf.shape for leaf in flatten(point).leaves] == shapes


@BY_STRUCTURE
def test_only_the_tensor_with_the_wrong_gradient_fails(x: Any, names: list[str]) -> None:
    for wrong, name in enumerate(names):

        def grad(point: Any, wrong: int = wrong) -> Any:
            tree = flatten(weighted_cosines(point), root="grad")
            return tree.unflatten(
                1.1 * leaf if k == wrong else leaf for k, leaf in enumerate(tree.leaves)
            )

        report = check(weighted_sines, x, grad)
        assert [n for n, t in report.tensors.items() if t.verdict == "fail"] == [name]


def test_f_of_a_float_may_use_the_math_module() -> None:
    import math

    assert check(math.sin, 0.7, math.cos)
    assert check(math.sin, 0.7, math.sin).verdict == "fail"


def test_the_gradient_itself_will_do() -> None:
    report = check(sines, X, np.cos(X))
    assert report.verdict == "pass"
    assert report.gradient_evaluations == 0
    assert check(sines, X, wrong_at(2)(X)).verdict == "fail"


def test_gradient_may_come_in_a_plain_dict_for_a_dataclass() -> None:
    claim = {"bias": np.cos(X), "weight": np.cos(A)}
    assert check(lambda p: sines(p.weight) + sines(p.bias), Layer(A, X), claim)


def test_calls_of_grad_are_counted() -> None:
    calls = []

    def grad(x: Vector) -> Vector:
        calls.append(x)
        return np.cos(x)

    assert check(sines, X, grad).gradient_evaluations == len(calls) > 0


# -- coverage ----------------------------------------------------------------------------------

WIDE = {"w": np.random.default_rng(2).normal(size=(10, 10)), "v": X, "s": 0.5}


def test_sample_checks_so_many_entries_of_every_tensor() -> None:
    report = check(weighted_sines, WIDE, weighted_cosines, coverage="sample", samples=7)
    assert {name: t.checked for name, t in report.tensors.items()} == {"w": 7, "v": 4, "s": 1}
    assert {name: t.size for name, t in report.tensors.items()} == {"w": 100, "v": 4, "s": 1}
    drawn = report.entries.filter(tensor="w")["index"].tolist()
    assert len(set(drawn)) == 7
    assert report.coverage == "sample"


def test_sample_costs_less_than_full() -> None:
    sample = check(weighted_sines, WIDE, weighted_cosines, coverage="sample", samples=5)
    full = check(weighted_sines, WIDE, weighted_cosines)
    assert sample.evaluations < full.evaluations - 150


def test_sample_depends_on_the_seed_alone() -> None:
    def drawn(seed: int) -> list[Any]:
        report = check(sines, WIDE["w"], np.cos, coverage="sample", samples=10, seed=seed)
        indices: list[Any] = report.entries["index"].tolist()
        return indices

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


@pytest.mark.parametrize("seed", range(5))
def test_sample_finds_an_error_in_all_of_one_tensor(seed: int) -> None:
    def grad(p: Any) -> Any:
        claim = weighted_cosines(p)
        claim["w"] = 1.01 * claim["w"]
        return claim

    report = check(weighted_sines, WIDE, grad, coverage="sample", samples=3, seed=seed)
    assert [n for n, t in report.tensors.items() if t.verdict == "fail"] == ["w"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": "all"}, "Expected coverage='probe', 'sample' or 'full' but got 'all'"),
        ({"coverage": None}, "Expected coverage='probe', 'sample' or 'full' but got None"),
        ({"confidence": 1.0}, "Expected a number from 0.5 to below 1 but got confidence=1.0"),
        ({"confidence": "high"}, "Expected a number from 0.5 to below 1 but got confidence='high'"),
        ({"samples": 0}, "Expected a positive integer but got samples=0"),
        ({"samples": 1.5}, "Expected a positive integer but got samples=1.5"),
        ({"samples": True}, "Expected a positive integer but got samples=True"),
        ({"resolution": 0.0}, "Expected a number between 0 and 1 but got resolution=0.0"),
        ({"resolution": 1}, "Expected a number between 0 and 1 but got resolution=1"),
        ({"resolution": np.nan}, "Expected a number between 0 and 1 but got resolution=nan"),
        ({"resolution": "1e-3"}, "Expected a number between 0 and 1 but got resolution='1e-3'"),
        ({"customary": (0.0,)}, r"Expected positive steps but got customary=\(0.0,\)"),
        ({"customary": (1e-4, np.inf)}, r"Expected positive steps but got customary=\(0.0001, inf"),
        ({"customary": ("a",)}, r"Expected positive steps but got customary=\('a',\)"),
        ({"customary": 1e-4}, "Expected positive steps but got customary=0.0001"),
        ({"customary": "123"}, "Expected positive steps but got customary='123'"),
        ({"seed": -1}, "Expected an integer that is not negative but got seed=-1"),
        ({"seed": None}, "Expected an integer that is not negative but got seed=None"),
        ({"seed": 0.5}, "Expected an integer that is not negative but got seed=0.5"),
        ({"engine": 4}, "Expected a map-like callable but got engine=4"),
        ({"progress": 3}, "Expected a bool or callable but got progress=3"),
        ({"steps": 5}, "Expected the name of an entry or tensor but got steps=5"),
        ({"steps": ["x", 5]}, r"Expected the name of an entry or tensor but got steps=\['x', 5\]"),
        ({"steps": []}, r"Expected the name of an entry or tensor but got steps=\[\]"),
        ({"steps": ["x", "y"]}, "Expected one of x, or an entry of it, but got steps='y'"),
        ({"steps": "y"}, "Expected one of x, or an entry of it, but got steps='y'"),
        ({"steps": "x[4]"}, r"Expected an entry of shape \(4,\) but got steps='x\[4\]'"),
        ({"steps": "x[1, 1]"}, r"Expected an entry of shape \(4,\) but got steps='x\[1, 1\]'"),
        ({"cotangent": np.ones(2)}, r"Expected cotangent of f's shape \(\) but got \(2,\)"),
        ({"cotangent": 0.0}, "Expected finite real numbers that are not all 0 but got cotangent=0"),
        ({"cotangent": np.nan}, "Expected finite real numbers .* got cotangent=nan"),
        ({"cotangent": 1j}, "Expected finite real numbers .* got cotangent=1j"),
        ({"cotangent": "one"}, "Expected finite real numbers .* got cotangent='one'"),
    ],
    ids=lambda part: "-".join(f"{k}={v}" for k, v in part.items()) if type(part) is dict else "",
)
def test_option_that_cannot_be_used_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(sines, X, np.cos, **options)


@pytest.mark.parametrize("coverage", ["probe", "sample", "full"])
def test_an_entry_that_steps_name_is_looked_at_with_every_coverage(coverage: str) -> None:
    steps = ["w[1, 2]", "v", "w[0, 0]"]
    report = check(
        weighted_sines, WIDE, weighted_cosines, coverage=coverage, samples=1, steps=steps
    )
    assert [table.label for table in report.steps] == steps
    assert {"w[1, 2]", "w[0, 0]"} <= {entry.name for entry in report.entries}
    assert report.verdict == "pass"


def test_a_wrong_gradient_has_the_step_tables_that_were_asked_for_too() -> None:
    steps = "w[1, 2]"
    report = check(
        weighted_sines,
        WIDE,
        lambda x: {**weighted_cosines(x), "s": 0.0},
        coverage="probe",
        steps=steps,
    )
    assert report.verdict == "fail"
    assert [table.label for table in report.steps] == [steps]


def test_missing_gradient_is_asked_for() -> None:
    with pytest.raises(InputError, match="Expected grad, a callable or the gradient itself"):
        check(sines, X)


def test_numbers_from_numpy_will_do_as_options() -> None:
    report = check(
        sines,
        X,
        np.cos,
        coverage="sample",
        samples=np.int64(2),  # type: ignore[arg-type]
        seed=np.int64(1),  # type: ignore[arg-type]
        resolution=np.float32(0.01),  # type: ignore[arg-type]
        customary=np.array([1e-3]),  # type: ignore[arg-type]
    )
    assert len(report.entries) == 2


# -- the same every time, wherever it runs -----------------------------------------------------


def kinked(x: Any) -> Any:
    return np.sum(np.abs(x)) + np.sum(np.maximum(x[:-1], x[1:])) + np.sum(np.sin(9 * x))


KINKED = np.array([0.0, 0.0, 1.0, 1.0, -0.5, 1e-5, 0.3])
CLAIM = np.array([1.0, 2.0, 1.5, 2.5, -1.0, 1.0, 2.0]) + 9 * np.cos(9 * KINKED)


@pytest.mark.parametrize("coverage", ["full", "sample"])
def test_two_runs_give_the_same_report(coverage: str) -> None:
    one, other = (
        check(kinked, KINKED, CLAIM, coverage=coverage, samples=4, seed=5) for _ in range(2)
    )
    assert same(one, other)
    assert one.seed == 5


def test_another_seed_gives_the_same_verdict() -> None:
    assert len({check(kinked, KINKED, CLAIM, seed=seed).verdict for seed in range(5)}) == 1


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    check(kinked, KINKED, CLAIM, coverage="sample", samples=4)
    assert np.array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002


def eager(function: Callable[[Any], Any], chunks: Iterable[Any], /) -> list[Any]:
    return [function(chunk) for chunk in list(chunks)]


def test_engines_give_the_same_report() -> None:
    x = np.random.default_rng(3).normal(size=700)
    reports = [check(sines, x, wrong_at(3, 1.01)), check(sines, x, wrong_at(3, 1.01), engine=map)]
    reports += [check(sines, x, wrong_at(3, 1.01), engine=eager)]
    with ThreadPoolExecutor(3) as pool:
        reports += [check(sines, x, wrong_at(3, 1.01), engine=pool.map)]
    assert all(same(report, reports[0]) for report in reports)


def test_engine_gets_the_work_in_several_chunks() -> None:
    handed: list[int] = []

    def engine(function: Callable[[Any], Any], chunks: Iterable[Any], /) -> Iterator[Any]:
        for count, chunk in enumerate(chunks, start=1):
            handed.append(count)
            yield function(chunk)

    check(sines, np.linspace(0.1, 1, 700), np.cos, engine=engine)
    assert max(handed) >= 4


def test_engine_that_loses_results_is_refused() -> None:
    with pytest.raises(InputError, match="Expected engine to return a result for each chunk"):
        check(sines, X, np.cos, engine=lambda function, chunks: [])


def test_progress_counts_up_to_what_was_foretold() -> None:
    seen: list[tuple[int, int]] = []
    report = check(
        sines, np.linspace(0.1, 1, 700), np.cos, progress=lambda *counts: seen.append(counts)
    )
    done = [count for count, _ in seen]
    assert len(done) >= 5
    assert done == sorted(set(done))
    assert done[-1] == report.evaluations
    assert done[-1] == pytest.approx(seen[-1][1], rel=0.1)


def test_progress_bar_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(sines, X, np.cos, progress=True)
    assert capsys.readouterr().out == ""


# -- the report --------------------------------------------------------------------------------


def test_entries_have_the_columns_that_the_design_promises() -> None:
    report = check(sines, X, wrong_at(1, 1.1))
    promised = {"tensor", "index", "analytic", "numeric", "error", "difference", "same_sign"}
    promised |= {"relative_error", "digits_agree", "digits_attainable", "verdict"}
    assert promised <= set(report.entries.columns)
    entries = report.entries
    assert entries["index"].tolist() == [(0,), (1,), (2,), (3,)]
    assert entries["value"].tolist() == X.tolist()
    np.testing.assert_allclose(entries["analytic"], wrong_at(1, 1.1)(X))
    np.testing.assert_allclose(entries["numeric"], np.cos(X), rtol=1e-8)
    assert np.all(np.abs(entries["numeric"] - np.cos(X)) <= entries["error"])
    assert np.array_equal(entries["difference"], entries["analytic"] - entries["numeric"])
    assert entries["verdict"].tolist() == ["match", "mismatch", "match", "match"]


def test_figures_of_the_whole_are_those_of_its_entries() -> None:
    report = check(sines, X, wrong_at(1, -1.0))
    assert report.sign_mismatches == 1
    assert report.max_relative_error == pytest.approx(2.0)
    assert report.norm_ratio == report.tensors["x"].norm_ratio
    assert report.seconds > 0
    assert report.resolution == 1e-3


def test_step_table_is_of_the_entry_or_tensor_asked_for() -> None:
    x = {"w": A, "b": 0.5}
    (table,) = check(weighted_sines, x, weighted_cosines, steps="w[2, 1]").steps
    assert table.label == "w[2, 1]"
    assert table.analytic == pytest.approx(np.cos(A[2, 1]))
    (table,) = check(weighted_sines, x, weighted_cosines, steps="w").steps
    assert table.label == "w"
    assert np.isnan(table.analytic)
    (table,) = check(weighted_sines, x, weighted_cosines, steps="b").steps
    assert table.analytic == pytest.approx(2 * np.cos(0.5))


def test_step_tables_of_several_are_those_of_each_and_one_costs_as_much_as_ever() -> None:
    x = {"w": A, "b": 0.5}
    labels = ["w[2, 1]", "b", "w[2, 1]"]
    several = check(weighted_sines, x, weighted_cosines, coverage="full", steps=labels)
    alone = [
        check(weighted_sines, x, weighted_cosines, coverage="full", steps=label)
        for label in ("w[2, 1]", "b")
    ]
    listed = check(weighted_sines, x, weighted_cosines, coverage="full", steps=["b"])
    assert [repr(table) for table in several.steps] == [repr(a.steps[0]) for a in alone]
    assert several.settings["steps"] == ("w[2, 1]", "b")
    assert alone[1].settings["steps"] == "b"
    assert listed.evaluations == alone[1].evaluations
    assert several.evaluations == listed.evaluations + 2 * len(listed.steps[0].rows)


def test_rules_of_thumb_are_shown_where_there_are_kinks() -> None:
    x = np.append(3e-5, np.linspace(-0.7, 0.8, 14))
    report = check(lambda x: np.sum(np.abs(x)), x, np.sign, customary=(1e-4, 1e-6))
    assert report.verdict == "pass"
    assert [row.step for row in report.customary] == [1e-4, 1e-6]
    assert [row.kinks for row in report.customary] == [1, 0]
    assert report.customary[0].max_relative_error > 0.5
    assert report.customary[0].max_relative_error_without_kinks < 1e-9
    assert check(lambda x: np.sum(np.abs(x)), x, np.sign, customary=()).customary == ()


def test_rules_of_thumb_cost_nothing_where_f_is_smooth() -> None:
    assert check(sines, X, np.cos).customary == ()
    assert check(sines, X, np.cos).evaluations == check(sines, X, np.cos, customary=()).evaluations


# -- as an assertion ---------------------------------------------------------------------------


def test_assertion_returns_the_report_of_a_right_gradient() -> None:
    report = assert_gradients(sines, X, np.cos, seed=2)
    assert report.verdict == "pass"
    assert report.seed == 2


def test_assertion_raises_with_the_report_of_a_wrong_gradient() -> None:
    with pytest.raises(GradientMismatch) as caught:
        assert_gradients(sines, X, wrong_at(1))
    assert caught.value.report.verdict == "fail"
    assert str(caught.value) == str(caught.value.report)
    assert "x[1]" in str(caught.value)


def test_assertion_does_not_pass_what_could_not_be_decided() -> None:
    with pytest.raises(Inconclusive) as caught:
        assert_gradients(lambda x: np.inf, X, np.cos)
    assert caught.value.report.verdict == "inconclusive"


def test_a_report_says_what_it_was_made_with_and_its_options() -> None:
    report = check(sines, np.ones(3), np.cos, coverage="sample", samples=2, steps="x[1]")
    assert report.settings == {"samples": 2, "promote": True, "steps": "x[1]"}
    assert report.versions["numpy"] == np.__version__
    assert {"gradproof", "python", "system"} <= set(report.versions)
