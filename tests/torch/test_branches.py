"""A trace names the modules and counts the units between which a kink lies."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from gradproof.subjects.torch.branches import CONTROL_FLOW, Branches, crossed, trace

X = torch.tensor([[-1.0, 1.0, 2.0]], dtype=torch.float64)
#: Two of X's three units on the other side of 0.
ACROSS = torch.tensor([[1.0, -1.0, 2.0]], dtype=torch.float64)


class Block(nn.Module):
    """Two activations as modules, one called twice, and one as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), nn.ReLU())
        self.twice = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.twice(self.twice(self.inner(x)) - 0.5)).abs()


class Swallowing(nn.Module):
    """Goes on after a submodule has raised."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = Raising()

    def forward(self, x: Tensor) -> Tensor:
        with contextlib.suppress(ValueError):
            self.broken(x)
        return F.relu(x)


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no")


def _trace(module: Any, x: Tensor = X) -> Branches:
    return trace(lambda: module(x), module if isinstance(module, nn.Module) else None)


def _crossed(f: Any, one: Tensor = X, other: Tensor = ACROSS) -> dict[str, int]:
    return crossed(_trace(f, one), _trace(f, other))


# Names


def test_sites_are_named_by_the_innermost_module_in_order_of_execution() -> None:
    assert _trace(Block()).sites == (
        "inner.1 (relu)",
        "twice (relu)",
        "twice (relu) #2",
        "relu",
        "abs",
    )


def test_within_a_container_an_operation_of_its_own_bears_its_name() -> None:
    assert _trace(nn.Sequential(nn.Identity(), Block())).sites[-2:] == ("1 (relu)", "1 (abs)")


def test_outside_of_any_module_an_operation_stands_alone() -> None:
    block = Block()
    sites = trace(lambda: F.relu(block.inner(X)), block).sites
    assert sites == ("inner.1 (relu)", "relu")


def test_the_name_is_right_again_after_a_swallowed_exception() -> None:
    assert _trace(nn.Sequential(Swallowing())).sites == ("0 (relu)",)


def test_what_a_hook_of_the_user_computes_counts_to_its_module() -> None:
    net = nn.Sequential(nn.Identity())
    net[0].register_forward_pre_hook(lambda _, args: F.relu(args[0]))
    net[0].register_forward_hook(lambda _, args, out: out.abs())
    assert _trace(net).sites == ("0 (relu)", "0 (abs)")


def test_units_are_counted_at_each_site_that_changed() -> None:
    assert _crossed(nn.Sequential(nn.ReLU(), nn.Identity())) == {"0 (relu)": 2}


def test_a_point_on_the_kink_is_on_one_side_only() -> None:
    at_kink = torch.zeros(1, dtype=torch.float64)
    assert _crossed(F.relu, at_kink, at_kink - 1) == {}
    assert _crossed(F.relu, at_kink, at_kink + 1) == {"relu": 1}
    assert _crossed(torch.abs, at_kink - 1, at_kink) == {"abs": 1}


def test_whole_numbers_that_come_from_no_float_take_no_branch() -> None:
    whole = torch.tensor([1, 2, 3])

    def f(x: Tensor) -> Any:
        return whole.clamp(2, 3), whole > 1, whole.sort(), x.exp()

    assert _trace(f).sites == ()


# What hides branches


@pytest.mark.parametrize("training", [True, False])
def test_the_relu_of_a_transformer_layer_is_seen(training: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True).double()
    encoder = nn.TransformerEncoder(layer, 2).train(training)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    sites = _trace(encoder, x).sites
    assert [site for site in sites if "relu" in site] == ["layers.0 (relu)", "layers.1 (relu)"]
    assert _crossed(encoder, x, 2 * x.flip(0)).keys() == {"layers.0 (relu)", "layers.1 (relu)"}


def test_attention_with_weights_and_masks_is_smooth() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, batch_first=True).double().eval()
    mask = torch.ones(3, 3, dtype=torch.bool).triu(1)
    x = torch.randn(2, 3, 4, dtype=torch.float64)

    def run(x: Tensor) -> Any:
        return attention(x, x, x, attn_mask=mask), attention(x, x, x, need_weights=False)

    assert _crossed(run, x, -x) == {}


def test_each_step_of_a_recurrent_relu_is_seen() -> None:
    torch.manual_seed(0)
    rnn = nn.RNN(3, 4, nonlinearity="relu").double()
    assert _trace(rnn, X.repeat(3, 1, 1)).sites == ("relu", "relu #2", "relu #3")


def test_a_compiled_function_is_seen() -> None:
    f = torch.compile(F.relu, fullgraph=True, backend="eager")
    f(X)
    assert _crossed(f) == {"relu": 2}


def test_tracing_does_not_load_the_compiler() -> None:
    code = (
        "import sys, torch; from gradproof.subjects.torch.branches import trace; "
        "trace(torch.ones(3).relu, None); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_both_arms_of_torch_cond_are_seen() -> None:
    def f(x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, torch.relu, torch.neg, (x,))

    f(X)  # loads the compiler
    assert _trace(f).sites == ("gt", "relu")
    assert _crossed(f) == {"relu": 2}
    assert _crossed(f, X, -X) == {"gt": 1, CONTROL_FLOW: 1}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_counts_to_the_module_that_calls_it() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.ReLU()))
    assert _trace(nn.Sequential(nn.Sequential(scripted))).sites == ("0 (relu)",)


def test_vmap_inside_the_function_is_seen() -> None:
    assert _crossed(torch.vmap(F.relu)) == {"relu": 2}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_seen(layout: torch.layout) -> None:
    def f(x: Tensor) -> Tensor:
        return F.relu(torch.nested.as_nested_tensor([x[0], x[0, :1]], layout=layout))

    f(X)  # the first call makes constants that later ones find
    assert _crossed(f) == {"relu": 3}


def test_an_unknown_operation_that_makes_whole_numbers_of_floats_branches() -> None:
    with torch.library._scoped_library("gradproof_test", "DEF") as library:
        library.define("above(Tensor x) -> Tensor")
        library.impl("above", lambda x: (x > 0).int(), "CPU")
        assert _crossed(torch.ops.gradproof_test.above.default) == {"above": 2}


def test_an_unknown_operation_called_relu_is_not_taken_for_relu() -> None:
    with torch.library._scoped_library("gradproof_test", "DEF") as library:
        library.define("relu(Tensor y) -> Tensor")
        library.impl("relu", lambda y: 2 * y, "CPU")
        assert _crossed(torch.ops.gradproof_test.relu.default) == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_seen(dtype: torch.dtype) -> None:
    def f(x: Tensor) -> Any:
        return F.max_pool1d(F.relu(x), 3), x.sort(), x.norm(p=torch.inf), x.median()

    assert _crossed(f, X.to(dtype), ACROSS.to(dtype)) == {"relu": 2, "sort": 2, "median": 1}


# Control flow


def test_other_operations_are_control_flow() -> None:
    def f(x: Tensor) -> Tensor:
        return x.exp() if float(x.sum()) > 0 else x.sin()

    assert _crossed(f, X, 2 * X) == {}
    assert _crossed(f, X, -X) == {CONTROL_FLOW: 1}


def test_what_changed_before_the_control_flow_parted_is_named() -> None:
    def f(x: Tensor) -> Tensor:
        return F.relu(x) if bool((x.sum() > 0).all()) else x.sin().abs()

    assert _crossed(f, X, -X) == {"gt": 1, CONTROL_FLOW: 1}


def test_more_operations_are_control_flow() -> None:
    def f(x: Tensor) -> Tensor:
        for _ in range(int(x.detach().max().item())):
            x = x.sin()
        return x

    assert _crossed(f, X, X + 1) == {CONTROL_FLOW: 1}


def test_another_element_taken_is_control_flow() -> None:
    def f(x: Tensor) -> Tensor:
        return x[0, int(x[0, 2].item())]

    assert _crossed(f, X, X - 1) == {CONTROL_FLOW: 1}


def test_another_module_called_is_control_flow() -> None:
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Tanh(), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = (self.one if x.sum().item() > 0 else self.other)(x)
            return out

    assert _crossed(Either(), X, -X) == {CONTROL_FLOW: 1}


def test_an_array_of_another_shape_is_control_flow() -> None:
    assert _crossed(torch.nonzero, X, X * torch.tensor([[0.0, 1.0, 1.0]])) == {CONTROL_FLOW: 1}


def test_units_chosen_by_a_mask_name_the_mask() -> None:
    def f(x: Tensor) -> Tensor:
        return F.relu(x[x > 0])

    assert _crossed(f, X, X + 2) == {"gt": 1, CONTROL_FLOW: 1}


# Leaving no trace


def _settings(module: nn.Module) -> list[Any]:
    hooks = [
        (list(m._forward_pre_hooks), list(m._forward_hooks), dict(m._forward_hooks_always_called))
        for m in module.modules()
    ]
    return [
        hooks,
        _get_current_dispatch_mode(),
        torch.is_grad_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch._dynamo.eval_frame._stance.stance,
    ]


@pytest.mark.parametrize("raises", [False, True])
def test_hooks_modes_and_switches_are_as_before(raises: bool) -> None:
    module = nn.Sequential(Block(), nn.RNN(3, 4, nonlinearity="relu"))
    module[0].register_forward_hook(lambda *_: None)
    before = _settings(module)
    during = []

    def run() -> None:
        during.extend(_settings(module))
        if raises:
            raise ValueError("no")

    if raises:
        with pytest.raises(ValueError, match="no"):
            trace(run, module)
    else:
        trace(run, module)
    assert all(one != other for one, other in zip(before, during, strict=True))
    assert _settings(module) == before


def test_a_trace_leaves_parameters_buffers_and_results_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Hardtanh(inplace=True)).double()
    expected = net(X)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    results: list[Tensor] = []
    trace(lambda: results.append(net(X)), net)
    assert torch.equal(results[0], expected)
    assert not results[0].requires_grad
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_tracing_a_small_network_costs_little() -> None:
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 10)),
    ).double()
    x = torch.zeros(4, 1, 28, 28, dtype=torch.float64)

    def fastest(f: Callable[[], object]) -> float:
        times = []
        for _ in range(20):
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
        return min(times)

    plain = fastest(lambda: net(x))
    assert fastest(lambda: _trace(net, x)) < 10 * plain


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_masks_stay_on_the_gpu() -> None:
    net = nn.Sequential(nn.ReLU(), nn.RNN(3, 4, nonlinearity="relu")).double().cuda()
    branches = _trace(net, X.cuda())
    assert branches.sites == ("0 (relu)", "1 (relu)")
    assert all(mask.is_cuda for mask in branches.masks)
    assert _crossed(net, X.cuda(), ACROSS.cuda())["0 (relu)"] == 2
