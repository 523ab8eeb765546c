"""The speed bench compares like with like; how fast it goes is for the bench to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import speed, speed_lenet, speed_peers
from bench.page import markdown, section, write_section
from bench.speed_lenet import LeNet, Measured, Missed, Setting, measure, missed, plants, setting
from bench.speed_peers import Compared, compare, network, rosenbrock
from bench.timing import Counted, describe_machine, timed

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


@pytest.fixture(scope="module")
def small() -> Iterator[Setting]:
    # Threads that wait for each other on a busy machine would take minutes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield setting(scale=0.15)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def measured(small: Setting) -> dict[str, Measured]:
    return measure(small, repeats=1)


def test_the_whole_network_is_lenet_5() -> None:
    model = LeNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706
    assert model(torch.zeros(4, 1, 28, 28)).shape == (4, 10)


def test_every_tool_passes_the_right_gradient(measured: dict[str, Measured]) -> None:
    assert {key: row.verdict for key, row in measured.items()} == dict.fromkeys(
        ("full", "probe", "slow", "fast"), "pass"
    )


def test_both_tools_look_at_every_weight_and_ours_gives_each_an_error_bar(
    measured: dict[str, Measured],
) -> None:
    ours, theirs = measured["full"], measured["slow"]
    assert ours.weights == theirs.weights == 1_383
    assert ours.bars == ours.weights
    assert theirs.evaluations >= 2 * theirs.weights


def test_a_weight_takes_little_more_than_one_pair(measured: dict[str, Measured]) -> None:
    assert measured["full"].per_weight <= 2.3


def test_the_default_takes_at_most_100_evaluations_and_2_a_tensor(
    measured: dict[str, Measured],
) -> None:
    assert measured["probe"].evaluations <= 100 + 2 * 10


def test_planted_errors_are_seen_and_named_and_the_other_tool_sees_some(small: Setting) -> None:
    planted = plants(small.gradient)
    chosen = ("fc2.weight: one weight zero", "fc1.weight: one weight's sign flipped")
    for row in missed(small, {plant: planted[plant] for plant in chosen}):
        assert row.probe
        assert row.named
        assert row.slow
        assert row.evaluations <= 600


def test_gradcheck_is_given_the_planted_error(small: Setting) -> None:
    before = [parameter.clone() for parameter in small.model.parameters()]
    zero = {name: torch.zeros_like(g) for name, g in small.gradient.items()}
    assert speed_lenet._passes_fast_mode(speed_lenet._loss_of_weights(small, {}), small)
    assert not speed_lenet._passes_fast_mode(speed_lenet._loss_of_weights(small, zero), small)
    after = small.model.parameters()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_the_plants_bend_what_they_say(small: Setting) -> None:
    for plant, factors in plants(small.gradient).items():
        name = plant.partition(":")[0]
        assert set(factors) == (set(small.gradient) if name == "every tensor" else {name})
        for tensor, factor in factors.items():
            changed = int((factor != 1.0).sum())
            assert changed == (1 if "one weight" in plant else small.gradient[tensor].numel())


def test_what_falls_short_is_printed_and_ends_with_1(
    measured: dict[str, Measured], capsys: pytest.CaptureFixture[str]
) -> None:
    full, slow = measured["full"], measured["slow"]
    good = {**measured, "slow": replace(slow, seconds=1000 * full.seconds, cpu=1000 * full.cpu)}
    seen = [Missed("one", True, True, True, True, 300)]
    assert not speed._broken(good, seen, 1.0)
    bad = {**good, "full": replace(full, bars=full.bars - 2, cpu=full.cpu * 100)}
    assert speed._broken(bad, [replace(seen[0], probe=False)], 1.0)
    printed = capsys.readouterr().out
    assert "not seen: one" in printed
    assert "2 weights have no error bar" in printed
    assert "10.0 times faster is less than 20" in printed


def test_the_ratios_say_whether_the_aim_is_reached(measured: dict[str, Measured]) -> None:
    rows = {key: replace(row, seconds=1.0, cpu=1.0) for key, row in measured.items()}
    slower = speed.ratios({**rows, "slow": replace(rows["slow"], seconds=90.0, cpu=30.0)})
    assert slower == [
        "Every weight: 30 times faster than the slow mode (aim 100: not reached).",
        "The default: 1.0 times faster than the fast mode.",
    ]
    seconds = {"full": 1.0, "probe": 2.0, "slow": 150.0, "fast": 1.0}
    faster = speed.ratios(
        {key: replace(row, seconds=seconds[key], cpu=seconds[key]) for key, row in rows.items()}
    )
    assert "150 times faster than the slow mode (aim 100: reached)" in faster[0]
    assert "2.0 times slower" in faster[1]


@pytest.mark.parametrize("subject", [rosenbrock(20), network(3, 4, 5)], ids=lambda s: s.name)
def test_every_peer_takes_every_function_and_the_checkers_see_a_wrong_entry(
    subject: speed_peers.Subject,
) -> None:
    pytest.importorskip("numdifftools")
    rows = {row.tool: row for row in compare(subject, warm=False)}
    checkers = [row for tool, row in rows.items() if tool.startswith(("gradproof", "jax"))]
    assert len(checkers) == 4
    for row in checkers:
        assert row.right == "pass"
        assert row.wrong.startswith("fail")
        assert row.evaluations >= 2
    by_scipy, by_numdifftools = rows["scipy check_grad"], rows["numdifftools Gradient"]
    assert by_scipy.evaluations == subject.x.size + 1
    assert float(by_scipy.wrong) > 10 * float(by_scipy.right)
    assert by_numdifftools.evaluations > 10 * subject.x.size


def test_the_wrong_gradient_has_one_entry_1_percent_off() -> None:
    subject = rosenbrock(20)
    right = subject.gradient(subject.x)
    wrong = speed_peers._claim(subject, True)(subject.x)
    (entry,) = np.flatnonzero(wrong != right)
    assert wrong[entry] == pytest.approx(1.01 * right[entry])
    assert np.sum(np.abs(right) < abs(right[entry])) == 10


def test_calls_are_counted_and_the_fastest_run_counts() -> None:
    f = Counted(lambda x: 2 * x)
    run = timed(lambda: f(3), repeats=4)
    assert (run.result, f.calls) == (6, 4)
    assert run.seconds >= 0.0


def test_the_machine_is_described() -> None:
    assert "threads used: 3" in describe_machine(3)


def test_a_section_of_a_page_is_replaced_and_the_rest_is_kept(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n\n<!-- one -->\n<!-- /one -->\n\nbelow\n", encoding="utf-8")
    for text in ("first", "second\nand third"):
        write_section(page, "one", text)
        assert section(page.read_text(encoding="utf-8"), "one") == text
    text = page.read_text(encoding="utf-8")
    assert text == "above\n\n<!-- one -->\nsecond\nand third\n<!-- /one -->\n\nbelow\n"
    with pytest.raises(ValueError, match="two"):
        write_section(page, "two", "")


def test_the_page_has_the_tables_of_this_bench() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert section(text, "machine").startswith("Measured on: ")
    for name, columns, rows in (
        ("takes", speed.TAKES, 4),
        ("misses", speed.MISSES, 9),
        ("peers", speed.PEERS, 18),
    ):
        lines = [line for line in section(text, name).splitlines() if line.startswith("|")]
        assert lines[0] == markdown(columns, [], 2).splitlines()[0]
        assert len(lines) == rows + 2
        assert {line.count("|") for line in lines} == {len(columns) + 1}


def test_main_prints_every_table_and_writes_the_page(
    small: Setting,
    measured: dict[str, Measured],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    compared = Compared("f", "tool", 3, 0.5, 7, "pass", "fail", "none")
    monkeypatch.setattr(speed_lenet, "setting", lambda *_: small)
    monkeypatch.setattr(speed_lenet, "measure", lambda *_, **__: measured)
    monkeypatch.setattr(
        speed_lenet, "missed", lambda *_: [Missed("one", True, True, True, True, 300)]
    )
    monkeypatch.setattr(speed_peers, "compare", lambda _: [compared])
    monkeypatch.setattr(speed, "use_processors", lambda _: None)
    page = tmp_path / "speed.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    assert speed.main(["--scale", "0.15", "--threads", "1", "--write", str(page)]) == 0
    written = section(page.read_text(encoding="utf-8"), "peers").splitlines()
    assert written[2:] == ["| f | tool | 0.5 | 7 | pass | fail | none |"] * 3
