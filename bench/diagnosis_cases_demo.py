"""The bugs planted in the demo's network."""

from __future__ import annotations

from functools import cache

from bench.diagnosis_case import Bug

from gradproof import Report
from gradproof.examples.digits_cnn import PLANTS
from gradproof.examples.setting import Setting, prepare

__all__ = ["bugs"]

#: What each of them is.
KINDS = {
    "accumulated-twice": ("factor",),
    "bias-not-summed": ("not-summed",),
    "dropout-not-backward": ("mask",),
    "dropout-scale-missing": ("factor",),
    "flatten-transposed": ("transposed", "permuted-axes"),
    "kernel-not-flipped": ("flipped-kernel",),
    "l2-doubled": ("factor", "extra-term"),
    "last-channel-forgotten": ("zero", "block"),
    "maxpool-to-every-tie": ("kink-inconsistent",),
    "maxpool-wrong-place": ("transposed", "permuted-axes"),
    "missing-batch-mean": ("factor",),
    "missing-l2": ("zero", "missing-term"),
    "one-entry": ("block",),
    "padding-off-by-one": ("shifted",),
    "relu-mask-from-wrong-array": ("mask",),
    "sign-flipped-bias": ("sign-flip",),
    "stale-cache": ("stale",),
    "transposed-weight": ("transposed",),
}


def bugs() -> list[Bug]:
    """Each plant of `digits_cnn`; its twin is the network as it is."""
    return [
        Bug(name, "demo", plant.part, KINDS[name], check, name, None)
        for name, plant in PLANTS.items()
    ]


def check(plant: str | None) -> Report:
    """A report on the network and its layers."""
    setting = _setting(plant)
    return setting.check(coverage="probe", known={"the keep probability": 0.8})


@cache
def _setting(plant: str | None) -> Setting:
    return prepare(plant=plant)
