"""How figures are made of what was seen: rates, costs, ratios, and the loads themselves."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import orjson
import pytest

from app.model import Position, Record
from app.pipeline import Pipeline
from bench import loads
from bench.measured import Latency, Results, Run
from bench.people import COLUMNS, person, rows
from bench.plots import draw
from bench.ratios import Ratio, ratios
from bench.report import markdown, read, write
from bench.rounds import QUICK, USUAL, full
from bench.throughput import Sample, cpu_of, rate_of, rate_of_samples


def test_a_rate_counts_from_a_pause_near_the_end_of_the_warm_up() -> None:
    slow = [1_000] * 1_000
    then = [millisecond for millisecond in range(2_000, 11_000, 1_000) for _ in range(1_000)]
    assert rate_of([*slow, *then]) == 1_000.0
    assert rate_of([1_000]) == 0.0
    assert rate_of([]) == 0.0
    assert rate_of([5, 5, 5]) == 0.0


def test_costs_and_rates_of_samples_leave_the_warm_up_out() -> None:
    samples = [
        Sample(0.0, 0, {"worker": 0.0, "kafka": 1.0}),
        Sample(1.0, 100, {"worker": 5.0, "kafka": 2.0}),
        Sample(10.0, 1_000, {"worker": 5.9, "kafka": 2.9}),
    ]
    assert cpu_of(samples) == pytest.approx({"worker": 100.0, "kafka": 100.0})
    assert rate_of_samples(samples, 0.1) == 100.0
    assert cpu_of([Sample(0.0, 0, {"worker": 0.0})]) == {}


def test_a_ratio_reaches_its_aim_or_its_bound_or_misses_both() -> None:
    verdicts = [Ratio("", (value,), 0.5, 0.8).verdict for value in (0.8, 0.79, 0.5, 0.49)]
    assert verdicts == ["aim", "met", "met", "missed"]
    assert [Ratio("", (value,), 7, 4, at_most=True).verdict for value in (4, 7, 7.1)] == ["aim", "met", "missed"]
    assert Ratio("", (), 1, 2).verdict == "not measured"


def made() -> Results:
    """Two rounds; the second is twice as slow for everybody."""
    results = Results({"machine": "invented"}, {"command": "python -m bench"})
    for number, speed in ((1, 1.0), (2, 0.5)):
        for contestant, load, rate in (
            ("ours", "mix", 10_000), ("naive", "mix", 100), ("floor", "mix", 20_000), ("ours", "replay", 15_000),
            ("ours, 2 workers", "mix", 12_000), ("debezium, schema in every message", "rows", 20_000),
            ("debezium, schema in the converter", "rows", 30_000),
        ):  # fmt: skip
            results.runs.append(Run(contestant, load, number, 1_000, rate * speed, {"worker": 6.0}, 90_000_000, 20_000))
        results.runs.append(Run("ours", "mix, larger table", number, 1_000, 9_000 * speed, rows=10_000_000))
        results.runs.append(Run("ours", "mix, larger table", number, 1_000, 100 * speed, rows=200_000))
        results.latencies.append(Latency("ours", 100, number, 50, 10.0, 20.0, "100/s"))
        results.latencies.append(Latency("ours", 5_000, number, 50, 20.0, 90.0, "half"))
        results.latencies.append(Latency("naive", 100, number, 50, 20.0, 40.0, "100/s"))
    results.runs.append(Run("ours", "backlog", 1, 1_000_000, 9_000, peak_memory=150_000_000))
    return results


def test_ratios_compare_within_a_round_and_name_what_was_not_measured() -> None:
    found = {ratio.name: (ratio.value, ratio.verdict) for ratio in ratios(made())}
    assert found == {
        "mix against naive": (100.0, "aim"),
        "mix, one worker, against the same statements from memory": (0.5, "met"),
        "mix, two workers, against Debezium with the schema in every message": (0.6, "met"),
        "mix, two workers, against Debezium at its fastest": (0.4, "met"),
        "CPU seconds of the worker for 100,000 requests of the mix": (6.0, "met"),
        "hot against mix": (None, "not measured"),
        "unchanged against mix": (None, "not measured"),
        "invalid against mix": (None, "not measured"),
        "replay against mix": (1.5, "aim"),
        "poison records against mix": (None, "not measured"),
        "mix while old answers are removed, against mix": (None, "not measured"),
        "p50 from request to answer at 100 a second against naive": (0.5, "aim"),
        "p99 from request to answer at 100 a second against naive": (0.5, "aim"),
        "table of 10,000,000 customers against 20,000": (0.9, "met"),
        "64 partitions against 6": (None, "not measured"),
        "p99 at half of the highest throughput against p99 at 100 a second": (4.5, "met"),
        "peak memory of the worker with a backlog of 1,000,000": (150.0, "met"),
    }


def test_results_are_read_back_as_they_were_written_and_only_the_marked_part_of_a_page_changes(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n", encoding="utf-8")
    write(made(), tmp_path / "results", page)
    assert read(tmp_path / "results" / "results.json") == made()
    text = page.read_text(encoding="utf-8")
    assert text == f"before\n<!-- bench -->\n{markdown(made())}<!-- /bench -->\nafter\n"
    assert "| mix against naive | 100 | 100–100 | ≥ 20 | ≥ 100 | aim |" in text
    assert "| ours | mix, larger table of 10,000,000 | 1,000 | 6,750 |" in text


def test_every_plot_is_drawn_for_which_there_are_figures(tmp_path: Path) -> None:
    names = ("cost", "latency", "table-size", "throughput")
    results = made()
    results.runs.append(Run("floor", "mix", 1, 1_000, 20_000, {"store": 2.0}, rows=20_000))
    results.runs.append(Run("ours", "mix, larger table", 1, 1_000, 9_000, {"worker": 7.0}, rows=200_000))
    draw(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    ]
    draw(Results({}, {}), tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_the_mix_is_60_30_5_5_and_the_same_each_time() -> None:
    load = loads.mix(2_000, customers=500, seed="1")
    asks = list(load.make())
    assert asks == list(load.make())
    assert (load.count, load.wrong) == (2_000, 100)
    ids = Counter(dict(ask.headers)["ce_id"] for ask in asks)
    assert sum(count - 1 for count in ids.values()) == 100
    assert sum(ask.key.startswith(b"new_1_") for ask in {ask.value: ask for ask in asks}.values()) == 600


class _Open:
    def pass_to_commit(self) -> None: ...


@pytest.mark.parametrize("kind", ["mix", "new", "update", "unchanged", "hot", "invalid", "poison"])
async def test_the_worker_answers_a_load_as_the_load_says(kind: str, pipeline: Pipeline) -> None:
    load = (
        loads.mix(200, customers=50, seed="1")
        if kind == "mix"
        else loads.uniform(kind, 200, customers=50, seed="seed of its own")
    )
    records = [
        Record(Position("requested", 0, offset, 1_700_000_000_000), ask.key, ask.value, headers(ask))
        for offset, ask in enumerate(load.make())
    ]
    answers = await pipeline.process(records, _Open())
    statuses = Counter(answer.status for answer in answers)
    assert statuses == Counter({200: load.count - load.wrong, 400: load.wrong})
    outcomes = {answer.outcome.value for answer in answers}
    expected = {
        "new": {"created"}, "update": {"updated"}, "unchanged": {"unchanged"}, "hot": {"updated"},
        "invalid": {"rejected"}, "poison": {"rejected"}, "mix": {"created", "updated", "rejected"},
    }  # fmt: skip
    assert outcomes == expected[kind]


def headers(ask: loads.Ask) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in ask.headers)


def test_rows_have_a_value_for_each_column_and_say_what_version_0_says() -> None:
    customers = b"".join(rows(12_000)).decode().splitlines()
    assert len(customers) == 12_000
    assert {len(line.split("\t")) for line in customers} == {len(COLUMNS)}
    assert person(7)["lastName"] in customers[7]
    assert person(7) != person(7, 1) != person(7, 2)
    assert not re.search(r"[\t\n\\]", orjson.dumps(person(7)).decode())


def test_sizes_are_scaled_and_only_the_full_run_has_the_millions() -> None:
    assert (USUAL.backlog, USUAL.peers, max(USUAL.tables)) == (0, 0, 1_000_000)
    assert (full(QUICK).backlog, max(full(QUICK).tables)) == (1_000_000, 10_000_000)
    assert USUAL.scaled(0.1).mix == 6_000
    assert USUAL.scaled(0.000001).naive == 20
