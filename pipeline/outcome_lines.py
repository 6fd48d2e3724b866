"""What the terminal says below a ledger, and of a run that came to no end."""

from __future__ import annotations

from data.contract import ConfigError, ConversionError, DataError
from pipeline.report.beaten import beaten_sentence
from pipeline.report.held_limit import held_limit
from pipeline.requests import Request, RunResult
from pipeline.runs import Workdir


def sentences(result: RunResult) -> list[str]:
    """Returns what is said of a finished run's model, and what speaks against it."""
    from pipeline.summary import scores_line

    summary = result.published.summary
    if not summary:
        return []
    constants = " of constants" if summary["classical_family"] else ""
    scores = scores_line(result.metric, summary)
    searched = next((a.manifest.details for a, _ in result.stages if a.manifest.stage == "search"), {})
    found = (held_limit(searched), result.published.guess_caution, beaten_sentence(summary))
    return [
        f"{summary['model_file']}: {scores}, {summary['model_bytes']:,} bytes{constants}",
        *(sentence for sentence in found if sentence is not None),
    ]


def places(result: RunResult, workdir: Workdir) -> list[str]:
    """Returns where to look for what a finished run made."""
    earlier = [f"note    {workdir.earlier_bundle(result.name)}"] if result.published.has_earlier_bundle else []
    bundle = [] if result.published.bundle is None else [f"bundle  {result.published.bundle}"]
    return [f"report  {result.published.report}", *earlier, *bundle]


def what_next(error: BaseException, request: Request, name: str, *, num_finished: int) -> list[str]:
    """Returns what a user should know after a run that came to no end.

    Args:
        error: what ended it.
        request: what was asked.
        name: of the run.
        num_finished: stages that it finished.
    """
    notes = []
    # Bad data, a bad config or a conversion that cannot be would be met again by the same command.
    if not isinstance(error, ConfigError | DataError | ConversionError):
        notes.append(f"what was finished is kept; go on with: {request.command}")
    elif num_finished:
        notes.append("what was finished is kept for the next run")
    report = request.workdir.run_folder(name) / "report.html"
    return [*notes, f"{report} is that of an earlier run"] if report.exists() else notes
