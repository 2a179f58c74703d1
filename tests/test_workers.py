"""What several workers may run into: each case once went wrong, and is too odd for the notebooks that tell how it should go."""
from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

import optuna
from csnas_nb.formats.sources import load_images
from csnas_nb.networks.genotype import KNOWN_CELLS, Genotype, to_json
from csnas_nb.searching.ledger import Ledger, Outcome, beating, counted_trials, finished_trials, story_of
from csnas_nb.searching.proposals import PRUNERS, SAMPLERS, SamplerConfig, SearchOptions
from csnas_nb.searching.run_folder import invite, load_result
from csnas_nb.searching.space import SearchSpace, encode_genotype
from csnas_nb.searching.study import search
from csnas_nb.searching.trials import run_trials
from csnas_nb.support.storages import open_storage, quiet_optuna
from csnas_nb.support.workers import WorkerError, run_workers
from optuna.trial import TrialState

SPACE = SearchSpace()


def number_of(genotype: Genotype, report: object = None) -> float:
    "A number that belongs to a cell."
    return int(genotype.digest[:6], 16) / 16**6


def claimed(ledger: Ledger, cell: Genotype, known: dict) -> optuna.trial.FrozenTrial:
    "A trial of a cell that a worker has just begun."
    params = encode_genotype(SPACE, cell)
    distributions = {name: kind for name, kind in SPACE.distributions.items() if name in params}
    return ledger.claim(None, params, distributions, known, {})[1]


class Quiet(unittest.TestCase):
    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(quiet_optuna())
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)


class TestLedger(Quiet):
    def ledger(self, study, **more):
        return Ledger(study, **{"alone": False, **more})

    def claim(self, ledger, slot, **attributes):
        claimed = ledger.claim(slot, {}, {}, {"digest": "c311", **attributes}, {})
        self.assertIsNotNone(claimed)
        return claimed[1]

    def test_waiting_for_each_other(self):
        "Two trials of one cell of which each is told to wait for the other: one is scored, both have its score."
        study = optuna.create_study()
        ada, ben = self.ledger(study), self.ledger(study)
        self.claim(ada, 0, repeat_of=1), self.claim(ben, 1, repeat_of=0)
        self.assertEqual(ada.read().open_slots, [1])
        trial = self.claim(ben, 1)
        self.assertNotIn("repeat_of", trial.user_attrs)
        self.assertTrue(ben.finish(trial._trial_id, Outcome(TrialState.COMPLETE, {}, (0.5,))))
        self.assertEqual([t.value for t in ada.read().holders.values()], [0.5, 0.5])

    def test_made_twice(self):
        "A storage that makes a trial, answers nothing, and does not show it at once: the worker holds the first of two."
        study = optuna.create_study()
        ada = self.ledger(study)
        make, show, calls = ada.storage.create_new_trial, ada.storage.get_all_trials, Counter()

        def made(*arguments):
            calls["made"] += 1
            number = make(*arguments)
            if calls["made"] == 1: raise OSError("connection lost")
            return number

        def shown(*arguments):
            calls["shown"] += 1
            return show(*arguments) if calls["shown"] > 1 else []
        with (mock.patch.object(ada.storage, "create_new_trial", made),
              mock.patch.object(ada.storage, "get_all_trials", shown)): trial = self.claim(ada, 0)
        self.assertEqual((calls["made"], trial.number, ada.at_work), (2, 0, trial._trial_id))
        ada.read()
        self.assertEqual([t.state for t in study.trials], [TrialState.RUNNING, TrialState.FAIL])
        self.assertTrue(ada.finish(trial._trial_id, Outcome(TrialState.COMPLETE, {}, (0.5,))))
        self.assertEqual(len(finished_trials(study)), 1)

    def test_outage_while_training(self):
        "A worker that could give no sign of life does not hold the silence of others against them."
        study = optuna.create_study()
        far, near = self.ledger(study, grace=0.2), self.ledger(study, grace=0.2)
        far.owner = "elsewhere/pid 1 abcdef00"
        self.claim(far, 0)
        self.assertEqual(near.read().open_slots, [])                       # seen alive
        near.claim(1, {}, {}, {"digest": "dead"}, {})
        with (mock.patch.object(near.storage, "set_trial_user_attr", side_effect=OSError("no network")),
              beating(near)): time.sleep(0.5)
        self.assertEqual(near.read().open_slots, [])
        time.sleep(0.3)
        self.assertEqual(near.read().open_slots, [0])                      # but later, when it might have given one


