"""Tests of deploy/: nothing is built, started or sent anywhere."""
from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

try: import yaml
except ImportError: yaml = None
try: import kubernetes_validate
except ImportError: kubernetes_validate = None

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = "1.31", "1.37"                                       # of the schema: Kubernetes from 1.31 on
SECRET = "csnas-database"
OURS = "csnas-nb"                                               # the image, whose entrypoint is csnas
BATCHES = sorted((DEPLOY / "slurm").glob("*.sbatch"))
MANIFESTS = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
OPTIONS = {"account", "array", "constraint", "cpus-per-task", "dependency", "error", "exclusive", "export", "gpus",
           "gpus-per-task", "gres", "job-name", "mem", "mem-per-cpu", "nodes", "ntasks", "open-mode", "output",
           "partition", "qos", "requeue", "signal", "time"}     # of sbatch: those that these files may need
URL = "postgresql://user:word@host:5432/database"
needs_yaml = unittest.skipIf(yaml is None, "PyYAML is not installed")
needs_schema = unittest.skipIf(kubernetes_validate is None, "kubernetes-validate is not installed")


def documents(path: Path) -> list[dict]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def everything() -> list[tuple[str, dict]]:
    "Every object with its file's name."
    return [(path.name, found) for path in MANIFESTS for found in documents(path)]


def validate(found: dict) -> None:
    for version in VERSIONS: kubernetes_validate.validate(found, version, strict=True)


def pod_template(found: dict) -> dict | None:
    "Labels and specification of the pods an object makes."
    if found["kind"] == "Pod": return found
    return found["spec"].get("template")


def containers(spec: dict) -> list[dict]:
    return spec.get("initContainers", []) + spec["containers"]


def is_ours(container: dict) -> bool:
    return container["image"].rpartition(":")[0] == OURS


def settled(container: dict) -> dict[str, str]:
    "The environment as Kubernetes fills it in: a $(NAME) is expanded where NAME stands before it."
    known: dict[str, str] = {}
    for entry in container.get("env", []):
        source = entry.get("valueFrom", {})
        if "secretKeyRef" in source: value = "0123abcd"
        elif "resourceFieldRef" in source: value = container["resources"]["limits"]["cpu"]
        else: value = expand(entry["value"], known)
        known[entry["name"]] = value
    return known


def expand(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], found[0]), text)


