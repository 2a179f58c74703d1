"""What a trial costs beside its training, in one run: `python benchmarks/bookkeeping.py [most trials]`

Studies are filled with random trials to each size, then eight more are made by each sampler: once with the study in memory, once in
the SQLite file of a run folder. CPU milliseconds a trial, the median of the eight; the objective costs nothing. About five minutes to
5,000 trials. The column `file` less `memory` is what keeping the trials costs; `memory` less that of `random` is the sampler's model.
"""
from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import optuna
from csnas_nb.networks.genotype import Genotype
from csnas_nb.searching.ledger import counted_trials
from csnas_nb.searching.proposals import SAMPLERS
from csnas_nb.searching.space import SearchSpace
from csnas_nb.searching.trials import run_trials
from csnas_nb.support.storages import quiet_optuna, sqlite_storage

SIZES, MORE = (10, 50, 200, 500, 1000, 2000, 5000), 8


def number_of(genotype: Genotype, report: object) -> float:
    "A number that belongs to a cell."
    return float(int(genotype.digest[:6], 16))


def cost(study: optuna.Study, name: str, size: int) -> float:
    "CPU milliseconds of a trial by this sampler, in a study of so many trials."
    moments: list[float] = []

    def objective(genotype: Genotype, report: object) -> float:
        moments.append(time.process_time())
        return number_of(genotype, report)

    run_trials(study, SearchSpace(), objective, size + MORE + 1, SAMPLERS[name], seed=size, progress=False)
    return 1e3 * median(after - before for before, after in zip(moments, moments[1:]))


def main(most: int) -> None:
    print(f"{'trials':>7s} {'random, memory':>15s} {'random, file':>13s} {'TPE, memory':>12s} {'TPE, file':>10s}   ms of CPU a trial")
    folder = Path(tempfile.mkdtemp())
    studies = {place: optuna.create_study(storage=storage, study_name="bookkeeping")
               for place, storage in (("memory", None), ("file", sqlite_storage(folder / "study.db")))}
    for size in (size for size in SIZES if size <= most):
        row = []
        for name in ("random", "quick"):
            for study in studies.values():
                done = len(counted_trials(study))
                run_trials(study, SearchSpace(), number_of, max(size, done), SAMPLERS["random"], progress=False)
                row.append(cost(study, name, max(size, done)))
        print(f"{size:7d} {row[0]:15.1f} {row[1]:13.1f} {row[2]:12.1f} {row[3]:10.1f}", flush=True)


if __name__ == "__main__":
    with quiet_optuna(): main(int(sys.argv[1]) if len(sys.argv) > 1 else SIZES[-1])
