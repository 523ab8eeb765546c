"""PyTorch through the front door: what is found, and what is said of how it was found."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.autograd import Function as AutogradFunction
from torch.nn import functional

import gradproof
from gradproof import Finding, InputError, Report

X = normal(4, 3).detach()


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


def found(report: Report, kind: str) -> Finding:
    (finding,) = [f for f in report.findings if f.kind == kind]
    return finding


def kinds(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


# -- models ----------------------------------------------------------------------------------------


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.GroupNorm(1, 2)
        self.inner = nn.Conv2d(2, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 2, 2, stride=2)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Any:
        skip = torch.relu(self.norm(self.down(x)))
        inner = torch.relu(self.inner(functional.max_pool2d(skip, 2)))
        return self.last(torch.cat([skip, self.up(inner)], 1))


class Graph(nn.Module):
    """Messages along edges, added up where they arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, edges: Tensor) -> Any:
        messages = self.message(x)[edges[0]]
        summed = torch.zeros(len(x), 4).index_add(0, edges[1], messages)
        most = torch.zeros(len(x), 4).scatter_reduce(
            0, edges[1][:, None].expand(-1, 4), messages, "amax"
        )
        return self.last(torch.tanh(summed + most))


class Autoencoder(nn.Module):
    """Variational, with the reparametrisation trick."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        divergence = -0.5 * (1.0 + log_variance - mean**2 - log_variance.exp()).sum()
        return {"error": (self.decoder(z) - x).square().sum(), "divergence": divergence}


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mask = torch.ones(3, 3, dtype=torch.bool).triu(1)
    scores = (query @ key.mT).masked_fill(mask, float("-inf"))
    return torch.softmax(scores, -1) @ value


def penalty(x: Tensor) -> Any:
    """Differentiates inside, as a gradient penalty does."""
    return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0]


EDGES = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
QUERIES = tuple(normal(3, 2, seed=seed).detach() for seed in range(3))
MODELS: dict[str, tuple[Any, Any]] = {
    "U-Net": (UNet, normal(1, 1, 4, 4).detach()),
    "graph": (Graph, (X, EDGES)),
    "variational autoencoder": (Autoencoder, X),
    "masked attention": (lambda: attention, QUERIES),
    "gradient inside": (lambda: penalty, normal(3)),
    "torch.func inside": (lambda: torch.func.jacrev(torch.sin), normal(3).detach()),
    "embedding": (lambda: nn.Embedding(4, 2), torch.tensor([[0, 1], [1, 3]])),
    "recurrent": (lambda: nn.LSTM(3, 2), normal(4, 2, 3).detach()),
    "multi-head attention": (
        lambda: nn.MultiheadAttention(2, 1, batch_first=True, dropout=0.2),
        QUERIES,
    ),
    "CTC": (
        lambda: (
            lambda x: functional.ctc_loss(
                x.log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])
            )
        ),
        normal(5, 1, 4).detach(),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_people_really_use_passes(name: str) -> None:
    build, x = MODELS[name]
    torch.manual_seed(0)
    report = check(build(), x)
    assert report.verdict == "pass", report.reason
    assert not [f for f in report.findings if f.severity == "bug"]


def test_transformers_in_eval_mode_with_padding_pass() -> None:
    # Their fast path gives other values at padded places than those that autograd differentiates.
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1).eval()
    padding = torch.tensor([[False, False, True], [False, False, False]])
    report = check(
        encoder,
        normal(2, 3, 4).detach(),
        kwargs={"src_key_padding_mask": padding},
        coverage="sample",
        samples=4,
    )
    assert report.verdict == "pass", report.reason
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_loss_is_applied_to_what_the_module_returns() -> None:
    module, target = nn.Linear(3, 2), torch.tensor([0, 1, 1, 0])
    report = check(module, X, loss=lambda y: functional.cross_entropy(y, target))
    assert report.verdict == "pass", report.reason
    with pytest.raises(InputError, match="loss"):
        check(module, X, loss="mean")


def test_keyword_arguments_alone_will_do() -> None:
    report = check(nn.Linear(3, 2), (), kwargs={"input": X})
    assert report.verdict == "pass", report.reason
    assert list(report.tensors) == ["weight", "bias"]


# -- precision -------------------------------------------------------------------------------------


def test_single_precision_is_checked_in_double() -> None:
    report = check(nn.Linear(3, 2), X.float())
    assert report.tensors["weight"].digits_agree.minimum > 8.0
    assert "double precision" in found(report, "single-precision").message


def test_nothing_is_said_of_what_is_in_double_precision() -> None:
    assert "single-precision" not in kinds(check(nn.Linear(3, 2).double(), X))


def test_single_precision_is_kept_if_asked() -> None:
    report = check(nn.Linear(3, 2), X.float(), promote=False)
    assert report.verdict == "pass", report.reason
    finding = found(report, "single-precision")
    assert "promote=False" in finding.message
    assert finding.evidence["tensors"] == ("weight (float32)", "bias (float32)")


def test_single_precision_is_kept_where_f_refuses_double_and_the_reason_is_given() -> None:
    def only_single(x: Tensor) -> Tensor:
        if x.dtype is not torch.float32:
            raise RuntimeError("my kernel takes float32")
        return x * 2.0

    report = check(only_single, X.float())
    assert report.verdict == "pass", report.reason
    assert "my kernel takes float32" in found(report, "single-precision").message


def test_results_in_less_than_double_precision_are_named() -> None:
    report = check(lambda x: x.float() * 2.0, X)
    finding = found(report, "single-precision")
    assert finding.evidence["dtypes"] == ("float32",)


# -- randomness ------------------------------------------------------------------------------------


def test_dropout_is_named() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2), nn.Dropout(0.0))
    report = check(net, X)
    assert report.verdict == "pass", report.reason
    assert found(report, "dropout-on").evidence["modules"] == ("1 (Dropout)",)
    assert "dropout-on" not in kinds(check(net.eval(), X))


def test_dropout_of_attention_is_named() -> None:
    report = check(nn.MultiheadAttention(2, 1, dropout=0.2), QUERIES)
    assert found(report, "dropout-on").evidence["modules"] == ("MultiheadAttention",)


def test_a_fixed_seed_is_said() -> None:
    report = check(lambda x: x * torch.rand(3), X)
    assert report.verdict == "pass", report.reason
    assert "seed-fixed" in kinds(report)
    assert "seed-fixed" not in kinds(check(lambda x: x * 2.0, X))


def test_a_module_that_cannot_be_seeded_is_named() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (1.0 + os.urandom(1)[0])

    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), Noisy(), nn.Linear(2, 1))
    report = check(net, X)
    assert report.verdict == "inconclusive"
    finding = found(report, "nondeterministic")
    assert "2 (Noisy)" in finding.message
    assert "3 (Linear)" not in finding.message


# -- autograd.Functions ----------------------------------------------------------------------------


def jittering(size: float) -> Any:
    """A sine whose backward is off by something else each time."""
    calls = 0

    class Jittering(AutogradFunction):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            (x,) = ctx.saved_tensors
            result: Tensor = g * x.cos() * (1.0 + size * (calls % 3))
            return result

    return Jittering


def test_a_gradient_that_jitters_in_its_last_digits_passes_and_it_is_said() -> None:
    report = check(jittering(1e-15), normal(6).detach())
    assert report.verdict == "pass", report.reason
    assert found(report, "gradient-changes").severity == "info"


def test_a_gradient_that_changes_from_call_to_call_is_reported() -> None:
    report = check(jittering(1e-3), normal(6).detach())
    assert report.verdict != "pass"
    assert found(report, "gradient-changes").severity == "warning"


def with_modes(reverse: float, forward: float) -> type[AutogradFunction]:
    """A sine whose rules are off by these factors."""

    class Sine(AutogradFunction):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x.sin()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return reverse * g * ctx.saved_tensors[0].cos()

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor) -> Any:
            return forward * tangent * ctx.saved_tensors[0].cos()

    return Sine


def test_a_wrong_rule_for_forward_mode_is_told_from_a_right_gradient() -> None:
    report = check(with_modes(1.0, 1.001), normal(5).detach())
    assert report.verdict == "pass", "it is the gradient that is judged"
    assert "the rule for forward mode is wrong" in found(report, "forward-reverse").message


def test_a_wrong_rule_for_reverse_mode_is_told_from_a_right_jvp() -> None:
    report = check(with_modes(1.001, 1.0), normal(5).detach())
    assert report.verdict == "fail"
    assert "reverse mode, the gradient, is wrong" in found(report, "forward-reverse").message


def test_two_right_rules_pass() -> None:
    report = check(with_modes(1.0, 1.0), normal(5).detach())
    assert report.verdict == "pass", report.reason
    assert "forward-reverse" not in kinds(report)


def test_a_function_inside_of_a_checkpoint_and_of_a_closure_is_checked() -> None:
    from torch.utils.checkpoint import checkpoint

    for factor, verdict in ((1.0, "pass"), (1.001, "fail")):
        sine: Any = with_modes(factor, factor).apply
        report = check(lambda x, f=sine: checkpoint(f, x, use_reentrant=False), normal(5).detach())
        assert report.verdict == verdict


# -- expanded --------------------------------------------------------------------------------------


def test_entries_that_share_memory_are_said_to_move_apart() -> None:
    report = check(lambda x: x.square().sum(), torch.ones(1).expand(4))
    assert report.verdict == "pass", report.reason
    assert found(report, "expanded").evidence["tensors"] == ("x",)


# -- what is imported ------------------------------------------------------------------------------


def modules_after(code: str) -> set[str]:
    script = textwrap.dedent(code) + "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_gradproof_imports_no_framework() -> None:
    script = """
        import gradproof
        import numpy as np
        gradproof.check(np.sin, np.ones(2), lambda x: np.diag(np.cos(x)))
    """
    assert not modules_after(script) & {"torch", "jax"}


def test_an_import_of_a_framework_would_be_seen() -> None:
    script = """
        import sys, types
        sys.modules["torch"] = types.ModuleType("torch")
        import gradproof
    """
    assert "torch" in modules_after(script)


@pytest.mark.parametrize("f", [nn.ReLU(inplace=True), lambda x: x.mul_(2.0), torch.Tensor.sin_])
@pytest.mark.parametrize("coverage", ["probe", "full"])
def test_a_function_may_return_the_argument_that_it_wrote_to(f: Any, coverage: str) -> None:
    report = gradproof.check(f, torch.linspace(-1.0, 2.0, 7).double(), coverage=coverage)
    assert report.verdict == "pass"
    assert report.norm_ratio < 1e-6 or coverage == "probe"


def test_a_wrong_gradient_of_a_function_that_returns_its_argument_fails() -> None:
    x = torch.linspace(-1.0, 2.0, 7).double()
    assert gradproof.check(lambda x: x.mul_(2.0), x, grad=lambda x, c: 3.0 * c).verdict == "fail"


def test_a_part_whose_backward_cannot_be_called_alone_costs_no_verdict() -> None:
    left: list[Tensor] = []

    class Second(AutogradFunction):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2.0 * x

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            left.append(gradients[0])
            return 3.0 * gradients[0]

    class First(AutogradFunction):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            left.pop()
            return gradients[0]

    def f(x: Tensor) -> Tensor:
        result: Tensor = Second.apply(First.apply(x))  # type: ignore[no-untyped-call]
        return result

    report = gradproof.check(f, normal(4).detach())
    assert report.verdict == "fail"
    assert [cause.evidence.get("layer") for cause in report.findings[:1]] == ["Second"]
