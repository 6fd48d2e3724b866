from __future__ import annotations

import pytest

from pipeline.config import TargetConfig
from pipeline.targets import judge, missed_limit

MEASURED = {
    "max_score_drop": 0.98 - 0.96,
    "min_score": 0.96,
    "max_model_bytes": 6_000,
    "max_gzip_bytes": 3_000,
    "max_arena_bytes": 2_348,
    "max_latency_us": 12.5,
}


@pytest.mark.parametrize(
    ("name", "kept", "missed"),
    [
        ("max_score_drop", 0.02, 0.0199),
        ("min_score", 0.96, 0.9601),
        ("max_model_bytes", 6_000, 5_999),
        ("max_gzip_bytes", 3_000, 2_999),
        ("max_arena_bytes", 2_348, 2_347),
        ("max_latency_us", 12.5, 12.4),
    ],
)
def test_each_limit_is_judged_both_ways(name: str, kept: float, missed: float) -> None:
    assert [target["met"] for target in judge(TargetConfig(**{name: kept}), MEASURED)] == [True]
    assert [target["met"] for target in judge(TargetConfig(**{name: missed}), MEASURED)] == [False]


def test_every_limit_has_a_figure() -> None:
    assert TargetConfig.model_fields.keys() == MEASURED.keys()
    assert judge(TargetConfig(), MEASURED) == []


def test_a_better_score_is_no_drop() -> None:
    judged = judge(TargetConfig(max_score_drop=0.0), {"max_score_drop": -0.01})
    assert judged == [{"name": "max_score_drop", "asked": 0.0, "got": -0.01, "met": True}]


@pytest.mark.parametrize(
    ("name", "asked", "got", "told"),
    [
        ("max_model_bytes", 12000, 25952, "expected at most 12,000 bytes, got 25,952."),
        ("max_arena_bytes", 12000, None, "expected at most 12,000 bytes, got nothing: it could not be measured."),
        ("min_score", 0.9, 0.89125, "expected at least 0.9, got 0.8912."),
        ("max_score_drop", 0.01, 0.0123, "expected at most 0.01, got 0.0123."),
        ("max_latency_us", 50.0, 1234.5, "expected at most 50 microseconds, got 1,234.5."),
    ],
)
def test_a_missed_limit_is_told_with_its_unit(name: str, asked: float, got: float | None, told: str) -> None:
    assert missed_limit({"name": name, "asked": asked, "got": got, "met": False}) == told
