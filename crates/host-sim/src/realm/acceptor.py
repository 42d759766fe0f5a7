"""A minimal WS-Management acceptor whose Kerberos is MIT's, by way of python3-gssapi.

usage: acceptor.py negotiate|kerberos [certificate.pem key.pem]

The environment says where keys and realms are: KRB5_CONFIG, KRB5_KTNAME. With RESPONDER_FORGETS=n the n-th request after
authentication is answered 401 once, as if the context had expired. RESPONDER_MISCHIEF is one of: flipped (one bit of
a sealed answer is changed), signed (answers are signed but not encrypted), repeated (every answer is the first one
again), unproven (the answer to the token carries none), elsewhere (expects the binding of another TLS channel).
The first line on standard output is the port; then one line of JSON for each thing seen. Ends when standard input is
closed.
"""

import base64
import hashlib
import json
import os
import ssl
import struct
import sys
import threading
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gssapi
from gssapi.raw import IOV, ChannelBindings, IOVBufferType, unwrap_iov, wrap_iov

S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
R = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
RSP = R[1:-1]
SCHEME = {"negotiate": "Negotiate", "kerberos": "Kerberos"}[sys.argv[1]]
PARTS = {"Negotiate": "application/HTTP-SPNEGO-session-encrypted", "Kerberos": "application/HTTP-Kerberos-session-encrypted"}[SCHEME]
TLS = sys.argv[2:]
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


def answer(text):
    root = ET.fromstring(text)
    action = root.find(f"{S}Header/{A}Action").text
    relates = root.find(f"{S}Header/{A}MessageID").text
    body = root.find(f"{S}Body")
    name = action.rsplit("/", 1)[1]
    say("request", action=name)
    if name == "Create":
        return envelope(action, relates, "<y:Shell><y:ShellId>11111111-2222-3333-4444-555555555555</y:ShellId></y:Shell>")
    if name == "Command":
        line = body[0]
        COMMANDS[line.attrib["CommandId"]] = [child.text for child in line]
        return envelope(action, relates, (
            f"<y:CommandResponse><y:CommandId>{line.attrib['CommandId']}</y:CommandId></y:CommandResponse>"))
    if name == "Receive":
        command = body.find(f"{R}Receive/{R}DesiredStream").attrib["CommandId"]
        said = base64.b64encode(json.dumps(COMMANDS[command], ensure_ascii=False).encode()).decode()
        return envelope(action, relates, (
            f'<y:ReceiveResponse><y:Stream Name="stdout" CommandId="{command}">{said}</y:Stream>'
            f'<y:CommandState CommandId="{command}" State="{RSP}/CommandState/Done"><y:ExitCode>7</y:ExitCode>'
            "</y:CommandState></y:ReceiveResponse>"))
    return envelope(action, relates, "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.context = None
        self.first = None
        say("connection")

    def reply(self, status, body=b"", kind=None, token=None):
        self.send_response(status, "")
        if kind:
            self.send_header("Content-Type", kind)
        if status == 401 or token:
            self.send_header("WWW-Authenticate", SCHEME + (f" {base64.b64encode(token).decode()}" if token else ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers.get("Authorization")
        if token:
            assert body == b"", "handshake with a body"
            scheme, token = token.split(" ", 1)
            assert scheme == SCHEME, scheme
            return self.authenticate(base64.b64decode(token))
        if self.context is None or not self.context.complete:
            return self.reply(401)
        LEFT[0] -= 1
        if LEFT[0] == 0:
            say("forgotten")
            self.context = None
            return self.reply(401)
        if TLS:
            return self.reply(200, answer(body), "application/soap+xml;charset=UTF-8")
        self.reply(200, self.sealed(answer(self.unseal(body))), f'multipart/encrypted;protocol="{PARTS}";'
                   'boundary="Encrypted Boundary"')

    def authenticate(self, token):
        if self.context is None:
            mechanism = None if SCHEME == "Negotiate" else gssapi.MechType.kerberos
            mechanisms = {mechanism} if mechanism else None
            credentials = gssapi.Credentials(usage="accept", mechs=mechanisms)
            self.context = gssapi.SecurityContext(creds=credentials, usage="accept", channel_bindings=BINDINGS)
        out = None
        try:
            # With a token to send, the library tells of an error only when the context is used next.
            out = self.context.step(token)
            complete = self.context.complete
        except gssapi.exceptions.GSSError as error:
            say("refused", error=type(error).__name__, why=str(error))
            self.context = None
            return self.reply(401, token=out or getattr(error, "token", None))
        if not complete:
            return self.reply(401, token=out)
        flags = self.context.actual_flags
        flag = gssapi.RequirementFlag
        say("authenticated", user=str(self.context.initiator_name), mutual=bool(flags & flag.mutual_authentication),
            sealing=bool(flags & flag.confidentiality), sequence=bool(flags & flag.out_of_sequence_detection),
            delegated=bool(flags & flag.delegate_to_peer))
        self.reply(200, token=None if MISCHIEF == "unproven" else out)

    def unseal(self, body):
        assert self.headers["Content-Type"] == f'multipart/encrypted;protocol="{PARTS}";boundary="Encrypted Boundary"'
        head, rest = body.split(b"\tContent-Type: application/octet-stream\r\n", 1)
        assert f"\tContent-Type: {PARTS}\r\n".encode() in head
        length = int(head.rsplit(b";Length=", 1)[1].split(b"\r\n", 1)[0])
        size = struct.unpack("<I", rest[:4])[0]
        assert rest[4 + size + length:] == b"--Encrypted Boundary--\r\n", "wrong frame"
        # As Windows does: header and data apart, nothing else.
        message = IOV((IOVBufferType.header, False, rest[4:4 + size]), rest[4 + size:4 + size + length],
                      std_layout=False)
        assert unwrap_iov(self.context, message).encrypted
        say("sealed", header=size)
        return message[1].value

    def sealed(self, text):
        message = IOV(IOVBufferType.header, text, IOVBufferType.padding, std_layout=False)
        wrap_iov(self.context, message, confidential=MISCHIEF != "signed")
        header = message[0].value
        data = message[1].value + (message[2].value or b"")
        if MISCHIEF == "flipped":
            data = bytes([data[0] ^ 1]) + data[1:]
        if MISCHIEF == "repeated":
            self.first = self.first or (header, data)
            header, data = self.first
        return (
            f"--Encrypted Boundary\r\n\tContent-Type: {PARTS}\r\n"
            f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(data)}\r\n"
            "--Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n"
        ).encode() + struct.pack("<I", len(header)) + header + data + b"--Encrypted Boundary--\r\n"

    def log_message(self, *_):
        pass


def main():
    global BINDINGS
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if TLS:
        der = ssl.PEM_cert_to_DER_cert(open(TLS[0]).read())
        data = b"tls-server-end-point:" + hashlib.sha256(der).digest()
        if MISCHIEF == "elsewhere":
            data = b"tls-server-end-point:" + bytes(32)
        # Without an address at all, which the module would otherwise call an address of the type "none", 255.
        BINDINGS = ChannelBindings(initiator_address_type=0, acceptor_address_type=0, application_data=data)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*TLS)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


main()
