"""An observation sees whatever a check could leave changed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.fuse import Fuse, Net, add_hook, build, build_input, guarded
from tests.torch.surroundings import Observer, changed
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import BaseTorchDispatchMode


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with guarded():
        yield


def _alter_buffer(net: Net, x: Tensor) -> None:
    assert net.norm.num_batches_tracked is not None
    net.norm.num_batches_tracked += 1


def _alter_module(net: Net, x: Tensor) -> None:
    net.left_behind = 1  # type: ignore[assignment]


ALTERATIONS: dict[str, Callable[[Net, Tensor], Any]] = {
    "parameters": lambda net, x: setattr(net.inner, "weight", nn.Parameter(net.inner.weight + 0.0)),
    "versions of parameters": lambda net, x: net.inner.weight.detach().add_(0.0),
    "buffers": _alter_buffer,
    "gradients of parameters": lambda net, x: setattr(
        net.inner.weight, "grad", torch.zeros_like(net.inner.weight)
    ),
    "requires_grad of parameters": lambda net, x: net.inner.weight.requires_grad_(False),
    "training mode": lambda net, x: net.still.train(),
    "hooks of modules": lambda net, x: net.norm.register_forward_hook(lambda *call: None),
    "hooks of parameters": lambda net, x: add_hook(net.inner.weight),
    "attributes of modules": _alter_module,
    "inputs": lambda net, x: x.data.mul_(1.0 + 1e-15),
    "versions of inputs": lambda net, x: x.detach().add_(0.0),
    "gradients of inputs": lambda net, x: setattr(x, "grad", None),
    "requires_grad of inputs": lambda net, x: x.requires_grad_(False),
    "torch's generator": lambda net, x: torch.rand(1),
    "seeds that wait for CUDA": lambda net, x: torch.manual_seed(0),
    "Python's generator": lambda net, x: random.random(),
    "NumPy's generator": lambda net, x: np.random.random(),  # noqa: NPY002
    "default dtype": lambda net, x: torch.set_default_dtype(torch.float64),
    "grad mode": lambda net, x: torch.set_grad_enabled(False),
    "TF32 in products": lambda net, x: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "TF32 in cuDNN": lambda net, x: setattr(torch.backends.cudnn, "allow_tf32", False),
    "precision of products": lambda net, x: torch.set_float32_matmul_precision("medium"),
    "reduced precision": lambda net, x: setattr(
        torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", False
    ),
    "cuDNN deterministic": lambda net, x: setattr(torch.backends.cudnn, "deterministic", True),
    "cuDNN benchmark": lambda net, x: setattr(torch.backends.cudnn, "benchmark", True),
    "deterministic algorithms": lambda net, x: torch.use_deterministic_algorithms(True),
    "threads": lambda net, x: torch.set_num_threads(torch.get_num_threads() + 1),
    "warning filters": lambda net, x: warnings.simplefilter("ignore", DeprecationWarning),
    "NumPy's errors": lambda net, x: np.seterr(divide="raise", over="raise"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_would_be_seen(name: str) -> None:
    cuda: Any = torch.cuda
    if name == "seeds that wait for CUDA" and cuda.is_initialized():
        pytest.skip("nothing waits any more")
    net, x = build(Fuse()), build_input()
    observer = Observer(net, (x,))
    before = observer.observe()
    assert changed(before, observer.observe()) == []
    ALTERATIONS[name](net, x)
    assert name in changed(before, observer.observe())


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("function modes", BaseTorchFunctionMode),
        ("dispatch modes", BaseTorchDispatchMode),
        ("default device", lambda: torch.device("meta")),
        ("inference mode", torch.inference_mode),
        ("anomaly mode", lambda: torch.autograd.set_detect_anomaly(True)),
        ("autocast", lambda: torch.autocast("cpu")),
    ],
)
def test_a_context_left_open_would_be_seen(name: str, context: Callable[[], Any]) -> None:
    observer = Observer(build(Fuse()), (build_input(),))
    before = observer.observe()
    with context():
        assert name in changed(before, observer.observe())
    assert changed(before, observer.observe()) == []


def test_a_level_of_vmap_left_open_would_be_seen() -> None:
    observer = Observer(build(Fuse()), (build_input(),))
    before, within = observer.observe(), []

    def look(row: Tensor) -> Tensor:
        within.extend(changed(before, observer.observe()))
        return row

    torch.func.vmap(look)(torch.zeros(2, 1))
    assert "levels of vmap and grad" in within
