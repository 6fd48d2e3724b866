"""The model card: what a bundle is, how it was verified and how to run it, as Markdown."""

from __future__ import annotations

import math

from pipeline.report import task_words, wording
from pipeline.report.beaten import beaten_sentence
from pipeline.report.card_scores import is_encoded, scores_part
from pipeline.report.card_usage import device_part, preprocessing_part, reproduce_part, takes_some_inputs
from pipeline.report.findings import chosen_variant, section_of, verdict
from pipeline.report.markdown import plain, table
from pipeline.report.pruning_words import nodes_report, zeros_report
from pipeline.report.record import RunRecord
from pipeline.report.section_tuning import tuned_network
from pipeline.report.subject import classical_family, model_file, reference

_Z_95 = 1.959964
"""Quantile of the normal distribution that leaves 2.5 % on either side."""


def render_model_card(record: RunRecord) -> str:
    """Writes the model card of an exported run.

    Args:
        record: the run, `export` included.

    Returns:
        Markdown; the same record gives the same text.

    Raises:
        ValueError: the run has no summary, so there is no model to tell of.
    """
    if not record.summary:
        raise ValueError("model card: expected a run with a summary, got one without. Run the stage export first.")
    parts = [
        _what(record),
        _intended_use(record),
        _data(record),
        scores_part(record),
        _sizes(record),
        _verification(record),
        _limits(record),
        preprocessing_part(record),
        device_part(record),
        reproduce_part(record),
    ]
    return "\n\n".join(parts) + "\n"


def _classes(record: RunRecord) -> list[str]:
    return [str(name) for name in record.details("export").get("classes") or []]


def _input(record: RunRecord) -> str:
    shape = " × ".join(str(size) for size in record.profile["input_shape"])
    whole = {
        "image": f"an image of {shape}",
        "series": f"a window of {shape}, steps × channels,",
    }.get(record.profile["input_kind"], f"a vector of {shape} features")
    return (
        f"{record.summary['input']['shape'][-1]:,d} of the numbers of {whole}" if takes_some_inputs(record) else whole
    )


def _what(record: RunRecord) -> str:
    judged = verdict(record)
    family = wording.network(section_of(record, "model"))
    classes = _classes(record)
    output = plain(task_words.answer(record, classes))
    lines = [
        f"# {plain(record.name)}",
        f"**{judged.headline}.** {plain(judged.sentence)}",
        f"`{model_file(record)}` is {family} for {record.task}, of precision {chosen_variant(record)}. It takes "
        f"{_input(record)} and gives {output}. It was {_made(record)} by Penjing.",
    ]
    tuned = tuned_network(record)
    if tuned is not None:
        lines.append(plain(tuned))
    beaten = beaten_sentence(record.summary)
    if beaten is not None:
        lines.insert(1, f"**{plain(beaten)}**")
    if classes and record.task == "classification":
        shown = ", ".join(plain(name) for name in classes[:50])
        more = f" and {len(classes) - 50} more" if len(classes) > 50 else ""
        lines.append(f"Classes, in the order of the outputs (`labels.txt`): {shown}{more}.")
    return "\n\n".join(lines)


def _answer(record: RunRecord) -> str:
    """What an output of a class is: margins of machines are scores, not probabilities."""
    return "score (the largest decides)" if classical_family(record) == "svm" else "probability"


def _made(record: RunRecord) -> str:
    return (
        "fitted by scikit-learn, and written as C and verified"
        if classical_family(record)
        else "made, compressed and verified"
    )


def _intended_use(record: RunRecord) -> str:
    return (
        "## Intended use\n\n"
        f"{plain(task_words.use(record))} on a microcontroller or another small device, from inputs that come "
        "about like those it was trained on and go through the preprocessing below. It has been tried on the test "
        "split of that data and on nothing else: try it on data of the device itself before relying on it, and let no "
        "decision that can hurt somebody rest on it alone."
    )


def _data(record: RunRecord) -> str:
    profile = record.profile
    rows = profile["rows"]
    lines = [
        f"- Source: {plain(wording.source(profile['source']))}",
        f"- Rows: {wording.count(rows['total'])}: {wording.count(rows['train'])} to train on, "
        f"{wording.count(rows['validation'])} to decide on (validation), {wording.count(rows['test'])} to test on"
        + (f", {wording.count(rows['unlabeled'])} without labels" if "unlabeled" in rows else ""),
        f"- SHA-256 of the data set: `{record.summary['dataset_sha256']}`",
    ]
    left_out = [f"{item['name']} ({item['reason']})" for item in profile.get("left_out", [])]
    if left_out:
        lines.append(f"- Columns left out: {plain('; '.join(left_out))}")
    return "## Data\n\n" + "\n".join(lines)


