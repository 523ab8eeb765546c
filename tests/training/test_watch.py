"""Which steps are probed, what is said of them, and which mistakes are caught."""

from __future__ import annotations

import copy
import io
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.training.loops import build
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradproof
from gradproof.report.model import Report

X = torch.linspace(-1.0, 1.0, 30).reshape(5, 6)


def steps_of(watcher: Any) -> list[int]:
    return [step for step, _ in watcher.reports]


def verdicts_of(watcher: Any) -> list[str]:
    return [report.verdict for _, report in watcher.reports]


def tiny() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 2), nn.Tanh())


# -- what is caught --------------------------------------------------------------------------------


def test_a_backward_that_is_wrong_only_at_saturated_values_is_caught_once_there_are_any(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = build(saturation=2.5)
    model[1] = nn.Identity()
    with gradproof.watch(model, every=5, burn_in=2) as watcher:
        for step in range(20):
            x = X if step < 10 else 20 * X
            model(x).sum().backward()
    assert steps_of(watcher) == [2, 7, 12, 17]
    assert verdicts_of(watcher) == ["pass", "pass", "fail", "fail"]
    (line,) = [r for r in caplog.records if r.message.startswith("step 12: FAIL: ")]
    assert line.levelname == "ERROR"
    assert "the error enters in 2" in line.message


class Stale(torch.autograd.Function):
    """A product whose backward takes the weight from a cache."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, cached: Tensor) -> Tensor:
        return x @ weight

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[2])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        x, cached = ctx.saved_tensors
        return dy @ cached.T, x.T @ dy, None


class StaleLinear(nn.Module):
    cached: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("cached", self.weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Stale.apply(x, self.weight, self.cached)  # type: ignore[no-untyped-call]
        return result


def test_a_buffer_that_goes_stale_is_caught_at_the_first_probe_after() -> None:
    model = nn.Sequential(nn.Linear(6, 4), StaleLinear())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        for _ in range(2):
            optimizer.zero_grad()
            model(X).square().sum().backward()
            optimizer.step()
    assert verdicts_of(watcher) == ["pass", "fail"]
    assert "the error enters in 1" in watcher.reports[1].report.reason


def test_the_loss_is_what_is_checked_where_one_is_given() -> None:
    model, target = tiny(), torch.ones(5, 2)
    with gradproof.watch(
        model, every=1, burn_in=0, loss=lambda y: nn.functional.mse_loss(y, target)
    ) as watcher:
        loss = nn.functional.mse_loss(model(X), target)
    assert watcher.reports[0].report.value == pytest.approx(loss.item(), rel=1e-5)
    assert verdicts_of(watcher) == ["pass"]


def test_keyword_arguments_and_nested_inputs_are_passed_on() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 2)

        def forward(self, batch: dict[str, Tensor], *, mask: Tensor | None = None) -> Any:
            y = self.layer(batch["x"]) + batch["id"][:, None]
            return {"y": y if mask is None else y * mask, "note": "none"}

    model = Masked()
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        model({"x": X, "id": torch.arange(5)}, mask=torch.ones(5, 2))
        model(batch={"x": X, "id": torch.arange(5)})
    assert verdicts_of(watcher) == ["pass", "pass"]


# -- which steps count -----------------------------------------------------------------------------


def test_only_calls_in_training_mode_with_gradients_count() -> None:
    model = tiny()
    with gradproof.watch(model, every=2, burn_in=1, max_evaluations=9) as watcher:
        for _ in range(4):
            model(X)
            model.eval()
            model(X)
            model.train()
            with torch.no_grad():
                model(X)
    assert watcher.steps == 4
    assert steps_of(watcher) == [1, 3]


def test_with_an_optimizer_its_own_steps_count() -> None:
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[tuple[int, float]] = []
    with gradproof.watch(
        model,
        every=2,
        burn_in=1,
        optimizer=optimizer,
        loss=torch.sum,
        on_report=lambda step, report: seen.append((step, report.value)),
    ):
        for _ in range(4):
            for part in range(3):  # accumulated
                model(X + part).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [step for step, _ in seen] == [1, 3]
    optimizer.step()


def test_calls_of_the_model_by_itself_do_not_count() -> None:
    class Recursive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor, depth: int) -> Tensor:
            result: Tensor = self.layer(x) if depth == 0 else self(torch.tanh(x), depth - 1)
            return result

    model = Recursive()
    with gradproof.watch(model, every=3, burn_in=0) as watcher:
        for _ in range(5):
            model(X, 2)
    assert watcher.steps == 5
    assert steps_of(watcher) == [0, 3]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_recomputation_in_the_backward_pass_does_not_count(use_reentrant: bool) -> None:
    model = tiny()
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        x = X.clone().requires_grad_()
        y = checkpoint(model, x, use_reentrant=use_reentrant)
        y.sum().backward()
    assert watcher.steps == (0 if use_reentrant else 1)


def test_a_call_that_was_interrupted_hides_no_later_one() -> None:
    class Stops(nn.Linear):
        stops = True

        def forward(self, input: Tensor) -> Tensor:
            if self.stops:
                raise KeyboardInterrupt
            return super().forward(input)

    model = Stops(6, 2)
    with gradproof.watch(model, every=1, burn_in=1) as watcher:
        with pytest.raises(KeyboardInterrupt):
            model(X)
        model.stops = False
        model(X)
    assert steps_of(watcher) == [1]


def test_every_step_has_directions_of_its_own() -> None:
    model = tiny()
    with gradproof.watch(model, every=1, burn_in=0, seed=40) as watcher:
        model(X)
        model(X)
    assert [report.seed for _, report in watcher.reports] == [40, 41]


# -- what is said ----------------------------------------------------------------------------------


def test_each_probe_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gradproof")
    model = tiny()
    with gradproof.watch(model, every=1, burn_in=0):
        model(X)
    with gradproof.watch(model, every=1, burn_in=0, max_evaluations=3):
        model(X)
    passed, cut_short = [r for r in caplog.records if r.message.startswith("step 0: ")]
    assert passed.levelname == "INFO"
    assert passed.message.startswith("step 0: PASS: ")
    assert passed.message.endswith(" s)")
    assert cut_short.levelname == "WARNING"
    assert cut_short.message.startswith("step 0: INCONCLUSIVE: ")


def test_the_training_ends_at_a_wrong_gradient_where_that_is_asked() -> None:
    model = build(saturation=0.1)
    watcher = gradproof.watch(model, every=1, burn_in=1, on_fail="raise")
    model(X)
    with pytest.raises(
        gradproof.GradientMismatch, match="at step 1 of the training\nFAIL"
    ) as error:
        model(X)
    assert error.value.report is watcher.reports[0].report
    watcher.close()
    model(X)


def test_what_on_report_draws_are_no_random_numbers_of_the_trainings() -> None:
    def draw(step: int, report: Report) -> None:
        # As rich does when a report is printed.
        random.random()
        torch.rand(1)

    model = tiny()
    with gradproof.watch(model, every=1, burn_in=0, on_report=draw) as watcher:
        before = random.getstate(), torch.get_rng_state()
        model(X)
    assert steps_of(watcher) == [0]
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_on_report_raises_ends_the_training() -> None:
    def refuse(step: int, report: Report) -> None:
        raise ConnectionError("no server")

    model = tiny()
    with (
        gradproof.watch(model, every=1, burn_in=0, on_report=refuse),
        pytest.raises(ConnectionError),
    ):
        model(X)


def test_a_watcher_that_saw_nothing_says_so_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny()
    watcher = gradproof.watch(model, every=1, burn_in=5)
    model(X)
    watcher.close()
    watcher.close()
    (line,) = caplog.records
    assert line.message.startswith("no probe was due in the 1 training steps that were seen")


# -- the model -------------------------------------------------------------------------------------


def test_after_close_the_model_has_no_hook_and_the_reports_stay() -> None:
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradproof.watch(model, every=1, burn_in=0, optimizer=optimizer) as watcher:
        model(X)
    model(X)
    optimizer.step()
    assert (watcher.steps, steps_of(watcher)) == (0, [0])
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_of_a_watched_model_is_not_watched(copied: Callable[[Any], Any]) -> None:
    model, seen = tiny(), list[int]()
    with gradproof.watch(
        model, every=1, burn_in=0, on_report=lambda step, _: seen.append(step)
    ) as watcher:
        twin = copied(model)
        twin(X)
        assert (watcher.steps, seen) == (0, [])
        torch.save(model.state_dict(), io.BytesIO())
        model(X)
    assert (watcher.steps, seen) == (1, [0])


def test_two_models_are_watched_side_by_side() -> None:
    one, other = tiny(), tiny()
    with (
        gradproof.watch(one, every=1, burn_in=0) as first,
        gradproof.watch(other, every=1, burn_in=0) as second,
        gradproof.watch(other, every=1, burn_in=0, seed=3) as third,
    ):
        one(X)
        other(X)
        one(X)
    assert [verdicts_of(w) for w in (first, second, third)] == [["pass"] * 2, ["pass"], ["pass"]]


def test_a_compiled_model_is_watched_from_outside() -> None:
    model = tiny()
    compiled: Any = torch.compile(model, backend="eager", fullgraph=True)
    with gradproof.watch(compiled, every=1, burn_in=1) as watcher:
        for _ in range(2):
            compiled(X).sum().backward()
    assert watcher.steps == 2
    assert verdicts_of(watcher) == ["pass"]
    assert "0.weight" in watcher.reports[0].report.tensors


def test_a_compiled_part_is_not_compiled_for_a_probe() -> None:
    compiled: list[object] = []

    def backend(graph: Any, inputs: object) -> Any:
        compiled.append(graph)
        return graph.forward

    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    model[0] = torch.compile(model[0], backend=backend)  # type: ignore[assignment]
    x = torch.ones(4, 2)
    with gradproof.watch(model, every=1, burn_in=1) as watcher:
        model(x)
        before = len(compiled)
        model(x)
    assert [report.verdict for _, report in watcher.reports] == ["pass"]
    assert len(compiled) == before > 0


def test_a_model_that_is_compiled_after_it_was_watched_runs_as_ever() -> None:
    torch.compiler.reset()  # else what was compiled for another test, without hooks, would run
    model = tiny()
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        y = compiled(X)
        assert watcher.steps == 0
        assert torch.equal(model(X), y)
    assert steps_of(watcher) == [0]


def test_a_data_parallel_model_is_watched_from_outside() -> None:
    model = nn.DataParallel(tiny())
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        model(X)
    assert verdicts_of(watcher) == ["pass"]
    assert "0.weight" in watcher.reports[0].report.tensors


def test_what_has_no_hooks_in_python_is_refused() -> None:
    compiled = tiny()
    compiled.compile(backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripts are deprecated
        scripted = torch.jit.script(tiny())
    for model in (compiled, scripted):
        with pytest.raises(gradproof.InputError, match="run in Python but got one"):
            gradproof.watch(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "Expected a positive integer but got every=0"),
        ({"every": 2.5}, "Expected a positive integer but got every=2.5"),
        ({"burn_in": -1}, "an integer that is not negative but got burn_in=-1"),
        ({"on_fail": "stop"}, "Expected 'log' or 'raise' but got on_fail='stop'"),
        ({"on_report": 1}, "Expected a callable but got on_report=1"),
        ({"loss": 1}, "Expected a callable but got loss=1"),
        ({"optimizer": 1}, "Expected a torch.optim.Optimizer but got optimizer=1"),
        ({"resolution": 7}, "Expected a number between 0 and 1 but got resolution=7"),
        ({"steps": 5}, "Expected the name of an entry or tensor but got steps=5"),
        ({"max_seconds": 0}, "Expected a positive number or None but got max_seconds=0"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_at_once(
    options: dict[str, Any], message: str
) -> None:
    model = tiny()
    with pytest.raises(gradproof.InputError, match=message):
        gradproof.watch(model, **options)
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("name", ["evrey", "grad", "engine"])
def test_an_option_that_there_is_not_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        gradproof.watch(tiny(), **{name: 1})  # type: ignore[arg-type]


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(gradproof.InputError, match=r"Expected a torch\.nn\.Module but got model=3"):
        gradproof.watch(3)  # type: ignore[arg-type]


def test_importing_it_loads_no_framework_and_draws_no_random_numbers() -> None:
    code = (
        "import random, sys; import gradproof; before = random.getstate()\n"
        "import gradproof.training.watch\n"
        "assert random.getstate() == before\n"
        "assert 'torch' not in sys.modules\n"
        "assert callable(gradproof.watch)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
