//! Requests that two readers might read differently. Each is sent as bytes; behind it, whatever nginx made of it, only
//! what was let in may have arrived.

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// `{T}` is the right token's header, `{H}` the Host header, each with its line end.
    bytes: &'static str,
    /// The targets that may arrive, in order.
    pub(crate) arrives: &'static [&'static str],
    /// The statuses that come back; `None` when the connection may simply end.
    pub(crate) statuses: Option<&'static [u16]>,
}

impl Attempt {
    pub(crate) fn bytes(&self, token: &str, host: &str) -> String {
        self.bytes
            .replace("{T}", &format!("X-Ops-Token: {token}\r\n"))
            .replace("{H}", &format!("Host: {host}\r\n"))
            .replace("{token}", token)
            .replace("{host}", host)
    }
}

const fn refused(name: &'static str, status: &'static [u16], bytes: &'static str) -> Attempt {
    Attempt {
        name,
        bytes,
        arrives: &[],
        statuses: Some(status),
    }
}

const fn one(name: &'static str, arrives: &'static [&'static str], bytes: &'static str) -> Attempt {
    Attempt {
        name,
        bytes,
        arrives,
        statuses: Some(&[200]),
    }
}

/// Everything; 200 stands for whatever the service itself answers.
pub(crate) const CORPUS: &[Attempt] = &[
    refused(
        "CL.TE",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    refused(
        "TE.CL",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nPOST /ops/api/wol HTTP/1.1\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "TE.CL with a tab",
        &[400, 501],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: 4\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "TE twice",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "TE unknown",
        &[501],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "TE as a list",
        &[501],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "TE before the colon",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}",
    ),
    refused(
        "TE in HTTP/1.0",
        &[400],
        "POST /ops/api/winrm HTTP/1.0\r\n{H}{T}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "two lengths",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: 2\r\nContent-Length: 44\r\n\r\n{}GET /ops/api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    refused(
        "the same length twice",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    ),
    refused(
        "lengths as a list",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: 2, 2\r\n\r\n{}",
    ),
    refused(
        "a signed length",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: +2\r\n\r\n{}",
    ),
    refused(
        "a negative length",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: -2\r\n\r\n{}",
    ),
    refused(
        "a hexadecimal length",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Length: 0x2\r\n\r\n{}",
    ),
    refused(
        "a chunk that overflows",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n0\r\n\r\n",
    ),
    refused(
        "a chunk without its end",
        &[400],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Transfer-Encoding: chunked\r\n\r\n2\r\n{}GET /ops/api/smuggled HTTP/1.1\r\n\r\n0\r\n\r\n",
    ),
    refused(
        "obs-fold",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X-Ops-Token:\r\n {token}\r\n\r\n",
    ),
    refused(
        "obs-fold after a header",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}X-A: b\r\n\tTransfer-Encoding: chunked\r\n\r\n",
    ),
    refused(
        "a header before the first",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n X: y\r\n{H}{T}\r\n",
    ),
    refused(
        "a bare CR in a value",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X-A: b\rX-Ops-Token: {token}\r\n\r\n",
    ),
    refused(
        "a zero byte in a value",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X-A: b\0c\r\n{T}\r\n",
    ),
    refused(
        "a blank before the colon",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X-Ops-Token : {token}\r\n\r\n",
    ),
    refused(
        "two hosts",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}{H}{T}\r\n",
    ),
    refused("no host", &[400], "GET /ops/api/hosts HTTP/1.1\r\n{T}\r\n"),
    refused(
        "a host with a path",
        &[400],
        "GET /ops/api/hosts HTTP/1.1\r\nHost: a/b\r\n{T}\r\n",
    ),
    one(
        "bare LF",
        &["/api/hosts"],
        "GET /ops/api/hosts HTTP/1.1\nHost: {host}\nConnection: close\nX-A: b\nX-Ops-Token: {token}\n\n",
    ),
    refused(
        "underscores",
        &[401],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X_Ops_Token: {token}\r\nConnection: close\r\n\r\n",
    ),
    refused(
        "dots for dashes",
        &[401],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X.Ops.Token: {token}\r\nConnection: close\r\n\r\n",
    ),
    refused(
        "two tokens, right first",
        &[401],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}X-Ops-Token: x\r\nConnection: close\r\n\r\n",
    ),
    refused(
        "two tokens, right last",
        &[401],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}X-Ops-Token: x\r\n{T}Connection: close\r\n\r\n",
    ),
    refused(
        "two right tokens",
        &[401],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "a token among the trailers",
        &[401],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTrailer: X-Ops-Token\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\nX-Ops-Token: {token}\r\n\r\n",
    ),
    one(
        "trailers",
        &["/api/winrm"],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Ops-Internal-Token\r\nConnection: close\r\n\r\n2;a=b\r\n{}\r\n0\r\nX-Ops-Internal-Token: forged\r\n\r\n",
    ),
    one(
        "hop by hop",
        &["/api/hosts"],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}Connection: close, X-Ops-Token, X-Ops-Internal-Token, X-Real-IP, Cookie\r\n\r\n",
    ),
    refused(
        "hop by hop without a token",
        &[401],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}Connection: close, X-Ops-Token\r\n\r\n",
    ),
    one(
        "h2c",
        &["/api/hosts"],
        "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    ),
    one(
        "a request as a body",
        &["/api/winrm"],
        "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Type: application/json\r\nConnection: close\r\nContent-Length: 43\r\n\r\nGET /ops/api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    Attempt {
        name: "one after the other",
        arrives: &["/api/hosts"],
        statuses: Some(&[200, 401]),
        bytes: "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}\r\nGET /ops/api/workers HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    },
    Attempt {
        name: "a GET with a body and another request",
        arrives: &["/api/hosts"],
        statuses: Some(&[200, 401]),
        bytes: "GET /ops/api/hosts HTTP/1.1\r\n{H}{T}Content-Length: 2\r\n\r\n{}GET /ops/api/workers HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    },
    Attempt {
        name: "a shorter length than the body",
        arrives: &["/api/winrm"],
        statuses: None,
        bytes: "POST /ops/api/winrm HTTP/1.1\r\n{H}{T}Content-Type: application/json\r\nContent-Length: 0\r\n\r\nGET /ops/api/workers HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    },
    one(
        "an absolute target",
        &["/api/hosts"],
        "GET http://elsewhere.example/ops/api/hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "an absolute target without a token",
        &[401],
        "GET http://127.0.0.1:8081/ops/api/hosts HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    ),
    refused(
        "an absolute target past the prefix",
        &[404],
        "GET http://127.0.0.1:8081/api/hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "a target with an account",
        &[400],
        "GET http://a@b/ops/api/hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "CONNECT",
        &[400],
        "CONNECT 127.0.0.1:8081 HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused("the start of HTTP/2", &[400], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Attempt {
        name: "HTTP/0.9",
        arrives: &[],
        statuses: None,
        bytes: "GET /ops/api/hosts\r\n",
    },
    refused(
        "`..;/`",
        &[400],
        "GET /ops/api/..;/..;/metrics HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`..;/` without a token",
        &[401],
        "GET /ops/..;/api/hosts HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    ),
    refused(
        "`;` behind a segment",
        &[400],
        "GET /ops/api/hosts;x=y HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`%2f`",
        &[400],
        "GET /ops%2fapi%2fhosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`%2f` without a token",
        &[401],
        "GET /ops%2fapi%2fhosts HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    ),
    refused(
        "`%5c`",
        &[400],
        "GET /ops/api/..%5c..%5cmetrics HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "a backslash",
        &[400],
        "GET /ops/api/..\\metrics HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`%2e%2e` that comes back",
        &[400],
        "GET /lab-manager/%2e%2e/ops/api/hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`%2e%2e` without a token",
        &[401],
        "GET /lab-manager/%2e%2e/ops/api/hosts HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    ),
    refused(
        "`..` that leaves",
        &[404],
        "GET /ops/api/../../metrics HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`..` above the root",
        &[400],
        "GET /ops/../../metrics HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "`..` within the API",
        &[400],
        "GET /ops/api/x/../hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "doubly encoded",
        &[400],
        "GET /ops/api/%252e%252e/metrics HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "doubly encoded slash",
        &[400],
        "GET /ops/api/hosts%252fx HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "empty segments",
        &[400],
        "GET //ops//api//hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "empty segments without a token",
        &[401],
        "GET //ops//api//hosts HTTP/1.1\r\n{H}Connection: close\r\n\r\n",
    ),
    refused(
        "a line break in the path",
        &[400],
        "GET /ops/api/hosts%0d%0aX-Ops-Internal-Token:%20x HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "a zero byte in the path",
        &[400],
        "GET /ops/api/hosts%00 HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "an escape that is none",
        &[400],
        "GET /ops/api/hosts%zz HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "blanks in the target",
        &[400],
        "GET /ops/api/hosts HTTP/1.1 /x HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "a fragment that hides the rest: the page itself",
        &[200],
        "GET /lab-manager/#/../../ops/api/hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "the inner location",
        &[404],
        "GET /.lab-ops/health HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "the named location",
        &[404],
        "GET /@lab_ops_failed HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
    refused(
        "another spelling of the prefix",
        &[404],
        "GET /OPS/api/hosts HTTP/1.1\r\n{H}{T}Connection: close\r\n\r\n",
    ),
];
