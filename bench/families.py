"""Random functions of one real variable whose derivative is known, to hold error bars to account.

A function is a piece of source in `x`. Compiled over the math module it is what a user would run
in double precision; compiled over mpmath the same source gives the derivative to 50 digits, at
the same double `t0` and with the same double constants, so the truth cannot drift from the
function. Case `i` depends on the seed, the family and `i` only: a longer run adds cases.
Coefficients are rounded to float32, so that one set of constants serves single precision too.
Slopes are kept from vanishing (but in `simple`): a relative bar around nothing measures nothing.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from mpmath.ctx_mp import MPContext

__all__ = ["FAMILIES", "Case", "cases"]

Phi = Callable[[float], float]
Made = tuple[str, Phi, float, float]  # label, phi, t0, truth
Rng = np.random.Generator
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """A function as the user has it, the point, and the derivative there, correctly rounded."""

    family: str
    label: str
    phi: Phi
    t0: float
    truth: float


def cases(family: str, count: int, seed: int) -> list[Case]:
    """The first `count` cases of a family; what is too flat or overflows is drawn again."""
    if family not in _MAKERS:
        raise ValueError(f"Expected one of {FAMILIES} but got {family=}")
    made: list[Case] = []
    for index in range(count):
        rng = np.random.default_rng([seed, zlib.crc32(family.encode()), index])
        while len(made) <= index:
            draw = _MAKERS[family](rng, *_place(rng))
            if draw is not None:
                made.append(Case(family, *draw))
    return made


_MP = MPContext()
_MP.dps = 50
_NAMES = (
    "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sinh", "cosh", "atan", "asin",
    "atanh", "erf",
)  # fmt: skip
_DOUBLE: dict[str, Any] = {name: getattr(math, name) for name in _NAMES}
_EXACT: dict[str, Any] = {name: getattr(_MP, name) for name in _NAMES}
_SINGLE: dict[str, Any] = {name: getattr(np, name) for name in _NAMES if name != "erf"}
_SINGLE["erf"] = lambda v: np.float32(math.erf(float(v)))


def _compiled(source: str, space: dict[str, Any]) -> Any:
    return eval(f"lambda x: {source}", dict(space))


def _double(source: str) -> Phi:
    function = _compiled(source, _DOUBLE)
    return lambda x: float(function(float(x)))


def _single(source: str) -> Phi:
    """Single precision throughout: Python constants do not widen a NumPy float32."""
    function = np.errstate(all="ignore")(_compiled(source, _SINGLE))
    return lambda x: float(function(np.float32(x)))


def _slope(source: str, t0: float) -> float:
    """The derivative; mpmath's own step (about 1e-53) keeps to t0's side of every kink."""
    return float(_MP.diff(_compiled(source, _EXACT), _MP.mpf(t0)))


def _made(
    source: str, t0: float, length: float, phi: Phi | None = None, label: str = "", unit: float = 1
) -> Made | None:
    """The case, or None if over `length` it changes by little, of its value or of `unit`."""
    try:
        value, truth = _double(source)(t0), _slope(source, t0)
    except (OverflowError, ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(truth) or abs(truth) * length < 1e-2 * max(abs(value), unit):
        return None
    return label or source, phi or _double(source), t0, truth


_BOUNDED = (
    "sin(v)", "cos(v)", "tanh(v)", "atan(v)", "erf(v)", "exp(-v*v)", "1/(1 + v*v)",
    "1/(1 + exp(-v))", "v/sqrt(1 + v*v)",
)  # fmt: skip
_MILD = ("log(1 + v*v)", "log1p(v*v)", "sqrt(1 + v*v)", "(1 + v*v)**0.75", "log1p(exp(v))")
_GROWING = (
    "exp(v)", "expm1(v)", "sinh(v)", "v*v", "v**3", "((v - 1)*v + 2)*v*v - v", "v/(1 + exp(-v))",
    "v*(1 + erf(0.75*v))", "(v + 2)/(1 + v*v)", "v**4/(1 + v*v)",
)  # fmt: skip
_ANY = _BOUNDED + _MILD + _GROWING


def _at(template: str, v: str) -> str:
    return "(" + re.sub(r"\bv\b", lambda _: f"({v})", template) + ")"


def _c(rng: Rng, low: float, high: float, *, signed: bool = True) -> float:
    """A coefficient, exact in float32."""
    return float(np.float32(rng.uniform(low, high) * (_one(rng, (-1.0, 1.0)) if signed else 1)))


def _power(rng: Rng, low: float, high: float) -> float:
    """Log-uniform between 10^low and 10^high."""
    return float(10.0 ** rng.uniform(low, high))


def _one(rng: Rng, options: tuple[_T, ...]) -> _T:
    return options[int(rng.integers(len(options)))]


def _atom(rng: Rng, options: tuple[str, ...], u: str) -> str:
    return _at(_one(rng, options), f"{_c(rng, 0.3, 2.0)!r}*{u} + {_c(rng, 0.0, 1.0)!r}")


def _term(rng: Rng, u: str) -> str:
    """An atom, an atom of an atom, a product or a quotient, with a coefficient."""
    a, f, g = _c(rng, 0.2, 3.0), _atom(rng, _ANY, u), _atom(rng, _BOUNDED, u)
    nested = _at(_one(rng, _ANY), f"{_c(rng, 0.5, 2.0)!r}*{g}")
    return f"{a!r}*" + _one(rng, (f, f, nested, f"{f}*{g}", f"{f}/(2 + {g})"))


def _smooth(rng: Rng, s: float = 1.0) -> str:
    """A sum of one to three terms of x / s."""
    u = "x" if s == 1.0 else f"(x/{s!r})"
    return " + ".join(_term(rng, u) for _ in range(int(rng.integers(1, 4))))


def _place(rng: Rng) -> tuple[float, float]:
    """A point, and the length over which the function varies: tied to the point or not."""
    if rng.random() < 0.4:
        return _one(rng, (-1.0, 1.0)) * _power(rng, -1.5, 1.2), 1.0
    s = _power(rng, -2, 2)
    return s * _one(rng, (-1.0, 1.0)) * float(rng.uniform(0.3, 3.0)), s


def _make_smooth(rng: Rng, t0: float, s: float, unit: float = 1.0) -> Made | None:
    return _made(f"{unit!r}*({_smooth(rng, s)})", t0, s, unit=unit)


def _make_scaled(rng: Rng, t0: float, s: float) -> Made | None:
    k = _power(rng, -8, 8)
    return _make_smooth(rng, t0 / s * k, k, _power(rng, -8, 8))


def _make_simple(rng: Rng, _t0: float, _s: float) -> Made | None:
    """Where relative steps and tolerances divide by zero. The slope, too, may be zero here."""
    a, b, p = _c(rng, 0.1, 10.0), _c(rng, 0.1, 10.0), _c(rng, 0.1, 5.0, signed=False)
    straight = ("0*x", f"{a!r} + 0*x", "x", f"{a!r}*x", f"{a!r}*x + {b!r}", f"{a!r}*x*1e-9 + 1")
    curved = (
        f"{a!r}*x*x + {b!r}", f"{a!r}*x*x + {b!r}*x", "x**3", f"{a!r}*x**4", f"{a!r}*cos({b!r}*x)",
        f"exp(-{p!r}*x*x)", f"{a!r}*sqrt(1 + x*x)", f"log1p({p!r}*x*x)", f"cosh({a!r}*x)",
        f"{a!r}*sin({b!r}*x)", f"{a!r}*tanh({b!r}*x)", f"x/(1 + {p!r}*x*x)", f"exp({a!r}*x)",
        f"sin({b!r}*100*x)", f"erf({a!r}*x) + {b!r}", f"{a!r}*x*exp(-{p!r}*x)",
    )  # fmt: skip
    at = float(rng.choice([0.0, 0.0, 1.0, -2.5, _power(rng, -6, 6)]))
    source, t0 = (_one(rng, straight), at) if rng.random() < 0.35 else (_one(rng, curved), 0.0)
    truth = _slope(source, t0)  # x**3 at 0 leaves the square of mpmath's step
    return source, _double(source), t0, truth if abs(truth) > 1e-60 else 0.0


def _make_offset(rng: Rng, t0: float, s: float, *, hidden: bool = False) -> Made | None:
    offset = 1e6 if rng.random() < 0.5 else _c(rng, 0.5e6, 2e6)
    source = _smooth(rng, s)
    shifted = f"({offset!r} + ({source}))" + (f" - {offset!r}" if hidden else "")
    return _made(source, t0, s, _double(shifted), shifted)


def _jitter(x: float) -> float:
    """Uniform in (-1, 1), a fixed function of the bits of x (splitmix64)."""
    z = (int.from_bytes(struct.pack("<d", x), "little") + 0x9E3779B97F4A7C15) & (2**64 - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return ((z ^ (z >> 31)) >> 11) / 2.0**52 - 1.0


def _make_noise(rng: Rng, t0: float, s: float, level: float) -> Made | None:
    """Deterministic jitter relative to |f|; the truth is the derivative of what lies below it."""
    made = _made(source := _smooth(rng, s), t0, s)
    if made is None:
        return None
    f, w = made[1], _power(rng, 12, 14) / abs(t0)
    q = level * max(abs(f(t0)), 1e-3)
    noisy: dict[str, Phi] = {
        "quantised": lambda x: round(f(x) / q) * q,
        "jittered": lambda x: f(x) * (1 + level * _jitter(float(x))),
        "rippled": lambda x: f(x) * (1 + level * math.sin(w * float(x))),
    }
    sort = _one(rng, tuple(noisy))
    return f"{sort} {level:g}: {source}", noisy[sort], t0, made[3]


def _make_float32(rng: Rng, _t0: float, _s: float) -> Made | None:
    """All in single precision; or one summand; or one layer's weights, doubles after it."""
    t0 = _c(rng, 0.1, 3.0) * (1 + float(rng.choice([0.0, 1e-7])) * rng.random())
    f, g, sort = _smooth(rng), _smooth(rng), int(rng.integers(3))
    if sort == 0:
        return _made(f, t0, 1.0, _single(f), f"float32({f})")
    if sort == 1:
        low, high, label = _double(f), _double(g), f"float32({f}) + {g}"
        return _made(f"{f} + {g}", t0, 1.0, lambda x: float(np.float32(low(x))) + high(x), label)
    n, running = int(rng.integers(20, 250)), bool(rng.random() < 0.5)
    w, a, b = (rng.uniform(least, 1.0, n).astype(np.float32) for least in (-0.3, -1.0, -1.0))
    after = _one(rng, _MILD[:3] + _BOUNDED[2:5] + ("v", "v*v"))
    head = _double(_at(after, "x"))

    def network(x: float) -> float:
        products = w * np.tanh(a * np.float64(x) + b).astype(np.float32)
        return head(float(np.cumsum(products)[-1] if running else np.sum(products)))

    rows = zip(w.tolist(), a.tolist(), b.tolist(), strict=True)
    total = "+".join(f"{p!r}*tanh({q!r}*x + {r!r})" for p, q, r in rows)
    label = f"{after} of a {'running ' * running}float32 sum of {n} tanh"
    return _made(_at(after, total), t0, 1.0, network, label)


