"""What the interop scripts share: the host under test, from the command line, and small checks."""

import argparse
import json

PROGRAM = r"C:\LabStation\LabStation.exe"
TEXT = "čaj – naïve 日本"


def host():
    parser = argparse.ArgumentParser()
    for name in ("address", "user", "password", "ca", "computer", "mode"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--https-port", type=int, required=True)
    return parser.parse_args()


def check(name, found, expected):
    if found != expected:
        raise SystemExit(f"{name}: found {found!r}, expected {expected!r}")


def do_work(run, computer):
    """Real work through `run(program, arguments) -> (exit code, stdout, stderr)`, bytes out."""
    code, out, err = run(PROGRAM, ["status-json"])
    check("status-json code", (code, err), (0, b""))
    status = json.loads(out.decode("utf-8-sig"))
    check("host in status", status["identity"]["host"], computer)
    check("empty object", status["lastForcedLogoff"], [])
    check("armed count", status["wake"]["armedCount"], True)

    code, out, err = run(PROGRAM, ["prepare-session", "--no-guard", '"--guard-message=two words \\"quoted\\""'])
    check("prepare-session", (code, out, err), (0, b"Session prepared\n", b""))

    heartbeat = r"C:\LabStation\labstation\data\telemetry\heartbeat.json"
    code, out, err = run("cmd.exe", ["/d", "/c", "type", f'"{heartbeat}"'])
    check("heartbeat mark", out[:3], b"\xef\xbb\xbf")
    heartbeat = json.loads(out.decode("utf-8-sig"))
    check("prepared", heartbeat["operations"]["lastPrepareSession"]["success"], True)

    code, out, err = run("echo", [TEXT])
    check("non-ascii output", (code, out.decode("utf-8")), (0, TEXT + "\r\n"))

    code, out, err = run(PROGRAM, ["no-such-command"])
    check("unknown command code", code, 2)
    check("unknown command text", b"unknown command: no-such-command" in err, True)
