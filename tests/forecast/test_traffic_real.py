"""Changes of model, batch and firmware on the traffic of a real service and measured power curves: flagged and followed within an hour."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ems.forecast.traffic import Traffic, TrafficPower, followed_within

T0 = datetime(2024, 1, 1, tzinfo=UTC)
CHANGE = 2 * 1440 + 600  # minute of the third day
MINUTES = CHANGE + 360
TOKENS, PROMPT_SHARE = 180.0, 4.0  # output tokens per request; prompt tokens per output token
IDLE_W = 90.0  # of a GPU without a request, on the power curves' own scale


@cache
def output_per_s(data_dir: Path) -> np.ndarray:
    """Output tokens per second, minute by minute: the 10-minute rates of ServeGen m-large, with the noise of arrivals within them."""
    rates = pd.read_parquet(data_dir / "ai_requests" / "servegen_m-large_first10d_10min.parquet")["requests_per_s"].to_numpy(float)
    minutes = np.interp(np.arange(MINUTES), 10.0 * np.arange(len(rates)) + 5.0, rates)
    counts = np.random.default_rng(5).negative_binomial(60.0 * minutes / 6.0, 1.0 / 7.0)  # variance seven times the mean
    return TOKENS * counts / 60.0


def curve(data_dir: Path, model: str, gpus: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens per second and watts of one H100 replica by its batch, as measured, from idle on."""
    table = pd.read_csv(data_dir / "energy" / "ml_energy_v3_llm_configs.csv")
    rows = table[(table["model_id"] == model) & (table["gpu_model"] == "H100") & (table["num_gpus"] == gpus)]
    rows = rows[rows["task"] == "lm-arena-chat"].sort_values("output_throughput_tokens_per_sec")
    watts = np.maximum.accumulate(rows["avg_power_watts"].to_numpy(float))
    return np.append(0.0, rows["output_throughput_tokens_per_sec"]), np.append(IDLE_W * gpus, watts)


def power_kw(of: tuple[np.ndarray, np.ndarray], tokens: np.ndarray, fill: float = 0.8) -> np.ndarray:
    """As many replicas as carry the highest of the traffic at `fill` of their measured best, sharing it evenly."""
    replicas = np.ceil(tokens.max() / (fill * of[0][-1]))
    return replicas * np.interp(tokens / replicas, *of) / 1000.0


def followed(data_dir: Path, kind: str) -> tuple[TrafficPower, np.ndarray]:
    """The model after the change, and its relative errors minute by minute."""
    tokens = output_per_s(data_dir)
    small, large = curve(data_dir, "Qwen/Qwen3-8B", 1), curve(data_dir, "Qwen/Qwen3-32B", 1)
    before = power_kw(small, tokens)
    after = {"none": before, "model": power_kw(large, tokens), "smaller batch": power_kw(small, tokens, 0.4), "firmware": 0.88 * before}
    noise = 1.0 + 0.01 * np.random.default_rng(6).standard_normal(MINUTES)
    power = noise * np.where(np.arange(MINUTES) < CHANGE, before, after[kind])
    model = TrafficPower(1, 0.5 * float(before.min()), 1.3 * float(power.max()), 1.2 * float(tokens.max()))
    errors = []
    for minute, (t, kw) in enumerate(zip(tokens, power, strict=True)):
        traffic = Traffic((PROMPT_SHARE * t,), (t,))
        errors.append(abs(model.predict(traffic) / kw - 1.0))
        model.observe(T0 + timedelta(minutes=minute), traffic, float(kw))
    return model, np.array(errors)


@pytest.mark.parametrize(("kind", "is_worse"), [("model", True), ("smaller batch", True), ("firmware", False)])
def test_a_change_is_flagged_and_followed_within_the_hour(data_dir, kind, is_worse):
    model, errors = followed(data_dir, kind)
    changed = T0 + timedelta(minutes=CHANGE)
    assert [a for a in model.alarms if a.at < changed] == []
    assert followed_within(model, changed)
    assert ("tokens per joule" in {a.name for a in model.alarms}) == is_worse
    usual, just_after, later = (
        errors[CHANGE - 720 : CHANGE].mean(),
        errors[CHANGE : CHANGE + 3].mean(),
        errors[CHANGE + 60 :].mean(),
    )
    assert just_after > 2.0 * usual and later < 0.2 * just_after and later < 0.07


def test_without_a_change_three_days_of_real_traffic_raise_no_alarm(data_dir):
    model, errors = followed(data_dir, "none")
    assert model.alarms == [] and errors[1440:].mean() < 0.03


def test_one_wild_reading_is_no_alarm(data_dir):
    model, _ = followed(data_dir, "none")
    tokens = float(output_per_s(data_dir)[-1])
    traffic = Traffic((PROMPT_SHARE * tokens,), (tokens,))
    model.observe(T0 + timedelta(minutes=MINUTES), traffic, 5.0 * model.predict(traffic))
    assert model.alarms == []
