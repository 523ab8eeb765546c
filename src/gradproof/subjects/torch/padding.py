"""Rows of an embedding that have no gradient by design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gradproof.subjects.base import Floats


def padding_rows(
    modules: Mapping[str, nn.Module], tensors: Sequence[Tensor], gradient: Sequence[Floats]
) -> dict[int, NDArray[np.bool_]]:
    """The entries of embeddings' padding rows, by the position of their tensor.

    f does depend on such a row, but nn.Embedding gives it no gradient, so that it stays as it is;
    the row is a constant then. Where it has a gradient all the same (the weight is used elsewhere
    too), it is an ordinary one.
    """
    held: dict[int, NDArray[np.bool_]] = {}
    for module in modules.values():
        for part in module.modules():
            if not isinstance(part, nn.Embedding | nn.EmbeddingBag) or part.padding_idx is None:
                continue
            for k, tensor in enumerate(tensors):
                if tensor is part.weight:
                    mask = np.zeros(tuple(tensor.shape), dtype=np.bool_)
                    mask[part.padding_idx] = True
                    if not gradient[k][mask.ravel()].any():
                        held[k] = mask.ravel()
    return held
