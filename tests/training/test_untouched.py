"""A training that is watched is bitwise the training that is not."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.loops import build, differences, observed, train
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import gradproof
from gradproof.training.untouched import untouched


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return train()


def test_a_watched_training_is_the_same_bit_for_bit(alone: dict[str, Any]) -> None:
    watchers: list[Any] = []
    watched = train(lambda model, _: watchers.append(gradproof.watch(model, every=10, burn_in=3)))
    assert differences(alone, watched) == []
    assert [step for step, _ in watchers[0].reports] == [3, 13, 23]
    assert all(report.verdict == "pass" for _, report in watchers[0].reports)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: torch.rand(1),
        lambda model: random.random(),
        lambda model: np.random.normal(),  # noqa: NPY002
        lambda model: model[1].num_batches_tracked.add_(1),
        lambda model: model[1].running_mean.mul_(1 + 2**-20),
        lambda model: model[0].weight.data[0, 0].mul_(1 + 2**-20),
    ],
    ids=["torch's", "Python's", "NumPy's", "count", "running mean", "weight"],
)
def test_the_comparison_notices_a_change(
    alone: dict[str, Any], spoil: Callable[[Any], object]
) -> None:
    def watch(model: Any, optimizer: torch.optim.Optimizer) -> None:
        calls = iter(range(1000))

        def hook(*_: object) -> None:
            if next(calls) == 13:
                spoil(model)

        model.register_forward_pre_hook(hook)

    assert differences(alone, train(watch)) != []


class Fails(nn.Module):
    """Writes to everything in reach, and raises where it is not the original."""

    original: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.net = build()

    def forward(self, x: Tensor) -> Tensor:
        if self is not Fails.original:
            torch.manual_seed(3)
            np.random.seed(3)  # noqa: NPY002
            random.seed(3)
            torch.set_default_dtype(torch.float64)
            raise RuntimeError("no copy of mine runs")
        result: Tensor = self.net(x)
        return result


def test_a_check_that_raises_leaves_everything_and_lets_the_training_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Fails.original = model = Fails()
    x = torch.randn(5, 6)
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        before = observed(model)
        # A probe is made before the pass, and the pass writes.
        watcher._before((x,), {})
        assert differences(before, observed(model)) == []
        model(x)
    assert [step for step, _ in watcher.errors] == [0, 1]
    assert watcher.reports == []
    said = [record for record in caplog.records if "no copy of mine runs" in record.message]
    assert len(said) == 1
    assert said[0].levelname == "WARNING"


class Shouts(nn.Linear):
    """Raises with a message that would write over the log."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("\x1b[31m\rERROR step 9: FAIL " + "x" * 10_000)


def test_what_an_error_says_is_one_short_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    watcher = gradproof.watch(Shouts(2, 2), burn_in=0)
    watcher._before((torch.ones(1, 2),), {})
    assert len(watcher.errors) == 1
    assert len(caplog.messages[-1]) < 1000
    assert caplog.messages[-1].isprintable()


def test_a_probe_changes_nothing_in_unusual_surroundings() -> None:
    model = build()
    model[1].weight.requires_grad_(False)
    model[4].eval()
    x = torch.randn(5, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anomaly detection is slow, it says
        with torch.autograd.detect_anomaly(), torch.autocast("cpu"):
            model(x).sum().backward()
            with gradproof.watch(model, every=1, burn_in=0) as watcher:
                before = observed(model)
                watcher._before((x,), {})
                assert differences(before, observed(model)) == []
    ((_, report),) = watcher.reports
    assert report.verdict == "pass"
    assert "1.weight" not in report.tensors


class Nan(torch.autograd.Function):
    """The identity, whose backward gives no number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy * np.nan


class GivesNan(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = Nan.apply(super().forward(input))  # type: ignore[no-untyped-call]
        return result


def test_detecting_anomalies_does_not_end_a_probe() -> None:
    model = GivesNan(6, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            gradproof.watch(model, every=1, burn_in=0) as watcher,
            torch.autograd.detect_anomaly(),
        ):
            model(torch.randn(5, 6))
    assert watcher.errors == []
    assert watcher.reports[0].report.verdict == "fail"


def test_hooks_on_saved_tensors_and_modes_around_a_training_see_nothing_of_a_probe() -> None:
    seen: list[str] = []

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **kwargs or {})

    def pack(tensor: Tensor) -> Tensor:
        seen.append("packed")
        return tensor

    model, x = build(), torch.randn(5, 6)
    with (
        gradproof.watch(model, every=1, burn_in=0) as watcher,
        torch.autograd.graph.saved_tensors_hooks(pack, pack),
        Counter(),  # type: ignore[no-untyped-call]
    ):
        before = observed(model)
        seen.clear()
        watcher._before((x,), {})
        assert seen == []
        assert differences(before, observed(model)) == []
        model(x)
        assert "packed" in seen
    assert [report.verdict for _, report in watcher.reports] == ["pass", "pass"]


def test_a_keyboard_interrupt_passes_through() -> None:
    class Stops(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            raise KeyboardInterrupt

    model = Stops(2, 2)
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        before = observed(model)
        with pytest.raises(KeyboardInterrupt):
            watcher._before((torch.ones(1, 2),), {})
        assert differences(before, observed(model)) == []


RNG = np.random.default_rng(0)
TORCHS = torch.Generator()


def _noise() -> float:
    return float(RNG.normal()) + torch.rand(1, generator=TORCHS).item()


class Noise(nn.Module):
    """Random by generators of its own: one that it holds, and two that are global."""

    def __init__(self) -> None:
        super().__init__()
        self.own = np.random.default_rng(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * (2 + float(self.own.normal()) + _noise())


def test_a_model_with_generators_of_its_own_is_inconclusive_and_their_states_are_kept() -> None:
    noise = Noise()
    model = nn.Sequential(nn.Linear(2, 2), noise, nn.Tanh())

    def states() -> list[str]:
        bits = [rng.bit_generator.state for rng in (RNG, noise.own)]
        return [str(bits), str(TORCHS.get_state().tolist())]

    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        before = states()
        watcher._before((torch.ones(3, 2),), {})
        assert states() == before
        model(torch.ones(3, 2))
        assert states() != before
    for _, report in watcher.reports:
        assert report.verdict == "inconclusive"
        assert any("1 (Noise)" in finding.message for finding in report.findings)


HELD = {"noise": [torch.Generator()]}


class Held(nn.Module):
    """Draws from a generator that a global dict holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape, generator=HELD["noise"][0])


def test_generators_in_global_containers_are_kept_too() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Held())
    (generator,) = HELD["noise"]
    before = generator.get_state()
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        watcher._before((torch.ones(3, 2),), {})
    assert watcher.reports
    assert torch.equal(generator.get_state(), before)