class TestTrials(Quiet):
    def told(self, study):
        return [(t.state, t.values, t.intermediate_values, t.user_attrs["digest"]) for t in finished_trials(study)]

    def test_warm_starts_of_a_free_search(self):
        "Each given cell once, before all others, also when the search is stopped in between, or a worker dies over one."
        given = (KNOWN_CELLS["DARTS_V2"], KNOWN_CELLS["CSNAS_S4"], KNOWN_CELLS["DARTS_V1"])
        study, options = optuna.create_study(), SearchOptions(order="free", warm_start=given)
        run_trials(study, SPACE, number_of, 1, seed=1, progress=False, options=options)
        dead = self.given_to_a_dead_worker(study, given[1])
        for trials in (2, 6): run_trials(study, SPACE, number_of, trials, seed=1, progress=False, options=options)
        done = counted_trials(study)
        self.assertEqual([t.user_attrs["digest"] for t in done[:3]], [cell.canonical.digest for cell in given])
        self.assertEqual([t.user_attrs["proposed_by"] == "given" for t in done], [True] * 3 + [False] * 3)
        self.assertEqual(study.trials[dead].user_attrs["lost"], {"why": "died"})

    def given_to_a_dead_worker(self, study, cell):
        known = {"digest": cell.canonical.digest, "genotype": to_json(cell.canonical), "proposed_by": "given",
                 "size": {}, "excess": {}}
        return claimed(Ledger(study, alone=False), cell, known).number

    def test_pruned_and_killed(self):
        "With a pruner and a delay, a search that is interrupted at each fifth call is the unbroken one, report by report."
        options, calls = SearchOptions(pruner=PRUNERS["median"], delay=2), Counter()

        def slowly(genotype, report):
            for epoch in range(3): report(epoch, number_of(genotype) + 0.1 * (2 - epoch))
            return number_of(genotype)

        def interrupted(genotype, report):
            calls["all"] += 1
            if calls["all"] % 5 == 0:
                report(0, number_of(genotype) + 0.2)
                raise KeyboardInterrupt
            return slowly(genotype, report)
        whole, broken = optuna.create_study(), optuna.create_study()
        sampler = SamplerConfig(startup=6)
        run_trials(whole, SPACE, slowly, 30, sampler, 2, False, options=options)
        while len(counted_trials(broken)) < 30:
            try: run_trials(broken, SPACE, interrupted, 30, sampler, 2, False, options=options)
            except KeyboardInterrupt: pass
        self.assertEqual(self.told(broken), self.told(whole))
        self.assertIn(TrialState.PRUNED, [t.state for t in counted_trials(whole)])
        self.assertGreater(len(broken.trials), 30)                         # some were interrupted

    def test_first_cell_raises_beside_others(self):
        "An error in the first cell ends no search in which another worker is still at work."
        study, calls = optuna.create_study(), Counter()
        other = Ledger(study, alone=False)
        number = self.busy(other)

        def troubled(genotype, report):
            calls["all"] += 1
            if calls["all"] == 1: raise ZeroDivisionError("no luck")
            other.finish(number, Outcome(TrialState.COMPLETE, {}, (0.5,)))
            return 0.25
        run_trials(study, SPACE, troubled, 2, SAMPLERS["random"], 0, False, options=SearchOptions(order="free"),
                   alone=False)
        self.assertEqual(sorted(t.value for t in counted_trials(study)), [0.25, 0.5])
        lost = [t.user_attrs["lost"] for t in study.trials if "lost" in t.user_attrs]
        self.assertEqual(lost, [{"why": "raised", "error": "ZeroDivisionError: no luck"}])

    def test_first_cell_raises_alone(self):
        "Without others it is told as failed after two tries; once every cell fails the search ends and says why."
        study, objective = optuna.create_study(), mock.Mock(side_effect=ZeroDivisionError("no luck"))
        with self.assertRaisesRegex(RuntimeError, "the last 2 cells could not be scored: ZeroDivisionError: no luck"):
            run_trials(study, SPACE, objective, 2, progress=False)
        self.assertEqual([t.state.name for t in counted_trials(study)], ["FAIL", "FAIL"])
        self.assertEqual((objective.call_count, story_of(study).open_slots), (4, []))

    def test_details_named_error(self):
        "Scored cells whose details say `error` are no failures, nor does a search end at its last three trials."
        for raising, states in (((3, 4), "COMPLETE COMPLETE FAIL COMPLETE COMPLETE COMPLETE"),
                                (range(4, 10), "COMPLETE COMPLETE COMPLETE FAIL FAIL FAIL")):
            study, calls = optuna.create_study(), Counter()

            def objective(genotype, report):
                calls["all"] += 1
                if calls["all"] in raising: raise ValueError("this one")
                return 0.5, {"error": 0.25}
            run_trials(study, SPACE, objective, 6, SAMPLERS["random"], progress=False)
            self.assertEqual([t.state.name for t in counted_trials(study)], states.split())

    def test_details_of_another_kind(self):
        "Details are a dictionary, since tables make columns of them."
        for details in ("text", [1, 2]):
            with self.assertRaisesRegex(RuntimeError, "a number and a dictionary"):
                run_trials(optuna.create_study(), SPACE, lambda genotype, report: (0.5, details), 1, progress=False)

    def busy(self, ledger):
        cell = KNOWN_CELLS["DARTS_V1"]
        return claimed(ledger, cell, {"digest": cell.canonical.digest})._trial_id

    def test_interrupted_claim(self):
        "Workers that are stopped between making a trial and noting it leave nothing running."
        images, seen = load_images("digits", limit=30), []

        def stopped(task, job, operations, count, watch):
            program = "from csnas_nb.searching.ledger import this_worker; print(this_worker())"
            gone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            study = optuna.load_study(study_name=job.place.name, storage=open_storage(job.place.address))
            ledger = Ledger(study, alone=False)
            ledger.owner = gone.stdout.strip()
            seen.append(self.busy(ledger))
            raise KeyboardInterrupt
        with (mock.patch("csnas_nb.searching.study.run_workers", stopped), self.assertRaises(KeyboardInterrupt)):
            search(images, 4, objective=number_of, folder=self.folder / "run", workers=2, progress=False)
        trials = open_study_trials(self.folder / "run")
        self.assertEqual([(t._trial_id, t.state) for t in trials], [(seen[0], TrialState.FAIL)])
        self.assertEqual(trials[0].user_attrs["lost"], {"why": "died"})


