"""What somebody does who has never seen gradproof: install, test, see, look, mend, pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browser import open_browser, visit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).parents[2]
LAYER = Path(__file__).parent / "convolution.py"
#: One kernel of the twelve, [2, 1], is given the slopes of another channel.
RIGHT = "seen[:, channel], dy[:, out]"
WRONG = "seen[:, channel - (out == 2 and channel == 1)], dy[:, out]"

TEST = """
import numpy as np
from convolution import gradient, loss

rng = np.random.default_rng(0)
images = rng.normal(size=(5, 3, 8, 8))
target = rng.normal(size=(5, 4, 6, 6))
weight = rng.normal(size=(4, 3, 3, 3)) / 3


def test_the_gradient_of_the_convolution(gradproof):
    gradproof.check(
        lambda w: loss(w["weight"], images, target),
        {"weight": weight},
        lambda w: {"weight": gradient(w["weight"], images, target)},
    )
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with gradproof as its wheel installs it; what it needs comes from this machine."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--root-user-action=ignore", "--target"]
    subprocess.run([*pip, *options, str(folder), str(source)], check=True, timeout=120)
    return folder


def pytest_run(folder: Path, installed: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_stranger_finds_the_wrong_kernel_and_mends_it(tmp_path: Path, installed: Path) -> None:
    right = LAYER.read_text()
    assert right.count(RIGHT) == 1
    layer = tmp_path / "convolution.py"
    layer.write_text(right.replace(RIGHT, WRONG))
    (tmp_path / "test_convolution.py").write_text(TEST)

    page = tmp_path / "gradients.html"
    options = (f"--gradproof-html={page}", "--gradproof-coverage=full")
    code, said = pytest_run(tmp_path, installed, *options)
    assert code == 1, said
    assert "FAIL: weight: wrong only in [2, 1, :, :] (9 of 108 entries looked at)" in said
    assert "Reproduce: pytest test_convolution.py::" in said

    with open_browser() as browser:
        with visit(browser, page) as opened:
            assert opened.get_by_text("wrong only in [2, 1, :, :]").first.is_visible()
            assert heat_map(opened).get_attribute("data-hottest") == "[2, 1]"

        layer.write_text(right)
        code, said = pytest_run(tmp_path, installed, *options)
        assert code == 0, said
        with visit(browser, page) as opened:
            heat_map(opened)
            assert opened.get_by_text("No digits are lost anywhere.").is_visible()


def heat_map(page: Page) -> Locator:
    """Open the tensor, as one clicks on its name, and have its picture."""
    page.get_by_role("link", name="weight", exact=True).last.click()
    picture = page.get_by_role("application")
    picture.wait_for()
    return picture
