"""What a config says of autoencoders and their tasks: what fits, and what cannot."""

from __future__ import annotations

from typing import Any

import pytest

from models.task_config import ReconstructionConfig
from tests.pipeline.test_config import message_of, run_config

DENSE = {"family": "autoencoder", "bottleneck": 2}
CONVOLUTIONAL = {"family": "autoencoder", "kind": "convolutional", "blocks": [{"filters": 4}]}
DIGITS = {"source": "builtin", "name": "digits"}


def test_the_section_of_the_task_is_implied() -> None:
    assert run_config().reconstruction is None
    given = run_config(task="reconstruction", model=DENSE)
    assert given.reconstruction == ReconstructionConfig(false_alarm_fraction=0.05)
    assert given.score_name == "r2"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"task": "reconstruction"},
            "model.family: expected autoencoder with task: reconstruction, got mlp. Set model.family to autoencoder.",
        ),
        (
            {"model": DENSE},
            "model.family: expected a family that predicts with task: classification, got autoencoder. Choose mlp or "
            "cnn, or set task to reconstruction or clustering.",
        ),
        (
            {"reconstruction": {}},
            "reconstruction: expected no such section with task: classification, got one. Take it out.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "reconstruction": None},
            "reconstruction: expected a section with task: reconstruction, got null. Leave it out to take the "
            "defaults.",
        ),
        (
            {"task": "reconstruction", "model": {**DENSE, "blocks": [{"filters": 4}]}},
            "model.blocks: expected it with model.kind: convolutional alone, got it with dense. Nothing would read it: "
            "take it out.",
        ),
        (
            {"task": "reconstruction", "data": DIGITS, "model": {**CONVOLUTIONAL, "units": [4]}},
            "model.units: expected it with model.kind: dense alone, got it with convolutional.",
        ),
        (
            {"task": "reconstruction", "model": CONVOLUTIONAL},
            "model.kind: expected dense for inputs that are no images, got convolutional with inputs of shape (?,).",
        ),
        (
            {"task": "reconstruction", "data": DIGITS, "model": {**DENSE, "bottleneck": 64}},
            "model.bottleneck: expected fewer than the 64 numbers of an input, got 64.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "train": {"mode": "layer_wise"}},
            "train.mode: expected 'end_to_end' with autoencoder, got 'layer_wise'. Layers are pretrained in mlp and "
            "cnn alone.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "train": {"class_weights": "balanced"}},
            "train.class_weights: expected no class weights with task: reconstruction, got some. It has no labels: "
            "take it out.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "prune": {"distillation": {}}},
            "prune.distillation: expected none with task: reconstruction, got one. It learns from the input itself: "
            "take it out.",
        ),
        (
            {
                "task": "reconstruction",
                "model": DENSE,
                "quantize": {"precision": "int8", "aware": {"distillation": {}}},
            },
            "quantize.aware.distillation: expected none with task: reconstruction, got one.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "train": {"loss": {"name": "cross_entropy"}}},
            "train.loss.name: expected 'mse' or 'mae' or 'huber' with task: reconstruction, got 'cross_entropy'.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "metric": "accuracy"},
            "metric: expected 'r2' with task: reconstruction, got 'accuracy'.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "tune": {"space": {"filters": [[4, 4]]}}},
            "tune.space.filters: expected no such key with model.kind: dense, got one. Nothing would read it: take "
            "it out.",
        ),
        (
            {"task": "reconstruction", "data": DIGITS, "model": CONVOLUTIONAL, "tune": {"space": {"units": [[4]]}}},
            "tune.space.units: expected no such key with model.kind: convolutional, got one.",
        ),
        (
            {"task": "clustering", "model": {"family": "mlp"}, "clustering": {"num_clusters": 3}},
            "model.family: expected autoencoder with task: clustering, got mlp. Set model.family to autoencoder.",
        ),
        (
            {"task": "clustering", "model": DENSE},
            "clustering: expected this section with task: clustering, got none. Say clustering: {num_clusters: 10}, or "
            "so.",
        ),
        (
            {"clustering": {"num_clusters": 3}},
            "clustering: expected no such section with task: classification, got one. Take it out.",
        ),
        (
            {"task": "clustering", "model": DENSE, "clustering": {"num_clusters": 3}, "reconstruction": {}},
            "reconstruction: expected no such section with task: clustering, got one. Take it out.",
        ),
        (
            {
                "task": "clustering",
                "model": DENSE,
                "clustering": {"num_clusters": 3, "refine_epochs": 0, "update_steps": 5},
            },
            "clustering.update_steps: expected it with clustering.refine_epochs above 0 alone, got it with 0. Take it "
            "out.",
        ),
        (
            {
                "task": "clustering",
                "model": DENSE,
                "clustering": {"num_clusters": 3},
                "train": {"class_weights": "balanced"},
            },
            "train.class_weights: expected no class weights with task: clustering, got some.",
        ),
        (
            {
                "task": "clustering",
                "model": DENSE,
                "clustering": {"num_clusters": 3},
                "train": {"loss": {"name": "cross_entropy"}},
            },
            "train.loss.name: expected 'mse' or 'mae' or 'huber' with task: clustering, got 'cross_entropy'.",
        ),
        (
            {"task": "reconstruction", "model": DENSE, "prune": {"inputs": "varying"}},
            "prune.inputs: expected all with an autoencoder, got varying. It gives every input back; take it out.",
        ),
        (
            {
                "task": "clustering",
                "model": DENSE,
                "clustering": {
                    "num_clusters": 3,
                    "refine_epochs": 5,
                    "batch_size": "full",
                    "optimizer": {"warmup_steps": 5},
                },
            },
            "clustering.optimizer.warmup_steps: expected fewer than the 5 steps of the whole refinement, got 5.",
        ),
        (
            {
                "task": "clustering",
                "model": DENSE,
                "clustering": {"num_clusters": 3, "refine_epochs": 5, "batch_size": "full", "update_steps": 6},
            },
            "clustering.update_steps: expected at most the 5 steps of the whole refinement, got 6.",
        ),
        (
            {
                "task": "clustering",
                "model": DENSE,
                "clustering": {"num_clusters": 3},
                "quantize": {"layers": {"encoder_1": "int4", "encodr_2": "int8", "decoder_1": "int4"}},
            },
            "quantize.layers.encodr_2: expected a layer that has weights in the model, got 'encodr_2' (the nearest is "
            "'encoder_2'). Choose of encoder_1, encoder_2, bottleneck, output.\n"
            "quantize.layers.decoder_1: expected",
        ),
        (
            {
                "task": "reconstruction",
                "data": DIGITS,
                "model": CONVOLUTIONAL,
                "prune": {"unit": "node", "criterion": "batch_normalization_scale"},
            },
            "prune.criterion: expected another where some nodes have no batch normalization, got "
            "batch_normalization_scale with an autoencoder, whose bottleneck has none. Choose taylor, l1 or l2.",
        ),
    ],
)
def test_what_cannot_be_is_refused(sections: dict[str, Any], message: str) -> None:
    assert message in message_of(**sections)
