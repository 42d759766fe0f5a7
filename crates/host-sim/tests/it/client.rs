//! A small WS-Management client for these tests: Basic over plain HTTP, one request at a time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use host_sim::{AuthPolicy, Farm, FarmOptions, HostSpec, SimHost, addresses};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const PROGRAM: &str = host_sim::paths::PROGRAM;
const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";

/// A host that speaks plainly, so that a test sees what it says.
pub(crate) fn plain(name: &str) -> HostSpec {
    let mut spec = HostSpec::new(name, addresses::block(1)[0], [2, 0, 0, 0, 0, 1]).awake();
    spec.auth = AuthPolicy::ALL;
    spec.allow_unencrypted = true;
    spec.station.grace_scale = 0.005;
    spec
}

pub(crate) async fn start(spec: HostSpec) -> (Farm, SimHost) {
    let options = FarmOptions {
        heartbeat_every: Duration::from_secs(3600),
        ..FarmOptions::default()
    };
    let farm = Farm::start(vec![spec], options).await.unwrap();
    let host = farm.hosts()[0].clone();
    (farm, host)
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    /// The number of the fault, if it is one.
    pub(crate) fn fault(&self) -> Option<u32> {
        between(&self.body, "Code=\"", "\"")
            .filter(|_| self.status == 500)
            .map(|code| code.parse().unwrap())
    }
}

/// What one Receive gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    pub(crate) done: Option<i32>,
}

/// One request before it is sent.
pub(crate) struct Call<'a> {
    pub(crate) action: String,
    pub(crate) resource: &'a str,
    pub(crate) shell: Option<&'a str>,
    pub(crate) options: &'a [(&'a str, &'a str)],
    pub(crate) timeout: &'a str,
    pub(crate) max_envelope: usize,
    pub(crate) body: String,
}

impl<'a> Call<'a> {
    pub(crate) fn new(action: &str, shell: Option<&'a str>, body: impl Into<String>) -> Self {
        let namespace = if matches!(action, "Create" | "Delete" | "Get") {
            TRANSFER
        } else {
            SHELL
        };
        Self {
            action: format!("{namespace}/{action}"),
            resource: "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd",
            shell,
            options: &[],
            timeout: "PT10S",
            max_envelope: 153_600,
            body: body.into(),
        }
    }

    pub(crate) fn envelope(&self) -> String {
        let selector = self.shell.map_or(String::new(), |id| {
            format!("<w:SelectorSet><w:Selector Name=\"ShellId\">{id}</w:Selector></w:SelectorSet>")
        });
        let options: String = self
            .options
            .iter()
            .map(|(n, v)| format!("<w:Option Name=\"{n}\">{v}</w:Option>"))
            .collect();
        format!(
            "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
             xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
             xmlns:w=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\" \
             xmlns:n=\"http://schemas.xmlsoap.org/ws/2004/09/enumeration\" xmlns:r=\"{SHELL}\"><e:Header>\
             <a:Action>{}</a:Action><a:MessageID>uuid:7</a:MessageID><w:ResourceURI>{}</w:ResourceURI>\
             <w:MaxEnvelopeSize>{}</w:MaxEnvelopeSize><w:OperationTimeout>{}</w:OperationTimeout>{selector}\
             <w:OptionSet>{options}</w:OptionSet></e:Header><e:Body>{}</e:Body></e:Envelope>",
            self.action, self.resource, self.max_envelope, self.timeout, self.body
        )
    }
}

pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    authorization: String,
}

impl Client {
    pub(crate) async fn connect(host: &SimHost) -> std::io::Result<Self> {
        let tcp = TcpStream::connect((host.address(), host.http_port())).await?;
        let (sender, connection) = handshake(TokioIo::new(tcp))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let pair = format!("{}:{}", host.spec().user, host.spec().password);
        Ok(Self {
            sender,
            authorization: format!("Basic {}", BASE64.encode(pair)),
        })
    }

