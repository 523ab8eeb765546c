"""What `import gradproof` offers, and what it brings with it."""

import subprocess
import sys

import pytest

import gradproof

HEAVY = {"torch", "jax", "sklearn", "pandas", "pyarrow", "matplotlib", "scipy"}


def imported_by(code: str) -> set[str]:
    """The heavy packages that are loaded after running some code in a new interpreter."""
    code += "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return HEAVY & set(run.stdout.split())


def test_all_is_sorted_and_short() -> None:
    assert gradproof.__all__ == sorted(gradproof.__all__)
    assert len(gradproof.__all__) <= 15


def test_all_names_the_public_names_and_no_others() -> None:
    own = {
        name
        for name in dir(gradproof)
        if not name.startswith("_")
        and getattr(getattr(gradproof, name), "__module__", "").startswith("gradproof")
    }
    assert own == set(gradproof.__all__)


def test_public_names_are_not_hidden_by_modules_of_the_same_name() -> None:
    import gradproof.check

    assert callable(gradproof.check)
    assert callable(gradproof.derivative)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"gradproof.*no_such_name"):
        gradproof.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import gradproof",
        "from gradproof import *",
        "import gradproof; gradproof.check(lambda x: x * x, 3.0, lambda x: 2 * x)",
    ],
    ids=["import", "names", "check"],
)
def test_importing_gradproof_imports_no_framework(code: str) -> None:
    assert imported_by(code) == set()


def test_an_import_of_a_framework_would_be_seen() -> None:
    assert imported_by("import gradproof, scipy.special") == {"scipy"}
