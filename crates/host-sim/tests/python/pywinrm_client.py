"""pywinrm against a simulated host: Basic and NTLM over HTTPS, sealed NTLM over HTTP."""

import base64

from winrm.exceptions import InvalidCredentialsError
from winrm.protocol import Protocol

import common

args = common.host()


def protocol(password):
    url = f"https://{args.address}:{args.https_port}/wsman"
    settings = {"username": args.user, "password": password, "ca_trust_path": args.ca}
    if args.mode == "basic-https":
        return Protocol(url, transport="basic", server_cert_validation="validate", **settings)
    if args.mode == "ntlm-https":
        return Protocol(url, transport="ntlm", server_cert_validation="validate", **settings)
    url = f"http://{args.address}:{args.http_port}/wsman"
    return Protocol(url, transport="ntlm", message_encryption="always", **settings)


client = protocol(args.password)
shell = client.open_shell(codepage=65001)


def run(program, arguments):
    command = client.run_command(shell, program, arguments)
    out, err, code = client.get_command_output(shell, command)
    client.cleanup_command(shell, command)
    return code, out, err


common.do_work(run, args.computer)

script = "Get-Content -Raw -Path 'C:\\LabStation\\labstation\\data\\telemetry\\heartbeat.json'"
encoded = base64.b64encode(script.encode("utf-16-le")).decode()
code, out, err = run("powershell", ["-NoProfile", "-EncodedCommand", encoded])
common.check("powershell read", (code, out[:1]), (0, b"{"))

client.close_shell(shell)

try:
    protocol("wrong").open_shell()
    raise SystemExit("a wrong password was taken")
except InvalidCredentialsError:
    pass
print("ok")
