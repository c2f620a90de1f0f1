"""One Cassandra cluster: a directory, and the processes that run on it."""

import json
import os
import random
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from string import Template

import cql
from install import install, java, keytool

HERE = Path(__file__).resolve().parent
START_WITHIN_S = 180
STOP_WITHIN_S = 30
# Less than any file that has to hold data.
FULL_AT_BYTES = 4096
# Below the range from which systems take ports for outgoing connections.
PORTS = (20000, 32000)


class Failure(Exception):
    pass


def address(node):
    return f"127.0.0.{node}"


class Cluster:
    def __init__(self, directory, shape):
        self.directory = Path(directory).resolve()
        self.shape = shape
        self.nodes, self.port = shape["nodes"], shape["port"]

    @classmethod
    def open(cls, directory):
        try:
            return cls(directory, json.loads((Path(directory) / "cluster.json").read_text()))
        except OSError:
            raise Failure(f"there is no cluster in {directory}") from None

    @classmethod
    def open_or_make(cls, directory, **shape):
        """The cluster that is there, which must be of that shape, or a new and empty one."""
        directory = Path(directory)
        if (directory / "cluster.json").exists():
            there = cls.open(directory)
            if {**shape, "port": shape["port"] or there.port} != there.shape:
                raise Failure(f"{directory} holds a cluster of another shape: {there.shape}")
            return there
        shape["port"] = shape["port"] or free_port()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cluster.json").write_text(json.dumps(shape))
        return cls(directory, shape)

    def numbers(self):
        return range(1, self.nodes + 1)

    def contact_points(self):
        return ",".join(f"{address(node)}:{self.port}" for node in self.numbers())

    def home(self, node):
        return self.directory / f"node{node}"

    def log(self, node):
        return self.home(node) / "system.log"

    # ---- starting

    def start(self):
        """Starts the nodes that do not run; returns when each of them serves and sees all the others."""
        jars = install()
        begun = time.monotonic()
        started = {node: self._spawn(node, jars) for node in self.numbers() if not self.pid(node)}
        waiting = set(self.numbers())
        while waiting:
            for node in sorted(waiting):
                if node in started and started[node].poll() is not None:
                    raise Failure(f"node {node} ended while it started:\n{self._last_lines(node)}")
                if self.serves(node):
                    waiting.discard(node)
            if waiting and time.monotonic() - begun > START_WITHIN_S:
                node = min(waiting)
                raise Failure(f"node {node} does not serve after {START_WITHIN_S} s:\n{self._last_lines(node)}")
            if waiting:
                time.sleep(0.2)

    def _spawn(self, node, jars):
        home = self.home(node)
        home.mkdir(parents=True, exist_ok=True)
        if self.shape["tls"] and not (home / "node.p12").exists():
            self._certify(node)
        self._configure(node)
        options = [line.strip() for line in (HERE / "jvm.options").read_text().splitlines()]
        command = [java(), *(option for option in options if option and not option.startswith("#")),
                   f"-Dcassandra.config=file://{home}/cassandra.yaml", f"-Dcassandra.storagedir={home}",
                   f"-Dcassandra.jmx.local.port={self.port + 10 + node}",
                   f"-Dlogback.configurationFile={HERE / 'logback.xml'}",
                   "-cp", f"{jars}/*", "org.apache.cassandra.service.CassandraDaemon"]
        with open(self.log(node), "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home,
                                       start_new_session=True)
        (home / "pid").write_text(str(process.pid))
        return process

    def _configure(self, node):
        auth = self.shape["auth"]
        seeds = ",".join(f"{address(seed)}:{self.port + 1}" for seed in self.numbers())
        text = Template((HERE / "cassandra.yaml").read_text()).substitute(
            token=-2**63 + (node - 1) * (2**64 // self.nodes), seeds=json.dumps(seeds), address=address(node),
            port=self.port, storage_port=self.port + 1, home=self.home(node), paxos=self.shape["paxos"],
            authenticator="PasswordAuthenticator" if auth else "AllowAllAuthenticator",
            authorizer="CassandraAuthorizer" if auth else "AllowAllAuthorizer", tls=str(self.shape["tls"]).lower())
        (self.home(node) / "cassandra.yaml").write_text(text)

    def _certify(self, node):
        """A certificate authority for the cluster, and a certificate of it for the node's address."""
        ca, own = self.directory / "ca.p12", self.home(node) / "node.p12"
        key = ["-storetype", "PKCS12", "-storepass", "vulcan", "-keyalg", "EC", "-validity", "3650"]

        def tool(*arguments, **options):
            done = subprocess.run([keytool(), *map(str, arguments)], capture_output=True, **options)
            if done.returncode:
                raise Failure(f"keytool: {done.stdout.decode()}{done.stderr.decode()}")
            return done.stdout

        def opened(store):
            return ["-keystore", store, "-storepass", "vulcan"]

        if not ca.exists():
            tool("-genkeypair", "-keystore", ca, *key, "-alias", "ca", "-dname", "CN=Vulcan tests", "-ext", "bc:c=ca:true")
            (self.directory / "ca.pem").write_bytes(tool("-exportcert", "-rfc", *opened(ca), "-alias", "ca"))
        tool("-genkeypair", "-keystore", own, *key, "-alias", "node", "-dname", f"CN={address(node)}")
        request = tool("-certreq", *opened(own), "-alias", "node")
        signed = tool("-gencert", "-rfc", *opened(ca), "-alias", "ca", "-validity", 3650,
                      "-ext", f"san=ip:{address(node)}", input=request)
        tool("-importcert", *opened(own), "-alias", "ca", "-noprompt", "-file", self.directory / "ca.pem")
        tool("-importcert", *opened(own), "-alias", "node", input=signed)

    # ---- running

    def connect(self, node, timeout_s):
        context = ssl.create_default_context(cafile=self.directory / "ca.pem") if self.shape["tls"] else None
        return cql.Session(address(node), self.port, self.shape["auth"], context, timeout_s)

    def serves(self, node):
        """Whether it answers, knows its peers, and reads from all of them: all are up in its eyes."""
        try:
            with self.connect(node, timeout_s=5) as session:
                if len(session.query("SELECT host_id FROM system.peers_v2")) != self.nodes - 1:
                    return False
                if self.nodes >= 3:
                    # Three replicas.
                    session.query("SELECT * FROM system_distributed.parent_repair_history LIMIT 1", "ALL")
                return True
        except (OSError, cql.Error):
            return False

    def pid(self, node):
        """The process, if it still is this node's: numbers are used again."""
        try:
            pid = int((self.home(node) / "pid").read_text())
            is_ours = str(self.home(node)).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
            return pid if is_ours else None
        except (OSError, ValueError):
            return None

    def status(self):
        for node in self.numbers():
            pid = self.pid(node)
            state = process_state(pid) if pid else None
            if state in (None, "Z"):
                word = "down"
            elif state == "T":
                word = "frozen"
            else:
                word = "serves" if self.serves(node) else "does not see all nodes"
            yield f"{address(node)}:{self.port} {word}"

    # ---- stopping

    def signal(self, node, which):
        pid = self.pid(node)
        if not pid:
            raise Failure(f"node {node} does not run")
        os.kill(pid, which)
        if which == signal.SIGKILL:
            wait_for_end([pid])

    def fill(self, node):
        """No file of the node can grow any more, as on a disk that is full, until it is started again."""
        pid = self.pid(node)
        if not pid:
            raise Failure(f"node {node} does not run")
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_AT_BYTES, hard))

    def stop(self, nodes):
        pids = [pid for pid in map(self.pid, nodes) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            # One that was frozen could not act on it.
            os.kill(pid, signal.SIGCONT)
        wait_for_end(pids)

    def _last_lines(self, node):
        return "\n".join(self.log(node).read_text(errors="replace").splitlines()[-20:])


def process_state(pid):
    """The letter that the system gives its state (T stopped, Z ended and not waited for), or None."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def wait_for_end(pids):
    give_up = time.monotonic() + STOP_WITHIN_S
    for pid in pids:
        while process_state(pid) not in (None, "Z"):
            if time.monotonic() > give_up:
                print(f"cassandra: process {pid} does not end; killed", file=sys.stderr)
                os.kill(pid, signal.SIGKILL)
                give_up += 5
            time.sleep(0.05)


def free_port():
    """One where all ports of a cluster of three are free at this moment."""
    for _ in range(100):
        port = random.randrange(*PORTS)
        if all(is_free(address(node), port + offset) for node in (1, 2, 3) for offset in (0, 1, 11, 12, 13)):
            return port
    raise Failure("no free ports were found")


def is_free(host, port):
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
            return True
        except OSError:
            return False
