"""A right gradient is never accused: every entry of the example network, at many points.

About 10 s on one core, since 8 images are few and are evaluated in batches.
"""

import pytest
from tests.full import check

from gradproof.examples.setting import Setting, prepare

IMAGES = 8


def check_clean(setting: Setting) -> None:
    net, images, labels = setting.net, setting.images, setting.labels
    report = check(
        lambda params: net.loss(params, images, labels),
        setting.params,
        lambda params: net.gradient(params, images, labels),
        f_batch=setting.loss_batch,
        customary=(),
    )
    wrong = report.entries.filter(verdict=("mismatch", "unresolved")).worst(3)
    assert not len(wrong), list(wrong)
    assert report.verdict == "pass", report.reason
    assert len(report.entries) == 3658


@pytest.mark.parametrize("steps", [0, 50])
@pytest.mark.parametrize("seed", range(10))
def test_the_right_gradient_passes_in_every_entry(seed: int, steps: int) -> None:
    check_clean(prepare(seed=seed, steps=steps, images=IMAGES))


def test_this_test_would_see_a_wrong_entry() -> None:
    with pytest.raises(AssertionError, match=r"fc1\.weight"):
        check_clean(prepare(plant="one-entry", images=IMAGES))