def _make_wiggle(rng: Rng, t0: float, s: float) -> Made | None:
    source, w = _smooth(rng, s), _power(rng, math.log10(30), 4) / abs(t0)
    amplitude = _slope(source, t0) * _c(rng, 0.3, 3.0) / w
    return _made(f"{source} + {amplitude!r}*sin({w!r}*x + {_c(rng, 0.0, 3.0)!r})", t0, s)


def _kink(rng: Rng, t0: float, s: float, size: float) -> str:
    """A slope jump of the order of `size` close to t0, on either side."""
    c, far = t0 + t0 * _one(rng, (-1.0, 1.0)) * _power(rng, -6, -2), abs(t0)
    k, g = size * _c(rng, 0.2, 3.0), _atom(rng, _BOUNDED, f"(x/{max(s, far)!r})")
    v = f"{_one(rng, (-1.0, 1.0))!r}*(x - {c!r})"
    return f"{k!r}*" + _at(_one(rng, (
        "abs(v)", "max(v, 0.0)", "(v if v > 0 else 0.125*v)", f"min(max(v, 0.0), {far!r})",
        f"(v*(1 + v/{far!r}) if v > 0 else 0*v)", f"{far!r}*max({g}, {g} + v/{far!r})",
    )), v)  # fmt: skip


