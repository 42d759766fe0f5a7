"""The process of one Python client: does what standard input says and reports on standard output.

The same protocol as the Rust clients: a setup line, then one line per phase. Threads, one per host, because that is
how these libraries are used for many hosts.
"""

import json
import resource
import sys
import threading
import time

USER, PASSWORD = "LabGatewaySvc", "Corr3ct-horse"
PROGRAM, ARGUMENT = r"C:\LabStation\LabStation.exe", "status-json"
TIMEOUT = 30


def check(code, out, err):
    if code != 0 or err or len(out) <= 1000:
        raise RuntimeError(f"exit code {code}, {len(out)} bytes of stdout, {len(err)} of stderr")


class Pywinrm:
    """One Protocol and one shell per host, kept."""

    def __init__(self, setup, host):
        from winrm.protocol import Protocol

        secure = setup["transport"] == "https"
        port = host["https_port"] if secure else host["http_port"]
        options = (
            {"server_cert_validation": "validate", "ca_trust_path": setup["ca_file"]}
            if secure
            else {"message_encryption": "always"}
        )
        url = f"{setup['transport']}://{host['address']}:{port}/wsman"
        self.protocol = Protocol(
            url,
            transport="ntlm",
            username=USER,
            password=PASSWORD,
            operation_timeout_sec=TIMEOUT,
            read_timeout_sec=TIMEOUT + 10,
            **options,
        )
        self.shell = None

    def run(self):
        if self.shell is None:
            self.shell = self.protocol.open_shell(codepage=65001)
        command = self.protocol.run_command(self.shell, PROGRAM, [ARGUMENT])
        out, err, code = self.protocol.get_command_output(self.shell, command)
        self.protocol.cleanup_command(self.shell, command)
        check(code, out, err)

    def close(self):
        if self.shell is not None:
            self.protocol.close_shell(self.shell)


class PywinrmSession(Pywinrm):
    """One Session per host and its run_cmd, as the documentation shows it: a shell for every command."""

    def __init__(self, setup, host):
        from winrm import Session

        super().__init__(setup, host)
        self.session = Session(self.protocol.transport.endpoint, auth=(USER, PASSWORD), transport="ntlm")
        self.session.protocol = self.protocol

    def run(self):
        result = self.session.run_cmd(PROGRAM, [ARGUMENT])
        check(result.status_code, result.std_out, result.std_err)


class Pypsrp:
    """One WSMan and one WinRS shell per host, kept."""

    def __init__(self, setup, host):
        from pypsrp.wsman import WSMan

        secure = setup["transport"] == "https"
        self.wsman = WSMan(
            host["address"],
            port=host["https_port"] if secure else host["http_port"],
            ssl=secure,
            auth="ntlm",
            encryption="auto" if secure else "always",
            cert_validation=setup["ca_file"] if secure else True,
            username=USER,
            password=PASSWORD,
            connection_timeout=20,
            operation_timeout=TIMEOUT,
            read_timeout=TIMEOUT + 10,
            reconnection_retries=0,
        )
        self.shell = None

    def run(self):
        from pypsrp.shell import Process, SignalCode, WinRS

        if self.shell is None:
            self.shell = WinRS(self.wsman, codepage=65001)
            self.shell.open()
        process = Process(self.shell, PROGRAM, [ARGUMENT])
        process.invoke()
        process.signal(SignalCode.TERMINATE)
        check(process.rc, process.stdout, process.stderr)

    def close(self):
        if self.shell is not None:
            self.shell.close()
        self.wsman.close()


CLIENTS = {"pywinrm": Pywinrm, "pywinrm-session": PywinrmSession, "pypsrp": Pypsrp}


class Tally:
    def __init__(self):
        self.took, self.failed, self.first_error = [], 0, None
        self.lock = threading.Lock()
        self.wall = None

    def attempt(self, work):
        begun = time.perf_counter()
        try:
            work()
        except Exception as error:  # whatever it is, it is counted and shown
            with self.lock:
                self.failed += 1
                self.first_error = self.first_error or f"{type(error).__name__}: {error}"
            return False
        with self.lock:
            self.took.append(time.perf_counter() - begun)
        return True


def in_threads(number, work):
    threads = [threading.Thread(target=work, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    return threads


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def perform(phase, setup, make, sessions):
    tally = Tally()
    if phase["phase"] == "first":
        for host in setup["hosts"][phase["from"] : phase["to"]]:
            fresh = []

            def first():
                fresh.append(make(setup, host))
                fresh[0].run()

            tally.attempt(first)
            for session in fresh:
                session.close()
    elif phase["phase"] == "open":
        room = threading.Semaphore(phase["at_once"])
        hosts = setup["hosts"][len(sessions) : phase["hosts"]]

        def open_one(index):
            with room:
                session = make(setup, hosts[index])
                if tally.attempt(session.run):
                    sessions.append(session)

        for thread in in_threads(len(hosts), open_one):
            thread.join()
    elif phase["phase"] == "run":
        chosen = sessions[: phase["hosts"]]
        start = threading.Barrier(len(chosen) + 1)

        def repeat(index):
            start.wait()
            for _ in range(phase["commands"]):
                time.sleep(phase["pause_ms"] / 1000)
                tally.attempt(chosen[index].run)

        threads = in_threads(len(chosen), repeat)
        start.wait()
        begun = time.perf_counter()
        for thread in threads:
            thread.join()
        tally.wall = time.perf_counter() - begun
    elif phase["phase"] == "close":
        while sessions:
            sessions.pop().close()
    return tally


def main():
    make = CLIENTS[sys.argv[1]]
    setup = json.loads(sys.stdin.readline())
    sessions = []
    for line in sys.stdin:
        used, begun = cpu(), time.perf_counter()
        tally = perform(json.loads(line), setup, make, sessions)
        took = sorted(tally.took)
        report = {
            "completed": len(took),
            "failed": tally.failed,
            "first_error": tally.first_error,
            "wall_secs": tally.wall or time.perf_counter() - begun,
            "cpu_secs": cpu() - used,
            "p50_ms": took[len(took) // 2] * 1000 if took else 0.0,
            "rss_kib": rss_kib(),
        }
        print(json.dumps(report), flush=True)


main()
