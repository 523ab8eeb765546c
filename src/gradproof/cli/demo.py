"""The command `gradproof demo`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from gradproof.cli.exits import MEANINGS, ExitCode, Refusal, one_line_errors
from gradproof.cli.output import command_line, html_option, refuse_files, write_html

DEMO_EXTRA = "pip install 'gradproof[demo]'"
#: Of scikit-learn's 1,797 digits.
MOST_IMAGES = 1797
#: With 32 images and 50 steps of training, this one meets kinks in the first convolution.
DEMO_SEED = 1


def _list_plants(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from gradproof.examples.plants import PLANTS

    for name, plant in PLANTS.items():
        click.echo(f"{name}\n    {plant.description}\n    wrong: {', '.join(plant.tensors)}")
    context.exit()


@click.command(short_help="Check a small network with backpropagation by hand.")
@click.option("--plant", metavar="NAME", help="Plant this bug in the gradient, and see it found.")
@click.option(
    "--list-plants",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_plants,
    help="List the bugs that can be planted.",
)
@click.option(
    "--dropout-on",
    is_flag=True,
    help="Leave dropout on, with fresh random numbers at every call, and see what that does.",
)
@click.option(
    "--burn-in",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Steps of training before the check.",
)
@click.option(
    "--images",
    type=click.IntRange(1, MOST_IMAGES),
    default=32,
    show_default=True,
    help="Images that the loss is taken over.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=DEMO_SEED,
    show_default=True,
    help="Seed of the weights, the training and the images.",
)
@click.option(
    "--coverage",
    type=click.Choice(["full", "sample", "probe"]),
    default="full",
    show_default=True,
    help="Check every weight, some drawn at random from every tensor, or all of them together "
    "along a few random directions (which is gradproof's own default).",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="With --coverage sample, how many from every tensor.",
)
@click.option(
    "--steps",
    metavar="ENTRY",
    help="Whose error to tabulate against the step: 'conv1.weight[3, 0, 2, 1]', or a whole tensor. "
    "The worst weight by default.",
)
@html_option
@click.option("--progress/--no-progress", default=True, help="Whether to show a progress bar.")
@click.pass_context
def demo(
    context: click.Context,
    /,
    plant: str | None,
    dropout_on: bool,
    burn_in: int,
    images: int,
    seed: int,
    coverage: str,
    samples: int,
    steps: str | None,
    html: str | None,
    progress: bool,
) -> None:
    """Check a small convolutional network whose backpropagation is written by hand.

    Some of its weights agree with a numerical derivative to 12 digits and some to 3. Is that close
    enough, or is there a bug? It needs scikit-learn for its images, and takes about a quarter of a
    minute.
    """
    with one_line_errors(), _named_extra():
        from rich.console import Console

        from gradproof.examples.demo import run_demo
        from gradproof.report.store import Result

        refuse_files(html)

        report = run_demo(
            Console(highlight=False),
            plant=plant,
            dropout_on=dropout_on,
            burn_in=burn_in,
            images=images,
            seed=seed,
            coverage=coverage,
            samples=samples,
            steps=steps,
            progress=progress,
        )
        line = command_line(context, "gradproof demo", without=("html", "progress"))
        write_html([Result("demo", report, reproduce=line)], html)
    code = ExitCode[report.verdict.upper()]
    if code is not ExitCode.PASS:
        click.echo(f"Exit code {code.value}: {MEANINGS[code]}.")
    raise SystemExit(code)


@contextmanager
def _named_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise Refusal(f"the demo needs scikit-learn for its images: {DEMO_EXTRA}") from error