    /// Sends a request with these further headers; a header set to the empty text is left out.
    pub(crate) async fn request(
        &mut self,
        path: &str,
        extra: &[(&str, &str)],
        body: String,
    ) -> hyper::Result<Reply> {
        let mut headers = vec![
            ("host", "host"),
            ("content-type", "application/soap+xml;charset=UTF-8"),
            ("authorization", self.authorization.as_str()),
        ];
        headers.retain(|(name, _)| extra.iter().all(|(other, _)| other != name));
        headers.extend(extra.iter().filter(|(_, value)| !value.is_empty()));
        let mut request = hyper::Request::post(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.sender.ready().await?;
        let response = self
            .sender
            .send_request(request.body(Full::new(Bytes::from(body))).unwrap())
            .await?;
        let (head, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    /// Waits until the host has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let closed = tokio::time::timeout(LIMIT, async {
            while !self.sender.is_closed() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        closed.await.unwrap();
    }

    pub(crate) async fn send(&mut self, call: &Call<'_>) -> hyper::Result<Reply> {
        self.request("/wsman", &[], call.envelope()).await
    }

    pub(crate) async fn create(&mut self) -> String {
        let reply = self.send(&create()).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        between(&reply.body, "<rsp:ShellId>", "<").unwrap().to_owned()
    }

    pub(crate) async fn command(&mut self, shell: &str, line: &str) -> String {
        let reply = self.send(&command(shell, line)).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        between(&reply.body, "<rsp:CommandId>", "<").unwrap().to_owned()
    }

    pub(crate) async fn receive(&mut self, shell: &str, id: &str) -> Received {
        let reply = self.send(&receive(shell, id)).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        received(&reply)
    }

    /// Runs a command without `cmd.exe` to its end: exit code, output, errors.
    pub(crate) async fn run(&mut self, shell: &str, line: &str) -> (i32, String, String) {
        let id = self.command(shell, line).await;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = loop {
            let received = self.receive(shell, &id).await;
            out.extend(received.out);
            err.extend(received.err);
            if let Some(code) = received.done {
                break code;
            }
        };
        self.send(&signal(shell, &id, "terminate")).await.unwrap();
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }
}

pub(crate) fn create() -> Call<'static> {
    let streams = "<r:Shell><r:InputStreams>stdin</r:InputStreams><r:OutputStreams>stdout stderr</r:OutputStreams></r:Shell>";
    Call {
        options: &[("WINRS_CODEPAGE", "65001")],
        ..Call::new("Create", None, streams)
    }
}

pub(crate) fn command<'a>(shell: &'a str, line: &str) -> Call<'a> {
    let body = format!(
        "<r:CommandLine><r:Command>{}</r:Command></r:CommandLine>",
        line.replace('&', "&amp;")
    );
    Call {
        options: &[("WINRS_SKIP_CMD_SHELL", "TRUE")],
        ..Call::new("Command", Some(shell), body)
    }
}

pub(crate) fn receive<'a>(shell: &'a str, id: &str) -> Call<'a> {
    let body =
        format!("<r:Receive><r:DesiredStream CommandId=\"{id}\">stdout stderr</r:DesiredStream></r:Receive>");
    Call::new("Receive", Some(shell), body)
}

pub(crate) fn signal<'a>(shell: &'a str, id: &str, name: &str) -> Call<'a> {
    let body = format!("<r:Signal CommandId=\"{id}\"><r:Code>{SHELL}/signal/{name}</r:Code></r:Signal>");
    Call::new("Signal", Some(shell), body)
}

pub(crate) fn received(reply: &Reply) -> Received {
    let stream = |name: &str| {
        let pieces = reply.body.split("<rsp:Stream ").skip(1);
        let pieces =
            pieces.filter(|p| p.starts_with(&format!("Name=\"{name}\"")) && !p.contains("End=\"true\"/>"));
        pieces
            .flat_map(|p| BASE64.decode(between(p, ">", "<").unwrap_or_default()).unwrap())
            .collect()
    };
    let done = between(&reply.body, "<rsp:ExitCode>", "<").map(|code| code.parse().unwrap());
    Received {
        out: stream("stdout"),
        err: stream("stderr"),
        done,
    }
}

pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?
        .1
        .split_once(after)
        .map(|(inner, _)| inner)
}