def test_hooks_of_the_user_run_in_no_probe(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gradproof")
    model, seen = build(), list[str]()
    model[0].register_forward_hook(lambda module, args, output: seen.append("forward"))
    model[0].register_forward_pre_hook(lambda module, args: seen.append("before"))
    model[0].register_full_backward_hook(lambda module, dx, dy: seen.append("backward"))
    model.get_parameter("0.weight").register_hook(lambda _: seen.append("tensor"))  # type: ignore[no-untyped-call]
    x = torch.randn(5, 6, requires_grad=True)
    x.register_hook(lambda _: seen.append("input"))  # type: ignore[no-untyped-call]
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        watcher._before((x,), {})
        assert seen == []
        model(x).sum().backward()
    assert sorted(seen) == ["backward", "before", "forward", "input", "tensor"]
    assert "3 hooks on the model's modules are left out in probes" in caplog.text


def test_what_pytorchs_own_hooks_compute_is_part_of_a_probe() -> None:
    layer = nn.Linear(3, 3)
    prune.random_unstructured(layer, "weight", amount=4)  # type: ignore[no-untyped-call]
    model = nn.Sequential(layer, nn.Tanh())
    with gradproof.watch(model, every=1, burn_in=0, coverage="full") as watcher:
        model(torch.randn(4, 3))
    ((_, report),) = watcher.reports
    assert report.verdict == "pass"
    rows = report.entries.filter(tensor="0.weight_orig")
    assert sum(rows[i].numeric != 0 for i in range(len(rows))) == 5


def test_an_input_that_is_part_of_a_graph_is_checked_and_the_graph_stays() -> None:
    generator, discriminator = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1), nn.Tanh())
    image = generator(torch.ones(4, 2))
    with gradproof.watch(discriminator, every=1, burn_in=0) as watcher:
        discriminator(image).sum().backward()
    assert generator.weight.grad is not None
    ((_, report),) = watcher.reports
    assert set(report.tensors) == {"0.weight", "0.bias", "input"}
    assert image.grad_fn is not None


def test_an_input_that_the_model_writes_to_is_probed_as_it_came() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.w * x.add_(1.0).sum()

    model, x = Writes(), torch.zeros(3)
    with gradproof.watch(model, every=1, burn_in=0) as watcher:
        assert model(x).item() == 6.0
    ((_, report),) = watcher.reports
    assert report.verdict == "pass"
    assert torch.equal(x, torch.ones(3))
    assert abs(report.value) == pytest.approx(6.0, rel=1.0)


def test_untouched_puts_back_what_is_drawn_within() -> None:
    before = observed(nn.Linear(1, 1))
    with untouched():
        torch.rand(1)
        random.random()
        np.random.normal()  # noqa: NPY002
        torch.set_default_dtype(torch.float64)
    after = observed(nn.Linear(1, 1))
    assert [name for name in differences(before, after) if "weights" not in name] == ["torch"]
