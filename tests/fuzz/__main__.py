"""Fuzzes each target, for some seconds in all: `make fuzz SECONDS=60`. What is found is kept in tests/fuzz/found/.

An input that breaks a target belongs into tests/fuzz/corpus/, which `tests/unit/test_fuzz_corpus.py` goes through.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGETS = {"envelope": ["app.envelope", "app.understand"], "request": ["app.request"]}
"""Each with what is watched for new paths."""
LONGEST = 4096
"""Bytes of an input. What is large is for tests/unit/test_hostile.py."""


def fuzz(target: str, options: list[str]) -> None:
    """Run libFuzzer in this process, which ends with it."""
    atheris: Any = importlib.import_module("atheris")  # not everywhere to be had, and without types

    with atheris.instrument_imports(include=TARGETS[target]):
        targets = importlib.import_module("tests.fuzz.targets")
    atheris.Setup([sys.argv[0], *options], targets.TARGETS[target])
    atheris.Fuzz()


def run(target: str, seconds: int, new: Path) -> bool:
    """Fuzz one target in a process of its own; whether it held."""
    found = HERE / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    options = [
        *(f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=1024"),
        *(f"-dict={HERE / 'words.dict'}", f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0"),
        *(str(new), str(HERE / "corpus" / target)),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--one", target, *options], capture_output=True, text=True
    )
    tried = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "0")
    print(f"{target}: {tried} inputs in {seconds} s, {'held' if done.returncode == 0 else 'BROKEN'}")
    if done.returncode or not int(tried):
        print(done.stderr[-4000:], f"the input is in {found}", sep="\n")
    return done.returncode == 0 and int(tried) > 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--one", choices=TARGETS, help="run libFuzzer on this one, with its own options")
    given, options = parser.parse_known_args()
    if given.one:
        fuzz(given.one, options)
    with tempfile.TemporaryDirectory() as folder:
        held = []
        for target in TARGETS:
            new = Path(folder, target)
            new.mkdir()
            held.append(run(target, max(1, given.seconds // len(TARGETS)), new))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
