"""The command line: thin verbs over `runtime`.

A mistake of the user is one line on standard error and exit code 2; an interruption ends with
130; anything else keeps its traceback. What a verb needs is imported when it runs, so that help is
quick.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core

from . import __version__, registry
from .errors import SciflowError, expected, unknown

if TYPE_CHECKING:
    from .adapter import Adapter
    from .model import Model

INTERRUPTED = 130
WRONG = 2


class _Verb(typer.core.TyperCommand):
    """A verb that a domain brings along; the domain is imported when it is called, not for the list of verbs."""

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **extra: Any
    ) -> Any:
        name = str(self.name)
        lone = typer.Typer(add_completion=False, rich_markup_mode="rich")
        function = registry.adapter(registry.verbs()[name][0]).commands()[name]
        lone.command(name, epilog=_foot(name))(function)
        return typer.main.get_command(lone).make_context(info_name, args, *more, **extra)


class _Verbs(typer.core.TyperGroup):
    """The verbs of the core, then those of the domains."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *registry.verbs()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in registry.verbs():
            domain, text = registry.verbs()[cmd_name]
            found = _Verb(cmd_name, callback=lambda: None, help=f"{text} ({domain})")
        return found


app = typer.Typer(
    name="sciflow",
    cls=_Verbs,
    help="Generative learning for science: new samples, their worth, and models of your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _foot(verb: str, *general: str) -> str:
    """Examples at the foot of a help text: the domains' own, then the general ones."""
    lines = [*registry.examples(verb), *general]
    return "Examples:\n\n" + "\n\n".join("  " + line.replace("[", r"\[") for line in lines)


def main() -> None:
    """Run the command line with the arguments of the process."""
    # Before torch loads: threads that spin while they wait are many times slower on cores shared with others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The base of all errors of usage, wherever a version of typer keeps it.
    usage: Any = typer.BadParameter.mro()[2]
    try:
        code = app(prog_name="sciflow", standalone_mode=False)
    except SciflowError as error:
        _end(str(error))
    except usage as error:
        text = _usage(error)
        sys.exit(WRONG) if text is None else _end(text)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> str | None:
    """The error of usage on one line; None where help was printed in its place."""
    if not error.format_message():
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "sciflow"
    text = error.format_message().replace("\n", " ").rstrip(".")
    return f"{text}; see {command} --help"


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(WRONG)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sciflow {__version__}")
        raise typer.Exit


@app.callback()
def _sciflow(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version, and end.")
    ] = False,
) -> None:
    pass


# -- words that verbs share -------------------------------------------------------------------

_CHOICE = "NAME[:KEY=VALUE,...]"
_REWARD = "NAME|FILE.py:FUNCTION[:KEY=VALUE,...]"
_OWN = "Default: the model's own."
_NAMES = ", ".join(registry.names())
Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help=f"One of: {_NAMES}.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Samples, or a folder of generate.")]
Against = Annotated[
    str | None, typer.Option(metavar="DATA", help="Data to compare with, held out of training.")
]
Train = Annotated[
    str | None, typer.Option(metavar="DATA", help="Data of training: novelty and noise floors.")
]


