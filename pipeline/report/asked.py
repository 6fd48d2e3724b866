"""What a run was asked to do, in a sentence and section by section."""

from __future__ import annotations

from typing import Any

from models.compression_config import SearchConfig
from pipeline.report import task_words, wording
from pipeline.report.findings import section_of
from pipeline.report.markup import Content
from pipeline.report.record import RunRecord
from pipeline.report.subject import classical_family


def asked_sentence(record: RunRecord) -> str:
    """Says in a sentence what the run was to do."""
    data = section_of(record, "data")
    source = data.get("name") or data.get("path") or data.get("source", "its data")
    what = task_words.asked(record, str(source), [str(name) for name in data.get("normal") or ()])
    model = section_of(record, "model")
    return f"{what}, with {wording.network(model)}." if model.get("family") else f"{what}."


def asked_pairs(record: RunRecord) -> list[tuple[str, Content]]:
    """Returns each section of the config that shapes the model, and what it asks in a few words."""
    pairs: list[tuple[str, Content]] = [("Task", record.task)]
    data = section_of(record, "data")
    if data:
        named = [f"{key}: {wording.figure(data[key])}" for key in ("source", "name", "path", "target") if data.get(key)]
        pairs.append(("Data", ", ".join(named)))
    pairs.append(("Model", _fields(section_of(record, "model"))))
    if classical_family(record) is not None:
        return pairs
    pairs.append(("Training", _asked_of_training(record)))
    tune, prune = section_of(record, "tune"), section_of(record, "prune")
    pairs.append(("Tuning", _asked_of_tuning(tune) if tune else "none"))
    search = section_of(record, "search")
    if search and record.details("search"):
        return [*pairs, ("Search", _asked_of_search(search))]
    pairs.append(("Pruning", _asked_of_pruning(prune) if prune else "none"))
    pairs.append(("Precision", str(section_of(record, "quantize").get("precision", "float32"))))
    return pairs


def _asked_of_training(record: RunRecord) -> str:
    model, train = section_of(record, "model"), section_of(record, "train")
    if model.get("family") == "file" and not model.get("fine_tune"):
        return "none: the model is taken as trained"
    return f"{wording.words(str(train.get('mode', 'end_to_end')))}, {train.get('epochs', '?')} epochs at most"


def _asked_of_tuning(tune: dict[str, Any]) -> str:
    told = f"{wording.plural(tune['trials'], 'trial')}, {tune.get('oracle', '')} search"
    named = [wording.words(name) for name, value in (tune.get("space") or {}).items() if value is not None]
    told += f"; penalties and {wording.listed(named)}" if named and tune.get("penalties") else ""
    told += f"; {wording.listed(named)}" if named and not tune.get("penalties") else ""
    return told + ("; judged after pruning at once" if tune.get("objective") == "pruned_score" else "")


def _asked_of_search(search: dict[str, Any]) -> str:
    asked = SearchConfig.model_validate(search, strict=False)
    units = ", ".join(unit.replace("node_and_weight", "nodes and weights") for unit in asked.unit)
    sparsities = f"{wording.fraction(asked.min_sparsity)} to {wording.fraction(asked.max_sparsity)}"
    tried = [f"pruning {units}: {sparsities}", f"precision {', '.join(asked.precision)}"]
    if max(asked.clusters) > 0:
        tried.append(f"clusters {', '.join(str(count) if count else 'none' for count in asked.clusters)}")
    if asked.encoding != ("dense",):
        tried.append(f"encoding {', '.join(asked.encoding)}")
    if asked.aware != (False,):
        tried.append("training with rounding")
    return f"{wording.plural(asked.candidates, 'candidate')}; {'; '.join(tried)}"


def _asked_of_pruning(prune: dict[str, Any]) -> str:
    unit = prune.get("unit", "weight")
    units = [unit] if isinstance(unit, str) else list(unit)
    shares = [prune["sparsity"]] * len(units)
    if prune.get("weight_sparsity") is not None:
        shares[-1] = prune["weight_sparsity"]
    told = [
        f"{each}s by each layer’s sensitivity" if share == "auto" else f"{wording.fraction(share)} of the {each}s"
        for each, share in zip(units, shares, strict=True)
    ]
    ranking = "" if prune["sparsity"] == "auto" else f", {prune.get('scope', 'global')} ranking"
    return f"{', then '.join(told)}{ranking}"


def _fields(section: dict[str, Any]) -> str:
    if section.get("family") in ("file", "builder"):
        output, arguments = section.get("output", "standard"), section.get("arguments", {})
        told = [wording.network(section)]
        told += [f"answers {wording.words(output)}"] if output != "standard" else []
        told += [f"{name}: {wording.figure(value)}" for name, value in arguments.items()]
        told += [f"code allowed in {wording.listed(list(section['allow']))}"] if section.get("allow") else []
        return "; ".join(told)
    described = []
    unread = {"dense": "blocks", "convolutional": "units"}.get(str(section.get("kind")))
    for key, value in section.items():
        if key == unread:
            continue
        if key == "blocks":
            filters = ", ".join(str(block["filters"]) for block in value)
            described.append(f"{wording.plural(len(value), 'block')} of {filters} filters")
        elif key == "family":
            described.insert(0, str(value))
        elif value not in ((), [], None):
            described.append(f"{wording.words(key)} {wording.figure(value)}")
    return "; ".join(described) or wording.ABSENT