def _sizes(record: RunRecord) -> str:
    s = record.summary
    arena, file = s.get("arena_bytes"), f"`{model_file(record)}`"
    working = "not measured" if arena is None else wording.bytes_of(arena)
    rows = [
        (f"constants of {file}" if classical_family(record) else file, wording.bytes_of(s["model_bytes"])),
        ("the same, gzipped", wording.bytes_of(s["model_gzip_bytes"])),
        ("arena, by TFLite Micro on the 64-bit host", "none" if classical_family(record) else working),
        ("parameters", wording.count(s["parameters"])),
        ("of them not zero", wording.count(s["nonzero_parameters"])),
        ("multiply-accumulates of an inference", wording.count(s["macs"])),
    ]
    if s.get("latency_us") is not None:
        rows.append(
            ("latency: median, one thread, the host, not a device", f"{wording.figure(round(s['latency_us'], 1))} µs")
        )
    if s["operators"]:
        rows.append(("operators", plain(", ".join(str(name) for name in s["operators"]))))
    lines = ["## Size and work", table(["what", "figure"], rows, 1)]
    smaller = nodes_report(record)
    if smaller is not None:
        lines.append(smaller)
    zeros = zeros_report(record)
    if zeros is not None:
        lines.append(f"{zeros.finding} {zeros.reason}")
    return "\n\n".join(lines)


def _verification(record: RunRecord) -> str:
    export = record.details("export")
    gates = [
        (
            plain(wording.words(str(gate["name"]))),
            "passed" if gate["passed"] else "**failed**",
            plain(gate.get("message") or ""),
            plain(wording.figure(gate["figure"])),
            plain(wording.figure(gate["limit"])),
        )
        for gate in export.get("gates", [])
    ]
    lines = ["## How it was verified", table(["check", "verdict", "found", "figure", "limit"], gates, 2)]
    targets = [
        (
            plain(wording.words(target["name"])),
            "met" if target["met"] else "**missed**",
            wording.named_figure(target["name"], target["asked"]),
            wording.named_figure(target["name"], target["got"]),
        )
        for target in export.get("targets", [])
    ]
    if targets:
        lines += ["Targets, judged on the validation split:", table(["target", "verdict", "asked", "got"], targets, 2)]
    agreement = record.summary.get("agreement")
    if agreement is not None:
        lines.append(
            f"On the test split, {reference(record)} and `{model_file(record)}` decide alike on "
            f"{wording.fraction(agreement)} of the rows."
        )
    return "\n\n".join(lines)


def _limits(record: RunRecord) -> str:
    s, rows = record.summary, record.profile["rows"]["test"]
    items = []
    if is_encoded(record):
        items.append(
            "`model.tflite` runs in TFLite Micro alone, which unpacks its weights; LiteRT refuses it and runs "
            "`variants/int8.tflite`, of the same numbers."
        )
    if record.task == "classification" and rows:
        low, high = accuracy_interval(s["model_score"], rows)
        items.append(
            f"The accuracy was measured on {wording.plural(rows, 'row')}: on more of the same data it would come out "
            f"between {low:.3f} and {high:.3f} (95 % interval)."
        )
        items += _weakest(record)
    else:
        items.append(f"The score was measured on {task_words.judged_count(record)}.")
    items += [plain(warning) for warning in record.profile.get("warnings", [])]
    items.append(
        "Latency is the host's. Measure on the device."
        if classical_family(record)
        else "Arena and latency are the host's, whose pointers are 8 bytes and whose kernels are others. "
        "Measure on the device."
    )
    items += [plain(limit) for limit in task_words.limits(record)]
    return "## Limits\n\n" + "\n".join(f"- {item}" for item in items)


def accuracy_interval(accuracy: float, rows: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a fraction that was measured on some rows.

        (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n)

    Args:
        accuracy: fraction of the rows that were decided right, in [0, 1].
        rows: number of rows, at least 1.

    Returns:
        Lower and upper end, in [0, 1]; never of width 0, even where no row was wrong.

    Reference:
        Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    weight = _Z_95**2 / rows
    center = accuracy + weight / 2.0
    reach = _Z_95 * math.sqrt(accuracy * (1.0 - accuracy) / rows + weight / (4.0 * rows))
    return (center - reach) / (1.0 + weight), (center + reach) / (1.0 + weight)


def _weakest(record: RunRecord) -> list[str]:
    """Returns the class that is recognised least often, where there is a confusion matrix."""
    matrix = record.details("export").get("confusion") or []
    found = [(row[i] / sum(row), i, row) for i, row in enumerate(matrix) if sum(row)]
    if not found:
        return []
    share, i, row = min(found)
    name = plain(_classes(record)[i])
    return [f"Least often recognised: {name}, in {row[i]:,d} of {sum(row):,d} rows ({wording.fraction(share)})."]
