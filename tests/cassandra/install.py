"""Finds, or installs, what a Cassandra needs: Java 17, Maven, and the jars that pom.xml names."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = {"java": "openjdk-17-jre-headless", "mvn": "maven"}


class Missing(Exception):
    pass


def cache():
    named = os.environ.get("VULCAN_CASSANDRA_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "vulcan-cassandra"


def java():
    """A Java 17: JAVA_HOME's, else the system's, else the one on the path. Installed when there is none."""
    return _find_java() or _install("java", _find_java)


def keytool():
    return str(Path(java()).resolve().parent / "keytool")


def install():
    """The directory with the jars. Its name is the hash of pom.xml, and it appears whole or not at all."""
    java()
    pom = HERE / "pom.xml"
    jars = cache() / hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    if not jars.is_dir():
        maven = shutil.which("mvn") or _install("mvn", lambda: shutil.which("mvn"))
        staging = cache() / f"staging-{os.getpid()}"
        command = [maven, "-q", "-B", "-Dstyle.color=never", "-f", str(pom), "dependency:copy-dependencies",
                   f"-DoutputDirectory={staging}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        try:
            staging.rename(jars)
        except OSError:
            # Another process was faster.
            shutil.rmtree(staging)
    return jars


def _find_java():
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += sorted(Path("/usr/lib/jvm").glob("*17*"))
    candidates = [str(home / "bin" / "java") for home in homes] + [shutil.which("java") or ""]
    return next((path for path in candidates if _is_17(path)), None)


def _is_17(path):
    if not os.access(path, os.X_OK):
        return False
    told = subprocess.run([path, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return 'version "17.' in told.stderr


def _install(tool, find):
    package = PACKAGES[tool]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"{tool} is missing (Java has to be 17): install it (Debian: apt-get install {package})")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for step in (["update"], ["install", "-y", "--no-install-recommends", package]):
        subprocess.run(["apt-get", "-q", *step], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)
    found = find()
    if not found:
        raise Missing(f"{tool} is still missing after {package} was installed")
    return found
