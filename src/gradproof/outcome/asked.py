"""The entries and tensors that the caller names, such as `w[2, 1]` and `w`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.base import Codes, Places, Subject

#: Entries of a tensor that stand for it in a step table.
ENTRIES = 32


def with_asked(places: Places, labels: Sequence[str], subject: Subject) -> Places:
    """The places and those that the labels mean: an entry; of a tensor some, if it has none there.

    Raises:
        InputError: there is no such tensor or entry.
    """
    asked = places
    for label in labels:
        k, index = _meant(label, subject)
        if index is not None:
            new = np.array([index])
        elif k in places.tensor:
            continue
        else:
            new = _spread(np.arange(len(subject.point[k])))
        new = np.setdiff1d(new, asked.index[asked.tensor == k])
        asked = _together(asked, Places(np.full(len(new), k), new))
    return asked


def rows_of(label: str, subject: Subject, places: Places) -> Codes:
    """The rows of what a label means, for a tensor some of its rows.

    Raises:
        InputError: there is no such tensor or entry.
    """
    k, index = _meant(label, subject)
    if index is not None:
        return np.flatnonzero((places.tensor == k) & (places.index == index))
    return _spread(np.flatnonzero(places.tensor == k))


def _meant(label: str, subject: Subject) -> tuple[int, int | None]:
    """The number of the tensor, and of the entry if it is one."""
    if label in subject.names:
        return subject.names.index(label), None
    found = re.fullmatch(r"(?P<name>.*)\[(?P<index>[\d, ]*)\]", label, flags=re.DOTALL)
    if not found or found["name"] not in subject.names:
        names = ", ".join(subject.names[:8])
        raise InputError(f"Expected one of {names}, or an entry of it, but got steps={label!r}")
    k = subject.names.index(found["name"])
    index = tuple(int(i) for i in found["index"].split(",") if i.strip())
    try:
        return k, int(np.ravel_multi_index(index, subject.shapes[k]))
    except ValueError as error:
        shape = subject.shapes[k]
        raise InputError(f"Expected an entry of shape {shape} but got steps={label!r}") from error


def _spread(of_a_tensor: Codes) -> Codes:
    return of_a_tensor[:: max(1, len(of_a_tensor) // ENTRIES)][:ENTRIES]


def _together(one: Places, other: Places) -> Places:
    tensor = np.concatenate([one.tensor, other.tensor])
    index = np.concatenate([one.index, other.index])
    return Places(tensor, index)[np.lexsort((index, tensor))]
