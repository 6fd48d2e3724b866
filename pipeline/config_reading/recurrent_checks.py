"""What a recurrent network cannot have, said before it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.rnn_config import RnnConfig
from pipeline.config_reading.disagreement import Disagreement, Location

if TYPE_CHECKING:
    from pipeline.config import RunConfig

_LSTM_PRECISIONS = ("float32", "float16", "dynamic_range", "int8")
"""Precisions that TFLite's fused LSTM has a kernel for."""


def recurrent_layers_can_do_it(config: RunConfig) -> Iterator[Disagreement]:
    """Clusters and rounding in training exist for dense layers and convolutions alone; the fused LSTM has few bits."""
    if not isinstance(config.model, RnnConfig):
        return
    family: Location = ("model", "family")
    if config.cluster is not None:
        message = "expected no such section with an rnn, got one. Recurrent layers are not clustered: take it out."
        yield Disagreement(("cluster",), message, (family,))
    if config.quantize is not None and config.quantize.aware is not None:
        message = (
            "expected no such section with an rnn, got one. Recurrent layers are not rounded while they are trained: "
            "take it out, int8 is then calibrated on training rows."
        )
        yield Disagreement(("quantize", "aware"), message, (family,))
    if config.search is not None and max(config.search.clusters) > 0:
        message = "expected 0 alone with an rnn, got more. Recurrent layers are not clustered."
        yield Disagreement(("search", "clusters"), message, (family,))
    if config.search is not None and True in config.search.aware:
        message = "expected false alone with an rnn, got true. Recurrent layers are not rounded while they are trained."
        yield Disagreement(("search", "aware"), message, (family,))
    yield from lstm_has_it(config) if config.model.cell == "lstm" else _no_tables(config)


def _no_tables(config: RunConfig) -> Iterator[Disagreement]:
    """Tables hold clusters, of which an rnn has none; its other encoding holds pruned zeros."""
    family: tuple[Location, ...] = (("model", "family"),)
    why = "Tables are of clusters, and recurrent layers are not clustered"
    if config.quantize is not None and config.quantize.encoding == "tables":
        message = f"expected dense or sparse with an rnn, got tables. {why}: choose sparse, or take it out."
        yield Disagreement(("quantize", "encoding"), message, family)
    for position, asked in enumerate(() if config.search is None else config.search.encoding):
        if asked == "tables":
            message = f"expected dense or sparse with an rnn, got tables. {why}: take it out."
            yield Disagreement(("search", "encoding", position), message, family)


def lstm_has_it(config: RunConfig) -> Iterator[Disagreement]:
    """Bits, scales and encodings that the fused operator does not have.

    Args:
        config: of a run whose network has an LSTM, of family rnn or the user's own.
    """
    cell: tuple[Location, ...] = (("model", "cell"),)
    allowed = ", ".join(_LSTM_PRECISIONS)
    quantize, search = config.quantize, config.search
    if quantize is not None:
        if quantize.precision not in _LSTM_PRECISIONS:
            message = (
                f"expected one of {allowed} with an LSTM, got {quantize.precision}: its operator has no such kernel. "
                "Choose int8."
            )
            yield Disagreement(("quantize", "precision"), message, cell)
        for name, value, default in (("layers", quantize.layers, {}), ("dense_scales", quantize.dense_scales, "auto")):
            if value != default:
                message = "expected it left out with an LSTM, whose gates have one scale each, got it. Take it out."
                yield Disagreement(("quantize", name), message, cell)
        if quantize.encoding != "dense":
            message = (
                f"expected dense with an LSTM, got {quantize.encoding}: TFLite Micro unpacks no weights for its "
                "operator. Take it out."
            )
            yield Disagreement(("quantize", "encoding"), message, cell)
    if search is None:
        return
    lists: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("precision", search.precision, _LSTM_PRECISIONS),
        ("encoding", search.encoding, ("dense",)),
    )
    for name, given, fitting in lists:
        for position, asked in enumerate(given):
            if asked not in fitting:
                message = f"expected one of {', '.join(fitting)} with an LSTM, got {asked}. Take it out."
                yield Disagreement(("search", name, position), message, cell)
