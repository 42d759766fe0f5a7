"""pypsrp's WinRS client against a simulated host: SPNEGO sealed over HTTP, NTLM over HTTPS, Basic over HTTPS."""

from pypsrp.exceptions import AuthenticationError
from pypsrp.shell import Process, SignalCode, WinRS
from pypsrp.wsman import WSMan

import common

args = common.host()


def wsman(password):
    auth, scheme = args.mode.split("-")
    secure = scheme == "https"
    return WSMan(
        args.address,
        port=args.https_port if secure else args.http_port,
        ssl=secure,
        auth=auth,
        encryption="auto" if secure else "always",
        cert_validation=args.ca if secure else True,
        username=args.user,
        password=password,
        connection_timeout=20,
        operation_timeout=10,
        read_timeout=20,
        reconnection_retries=0,
    )


with wsman(args.password) as client, WinRS(client, codepage=65001) as shell:

    def run(program, arguments):
        process = Process(shell, program, arguments)
        process.invoke()
        process.signal(SignalCode.TERMINATE)
        return process.rc, process.stdout, process.stderr

    common.do_work(run, args.computer)

try:
    with wsman("wrong") as client, WinRS(client):
        raise SystemExit("a wrong password was taken")
except AuthenticationError:
    pass
print("ok")