@app.command(
    epilog=_foot(
        "generate", "sciflow generate DOMAIN --model runs/mine -n 10 --steps 50 --seed 7 -o folder"
    ),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def generate(
    context: typer.Context,
    domain: Domain,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File (the suffix is its format), or a folder for everything."
        ),
    ],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name of a shipped model, or a folder.")
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", help="How many.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Default: the model's own.")] = None,
    solver: Annotated[str | None, typer.Option(metavar=_CHOICE, help=_OWN)] = None,
    grid: Annotated[str | None, typer.Option(metavar=_CHOICE, help=_OWN)] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Samples at a time.")] = 500,
    device: Device = "auto",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A wish in the domain's words; or --KEY VALUE."),
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Weight of wishes; 1: as data.")] = None,
    reward: Annotated[str | None, typer.Option(metavar=_REWARD, help="Steer by a reward.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the file of an interrupted run.")
    ] = False,
    against: Against = None,
    train: Train = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell the result as JSON.")] = False,
) -> int:
    """Make new samples.

    A file is written batch by batch, so that Ctrl-C keeps what was made; the same command with
    --resume goes on where it stopped. A folder gets the samples, metrics.json, their picture and
    page.html; with --against and --train the metrics have something to compare with.
    """
    from .adapter import Resumable
    from .model import default, load
    from .runtime import progress, words
    from .runtime.device import keep_memory
    from .runtime.evaluate import read
    from .runtime.generate import Generation, produce
    from .runtime.output import Output
    from .runtime.steering import parse

    for word, count in (("-n", number), ("--batch-size", batch_size)):
        if count < 1:
            raise expected(word, count, "at least 1")
    keep_memory()
    adapter = registry.adapter(domain)
    flags = [flag for own in context.command.params for flag in own.opts if flag[:2] == "--"]
    options = words.wishes(context.args, option or (), flags)
    _known(adapter, against, train)
    with Output(output, adapter) as out:
        if not out.folder and (against or train):
            raise expected("--output", str(output), "a folder for metrics", "or call evaluate")
        found = load(model or default(domain))
        if found.adapter.name != domain:
            other = found.adapter.name
            raise expected(f"model {model}", f"a model of {other}", f"one of {domain}")
        plan = Generation.of(
            found,
            number,
            seed,
            steps,
            words.choice(solver),
            words.choice(grid),
            batch_size,
            device,
            options=options,
            guidance=guidance,
            reward=parse(reward) if reward else None,
        )
        with progress.stages() as stage:
            reference, known = (
                read(adapter, path, progress=stage).objects if path else None
                for path in (against, train)
            )
        with progress.samples(domain) as tell:
            made, whole = produce(plan, out, tell, resume)
        if plan.steering is not None and plan.steering.reward.failed:
            print(plan.steering.reward.complaint(), file=sys.stderr)
        if not whole:
            kept = f"kept in {out.path}" if len(made) else "nothing written"
            if len(made) and isinstance(out.writer, Resumable) and not out.folder:
                kept += "; the same command with --resume goes on"
            print(f"interrupted: {len(made)} of {number} {domain} made, {kept}", file=sys.stderr)
        if len(made) and out.folder:
            with progress.stages() as stage:
                kind = str(plan.device)
                metrics = made.metrics(reference, known, device=kind, progress=stage)
            out.finish(made.objects, made.facts(), metrics)
    if as_json:
        print(json.dumps({**made.facts(), "output": str(out.path)}, indent=1))
    elif whole:
        print(f"{len(made)} {domain} in {made.seconds:.1f} s: {out.path}")
    return 0 if whole else INTERRUPTED


@app.command(epilog=_foot("evaluate", "sciflow evaluate DOMAIN folder --json numbers.json"))
def evaluate(
    domain: Domain,
    file: File,
    against: Against = None,
    train: Train = None,
    device: Device = "auto",
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers here, too.")
    ] = None,
) -> None:
    """Measure samples, against real data where it is given.

    Samples are taken as they are; a row that cannot be read is named and counts as a failure.
    """
    from .checkpoint import write_text
    from .runtime import progress
    from .runtime.device import choose
    from .runtime.evaluate import evaluate as judge
    from .runtime.output import refuse

    adapter = registry.adapter(domain)
    _exist(file)
    _known(adapter, against, train)
    kind = str(choose(device))
    if as_json is not None:
        refuse(as_json)
    with progress.stages() as stage:
        found = judge(adapter, file, against, train, kind, stage)
    for row, text, reason in found.read.skipped[:5]:
        print(f"row {row} not read: {text!r}: {reason}", file=sys.stderr)
    if len(found.read.skipped) > 5:
        print(f"and {len(found.read.skipped) - 5} more rows not read", file=sys.stderr)
    print(found.metrics.to_text())
    if as_json is not None:
        write_text(as_json, json.dumps(found.metrics.summary(), indent=1) + "\n")


