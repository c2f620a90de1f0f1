"""A Postfix of a test's own, out of the unpacked package: takes mail on a free port of loopback and relays all of it."""

import os
import socket
import subprocess
import time
from pathlib import Path

MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
command_directory = {root}/usr/sbin
meta_directory = {dir}/etc
mail_owner = mail
setgid_group = news
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.test
mydestination =
local_recipient_maps =
mynetworks = 127.0.0.0/8
relayhost = [{host}]:{port}
smtp_tls_security_level = {tls}
smtp_host_lookup = native
smtputf8_enable = yes
message_size_limit = 60000000
mailbox_size_limit = 0
alias_maps =
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
smtp_destination_concurrency_failed_cohort_limit = 0
smtp_connection_cache_on_demand = yes
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
export_environment = LD_LIBRARY_PATH MAIL_CONFIG
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""

PATIENCE = 30


class Postfix:
    def __init__(self, cache, directory, relay, tls):
        self.root = Path(cache) / "postfix"
        self.dir = Path(directory).resolve()
        host, port = relay.rsplit(":", 1)
        self.port = _free_port()
        for name in ("etc", "queue", "data", "log"):
            (self.dir / name).mkdir(parents=True)
        main = MAIN.format(dir=self.dir, root=self.root, host=host, port=port, tls="encrypt" if tls else "none")
        (self.dir / "etc" / "main.cf").write_text(main)
        (self.dir / "etc" / "master.cf").write_text(MASTER.format(port=self.port))
        for name in ("postfix-files", "dynamicmaps.cf"):
            (self.dir / "etc" / name).write_text("")
        self.environment = dict(
            os.environ, MAIL_CONFIG=str(self.dir / "etc"), LD_LIBRARY_PATH=str(self.root / "usr/lib/postfix"))

    def start(self):
        self._own()
        self._run("start")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return f"127.0.0.1:{self.port}"
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError((self.dir / "log" / "mail.log").read_text()) from None
                time.sleep(0.1)

    def stop(self):
        # "abort" does not wait for what is in delivery.
        self._run("abort", check=False)

    def _run(self, verb, check=True):
        postfix = self.root / "usr/sbin/postfix"
        subprocess.run([postfix, "-c", self.dir / "etc", verb], check=check, env=self.environment,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _own(self):
        """As `postfix set-permissions` would, for users that every Debian has: mail owns the queue, news may post to it."""
        import pwd
        mail, news = pwd.getpwnam("mail"), pwd.getpwnam("news")
        queue = self.dir / "queue"
        owned = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
        for name in owned:
            (queue / name).mkdir(mode=0o700)
            os.chown(queue / name, mail.pw_uid, 0)
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            (queue / name).mkdir()
            os.chown(queue / name, mail.pw_uid, news.pw_gid)
            (queue / name).chmod(mode)
        (queue / "pid").mkdir(mode=0o755)
        os.chown(self.dir / "data", mail.pw_uid, mail.pw_gid)
        # The whole way down has to be open to the user mail.
        self.dir.chmod(0o755)


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