def fenced(path: Path) -> str:
    "The commands of a Markdown file, one a line."
    blocks = re.findall(r"^```bash\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    return re.sub(r"\\\n\s*", " ", "".join(blocks))


class TestManifests(unittest.TestCase):
    @needs_schema
    @needs_yaml
    def test_schema(self):
        self.assertGreaterEqual(len(MANIFESTS), 6)
        for name, found in everything():
            with self.subTest(name, kind=found["kind"]): validate(found)

    @needs_schema
    @needs_yaml
    def test_mistakes_are_refused(self):
        jobs = [found for _, found in everything() if found["kind"] == "Job"]
        self.assertEqual(len(jobs), 2)
        for change in (lambda job: job["spec"].update(paralelism=2), lambda job: job["spec"].update(backoffLimit="six"),
                       lambda job: job["spec"]["template"]["spec"]["containers"][0].update(image=["a"]),
                       lambda job: job["spec"].pop("template"),
                       lambda job: job["spec"]["podFailurePolicy"]["rules"][0].pop("action")):
            broken = copy.deepcopy(jobs[0])
            change(broken)
            with self.assertRaises(kubernetes_validate.ValidationError): validate(broken)

    @needs_yaml
    def test_kustomization(self):
        text = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
        found = yaml.safe_load(text)
        self.assertEqual(set(found), {"apiVersion", "kind", "namespace", "resources", "images"})
        for name in found["resources"]: self.assertTrue((KUBERNETES / name).is_file(), name)
        left_out = {path.name for path in MANIFESTS} - set(found["resources"])
        self.assertEqual(left_out, {"proxy.yaml", "results.yaml"})
        self.assertIn("# - proxy.yaml", text)
        self.assertEqual([image["name"] for image in found["images"]], [OURS])
        self.assertTrue(found["images"][0]["newTag"])

    @needs_schema
    @needs_yaml
    @unittest.skipIf(shutil.which("kubectl") is None, "kubectl is not installed")
    def test_rendered(self):
        made = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, timeout=15)
        self.assertEqual(made.returncode, 0, made.stderr)
        found = list(yaml.safe_load_all(made.stdout))
        for each in found:
            validate(each)
            self.assertEqual(each["metadata"]["namespace"], "csnas")
        self.assertIn("registry.example.org/csnas-nb:", made.stdout)
        self.assertNotIn(f"image: {OURS}:", made.stdout)

    @needs_yaml
    def test_selectors(self):
        pods = [(found, template) for _, found in everything() if (template := pod_template(found))]
        for found, template in pods:
            wanted = found["spec"].get("selector", {}).get("matchLabels", {})
            self.assertLessEqual(wanted.items(), template["metadata"]["labels"].items())
            self.assertEqual(template["metadata"]["labels"]["app.kubernetes.io/part-of"], "csnas")
        services = {found["metadata"]["name"]: found["spec"] for _, found in everything() if found["kind"] == "Service"}
        self.assertEqual(set(services), {"csnas-postgres", "csnas-proxy", "csnas-dashboard"})
        for name, spec in services.items():
            with self.subTest(name):
                behind = [template for _, template in pods
                          if spec["selector"].items() <= template["metadata"]["labels"].items()]
                self.assertEqual(len(behind), 1)
                named = {port["name"]: port["containerPort"] for each in containers(behind[0]["spec"])
                         for port in each.get("ports", [])}
                for port in spec["ports"]: self.assertEqual(named[port["targetPort"]], port["port"])
                self.assertEqual(spec.get("type", "ClusterIP"), "ClusterIP")
        names = {template["metadata"]["labels"]["app.kubernetes.io/name"] for _, template in pods}
        rule, = (found for _, found in everything() if found["kind"] == "NetworkPolicy")
        self.assertLessEqual(set(rule["spec"]["podSelector"]["matchExpressions"][0]["values"]), names)
        stateful, = (found for _, found in everything() if found["kind"] == "StatefulSet")
        self.assertIn(stateful["spec"]["serviceName"], services)

    @needs_yaml
    def test_hosts(self):
        "A name inside the cluster is a Service, and its port is the Service's."
        ports = {found["metadata"]["name"]: found["spec"]["ports"][0]["port"] for _, found in everything()
                 if found["kind"] == "Service"}
        text = "\n".join(path.read_text(encoding="utf-8") for path in MANIFESTS)
        addresses = re.findall(r"(?:@|grpc://)(csnas-[\w-]+):(\d+)", text)
        addresses += re.findall(r"-h (csnas-[\w-]+) -p (\d+)", text)
        self.assertGreater(len(addresses), 5)
        for host, port in addresses: self.assertEqual(ports[host], int(port))

    @needs_yaml
    def test_restricted(self):
        "What Kubernetes' restricted Pod Security Standard asks for, and resources."
        for name, found in everything():
            template = pod_template(found)
            if not template: continue
            spec = template["spec"]
            with self.subTest(name):
                around = spec["securityContext"]
                self.assertTrue(around["runAsNonRoot"])
                self.assertGreater(around["runAsUser"], 0)
                self.assertEqual(around["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertFalse(spec["automountServiceAccountToken"])
                self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & spec.keys())
                for volume in spec.get("volumes", []):
                    self.assertTrue({"emptyDir", "persistentVolumeClaim"} & volume.keys())
                for each in containers(spec):
                    inner = each["securityContext"]
                    self.assertIs(inner["allowPrivilegeEscalation"], False)
                    self.assertIs(inner["readOnlyRootFilesystem"], True)
                    self.assertEqual(inner["capabilities"], {"drop": ["ALL"]})
                    self.assertEqual(set(each["resources"]), {"requests", "limits"})
                    for given in each["resources"].values(): self.assertEqual(set(given), {"cpu", "memory"})

    @needs_yaml
    def test_volumes(self):
        claims = {found["metadata"]["name"] for _, found in everything() if found["kind"] == "PersistentVolumeClaim"}
        for name, found in everything():
            template = pod_template(found)
            if not template: continue
            there = {volume["name"] for volume in template["spec"].get("volumes", [])}
            there |= {claim["metadata"]["name"] for claim in found["spec"].get("volumeClaimTemplates", [])}
            mounted = {mount["name"] for each in containers(template["spec"]) for mount in each.get("volumeMounts", [])}
            self.assertEqual(mounted, there, name)
            for volume in template["spec"].get("volumes", []):
                if claim := volume.get("persistentVolumeClaim"): self.assertIn(claim["claimName"], claims)

    @needs_yaml
    def test_environment(self):
        "Threads are the CPU limit, rounded up, and every $(NAME) is defined before it is used."
        for name, found in everything():
            for each in containers(template["spec"]) if (template := pod_template(found)) else ():
                if not is_ours(each): continue
                with self.subTest(name):
                    known = settled(each)
                    self.assertEqual(known["OMP_NUM_THREADS"], each["resources"]["limits"]["cpu"])
                    for text in [*known.values(), *each.get("args", [])]: self.assertNotIn("$(", expand(text, known))
                    storage = known.get("CSNAS_STORAGE") or known["DASHBOARD_STORAGE"]
                    self.assertRegex(storage, r"^postgresql(\+psycopg)?://csnas:0123abcd@csnas-postgres:5432/csnas$")

    @needs_yaml
    def test_jobs(self):
        for name, found in everything():
            if found["kind"] != "Job": continue
            spec, pod = found["spec"], found["spec"]["template"]["spec"]
            with self.subTest(name):
                self.assertEqual(pod["restartPolicy"], "Never")
                self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], 60)
                disrupted, refused = spec["podFailurePolicy"]["rules"]
                condition = {"type": "DisruptionTarget", "status": "True"}      # status: asked for before 1.35
                self.assertEqual(disrupted, {"action": "Ignore", "onPodConditions": [condition]})
                self.assertEqual(refused["onExitCodes"]["containerName"], pod["containers"][0]["name"])
                if "completionMode" in spec: self.assertEqual(spec["completions"], spec["parallelism"])
        studies = {args[args.index("--study") + 1] for file, args in commands() if file.endswith((".yaml"))
                   and "--study" in args}
        self.assertEqual(len(studies), 1)

    @needs_yaml
    def test_commented_variants(self):
        "What is commented out is valid, too, where it is put in."
        for name in ("search.yaml", "workers.yaml"):
            text = (KUBERNETES / name).read_text(encoding="utf-8")
            volume = r"^( *)# (?=- name: images|  persistentVolumeClaim|- \{name: images)"
            text = re.sub(volume, r"\1", text, flags=re.M)
            text = re.sub(r"^ *limits: .*\n(?= *# with a GPU)", "", text, flags=re.M)
            text = re.sub(r"^( *)# (?=limits:)", r"\1", text, flags=re.M)
            job = [found for found in yaml.safe_load_all(text) if found["kind"] == "Job"][0]
            spec = job["spec"]["template"]["spec"]
            with self.subTest(name):
                self.assertEqual(spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], 1)
                self.assertIn("images", [volume["name"] for volume in spec["volumes"]])
                self.assertTrue([mount for mount in spec["containers"][0]["volumeMounts"]
                                 if mount["name"] == "images" and mount["readOnly"]])
                if kubernetes_validate: validate(job)


