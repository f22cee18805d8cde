"""The plots: throughput, latency over load, cost by size of the table, and where the microseconds go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.measured import Results, Run
from bench.rounds import CUSTOMERS

COLOURS: Final = {"ours": "#1f6feb", "naive": "#8b949e", "floor": "#2da44e", "debezium": "#bf8700"}
_MICROSECONDS: Final = 10
"""CPU seconds for 100,000 requests times this are microseconds a request."""


def draw(results: Results, folder: Path) -> None:
    """Draw those plots for which there are figures, each as PNG and as SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "svg.hashsalt": "bench",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "font.size": 9,
            "svg.fonttype": "none",
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"throughput": _throughput, "latency": _latency, "table-size": _table_size, "cost": _cost}
    for name, plot in plots.items():
        _drawn(results, folder / name, plot)


def _drawn(results: Results, path: Path, plot: Callable[[Any, Results], bool]) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
    if plot(axes, results):
        figure.savefig(path.with_suffix(".png"), dpi=144)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    pyplot.close(figure)


def _throughput(axes: Any, results: Results) -> bool:
    """A bar for each contestant and load, with the range of its rounds."""
    groups: dict[tuple[str, str], list[float]] = {}
    for run in results.runs:
        if not run.load.endswith("table"):
            groups.setdefault((run.contestant, run.load), []).append(run.rate)
    if not groups:
        return False
    names = [f"{contestant}: {load}" for contestant, load in groups]
    values = [median(rates) for rates in groups.values()]
    spread = [
        [value - min(rates) for value, rates in zip(values, groups.values(), strict=True)],
        [max(rates) - value for value, rates in zip(values, groups.values(), strict=True)],
    ]
    colours = [COLOURS.get(contestant.partition(",")[0], "#57606a") for contestant, _ in groups]
    bars = axes.barh(names, values, xerr=spread, color=colours, ecolor="#24292f", capsize=2)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("answers a second (median, range of the rounds)")
    axes.set_title("Throughput")
    return True


def _latency(axes: Any, results: Results) -> bool:
    """p50 and p99 over the rate at which requests were sent."""
    for contestant in dict.fromkeys(one.contestant for one in results.latencies):
        found = [one for one in results.latencies if one.contestant == contestant]
        levels = dict.fromkeys(one.level for one in found)
        by_level = [[one for one in found if one.level == level] for level in levels]
        rates = [median(one.rate for one in ones) for ones in by_level]
        for name, style in (("p50", "--"), ("p99", "-")):
            values = [median(getattr(one, name) for one in ones) for ones in by_level]
            axes.plot(rates, values, style, marker="o", color=COLOURS[contestant], label=f"{contestant}, {name}")
    if not results.latencies:
        return False
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("requests a second")
    axes.set_ylabel("milliseconds from request to answer")
    axes.set_title("Latency over offered load")
    axes.legend(frameon=False)
    return True


def _table_size(axes: Any, results: Results) -> bool:
    """CPU of worker and Postgres for one request of the mix, over the customers in the table."""
    runs = [run for run in results.runs if run.contestant == "ours" and run.load in ("mix", "mix, larger table")]
    drawn = False
    for who, colour in (("worker", COLOURS["ours"]), ("postgres", "#8250df")):
        known = [run for run in runs if who in run.cpu]
        sizes = sorted({run.rows for run in known})
        if len(sizes) < 2:
            continue
        drawn = True
        values = [_microseconds([run for run in known if run.rows == size], who) for size in sizes]
        axes.plot(sizes, values, marker="o", color=colour, label=who)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("customers in the table")
    axes.set_ylabel("CPU microseconds a request")
    axes.set_title("Cost of a request by size of the table")
    if drawn:
        axes.legend(frameon=False)
    return drawn


def _cost(axes: Any, results: Results) -> bool:
    """Where the CPU of one request of the mix goes."""
    floors = [run for run in results.runs if run.contestant == "floor"]
    runs = [run for run in results.runs if (run.contestant, run.load) == ("ours", "mix") and run.rows == CUSTOMERS]
    if not floors or not any("worker" in run.cpu for run in runs):
        return False
    store = _microseconds(floors, "store")
    parts = {
        "worker: read, validate, plan, answer, Kafka client": max(0.0, _microseconds(runs, "worker") - store),
        "worker: database driver": store,
        "Postgres": _microseconds(runs, "postgres"),
        "Kafka": _microseconds(runs, "kafka"),
    }
    colours = ("#1f6feb", "#54aeff", "#8250df", "#bf8700")
    left = 0.0
    for (name, value), colour in zip(parts.items(), colours, strict=True):
        if not value:  # where the servers are not ours, what they cost is not known
            continue
        bar = axes.barh(["one request"], [value], left=left, color=colour, label=name)
        axes.bar_label(bar, labels=[f"{value:.0f}" if value >= 1 else ""], label_type="center")
        left += value
    axes.set_xlabel("CPU microseconds")
    axes.set_title("Where the microseconds of one request go")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    return True


def _microseconds(runs: Sequence[Run], who: str) -> float:
    known = [run.cpu[who] for run in runs if who in run.cpu]
    return median(known) * _MICROSECONDS if known else 0.0