@app.command(
    epilog=_foot(
        "train",
        "sciflow train run.toml",
        "sciflow train run.toml --set recipe.steps=2000 --set folder=runs/short",
    )
)
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="What to train, and how.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting: recipe.steps=1000."),
    ] = None,
) -> int:
    """Train a model; the same command again goes on where it stopped.

    The folder of the run holds the checkpoint, log.csv and at the end the model, which generate
    takes by --model.
    """
    from .runtime import progress
    from .runtime.config import load
    from .runtime.device import keep_memory
    from .runtime.interruption import deferred
    from .runtime.training import is_first, run
    from .runtime.training import progress as look

    keep_memory()
    settings = load(config, setting or ())
    before = look(settings)
    if not is_first():
        run(settings)
        return 0
    if before.finished:
        print(f"already trained: {before.steps} steps in {settings.folder}; writing its model")
    elif before.step:
        print(f"going on at step {before.step} of {before.steps} in {settings.folder}")
    every = settings.as_recipe().checkpoint_every
    last = before.step
    try:
        with deferred() as ask, progress.training(before.step, before.steps, every) as tell:

            def on_step(step: int, scalars: dict[str, float]) -> None:
                nonlocal last
                last = step
                ask()
                tell(step, scalars)

            model = run(settings, on_step)
    except KeyboardInterrupt:
        saved = look(settings).step
        kept = f"the checkpoint of step {saved} is in {settings.folder}"
        kept += "; the same command goes on from there"
        print(
            f"interrupted at step {last}; {kept if saved else 'there is no checkpoint yet'}",
            file=sys.stderr,
        )
        return INTERRUPTED
    for reason, count in model.card["training"].get("left_out", {}).items():
        print(f"left out of training: {count} x {reason}", file=sys.stderr)
    seconds = model.card["training"]["seconds"]
    print(f"{model.name}: {before.steps} steps in {seconds:.0f} s of training: {settings.folder}")
    return 0


@app.command(epilog=_foot("show", "sciflow show folder -o page.html"))
def show(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="NAME.html, or NAME.png.")],
    domain: Annotated[
        str | None, typer.Option(help="Where the suffix of the file does not tell.")
    ] = None,
    against: Against = None,
    train: Train = None,
) -> None:
    """Lay samples out on one self-contained page: settings, metrics, pictures. Or draw the picture alone."""
    from .runtime import progress
    from .runtime.evaluate import show as lay_out

    _exist(file)
    with progress.stages() as stage:
        print(lay_out(file, output, domain, against, train, stage))


@app.command(
    epilog=_foot("models", "sciflow models", "sciflow models NAME", "sciflow models --matrix")
)
def models(
    name: Annotated[str, typer.Argument(help="A model, or a folder: all that is known.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, all that is known.")] = False,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Which solver treats which path on which space.")
    ] = False,
) -> None:
    """List the shipped models; of one: what it was trained on, and its measured figures.

    With --matrix, list what the core defines: paths, spaces and solvers, and why some do not go together.
    """
    if matrix:
        from .runtime import matrix as pairs

        print(json.dumps(pairs.table(), indent=1) if as_json else pairs.text())
        return
    from .model import card, cards
    from .runtime.cards import overview, text

    found = {name: card(name)} if name else cards()
    print(json.dumps(found, indent=1) if as_json else text(found) if name else overview(found))


@app.command("import", epilog=_foot("import", "sciflow import NAME weights.pth -o mine"))
def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Kind of foreign weights.")],
    file: Annotated[Path, typer.Argument(help="The foreign file; it is read, never run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model.")],
) -> None:
    """Turn foreign weights into a model of ours."""
    from .runtime.output import refuse

    importers = {
        word: function
        for adapter in registry.adapters().values()
        for word, function in adapter.importers().items()
    }
    if not importers:
        raise expected("importer", name, "a domain that has one", "see sciflow doctor")
    if name not in importers:
        raise unknown("importer", name, importers)
    _exist(file)
    refuse(output / "model.json")
    model: Model = importers[name](file)
    model.save(output)
    print(f"a model of {model.adapter.name}, {model.parameters:,} parameters: {output}")


@app.command(epilog=_foot("doctor", "sciflow doctor", "sciflow doctor --json"))
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell versions, device, usable domains, and what is missing."""
    from .runtime.doctor import examine, text

    found = examine()
    print(json.dumps(found, indent=1) if as_json else text(found))


for _command in app.registered_commands:
    # Help is wrapped to the terminal: the line breaks of a docstring's paragraph mean nothing.
    _paragraphs = (getattr(_command.callback, "__doc__", None) or "").split("\n\n")
    _command.help = "\n\n".join(" ".join(part.split()) for part in _paragraphs)


# -- checks -----------------------------------------------------------------------------------


def _exist(path: Path) -> None:
    if not path.exists():
        raise expected(str(path), "no such file", "a file that is there")


def _known(adapter: type[Adapter], *data: str | None) -> None:
    """Refuse data to compare with that are neither a file nor a name, before any work."""
    for name in data:
        if name is not None and not adapter.knows(name):
            _exist(Path(name))
