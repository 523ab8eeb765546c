"""What is to be known of f and of how it was evaluated."""

from __future__ import annotations

from gradproof.report.model import Finding
from gradproof.subjects.jax.arguments import EPS, spacing
from gradproof.subjects.jax.function import Function


def findings_about(
    function: Function, *, is_promotion_wanted: bool, why_one_by_one: str
) -> tuple[Finding, ...]:
    """On precision, on constants, and on points that are evaluated one by one."""
    findings = []
    leaves = function.arguments.leaves
    kept = tuple(leaf.name for leaf in leaves if spacing(leaf.value.dtype) > EPS)
    if function.is_double and function.less:
        message = (
            f"x is in single precision ({', '.join(function.less[:4])}); f is evaluated in double "
            "precision, where a derivative can be told from rounding"
        )
        evidence: dict[str, object] = {"tensors": function.less}
        findings.append(Finding("single-precision", message, evidence=evidence))
    if kept:
        why = "f does not take double precision" if is_promotion_wanted else "promote=False"
        message = f"{why}; {', '.join(kept[:4])} stay as they are, and few digits can be attained"
        findings.append(Finding("single-precision", message, evidence={"tensors": kept}))
    less = [str(dtype) for dtype in function.outputs.dtypes if spacing(dtype) > EPS]
    if less:
        message = (
            f"f returns {less[0]}: it computes in less than double precision somewhere, and few "
            "digits can be attained"
        )
        findings.append(Finding("single-precision", message, evidence={"dtype": less[0]}))
    if function.fixed_floats:
        message = "f takes Python's floats in x only as they are: they are constants"
        findings.append(Finding("constants", message))
    if why_one_by_one:
        message = (
            "f is evaluated one point at a time, which takes longer: JAX cannot compile it for "
            f"many points at once ({why_one_by_one})"
        )
        findings.append(Finding("one-by-one", message, evidence={"reason": why_one_by_one}))
    return tuple(findings)