class TestSecrets(unittest.TestCase):
    def test_no_password(self):
        for path in sorted(path for path in DEPLOY.rglob("*") if path.is_file()):
            text = path.read_text(encoding="utf-8")
            with self.subTest(path.name): self.assertEqual(passwords(text), [])

    def test_passwords_are_seen(self):
        for text in ("postgresql://csnas:hunter2@host/db", "POSTGRES_PASSWORD: hunter2", "ENV PGPASSWORD=hunter2",
                     "- {name: POSTGRES_PASSWORD, value: hunter2}", "--from-literal=POSTGRES_PASSWORD=hunter2",
                     "- name: POSTGRES_PASSWORD\n  value: hunter2"):
            self.assertEqual(len(passwords(text)), 1, text)

    @needs_yaml
    def test_secret_keys(self):
        "Every key that a pod asks for is made by the command of the README, and by that in postgres.yaml."
        used = {(ref["name"], ref["key"]) for _, found in everything() if (template := pod_template(found))
                for each in containers(template["spec"]) for entry in each.get("env", [])
                if (ref := entry.get("valueFrom", {}).get("secretKeyRef"))}
        self.assertEqual({name for name, _ in used}, {SECRET})
        comment = re.sub(r"\\\n# *", " ", (KUBERNETES / "postgres.yaml").read_text(encoding="utf-8"))
        for text in (fenced(DEPLOY / "README.md"), comment):
            command, = re.findall(rf"kubectl create secret generic {SECRET} .*", text)
            self.assertEqual({key for _, key in used}, set(re.findall(r"--from-file=(\w+)=", command)))
        self.assertNotIn("Secret", [found["kind"] for _, found in everything()])

    @needs_yaml
    def test_images(self):
        for name, found in everything():
            for each in containers(template["spec"]) if (template := pod_template(found)) else ():
                self.assertRegex(each["image"], r"(:\d[\w.-]*|@sha256:[0-9a-f]{64})$", name)
        bases = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.M)
        self.assertTrue(bases)
        for base in bases: self.assertRegex(base, r"(:\d[\w.-]*|@sha256:[0-9a-f]{64})$")

    def test_dockerfile(self):
        text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
        user, = re.findall(r"^USER (\d+):\d+$", text, re.M)
        self.assertGreater(int(user), 0)
        self.assertRegex(text, r'(?m)^ENTRYPOINT \[.*"csnas"\]$')
        self.assertEqual(text.count("[postgresql,grpc]"), 2)
        for name in MANIFESTS:
            for found in re.findall(r"runAsUser: (\d+)", name.read_text(encoding="utf-8")):
                self.assertIn(found, (user, "999"))                             # 999: postgres


