"""What a run was to do and what its model answers, in the words of its task."""

from __future__ import annotations

from pipeline.report import wording
from pipeline.report.collapsed import collapsed_sentence
from pipeline.report.record import RunRecord

GUESSED_AREA = 0.5
"""Area under the ROC curve of errors that tell nothing."""


def target_name(record: RunRecord) -> str:
    """Returns the name of what is predicted."""
    return str(record.profile.get("target", {}).get("name", "the target"))


def asked(record: RunRecord, source: str, normal: list[str]) -> str:
    """Says what a run was to do with its rows, without the full stop.

    Args:
        record: the run.
        source: what its rows come from.
        normal: classes that count as normal, where the config names them.
    """
    if record.task == "reconstruction":
        which = f" (normal: {wording.listed(normal)})" if normal else ""
        return f"Give rows of {source} back, and tell abnormal ones by the error{which}"
    if record.task == "clustering":
        return f"Find which rows of {source} belong together, without labels"
    balance = record.profile.get("class_balance")
    kinds = f", one of {wording.plural(len(balance['train']), 'class', 'classes')}," if balance else ""
    return f"Predict {target_name(record)}{kinds} from {source}"


def answer(record: RunRecord, classes: list[str]) -> str:
    """Says what the model gives for a row."""
    if record.task == "reconstruction":
        return "the same numbers back, as well as it can"
    if record.task == "clustering":
        return f"a share for each of {wording.plural(record.summary['clustering']['num_clusters'], 'cluster')}"
    if classes:
        return f"one probability for each of {wording.plural(len(classes), 'class', 'classes')}"
    return f"one number, {target_name(record)}, standardized"


def use(record: RunRecord) -> str:
    """Says what the model is for."""
    if record.task == "reconstruction":
        return "To tell abnormal rows from normal ones"
    if record.task == "clustering":
        return "To say which of the clusters found in the training rows a row belongs to"
    return f"To predict {target_name(record)}"


def guess(record: RunRecord) -> tuple[str, bool] | None:
    """Holds what was learned without labels against a guess that looks at nothing.

    Returns:
        What the guess is worth, in a sentence, and whether the model is worth more; None before `export`.
    """
    score = record.summary.get("model_score")
    if score is None:
        return None
    if record.task == "clustering":
        collapsed = collapsed_sentence(record.summary)
        if collapsed is not None:
            return collapsed, False
        return "At a silhouette of 0 rows are no nearer to their own cluster than to the next one.", bool(score > 0.0)
    area = record.summary["reconstruction"]["roc_auc"]
    told = "Giving back the mean of each number, whatever the row, has an R² of 0"
    worse = [] if score > 0.0 else [f"an R² of {wording.score(score)}"]
    if area is not None:
        told += ", and calling rows abnormal at random a ROC AUC of 0.5"
        worse += [] if area > GUESSED_AREA else [f"a ROC AUC of {wording.score(area)}"]
    return f"{told}{'; the model has ' if worse else ''}{wording.listed(worse)}.", not worse


def judged_rows(record: RunRecord) -> str:
    """Says which rows a score on the test split is of."""
    figures = record.summary.get("reconstruction") or {}
    return "test split" if figures.get("false_alarms") is None else "normal rows of the test split"


def judged_count(record: RunRecord) -> str:
    """Says on how many rows the score was measured."""
    kind = judged_rows(record)
    if kind == "test split":
        return f"{wording.plural(record.profile['rows']['test'], 'row')} of the test split"
    return f"{wording.plural(record.profile['class_balance']['test']['normal'], 'normal row')} of the test split"


def limits(record: RunRecord) -> list[str]:
    """Says what the task's answers cannot tell."""
    if record.task == "clustering":
        return [
            "Clusters have numbers, not names: what they mean, somebody must look at. Trained anew on other rows, "
            "they come out otherwise, and in another order.",
            "A share is how near a row is to the center of its cluster beside the others: it is large, too, for rows "
            "that are like nothing the model was trained on.",
        ]
    if record.task != "reconstruction":
        return ["It answers whatever it is shown: it cannot say that an input is like nothing it was trained on."]
    figures = record.summary["reconstruction"]
    found = [
        f"Rows count as abnormal above an error of {wording.figure(figures['threshold'], 5)}, which "
        f"{wording.fraction(figures['validation_false_alarm_fraction'])} of the validation rows exceed. Where normal "
        "rows come to look otherwise, false alarms rise: set the threshold anew on rows of the device."
    ]
    if figures["roc_auc"] is None:
        found.append("The data does not say which rows are abnormal: how many of them are found is not known.")
    else:
        found.append(
            f"Of the abnormal test rows {wording.fraction(figures['detected'])} are found, and of the normal ones "
            f"{wording.fraction(figures['false_alarms'])} are called abnormal (ROC AUC "
            f"{wording.score(figures['roc_auc'])}); abnormal rows of another kind may be found less, or more, often."
        )
    return found