def open_study_trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    "All trials of a run folder, lost ones too."
    return optuna.load_study(study_name="search", storage=open_storage(f"sqlite:///{folder / 'study.db'}")).trials


class TestStorages(Quiet):
    def lines(self, path): return [json.loads(line) for line in path.read_text().splitlines()]

    def test_half_a_line(self):
        "What a killed process left of a line is taken back by the next writer."
        path = self.folder / "trials.log"
        address = f"journal:///{path}"
        study = optuna.create_study(storage=open_storage(address), study_name="search")
        whole = len(self.lines(path))
        with path.open("ab") as file: file.write(b'{"op_code": 4, "wor')
        optuna.load_study(storage=open_storage(address), study_name="search").set_user_attr("said", "x" * 100_000)
        self.assertEqual(len(self.lines(path)), whole + 1)
        self.assertEqual(len(study.user_attrs["said"]), 100_000)

    def test_no_room(self):
        "A journal on a full disk: an error of the system, the file whole, and room again later."
        path = self.folder / "trials.log"
        study = optuna.create_study(storage=open_storage(f"journal:///{path}"), study_name="search")
        before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
        try:
            with self.assertRaises(OSError): study.set_user_attr("said", "x" * 1000)
        finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(path.read_bytes(), before)
        study.set_user_attr("said", "x" * 1000)
        self.assertEqual(self.lines(path)[-1]["user_attr"], {"said": "x" * 1000})

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("mount"), "needs a disk of its own")
    def test_full_disk(self):
        "A run folder on a disk that is full: one line; with more room the same command goes on, to the same trials."
        disk = self.folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True).returncode:
            self.skipTest("no disk can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(disk)])
        code, said = self.searched(disk / "run")
        self.assertEqual(code, 1, said)
        self.assertRegex(said, r"(?m)^csnas: error: the storage of the trials has no room, after \d+ s: [^\n]*full\n\Z")
        self.assertNotIn("Traceback", said)
        subprocess.run(["mount", "-o", "remount,size=40M", str(disk)], check=True)
        for run in (disk / "run", self.folder / "calm"): self.assertEqual(self.searched(run)[0], 0)
        stormy, calm = ([(t.value, t.user_attrs["digest"]) for t in load_result(run).trials]
                        for run in (disk / "run", self.folder / "calm"))
        self.assertEqual((stormy, len(stormy)), (calm, 12))

    def searched(self, run):
        "Exit code and words of a search with a patience of a second."
        program = ("import sys; from csnas_nb.support import storages; storages.STORAGE_WAIT = 1.0\n"
                   "from csnas_nb.__main__ import main; sys.exit(main())")
        options = "--data digits --limit 120 --passes 130 --epochs 1 --channels 2 --layers 2 --trials 12 --workers 1 --quiet"
        command = [sys.executable, "-c", program, "search", *options.split(), "--sampler", "random", "--run", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return done.returncode, done.stderr

    def test_origin_is_the_first_ones(self):
        "Whoever joins later keeps where the images lay for the first, and can only ask for more trials."
        study = optuna.create_study()
        invite(study, 10, {"source": "digits", "root": "/first"})
        for trials in (5, 20): invite(study, trials, {"source": "digits", "root": "/second"})
        joining = study.user_attrs["joining"]
        self.assertEqual((joining["origin"]["root"], joining["trials"]), ("/first", 20))


def shout(index): raise ValueError("x" * 1_000_000)


class TestWorkers(Quiet):
    def test_long_error(self):
        "An error longer than a pipe holds does not leave its worker hanging."
        with self.assertRaisesRegex(WorkerError, "^ValueError: x{1000,}$") as caught: run_workers(shout, count=1)
        self.assertLess(len(str(caught.exception)), 10_000)


if __name__ == "__main__":
    unittest.main()