def _make_kink(rng: Rng, t0: float, s: float) -> Made | None:
    source = _smooth(rng, s)
    size = abs(_slope(source, t0))
    kinks = [_kink(rng, t0, s, size) for _ in range(1 if rng.random() < 0.7 else 2)]
    return _made(" + ".join([source, *kinks]), t0, s)


def _make_edge(rng: Rng, t0: float, s: float) -> Made | None:
    """Beyond the edge: an exception or nan. Only the bare pole has values on its other side."""
    side, far = _one(rng, (-1.0, 1.0)), abs(t0)
    edge = t0 - side * far * _power(rng, -6, math.log10(0.3))
    template = _one(rng, (
        "log(v)", "sqrt(v)", "v*sqrt(v)", "v*log(v)", "asin(1 - v)", "atanh(1 - v)", "1/v",
        "log1p(v - 1)", "1/sqrt(v)", "sin(log(v))", "exp(sqrt(v))", "sqrt(v)/(1 + v)",
    ))  # fmt: skip
    source = f"{_c(rng, 0.2, 3.0)!r}*" + _at(template, f"{side!r}*(x - {edge!r})/{far!r}")
    if rng.random() < 0.6:
        source += f" + {_smooth(rng, s)}"
    plain, mode = _double(source), _one(rng, ("raises", "nan", "divides by zero"))

    def phi(x: float) -> float:
        try:
            return plain(x)
        except (ValueError, ZeroDivisionError) as cause:
            if mode == "nan":
                return math.nan
            raise (cause if mode == "raises" else ZeroDivisionError(str(cause))) from None

    return _made(source, t0, s, phi, f"{source}; {mode} beyond {edge!r}")


# nothing in the way (4), jitter in the values (5), smooth on a short stretch only (3)
_MAKERS: dict[str, Callable[[Rng, float, float], Made | None]] = {
    "smooth": _make_smooth,
    "scales": _make_scaled,
    "extreme": lambda rng, t0, s: _make_smooth(rng, t0, s, _power(rng, -290, 290)),
    "simple": _make_simple,
    "offset": _make_offset,
    "hidden offset": lambda rng, t0, s: _make_offset(rng, t0, s, hidden=True),
    "noise 1e-9": lambda rng, t0, s: _make_noise(rng, t0, s, 1e-9),
    "noise 1e-5": lambda rng, t0, s: _make_noise(rng, t0, s, 1e-5),
    "float32": _make_float32,
    "wiggle": _make_wiggle,
    "kink near": _make_kink,
    "domain edge": _make_edge,
}
FAMILIES: tuple[str, ...] = tuple(_MAKERS)