def passwords(text: str) -> list[str]:
    "What looks like a password written out."
    shown = r"(?!\$|USER\b|PASSWORD\b|/dev/stdin)[^\s,}\"']"
    patterns = (rf"://[^\s:/@]+:{shown}+@", rf"(?i)password:[ ]+{shown}+", rf"(?i)password\s*=\s*{shown}+",
                rf"(?i)name: *\w*password *, *value: *{shown}+", rf"(?i)name: *\w*password[^\n]*\n *value: *{shown}+")
    return [found for pattern in patterns for found in re.findall(pattern, text)]


STAND_IN = """#!{python}
import os, signal, sys, time
name, args = os.path.basename(sys.argv[0]), sys.argv[1:]
if name == "srun": os.execvp("csnas", args[args.index("csnas"):])
def end(*_):
    os.write(1, b"TERM\\n")                            # print may be at work already
    os._exit(7)
signal.signal(signal.SIGTERM, end)
print(os.environ["CSNAS_STORAGE"], os.environ["OMP_NUM_THREADS"], *args, sep="\\n", flush=True)
if "WAIT" in os.environ: time.sleep(10)
"""


class Batch:
    "A place to run batch scripts in, with stand-ins for srun and csnas."

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp())
        for name in ("srun", "csnas"):
            path = self.folder / name
            path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
            path.chmod(0o755)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, script: Path, **more: str) -> subprocess.Popen:
        environment = {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder),
                       "SLURM_CPUS_PER_TASK": "3"} | more
        return subprocess.Popen(["bash", str(script)], env=environment, cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, script: Path, **more: str) -> tuple[int, list[str], str]:
        with self.start(script, **more) as process:
            said, wrong = process.communicate(timeout=15)
        return process.returncode, said.splitlines(), wrong


def commands() -> list[tuple[str, list[str]]]:
    "The file and the arguments of every csnas command line in deploy/."
    found = []
    for name, each in everything() if yaml else ():
        template = pod_template(each)
        for container in containers(template["spec"]) if template else ():
            if is_ours(container) and "command" not in container:
                found.append((name, [expand(text, settled(container)) for text in container["args"]]))
    with Batch() as batch:
        for script in BATCHES:
            for more in ({}, {"SLURM_ARRAY_TASK_ID": "3", "DATA": "/images"}):
                _, said, _ = batch.run(script, CSNAS_STORAGE=URL, **more)
                found.append((script.name, said[2:]))
    for line in fenced(DEPLOY / "README.md").splitlines():
        if line.startswith("csnas "): found.append(("README.md", shlex.split(line)[1:]))
    return found


class TestCommands(unittest.TestCase):
    def test_found(self):
        self.assertGreaterEqual({args[0] for _, args in commands()}, {"search", "worker"})
        if yaml: self.assertIn("proxy", {args[0] for _, args in commands()})

    def test_options(self):
        from csnas_nb.__main__ import VERBS
        missing = sorted({"worker", "proxy"} - VERBS.keys())
        if missing: self.skipTest(f"csnas has no verb {' and no '.join(missing)} yet")
        for name, args in commands():
            with self.subTest(name, args=" ".join(args)): parsed(args)
        for args in (["worker", "--study", "a", "--nonsense", "1"], ["search", "--trials", "many"],
                     ["proxy", URL, "--port", "none"]):
            with self.subTest(" ".join(args)), self.assertRaises(Exception) as caught: parsed(args)
            self.assertTrue(hasattr(caught.exception, "format_message"), repr(caught.exception))


