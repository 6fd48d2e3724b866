"""The command line of Penjing: parse, call the pipeline, print, end with an exit code."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
LOADING = __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler
if LOADING:  # Ctrl-C before anything has begun leaves nothing to say, and no traceback; main() takes over
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"interrupted\n"), os._exit(INTERRUPTED)))

import json
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from data.contract import ConfigError, PenjingError
from pipeline.cluster import cluster_of
from pipeline.garbage import find_garbage, remove
from pipeline.interruption import Interruption
from pipeline.native_messages import native_messages_to
from pipeline.outcome_lines import places, sentences, what_next
from pipeline.planner import Plan, Scope
from pipeline.progress import RunProgress
from pipeline.refusals import told_elsewhere
from pipeline.requests import DEFAULT_WORKDIR, Request, RunResult
from pipeline.runs import Workdir
from pipeline.session import asks_for_search, plan_request, redraw, require_keep, run_request, take_part
from pipeline.streams import complain, open_what_is_closed, stdout_refuses
from pipeline.terminal import (
    Command,
    TerminalListener,
    bytes_note,
    console_for,
    garbage_table,
    ledger_table,
    plan_table,
)

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "digits.yaml"

app = typer.Typer(
    help="Takes a data set to the smallest edge model that still meets its owner's accuracy.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

out = console_for()
interruption = Interruption()

StageName = list[str] | None  # a list, so that an option that is given twice is not half forgotten
ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file that describes the run.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[a.b=value]...", help="Fields of the config to change for this run.")
]
WorkdirOption = Annotated[Path, typer.Option("--workdir", metavar="DIR", help="Where runs and their store are kept.")]
RehashOption = Annotated[bool, typer.Option("--rehash", help="Read raw data again even where it looks unchanged.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.callback(invoke_without_command=True)
def default(context: typer.Context, workdir: WorkdirOption = DEFAULT_WORKDIR) -> None:
    """Takes a data set to the smallest edge model that still meets its owner's accuracy.

    Without a command, runs configs/digits.yaml.
    """
    if workdir != DEFAULT_WORKDIR:
        if context.invoked_subcommand == "schema":
            raise ConfigError("--workdir: expected a command that reads or writes runs, got schema. Leave it out.")
        context.default_map = {str(context.invoked_subcommand): {"workdir": str(workdir)}}
    if context.invoked_subcommand is None:
        _run(Request(DEFAULT_CONFIG, (), Workdir(workdir)), as_json=False)


@app.command(cls=Command)
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    first: Annotated[
        StageName, typer.Option("--from", metavar="STAGE", help="Take the stages before it from the store.")
    ] = None,
    last: Annotated[StageName, typer.Option("--to", metavar="STAGE", help="Run no stage after it.")] = None,
    force: Annotated[
        StageName, typer.Option("--force", metavar="STAGE", help="Make it, and all that depends on it, again.")
    ] = None,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
    workdir: WorkdirOption = DEFAULT_WORKDIR,
) -> None:
    """Runs a config; stages that are in the store already are not repeated."""
    scope = _scope(first, last, force)
    _run(Request(config, tuple(overrides or ()), Workdir(workdir), scope, rehash), as_json=as_json)


@app.command(cls=Command)
def plan(
    config: ConfigPath,
    overrides: Overrides = None,
    first: Annotated[StageName, typer.Option("--from", metavar="STAGE", help="As for run.")] = None,
    last: Annotated[StageName, typer.Option("--to", metavar="STAGE", help="As for run.")] = None,
    force: Annotated[StageName, typer.Option("--force", metavar="STAGE", help="As for run.")] = None,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
    workdir: WorkdirOption = DEFAULT_WORKDIR,
) -> None:
    """Says what a run would do: per stage cached, or runs and why, or resumes and where."""
    request = Request(config, tuple(overrides or ()), Workdir(workdir), _scope(first, last, force), rehash)
    _, planned = plan_request(request)
    if as_json:
        _print_json([_stage_json(planned, index) for index in range(len(planned.stages))])
    else:
        out.print(plan_table(planned))


@app.command(cls=Command)
def search(
    config: ConfigPath,
    overrides: Overrides = None,
    rehash: RehashOption = False,
    as_json: JsonOption = False,
    workdir: WorkdirOption = DEFAULT_WORKDIR,
) -> None:
    """Searches for the smallest compressed model that meets the config's target, and hands it over.

    The section `search` says what is tried; where a config has none, its defaults are taken.
    """
    given = tuple(overrides or ())
    if not asks_for_search(config, given):
        given = (*given, "search={}")
    _run(Request(config, given, Workdir(workdir), rehash=rehash), as_json=as_json)


@app.command(cls=Command)
def validate(
    config: ConfigPath,
    overrides: Overrides = None,
    as_json: JsonOption = False,
    workdir: WorkdirOption = DEFAULT_WORKDIR,  # noqa: ARG001 -- every command takes it
) -> None:
    """Checks a config and reports all its errors at once; opens no data."""
    from pipeline.config_reading.file import load_config
    from pipeline.config_reading.problems import ConfigErrors

    try:
        loaded = load_config(config, tuple(overrides or ()))
    except ConfigErrors as error:
        if not as_json:
            raise
        found = [
            {"origin": problem.origin, "line": problem.line, "field": problem.location, "message": problem.message}
            for problem in error.problems
        ]
        _print_json({"valid": False, "problems": found})
        raise typer.Exit(error.exit_code) from error
    if as_json:
        _print_json({"valid": True, "problems": []})
    else:
        out.print(f"{config}: valid; run {loaded.config.name!r}", markup=False)


@app.command(cls=Command)
def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run.")], workdir: WorkdirOption = DEFAULT_WORKDIR
) -> None:
    """Draws the HTML report of a run anew."""
    published = redraw(Workdir(workdir), name)
    out.print(str(published.report), markup=False, soft_wrap=True)


@app.command(cls=Command)
def predict(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run that has a bundle.")],
    raw_input: Annotated[
        str, typer.Argument(metavar="INPUT", help="File or folder of this machine in the source's own format.")
    ],
    as_json: JsonOption = False,
    workdir: WorkdirOption = DEFAULT_WORKDIR,
) -> None:
    """Predicts raw input with the exported model."""
    from pipeline.predict import predict as predict_input
    from pipeline.predict import prediction_table
    from pipeline.remote.addresses import local_path

    place, rows = Workdir(workdir), local_path(raw_input)
    if place.require(name).has_earlier_bundle:
        complain(f"note: {place.earlier_bundle(name)}")
    predictions = predict_input(place.run_folder(name) / "export", rows, lambda text: complain(f"note: {text}"))
    if as_json:
        from dataclasses import asdict

        _print_json([asdict(each) for each in predictions])
    else:
        out.print(prediction_table(predictions))


@app.command(cls=Command)
def schema() -> None:
    """Prints the JSON schema of a config, for editors."""
    from pipeline.config_reading.docs import config_json_schema

    _print_json(config_json_schema())


@app.command(cls=Command)
def gc(
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            metavar="N",
            help="Runs to keep, the last written first; the others go, report and bundle too; all if left out.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List, but remove nothing.")] = False,
    as_json: JsonOption = False,
    workdir: WorkdirOption = DEFAULT_WORKDIR,
) -> None:
    """Lists what no kept run needs any more, then removes it.

    To remove one run, delete its folder (DIR/RUN); gc then removes what only it needed.
    """
    place = Workdir(workdir)
    place.require_root()
    garbage = find_garbage(place, require_keep(keep))
    if as_json:
        _print_json([{"path": str(each.path), "what": each.what, "bytes": each.bytes} for each in garbage])
    elif garbage:
        out.print(garbage_table(garbage))
    if not dry_run:
        remove(garbage)
    if not as_json:
        total = sum(each.bytes for each in garbage)
        out.print(f"{len(garbage)} folders, {total:,} bytes {'would be' if dry_run else 'were'} removed")


def _run(request: Request, *, as_json: bool) -> None:
    """Runs a request, tells its story, and raises what stands against its bundle."""
    cluster = cluster_of(os.environ.get("TF_CONFIG"))
    request = replace(request, cluster=cluster)
    if cluster is not None and cluster.index > 0:
        # Nothing goes into run.log, which is that of the leading run.
        progress = RunProgress(console_for(sys.stderr if as_json else None), check=interruption.check)
        progress.note(take_part(request, progress))
        return
    loaded, planned = plan_request(request, lasting=True)
    log = request.workdir.log(loaded.config.name)
    with native_messages_to(log) as stderr:
        listener = TerminalListener(console_for(stderr if as_json else None), log, interruption.check)
        try:
            result = run_request(request, listener, loaded, planned)
            if result.published.verdict is not None:
                listener.record(f"error: {result.published.verdict}")
        except (PenjingError, OSError, KeyboardInterrupt) as error:
            told = "interrupted" if isinstance(error, KeyboardInterrupt) else f"error: {error}"
            listener.end_with(told, what_next(error, request, loaded.config.name, num_finished=listener.num_finished))
            raise
        finally:
            listener.close()
    if as_json:
        _print_json(result.published.summary or result.so_far)
    else:
        _print_result(result, request.workdir)
    if result.published.verdict is not None:
        raise result.published.verdict


def _print_result(result: RunResult, place: Workdir) -> None:
    rows = result.rows
    out.print()
    if rows:
        out.print(ledger_table(rows, result.metric, out))
        out.print(f"* on the validation split; {bytes_note(rows)}\n")
    for sentence in sentences(result):
        out.print(sentence, markup=False)
    for line in places(result, place):
        out.print(line, markup=False, soft_wrap=True)


def _stage_json(planned: Plan, index: int) -> dict[str, Any]:
    stage = planned.stages[index]
    return {"stage": stage.stage.name, "state": stage.state, "key": stage.key, "because": stage.reason}


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _scope(first: StageName, last: StageName, force: StageName) -> Scope:
    given = {"--from": first or [], "--to": last or [], "--force": force or []}
    for option, names in given.items():
        if len(names) > 1:
            raise ConfigError(f"{option}: expected it once, got {', '.join(names)}. Choose one stage.")
    return Scope(*(names[0] if names else None for names in given.values()))


def _answer() -> int | str | None:
    """Runs the command line and returns its exit code; an error of Penjing's own is one message."""
    try:
        app()
    except PenjingError as error:
        complain(f"error: {error}")
        return error.exit_code
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # a reader that is gone wants to hear of nothing
            complain(f"error: {told_elsewhere(error)}")
        return 1
    except SystemExit as end:  # typer's own, for usage errors and for Ctrl-C
        return end.code
    return 0


def main() -> None:
    """Runs the command line and ends with its exit code."""
    if LOADING:
        interruption.listen()
    open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):  # what a terminal of another encoding cannot show is spelled out
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _answer()
        if stdout_refuses():
            code = code or 1
        interruption.rest()
    except KeyboardInterrupt:
        interruption.rest()
        code = INTERRUPTED
    if code == INTERRUPTED:
        complain("interrupted")
    sys.exit(code)


if __name__ == "__main__":
    main()
