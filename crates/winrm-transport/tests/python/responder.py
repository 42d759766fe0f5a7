"""A minimal WS-Management acceptor whose cryptography is pyspnego's.

usage: responder.py ntlm|negotiate [certificate.pem key.pem]

With RESPONDER_FORGETS=n the n-th request after authentication is answered 401 once, as if the context had expired.
RESPONDER_MISCHIEF is one of: unsealed (sealed requests are answered in clear), flipped (one bit of a sealed answer is
changed), stall (the second Receive of a command is not answered for a minute), signed-wrong and unsigned (the signature
over the offered mechanisms is changed, or left out), forgetful (every request after authentication is answered 401).
Credentials come from NTLM_USER_FILE (DOMAIN:user:password). The first line on standard output is the port; then one
line of JSON for each thing seen. Ends when standard input is closed.
"""

import base64
import hashlib
import json
import os
import ssl
import struct
import sys
import threading
import time
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spnego
from spnego.channel_bindings import GssChannelBindings

S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
R = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
RSP = R[1:-1]
PROTOCOL, TLS = sys.argv[1], sys.argv[2:]
BINDINGS = None
LOCK = threading.Lock()
COMMANDS = {}
MISCHIEF = os.environ.get("RESPONDER_MISCHIEF")
LEFT = [int(os.environ.get("RESPONDER_FORGETS", "0"))]


def say(what, **more):
    with LOCK:
        print(json.dumps({"what": what, **more}), flush=True)


def envelope(action, relates, body):
    return (
        f'<q:Envelope xmlns:q="{S[1:-1]}" xmlns:t="{A[1:-1]}" xmlns:y="{RSP}"><q:Header><t:Action>{action}Response'
        f"</t:Action><t:RelatesTo>{relates}</t:RelatesTo></q:Header><q:Body>{body}</q:Body></q:Envelope>"
    ).encode()


def fault(relates, code):
    return envelope("fault", relates, (
        "<q:Fault><q:Code><q:Value>q:Receiver</q:Value></q:Code><q:Reason><q:Text>waited</q:Text></q:Reason><q:Detail>"
        '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" '
        f'Code="{code}"/></q:Detail></q:Fault>'
    ))


def stream(command, name, data):
    return f'<y:Stream Name="{name}" CommandId="{command}">{base64.b64encode(data).decode()}</y:Stream>'


def receive(relates, command):
    """Half a character, then a timeout, then the other half together with the end."""
    words, turn = COMMANDS[command]
    COMMANDS[command] = (words, turn + 1)
    said = json.dumps(words, ensure_ascii=False).encode()
    cut = said.find(b"\xc3") + 1 or len(said) // 2
    if turn == 0:
        return 200, envelope("Receive", relates, f"<y:ReceiveResponse>{stream(command, 'stdout', said[:cut])}"
                             f"{stream(command, 'stderr', b'on stderr')}</y:ReceiveResponse>")
    if turn == 1 and MISCHIEF == "stall":
        time.sleep(60)
    if turn == 1:
        return 500, fault(relates, 2150858793)
    return 200, envelope("Receive", relates, (
        f"<y:ReceiveResponse>{stream(command, 'stdout', said[cut:])}"
        f'<y:CommandState CommandId="{command}" State="{RSP}/CommandState/Done"><y:ExitCode>4294967295</y:ExitCode>'
        "</y:CommandState></y:ReceiveResponse>"
    ))


def answer(text):
    root = ET.fromstring(text)
    action = root.find(f"{S}Header/{A}Action").text
    relates = root.find(f"{S}Header/{A}MessageID").text
    body = root.find(f"{S}Body")
    name = action.rsplit("/", 1)[1]
    say("request", action=name)
    if name == "Create":
        return 200, envelope(action, relates, "<y:Shell><y:ShellId>11111111-2222-3333-4444-555555555555</y:ShellId></y:Shell>")
    if name == "Command":
        line = body[0]
        COMMANDS[line.attrib["CommandId"]] = ([child.text for child in line], 0)
        return 200, envelope(action, relates, (
            f"<y:CommandResponse><y:CommandId>{line.attrib['CommandId']}</y:CommandId></y:CommandResponse>"))
    if name == "Receive":
        return receive(relates, body.find(f"{R}Receive/{R}DesiredStream").attrib["CommandId"])
    return 200, envelope(action, relates, "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.context = None
        say("connection")

    def reply(self, status, body=b"", kind=None, token=None):
        self.send_response(status, "")
        if kind:
            self.send_header("Content-Type", kind)
        if status == 401:
            self.send_header("WWW-Authenticate", "Negotiate" + (f" {base64.b64encode(token).decode()}" if token else ""))
        elif token:
            self.send_header("WWW-Authenticate", f"Negotiate {base64.b64encode(token).decode()}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers.get("Authorization")
        if token:
            assert body == b"", "handshake with a body"
            return self.authenticate(base64.b64decode(token.split(" ", 1)[1]))
        if self.context is None or not self.context.complete:
            return self.reply(401)
        LEFT[0] -= 1
        if LEFT[0] == 0 or MISCHIEF == "forgetful":
            say("forgotten")
            self.context = None
            return self.reply(401)
        if TLS:
            status, text = answer(body)
            return self.reply(status, text, "application/soap+xml;charset=UTF-8")
        status, text = answer(self.unseal(body))
        if MISCHIEF == "unsealed":
            return self.reply(status, text, "application/soap+xml;charset=UTF-8")
        sealed = self.context.wrap_winrm(text)
        if MISCHIEF == "flipped":
            sealed = sealed._replace(data=bytes([sealed.data[0] ^ 1]) + sealed.data[1:])
        head = (
            "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
            f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(text)}\r\n"
            "--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
        ).encode()
        body = head + struct.pack("<I", len(sealed.header)) + sealed.header + sealed.data + b"--Encrypted Boundary--\r\n"
        self.reply(status, body, 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";'
                   'boundary="Encrypted Boundary"')

    def authenticate(self, token):
        if self.context is None:
            options = spnego.NegotiateOptions
            use = options.use_ntlm if PROTOCOL == "ntlm" else options.use_negotiate
            self.context = spnego.server(protocol=PROTOCOL, options=use, channel_bindings=BINDINGS)
        try:
            out = self.context.step(token)
        except Exception as error:
            say("refused", error=type(error).__name__)
            self.context = None
            return self.reply(401)
        if self.context.complete:
            say("authenticated", user=self.context.client_principal)
            if MISCHIEF == "signed-wrong":
                out = out[:-1] + bytes([out[-1] ^ 1])
            if MISCHIEF == "unsigned":
                out = None
            return self.reply(200, token=out)
        self.reply(401, token=out)

    def unseal(self, body):
        assert self.headers["Content-Type"].startswith("multipart/encrypted;protocol=")
        head, rest = body.split(b"\tContent-Type: application/octet-stream\r\n", 1)
        length = int(head.rsplit(b";Length=", 1)[1].split(b"\r\n", 1)[0])
        size = struct.unpack("<I", rest[:4])[0]
        assert rest[4 + size + length:] == b"--Encrypted Boundary--\r\n", "wrong frame"
        return self.context.unwrap_winrm(rest[4:4 + size], rest[4 + size:4 + size + length])

    def log_message(self, *_):
        pass


def main():
    global BINDINGS
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if TLS:
        der = ssl.PEM_cert_to_DER_cert(open(TLS[0]).read())
        BINDINGS = GssChannelBindings(application_data=b"tls-server-end-point:" + hashlib.sha256(der).digest())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*TLS)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


main()