def parsed(args: list[str]) -> dict:
    "The parameters that the command reads from arguments, without running it; raises what it raises."
    import typer
    from csnas_nb.__main__ import make_app
    with mock.patch.dict(os.environ, {"CSNAS_STORAGE": URL}):
        group = typer.main.get_command(make_app(args[0]))
        around = group.make_context("csnas", list(args), resilient_parsing=False)
        command = group.get_command(around, args[0])
        assert command is not None, args[0]
        return command.make_context(args[0], list(args[1:]), parent=around).params


@unittest.skipIf(shutil.which("bash") is None or os.name == "nt", "no bash")
class TestBatches(unittest.TestCase):
    def setUp(self):
        self.assertEqual([path.name for path in BATCHES], ["search.sbatch", "shared_folder.sbatch", "workers.sbatch"])

    def test_syntax(self):
        for script in BATCHES:
            made = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
            self.assertEqual((made.returncode, made.stderr), (0, ""), script.name)

    def test_directives(self):
        for script in BATCHES:
            lines = script.read_text(encoding="utf-8").splitlines()
            given = {}
            for number, line in enumerate(lines):
                found = re.fullmatch(r"(#{1,2})SBATCH --([a-z-]+)(?:=(\S+))?", line)
                if not found:
                    self.assertNotIn("#SBATCH", line)
                    continue
                self.assertIn(found[2], OPTIONS, script.name)
                self.assertTrue(all(above.startswith("#") for above in lines[:number]))   # else Slurm reads no further
                if found[1] == "#": given[found[2]] = found[3]
            self.assertEqual((given["signal"], given["ntasks"], given["requeue"]), ("TERM@60", "1", None))
            self.assertEqual("array" in given, script.name != "search.sbatch")
            self.assertEqual(lines[0], "#!/bin/bash")

    def test_arguments(self):
        with Batch() as batch:
            for script in BATCHES:
                code, said, wrong = batch.run(script, CSNAS_STORAGE=URL, STUDY="a study", SLURM_ARRAY_TASK_ID="3")
                self.assertEqual((code, wrong), (0, ""), script.name)
                self.assertEqual(said[1], "3")
                self.assertEqual(said[said.index("--study") + 1], "a study")
                shared = f"journal:///{batch.folder}/csnas-shared/study.log"
                self.assertEqual(said[0], shared if script.name == "shared_folder.sbatch" else URL)
                self.assertNotIn(URL, said[1:])
            _, said, _ = batch.run(DEPLOY / "slurm" / "shared_folder.sbatch", SLURM_ARRAY_TASK_ID="0")
            self.assertEqual(said[2], "search")

    def test_storage_file(self):
        with Batch() as batch:
            script, file = DEPLOY / "slurm" / "workers.sbatch", batch.folder / ".config" / "csnas" / "storage"
            code, said, wrong = batch.run(script)
            self.assertEqual((code, said), (2, []))
            self.assertIn("no file", wrong)
            file.parent.mkdir(parents=True)
            file.write_text(f"{URL}\n", encoding="utf-8")
            file.chmod(0o644)
            code, said, wrong = batch.run(script)
            self.assertEqual((code, said), (2, []))
            self.assertIn("chmod 600", wrong)
            file.chmod(0o600)
            code, said, wrong = batch.run(script)
            self.assertEqual((code, said[0], wrong), (0, URL, ""))

    def test_signal(self):
        "A signal to the script is one to csnas, and its exit code is the script's."
        for script in BATCHES:
            with self.subTest(script.name), Batch() as batch:
                with batch.start(script, CSNAS_STORAGE=URL, WAIT="1") as process:
                    process.stdout.readline()                                   # it is csnas by now
                    started = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                    said, _ = process.communicate(timeout=15)
                self.assertEqual((process.returncode, said.splitlines()[-1]), (7, "TERM"))
                self.assertLess(time.monotonic() - started, 5)


if __name__ == "__main__": unittest.main()
