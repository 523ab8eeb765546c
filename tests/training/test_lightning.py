"""The callback, with small trainings by Lightning's own trainer."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.loops import build, differences, observed, seeded
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import gradproof

pytest.importorskip("lightning")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's own, about what it imports
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import CSVLogger

    from gradproof.training.lightning import GradientWatch

# Lightning uses what PyTorch has deprecated, and advises on how many processes load the data.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated"),
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
]


class LitNet(pl.LightningModule):
    """A classifier that logs what it trains on."""

    def __init__(self, saturation: float = float("inf")) -> None:
        super().__init__()
        self.net = build(saturation)
        self.losses: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def fit(model: Any, *callbacks: Any, package: Any = pl, **options: Any) -> Any:
    """The trainer, after training on five batches in every epoch."""
    data = TensorDataset(torch.randn(50, 6), torch.randint(0, 3, (50,)))
    options = {"max_epochs": 2, "logger": False, **options}
    trainer = package.Trainer(
        accelerator="cpu",
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, DataLoader(data, batch_size=10, shuffle=True))
    return trainer


def trained(*callbacks: Any) -> dict[str, Any]:
    with seeded(3):
        model = LitNet()
        trainer = fit(model, *callbacks)
        logged = {name: value.clone() for name, value in trainer.logged_metrics.items()}
        return observed(model, trainer.optimizers[0]) | logged


def test_a_watched_training_is_the_same_bit_for_bit() -> None:
    watch = GradientWatch(every=4, burn_in=1)
    assert differences(trained(), trained(watch)) == []
    assert [step for step, _ in watch.reports] == [1, 5, 9]
    assert [report.verdict for _, report in watch.reports] == ["pass"] * 3
    assert "LitNet.net.0.weight" in watch.reports[0].report.tensors


def test_what_is_found_goes_to_the_trainers_loggers(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit(LitNet(), GradientWatch(every=5, burn_in=2), logger=logger)
    logger.save()
    lines = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    columns = lines[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    found = [row for row in rows if row["gradproof/pass"]]
    assert [(row["step"], row["gradproof/pass"]) for row in found] == [("2", "1.0"), ("7", "1.0")]
    assert all(0 < float(row["gradproof/limit"]) < 1e-3 for row in found)


def test_a_wrong_backward_ends_the_training_where_that_is_asked() -> None:
    watch = GradientWatch(every=5, burn_in=0, on_fail="raise")
    with pytest.raises(gradproof.GradientMismatch, match=r"enters in LitNet\.net\.2"):
        fit(LitNet(saturation=0.1), watch)
    assert len(watch.reports) == 1


def test_accumulated_batches_are_one_step() -> None:
    watch = GradientWatch(every=1, burn_in=1)
    fit(LitNet(), watch, accumulate_grad_batches=5, max_epochs=3)
    assert [step for step, _ in watch.reports] == [1, 2]


def test_the_copy_sees_its_trainers_numbers() -> None:
    seen: set[tuple[int, int, int]] = set()

    class Asks(LitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            trainer = self.trainer
            seen.add((self.current_epoch, trainer.global_step, int(trainer.num_training_batches)))
            self.log_dict({"a": 1.0})
            return super().training_step(batch, batch_idx) * self.current_epoch

    watch = GradientWatch(every=100, burn_in=7)
    fit(Asks(), watch)
    assert seen == {(step // 5, step, 5) for step in range(10)}
    ((step, report),) = watch.reports
    assert (step, report.verdict) == (7, "pass")
    assert report.value > 0.1


def test_a_step_that_asks_for_its_logger_is_not_probed_and_the_training_goes_on(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    class Asks(LitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            assert self.logger is not None
            return super().training_step(batch, batch_idx)

    watch = GradientWatch(every=1, burn_in=0)
    trainer = fit(Asks(), watch, logger=CSVLogger(tmp_path))
    assert trainer.global_step == 10
    assert (len(watch.reports), len(watch.errors)) == (0, 10)
    (line,) = [r for r in caplog.records if r.name == "gradproof"]
    assert (
        "no probe could be made: RuntimeError: training_step asks for trainer.log" in line.message
    )


def test_a_step_may_take_the_batch_alone_and_return_a_dict() -> None:
    class Short(LitNet):
        def training_step(self, batch: Any) -> Any:  # type: ignore[override]
            return {"loss": super().training_step(batch, 0), "more": None}

    watch = GradientWatch(every=100, burn_in=0)
    fit(Short(), watch)
    assert [report.verdict for _, report in watch.reports] == ["pass"]


@pytest.mark.filterwarnings("ignore:.training_step. returned .None.")
def test_a_step_without_a_loss_is_named() -> None:
    class Skips(LitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None

    watch = GradientWatch(every=100, burn_in=0)
    fit(Skips(), watch)
    assert "Expected a loss but training_step returned None" in watch.errors[0].reason


def test_manual_optimisation_is_refused() -> None:
    model = LitNet()
    model.automatic_optimization = False
    with pytest.raises(gradproof.InputError, match="Expected automatic optimisation"):
        fit(model, GradientWatch())


def test_options_are_refused_at_once() -> None:
    with pytest.raises(gradproof.InputError, match="got every=0"):
        GradientWatch(every=0)
    with pytest.raises(TypeError, match=r"GradientWatch\(\) got an unexpected keyword argument"):
        GradientWatch(loss=torch.sum)


def test_it_works_under_lightnings_older_name_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("pytorch_lightning")
    older: Any = type("Older", (package.LightningModule,), dict(vars(LitNet)))

    def init(self: Any) -> None:
        package.LightningModule.__init__(self)
        self.net = build()

    older.__init__ = init
    older.training_step = lambda self, batch, batch_idx: nn.functional.cross_entropy(
        self.net(batch[0]), batch[1]
    )
    watch = GradientWatch(every=100, burn_in=0)
    fit(older(), watch, package=package)
    assert [report.verdict for _, report in watch.reports] == ["pass"]
