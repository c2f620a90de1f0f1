"""Finds, or installs, the mail clients."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = {"swaks": "swaks", "msmtp": "msmtp", "node": "nodejs", "npm": "npm"}
# swaks loads them when it is to speak TLS, and to log in.
PERL = {"Net::SSLeay": "libnet-ssleay-perl", "Authen::SASL": "libauthen-sasl-perl"}


class Missing(Exception):
    pass


def cache():
    named = os.environ.get("VULCAN_CLIENTS_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "vulcan-clients"


def install():
    """The directory with `postfix/` (the unpacked package) and `node_modules/`. Each appears whole or not at all."""
    _packages()
    _once("postfix", _unpack_postfix)
    _once("nodemailer", _npm)
    return cache()


def _packages():
    wanted = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    wanted += [package for module, package in PERL.items() if not _has_perl(module)]
    if wanted:
        _apt("install", "-y", "--no-install-recommends", *wanted)
    left = [program for program in PROGRAMS if not shutil.which(program)]
    left += [module for module in PERL if not _has_perl(module)]
    if left:
        raise Missing(f"still missing after {', '.join(wanted)} were installed: {', '.join(left)}")


def _has_perl(module):
    if not shutil.which("perl"):
        return False
    told = subprocess.run(["perl", f"-M{module}", "-e1"], stdin=subprocess.DEVNULL, capture_output=True)
    return told.returncode == 0


def _once(name, make):
    place = cache() / name
    if place.is_dir():
        return
    staging = cache() / f"{name}-{os.getpid()}"
    staging.mkdir(parents=True)
    make(staging)
    try:
        staging.rename(place)
    except OSError:
        # Another process was faster.
        shutil.rmtree(staging)


def _unpack_postfix(place):
    _apt("download", "postfix", cwd=place)
    (package,) = place.glob("postfix_*.deb")
    _run(["dpkg-deb", "-x", package, place])
    depends = subprocess.run(["dpkg-deb", "-f", package, "Depends"], check=True, capture_output=True, text=True).stdout
    libraries = sorted(set(re.findall(r"\blib[a-z0-9.+-]+", depends)))
    _apt("install", "-y", "--no-install-recommends", "--no-upgrade", *libraries)
    package.unlink()


def _npm(place):
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, place)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place)


_is_updated = False


def _apt(*command, cwd=None):
    global _is_updated
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"as root, or by hand: apt-get {' '.join(command)}")
    if not _is_updated:
        _run(["apt-get", "-q", "update"])
        _is_updated = True
    # A user of apt's own may not enter the directory.
    _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", *command], cwd=cwd)


def _run(command, cwd=None):
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment, cwd=cwd)
