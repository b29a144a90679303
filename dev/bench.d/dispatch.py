"""How fast work reaches a builder and goes through: Grange and Buildbot, side by side on this machine.

Every farm has two slots and runs the same no-op command, which writes the time it began to a file. Grange with the dummy
engine starts that command where it would start a container; the lines with real containers say what a container adds.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target/release"
SLOTS = 2


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="few repetitions: to see that it works")
    quick = arguments.parse_args().quick
    sizes = {"latencies": 10 if quick else 60, "jobs": 50 if quick else 500, "queued": 2_000 if quick else 25_000}

    rows = {}
    postgres, amqp = os.environ["GRANGE_TEST_POSTGRES"], os.environ["GRANGE_TEST_AMQP"]
    with tempfile.TemporaryDirectory(prefix="grange-bench-") as folder:
        folder = pathlib.Path(folder)
        srpm = make_srpm(folder)
        plans = [
            ("buildbot sqlite", lambda: buildbot(folder / "b1", "sqlite:///state.sqlite")),
            ("buildbot postgresql", lambda: with_database(postgres, lambda url: buildbot(folder / "b2", url))),
            ("grange embedded", lambda: grange(folder / "g1", srpm)),
            ("grange postgresql+rabbitmq", lambda: with_database(
                postgres, lambda url: grange(folder / "g2", srpm, ledger=url, amqp=amqp))),
        ]
        for name, start in plans:
            print(f"bench: {name}", file=sys.stderr)
            with start() as farm:
                rows[name] = measure(farm, sizes)
        print("bench: grange with real containers", file=sys.stderr)
        with grange(folder / "g3", srpm, engine=os.environ["GRANGE_TEST_DOCKER"],
                    image=os.environ["GRANGE_TEST_IMAGE"]) as farm:
            real = measure_containers(farm, srpm, 3 if quick else 7)
        print("bench: restart with a long queue", file=sys.stderr)
        with grange(folder / "g4", srpm, queued=sizes["queued"]) as farm:
            restart = farm.first_start() - farm.began

    report(rows, real, restart, sizes)
    out = ROOT / "var/bench/dispatch.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"farms": rows, "containers": real, "restart_s": restart, "sizes": sizes}, indent=1))


# ---- what is measured -------------------------------------------------------------------------------------------

def measure(farm, sizes):
    time.sleep(2)
    row = {"rss_idle_mb": farm.rss_mb()}
    waits = []
    for _ in range(sizes["latencies"]):
        before = len(farm.starts())
        asked = time.time()
        farm.submit()
        waits.append((farm.wait_for_starts(before + 1)[before] - asked) * 1000)
        farm.wait_until_idle()
    row["p50_ms"], row["p95_ms"] = statistics.median(waits), percentile(waits, 95)

    cpu, began = farm.cpu_s(), time.time()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(farm.submit) for _ in range(sizes["jobs"])]:
            done.result()
    farm.wait_until_idle()
    took = time.time() - began
    row["jobs_per_s"] = sizes["jobs"] / took
    row["cpu_ms_per_job"] = (farm.cpu_s() - cpu) * 1000 / sizes["jobs"]
    row["rss_after_mb"] = farm.rss_mb()
    assert len(farm.starts()) == sizes["latencies"] + sizes["jobs"], "a job ran not at all, or twice"
    return row


def measure_containers(farm, srpm, times):
    """A trivial scratch build from the command line to its end, against rpmbuild alone in a container of the same image."""
    bare, whole, lags = [], [], []
    for _ in range(times):
        began = time.time()
        command = ["docker", "run", "--rm", "--network", "none", "-v", f"{srpm}:/in/{srpm.name}:ro", "--user", "1000",
                   "--env", "HOME=/builddir", "--tmpfs", "/builddir:exec,uid=1000,gid=1000", farm.image,
                   "rpmbuild", "--rebuild", f"/in/{srpm.name}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        bare.append(time.time() - began)
        began = time.time()
        build = farm.submit()
        farm.wait_until_idle()
        whole.append(time.time() - began)
        state = farm.call("GET", f"/api/v1/builds/{build}")["status"]
        assert state == "complete", f"the scratch build is {state}"
    lags = log_lags(farm, make_srpm(srpm.parent / "chatty", CHATTY))
    return {"bare_s": statistics.median(bare), "scratch_s": statistics.median(whole),
            "log_lag_p50_ms": statistics.median(lags), "log_lag_p95_ms": percentile(lags, 95)}


def log_lags(farm, srpm):
    """Milliseconds between a line in the build and its arrival at somebody who follows the log."""
    build = farm.submit(srpm)
    job = None
    while job is None:
        jobs = farm.call("GET", f"/api/v1/builds/{build}")["jobs"]
        job = next((job["id"] for job in jobs if any(log["name"] == "build.log" for log in job["logs"])), None)
        time.sleep(0.02)
    lags = []
    connection = http.client.HTTPConnection(farm.host, farm.port, timeout=60)
    connection.request("GET", f"/api/v1/jobs/{job}/logs/build.log/events")
    answer = connection.getresponse()
    for line in answer:
        arrived = time.time()
        text = line.decode().strip()
        if text.startswith("event: end"):
            break
        if text.startswith("data: tick "):
            lags.append((arrived - int(text.split()[2]) / 1e9) * 1000)
    # Lines that were there before the follower came tell nothing about its lag.
    return [lag for lag in lags[5:]]


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def report(rows, real, restart, sizes):
    columns = [("p50_ms", "dispatch p50 ms"), ("p95_ms", "p95 ms"), ("jobs_per_s", "no-op jobs/s"),
               ("cpu_ms_per_job", "CPU ms/job"), ("rss_idle_mb", "idle MB"), ("rss_after_mb", f"MB after {sizes['jobs']}")]
    print(f"{'':28}" + "".join(f"{title:>17}" for _, title in columns))
    for name, row in rows.items():
        print(f"{name:28}" + "".join(f"{row[key]:17.1f}" for key, _ in columns))
    for ours, theirs in [("grange embedded", "buildbot sqlite"), ("grange postgresql+rabbitmq", "buildbot postgresql")]:
        mine, other = rows[ours], rows[theirs]
        ratios = []
        for key, _ in columns:
            ratio = mine[key] / other[key] if key == "jobs_per_s" else other[key] / mine[key]
            ratios.append(f"{ratio:16.1f}x")
        print(f"{'better than ' + theirs:28}" + "".join(ratios))
    print(f"a trivial scratch build, real containers: {real['scratch_s']:.2f} s; rpmbuild alone in a container: "
          f"{real['bare_s']:.2f} s; ratio {real['scratch_s'] / real['bare_s']:.2f}")
    print(f"live log lag: p50 {real['log_lag_p50_ms']:.0f} ms, p95 {real['log_lag_p95_ms']:.0f} ms")
    print(f"{sizes['queued']} queued jobs: start of the farm to the first dispatch {restart:.2f} s")


# ---- the farms --------------------------------------------------------------------------------------------------

class Farm:
    """A server process of either kind."""

    def __init__(self, process, port, started):
        self.process, self.host, self.port, self.started = process, "127.0.0.1", port, started
        self.local = threading.local()

    def call(self, method, path, body=None, headers=None):
        """One HTTP call, over a connection that each thread keeps."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            # One that broke in the middle of a call cannot be used again.
            self.local.connection = None
            raise
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:300]!r}"
        return json.loads(text) if text else None

    def starts(self):
        """When each job's command began, in seconds, in order."""
        text = self.started.read_text() if self.started.exists() else ""
        return [int(line) / 1e9 for line in text.split("\n")[:-1]]

    def wait_for_starts(self, count):
        deadline = time.time() + 120
        while time.time() < deadline:
            starts = self.starts()
            if len(starts) >= count:
                return starts
            time.sleep(0.002)
        sys.exit("bench: a job did not start within two minutes")

    def wait_until_idle(self):
        while not self.idle():
            time.sleep(0.01)

    def pids(self):
        """The server's process and everything it started that is still there."""
        found, parents = {self.process.pid}, {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                return found
            found |= more

    def rss_mb(self):
        pages = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                pages += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_s(self):
        """Of the server and of every command it has waited for."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(fields[index]) for index in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Buildbot(Farm):
    def submit(self):
        call = {"id": 1, "jsonrpc": "2.0", "method": "force", "params": {"builderNames": ["noop"]}}
        answer = self.call("POST", "/api/v2/forceschedulers/force", json.dumps(call), {"content-type": "application/json"})
        assert "result" in answer, answer

    def idle(self):
        return self.call("GET", "/api/v2/buildrequests?complete=0&limit=1")["meta"]["total"] == 0


class Grange(Farm):
    def submit(self, srpm=None):
        srpm = srpm or self.srpm
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/octet-stream"}
        path = f"/api/v1/builds/srpm?target={self.target}&name={srpm.name}"
        return self.call("POST", path, srpm.read_bytes(), headers)["id"]

    def idle(self):
        return not self.call("GET", "/api/v1/builds?state=open&limit=1")["items"]

    def first_start(self):
        return self.wait_for_starts(1)[0]


@contextlib.contextmanager
def buildbot(folder, database):
    shutil.copytree(ROOT / "dev/bench.d/buildbot", folder)
    port, started = free_port(), folder / "started"
    tools = pathlib.Path(sys.executable).parent
    environment = os.environ | {"BENCH_DB": database.replace("postgres://", "postgresql+psycopg2://"), "BENCH_PORT": str(port),
                                "BENCH_COMMAND": command_of(started), "PATH": f"{tools}:{os.environ['PATH']}"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([tools / "buildbot", "upgrade-master", "-q", folder], env=environment, check=True, **quiet)
    arguments = [tools / "twistd", "--nodaemon", "--no_save", "--pidfile=", "-y", "buildbot.tac"]
    farm = Buildbot(subprocess.Popen(arguments, cwd=folder, env=environment, **quiet), port, started)
    try:
        # A worker that is not attached yet would count as waiting time.
        wait_for(lambda: any(w["connected_to"] for w in farm.call("GET", "/api/v2/workers")["workers"]))
        yield farm
    finally:
        farm.stop()


@contextlib.contextmanager
def grange(folder, srpm, ledger=None, amqp=None, engine="dummy", image="dummy", queued=0):
    folder.mkdir()
    port, started = free_port(), folder / "started"
    arguments = [RELEASE / "bench-farm", "--data", folder / "data", "--port", str(port), "--slots", str(SLOTS),
                 "--engine", engine, "--image", image, "--command", command_of(started)]
    arguments += ["--ledger", ledger] if ledger else []
    arguments += ["--amqp", amqp] if amqp else []
    if queued:
        subprocess.run([*arguments, "--fill", str(queued)], check=True)
    log = (folder / "log").open("w")
    began = time.time()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True)
    farm = Grange(process, port, started)
    try:
        first = process.stdout.readline()
        if not first:
            sys.exit(f"bench: the farm did not start: {(folder / 'log').read_text()[-2000:]}")
        said = json.loads(first)
        farm.token, farm.target, farm.srpm, farm.image, farm.began = said["token"], said["target"], srpm, image, began
        yield farm
    finally:
        farm.stop()


def command_of(started):
    return f"date +%s%N >> {started}"


# ---- small tools ------------------------------------------------------------------------------------------------

TRIVIAL = """Name: trivial
Version: 1
Release: 1
Summary: Nothing to build
License: MIT
BuildArch: noarch
%description
A package that takes no time of its own.
%prep
%build
%install
mkdir -p %{buildroot}/usr/share/trivial
echo nothing > %{buildroot}/usr/share/trivial/file
%files
/usr/share/trivial
"""
CHATTY = TRIVIAL.replace("Name: trivial", "Name: chatty").replace(
    "%build\n", "%build\nfor n in $(seq 60); do echo tick $(date +%s%N) >&2; sleep 0.1; done\n")


def make_srpm(folder, spec=TRIVIAL):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "package.spec"
    path.write_text(spec)
    subprocess.run(["rpmbuild", "-bs", "--define", f"_topdir {folder}/rpmbuild", path], check=True, stdout=subprocess.DEVNULL)
    return next((folder / "rpmbuild/SRPMS").glob("*.src.rpm"))


@contextlib.contextmanager
def with_database(server, start):
    name = f"grange_bench_{uuid.uuid4().hex[:12]}"
    subprocess.run(["psql", "-q", server, "-c", f"create database {name}"], check=True)
    try:
        with start(f"{server.rsplit('/', 1)[0]}/{name}") as farm:
            yield farm
    finally:
        subprocess.run(["psql", "-q", server, "-c", f"drop database {name} with (force)"], check=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, seconds=60):
    deadline = time.time() + seconds
    while time.time() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        time.sleep(0.1)
    sys.exit("bench: a farm did not start in time")


if __name__ == "__main__":
    main()
