"""The polling loop with pywinrm: reads the heartbeat of every host, parses it, inserts a row into SQLite, and begins
again, as fast as it goes. Threads, at most 64 polls at the same moment.

pywinrm keeps one Protocol and one shell per host; pywinrm-session is its Session.run_cmd, as the documentation shows it:
a shell for every command.
"""

import argparse
import ipaddress
import json
import queue
import resource
import sqlite3
import threading
import time

HEARTBEAT = r"C:\LabStation\labstation\data\telemetry\heartbeat.json"
TIMEOUT = 30


class Pywinrm:
    def __init__(self, args, address):
        from winrm.protocol import Protocol

        self.protocol = Protocol(
            f"http://{address}:5985/wsman",
            transport="ntlm",
            username=args.user,
            password=args.password,
            message_encryption="always",
            operation_timeout_sec=TIMEOUT,
            read_timeout_sec=TIMEOUT + 10,
        )
        self.shell = None

    def heartbeat(self):
        if self.shell is None:
            self.shell = self.protocol.open_shell(codepage=65001)
        command = self.protocol.run_command(self.shell, "type", [HEARTBEAT])
        out, _, code = self.protocol.get_command_output(self.shell, command)
        self.protocol.cleanup_command(self.shell, command)
        return check(code, out)


class PywinrmSession(Pywinrm):
    def __init__(self, args, address):
        from winrm import Session

        super().__init__(args, address)
        self.session = Session(self.protocol.transport.endpoint, auth=(args.user, args.password), transport="ntlm")
        self.session.protocol = self.protocol

    def heartbeat(self):
        result = self.session.run_cmd("type", [HEARTBEAT])
        return check(result.status_code, result.std_out)


def check(code, out):
    if code != 0:
        raise RuntimeError(f"exit code {code}")
    return out.decode("utf-8-sig")


CLIENTS = {"pywinrm": Pywinrm, "pywinrm-session": PywinrmSession}


class Loop:
    def __init__(self, args):
        self.lock = threading.Lock()
        self.counted, self.failed, self.first_error = 0, 0, None
        self.rows = sqlite3.connect(args.database, check_same_thread=False, isolation_level=None)
        self.rows.execute("PRAGMA journal_mode=WAL")
        self.rows.execute("PRAGMA synchronous=NORMAL")
        self.rows.execute(
            "CREATE TABLE heartbeat (id INTEGER PRIMARY KEY, host TEXT NOT NULL, ready INTEGER,"
            " document TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        self.rows.execute("CREATE INDEX by_host ON heartbeat (host, at)")

    def poll(self, session):
        try:
            text = session.heartbeat()
            document = json.loads(text)
            with self.lock:
                self.rows.execute(
                    "INSERT INTO heartbeat (host, ready, document) VALUES (?, ?, ?)",
                    (document["host"], document["summary"]["ready"], text),
                )
                self.counted += 1
        except Exception as error:  # whatever it is, it is counted and shown
            with self.lock:
                self.failed += 1
                self.first_error = self.first_error or f"{type(error).__name__}: {error}"


def in_threads(number, work):
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def main():
    parser = argparse.ArgumentParser()
    for name in ("client", "first", "user", "password", "database"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--at-once", type=int, default=64)
    args = parser.parse_args()

    first = ipaddress.ip_address(args.first)
    loop = Loop(args)
    sessions = [CLIENTS[args.client](args, first + number) for number in range(args.hosts)]
    waiting = queue.SimpleQueue()
    for session in sessions:
        waiting.put(session)

    def first_round():
        while True:
            try:
                session = waiting.get_nowait()
            except queue.Empty:
                return
            loop.poll(session)

    in_threads(args.at_once, first_round)
    for session in sessions:
        waiting.put(session)
    before, used, begun = loop.counted, cpu(), time.monotonic()

    def repeat():
        while time.monotonic() < begun + args.seconds:
            session = waiting.get()
            loop.poll(session)
            waiting.put(session)

    in_threads(args.at_once, repeat)
    report = {
        "polls": loop.counted - before,
        "failed": loop.failed,
        "first_error": loop.first_error,
        "wall_secs": time.monotonic() - begun,
        "cpu_secs": cpu() - used,
        "rss_kib": rss_kib(),
    }
    print(json.dumps(report), flush=True)


main()
