//! From a request to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::Instant;
use uuid::Uuid;

use super::envelope::{Request, duration, duration_text, wrap};
use super::fault::SoapFault;
use super::shell::{Command, Shell};
use super::xml::{Element, Tag};
use super::{cim, ns};
use crate::effects::count;
use crate::faults::{At, Fault};
use crate::host::Inner;
use crate::spec::DoneStyle;
use crate::station::Environment;

/// Bytes of one `Stream` element before base64: odd, so that characters of several bytes are split now and then.
const PIECE: usize = 8191;
/// Room in an answer for everything but output.
const OVERHEAD: usize = 4096;

/// An answer, not yet sealed or written.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Where in the conversation a request stands: before it is carried out, and after.
pub(crate) fn place_of(request: &Request) -> Option<(At, Option<At>)> {
    if request.body(ns::IDENTITY, "Identify").is_some() {
        return Some((At::Identify, None));
    }
    let (space, verb) = request.action.rsplit_once('/')?;
    Some(match (space, verb) {
        (ns::TRANSFER, "Create") => (At::Create, Some(At::CreateAnswer)),
        (ns::TRANSFER, "Delete") => (At::Delete, None),
        (ns::TRANSFER, "Get") => (At::Get, None),
        (ns::ENUMERATION, _) => (At::Enumerate, None),
        (ns::SHELL, "Command") => (At::Command, Some(At::CommandAnswer)),
        (ns::SHELL, "Receive") => (At::Receive, Some(At::ReceiveAnswer)),
        (ns::SHELL, "Send") => (At::Send, None),
        (ns::SHELL, "Signal") => (At::Signal, None),
        _ => return None,
    })
}

/// Carries out a request of an authenticated user.
pub(crate) async fn answer(host: &Arc<Inner>, user: &str, client: IpAddr, request: &Request) -> Answer {
    if request.body(ns::IDENTITY, "Identify").is_some() {
        return Answer {
            status: 200,
            body: identify(true),
        };
    }
    let call = Call {
        host,
        user,
        client,
        request,
    };
    match call.carry_out().await {
        Ok(body) => {
            let action = format!("{}Response", request.action);
            Answer {
                status: 200,
                body: wrap(&action, &request.message_id, body),
            }
        }
        Err(fault) => {
            let machine = host.lock().computer.clone();
            Answer {
                status: 500,
                body: fault.to_envelope(&request.message_id, &machine),
            }
        }
    }
}

/// The answer to Identify; an anonymous caller learns no version.
pub(crate) fn identify(authenticated: bool) -> String {
    let version = if authenticated {
        "OS: 10.0.22631 SP: 0.0 Stack: 3.0"
    } else {
        "OS: 0.0.0 SP: 0.0 Stack: 3.0"
    };
    Tag::new("s:Envelope")
        .attr("xmlns:s", ns::SOAP)
        .child(Tag::new("s:Header"))
        .child(
            Tag::new("s:Body").child(
                Tag::new("wsmid:IdentifyResponse")
                    .attr("xmlns:wsmid", ns::IDENTITY)
                    .child(Tag::with_text("wsmid:ProtocolVersion", ns::WSMAN))
                    .child(Tag::with_text("wsmid:ProductVendor", "Microsoft Corporation"))
                    .child(Tag::with_text("wsmid:ProductVersion", version)),
            ),
        )
        .to_xml()
}

/// Breaks an envelope off in the middle of an element.
pub(crate) fn malformed(envelope: &str) -> String {
    let mut half = envelope.len() / 2;
    while !envelope.is_char_boundary(half) {
        half -= 1;
    }
    format!("{}<broken", &envelope[..half])
}

/// Pads the body of an envelope with a foreign element to at least so many bytes.
pub(crate) fn huge(envelope: &str, size: usize) -> String {
    let missing = size.saturating_sub(envelope.len());
    match envelope.rsplit_once("</s:Body>") {
        Some((before, after)) => format!("{before}<pad>{}</pad></s:Body>{after}", "x".repeat(missing)),
        None => envelope.to_owned(),
    }
}

struct Call<'a> {
    host: &'a Arc<Inner>,
    user: &'a str,
    client: IpAddr,
    request: &'a Request,
}

impl Call<'_> {
    async fn carry_out(&self) -> Result<Vec<Tag>, SoapFault> {
        let request = self.request;
        let Some((place, _)) = place_of(request) else {
            return Err(SoapFault::unknown_action(&request.action));
        };
        let forced = self.host.faults.take(|f| match f {
            Fault::FaultCode(code, at) if *at == place => Some(*code),
            _ => None,
        });
        if let Some(code) = forced {
            return Err(SoapFault::on_demand(code));
        }
        let room = request.max_envelope()?;
        let timeout = request.timeout()?.min(self.host.spec.operation_timeout_cap);
        match place {
            At::Create => self.create(),
            At::Command => self.command(),
            At::Receive => self.receive(room, Instant::now() + timeout).await,
            At::Send => self.send(),
            At::Signal => self.signal(),
            At::Delete => self.delete(),
            At::Get => self.get(),
            At::Enumerate => Ok(vec![self.enumerate()]),
            _ => Err(SoapFault::unknown_action(&request.action)),
        }
    }

    fn shell_id(&self) -> &str {
        self.request.selector("ShellId").unwrap_or_default()
    }

    fn create(&self) -> Result<Vec<Tag>, SoapFault> {
        if self
            .host
            .faults
            .take(|f| (*f == Fault::AccessDenied).then_some(()))
            .is_some()
        {
            return Err(SoapFault::access_denied());
        }
        if !self.request.resource.starts_with(ns::SHELL) {
            return Err(SoapFault::no_such_resource(&self.request.resource));
        }
        let asked = self
            .request
            .body(ns::SHELL, "Shell")
            .ok_or_else(|| SoapFault::bad_body("no Shell element"))?;
        let shell = self.new_shell(asked)?;
        let answer = vec![resource_created(&shell), describe(&shell)];
        let mut state = self.host.lock();
        let mine = state
            .shells
            .all()
            .filter(|s| s.owner.eq_ignore_ascii_case(self.user))
            .count();
        let limit = self.host.spec.quotas.max_shells;
        if mine >= limit {
            return Err(SoapFault::too_many_shells(limit));
        }
        if state.shells.all().any(|s| s.id == shell.id) {
            return Err(SoapFault::bad_body("the host has a shell with this ShellId"));
        }
        state.shells.add(shell);
        drop(state);
        count(&self.host.counts.shells_created);
        Ok(answer)
    }

    fn new_shell(&self, asked: &Element) -> Result<Shell, SoapFault> {
        let text = |name| asked.child(ns::SHELL, name).map(|e| e.text.trim().to_owned());
        let idle = match text("IdleTimeOut").or_else(|| text("IdleTimeout")) {
            Some(idle) => duration(&idle).ok_or_else(SoapFault::bad_timeout)?,
            None => self.host.spec.quotas.shell_idle,
        };
        let variables = asked.child(ns::SHELL, "Environment").map(|environment| {
            let pairs = environment.all(ns::SHELL, "Variable");
            pairs
                .map(|v| (v.attribute("Name").unwrap_or_default().to_owned(), v.text.clone()))
                .collect()
        });
        let chosen = asked
            .attribute("ShellId")
            .filter(|_| self.host.spec.takes_shell_ids);
        let id = match chosen {
            Some(chosen) => Uuid::parse_str(chosen).map_err(|_| SoapFault::bad_body("ShellId is no UUID"))?,
            None => Uuid::new_v4(),
        };
        let id = id.to_string().to_uppercase();
        let now = Instant::now();
        Ok(Shell {
            name: asked.attribute("Name").map(str::to_owned),
            owner: self.user.to_owned(),
            client: self.client,
            environment: Environment {
                shell_id: id.clone(),
                code_page: self
                    .request
                    .option("WINRS_CODEPAGE")
                    .and_then(|c| c.parse().ok())
                    .unwrap_or(437),
                variables: variables.unwrap_or_default(),
                directory: text("WorkingDirectory")
                    .unwrap_or_else(|| format!(r"C:\Users\{}", self.host.spec.user)),
            },
            idle,
            touched: now,
            created: now,
            streams: (
                text("InputStreams").unwrap_or_else(|| "stdin".into()),
                text("OutputStreams").unwrap_or_else(|| "stdout stderr".into()),
            ),
            commands: std::collections::HashMap::new(),
            id,
        })
    }

    fn command(&self) -> Result<Vec<Tag>, SoapFault> {
        let asked = self.request.body(ns::SHELL, "CommandLine");
        let asked = asked.ok_or_else(|| SoapFault::bad_body("no CommandLine element"))?;
        let words: Vec<&str> = asked
            .all(ns::SHELL, "Command")
            .chain(asked.all(ns::SHELL, "Arguments"))
            .map(|e| e.text.as_str())
            .collect();
        let line = words.join(" ");
        let skip_cmd = self
            .request
            .option("WINRS_SKIP_CMD_SHELL")
            .is_some_and(|v| v.eq_ignore_ascii_case("TRUE"));
        let id = match asked.attribute("CommandId") {
            Some(chosen) => {
                Uuid::parse_str(chosen).map_err(|_| SoapFault::bad_body("CommandId is no UUID"))?
            }
            None => Uuid::new_v4(),
        };
        let id = id.to_string().to_uppercase();
        let quotas = &self.host.spec.quotas;
        let mut state = self.host.lock();
        let operations = state.shells.operations_of(self.user);
        let shell = state.shells.find(self.shell_id(), self.user)?;
        if operations >= quotas.max_operations {
            return Err(SoapFault::too_many_operations(quotas.max_operations));
        }
        if shell.commands.values().filter(|c| c.is_running()).count() >= quotas.max_processes_per_shell {
            return Err(SoapFault::too_many_processes(quotas.max_processes_per_shell));
        }
        if shell.commands.contains_key(&id) {
            return Err(SoapFault::bad_body("the shell has a command with this CommandId"));
        }
        let command = Arc::new(Command::default());
        shell.commands.insert(id.clone(), Arc::clone(&command));
        let environment = shell.environment.clone();
        drop(state);
        command.start(Arc::clone(self.host), environment, line, skip_cmd);
        Ok(vec![
            Tag::new("rsp:CommandResponse").child(Tag::with_text("rsp:CommandId", id)),
        ])
    }

    async fn receive(&self, room: usize, deadline: Instant) -> Result<Vec<Tag>, SoapFault> {
        let desired = self
            .request
            .body(ns::SHELL, "Receive")
            .and_then(|r| r.child(ns::SHELL, "DesiredStream"));
        let desired = desired.ok_or_else(|| SoapFault::bad_body("no DesiredStream element"))?;
        let id = desired.attribute("CommandId").unwrap_or_default();
        let command = self
            .host
            .lock()
            .shells
            .find(self.shell_id(), self.user)?
            .command(id)?;
        let bytes = (room.saturating_sub(OVERHEAD) / 4 * 3).max(PIECE / 4);
        let done_alone = self.host.spec.done == DoneStyle::After;
        let received = command
            .receive(id, deadline, bytes, done_alone)
            .await?
            .ok_or_else(SoapFault::timed_out)?;
        let stream = |name: &'static str, bytes: &[u8]| -> Vec<Tag> {
            let piece = |piece: &[u8]| {
                Tag::with_text("rsp:Stream", BASE64.encode(piece))
                    .attr("Name", name)
                    .attr("CommandId", id)
            };
            bytes.chunks(PIECE).map(piece).collect()
        };
        let mut answer = Tag::new("rsp:ReceiveResponse")
            .children(stream("stdout", &received.out))
            .children(stream("stderr", &received.err));
        let name = if received.done.is_some() {
            "Done"
        } else {
            "Running"
        };
        let mut state = Tag::new("rsp:CommandState")
            .attr("CommandId", id)
            .attr("State", format!("{}/CommandState/{name}", ns::SHELL));
        if let Some(code) = received.done {
            let end = |name| {
                Tag::new("rsp:Stream")
                    .attr("Name", name)
                    .attr("CommandId", id)
                    .attr("End", "true")
            };
            answer = answer.child(end("stdout")).child(end("stderr"));
            // Windows prints the code unsigned or signed, by version; negative ones are shown signed here.
            state = state.child(Tag::with_text("rsp:ExitCode", code.to_string()));
        }
        Ok(vec![answer.child(state)])
    }

    fn send(&self) -> Result<Vec<Tag>, SoapFault> {
        let stream = self
            .request
            .body(ns::SHELL, "Send")
            .and_then(|s| s.child(ns::SHELL, "Stream"));
        let stream = stream.ok_or_else(|| SoapFault::bad_body("no Stream element"))?;
        let bytes = BASE64
            .decode(stream.text.trim())
            .map_err(|_| SoapFault::bad_body("the stream is not base64"))?;
        let end = stream
            .attribute("End")
            .is_some_and(|end| end.eq_ignore_ascii_case("true"));
        let id = stream.attribute("CommandId").unwrap_or_default();
        let command = self
            .host
            .lock()
            .shells
            .find(self.shell_id(), self.user)?
            .command(id)?;
        // As for a pipe whose reader has gone.
        if !command.is_running() {
            return Err(SoapFault::command_not_found(id));
        }
        if !command.give(&bytes, end) {
            return Err(SoapFault::bad_body("standard input was closed before"));
        }
        Ok(vec![Tag::new("rsp:SendResponse")])
    }

    fn signal(&self) -> Result<Vec<Tag>, SoapFault> {
        let signal = self
            .request
            .body(ns::SHELL, "Signal")
            .ok_or_else(|| SoapFault::bad_body("no Signal element"))?;
        let id = signal.attribute("CommandId").unwrap_or_default();
        let code = signal
            .child(ns::SHELL, "Code")
            .map(|c| c.text.trim().to_ascii_lowercase())
            .unwrap_or_default();
        let mut state = self.host.lock();
        let shell = state.shells.find(self.shell_id(), self.user)?;
        let command = shell.command(id)?;
        match code.rsplit('/').next().unwrap_or_default() {
            "terminate" => {
                command.interrupt();
                shell.commands.remove(&id.to_ascii_uppercase());
            }
            "ctrl_c" | "ctrl_break" => command.interrupt(),
            _ => return Err(SoapFault::bad_body("the signal code is unknown")),
        }
        Ok(vec![Tag::new("rsp:SignalResponse")])
    }

    fn delete(&self) -> Result<Vec<Tag>, SoapFault> {
        let mut state = self.host.lock();
        state.shells.find(self.shell_id(), self.user)?;
        state.shells.remove(self.shell_id());
        Ok(Vec::new())
    }

    fn get(&self) -> Result<Vec<Tag>, SoapFault> {
        if cim::is_class(&self.request.resource) {
            return cim::get(self.host, &self.request.resource).map(|instance| vec![instance]);
        }
        let mut state = self.host.lock();
        state
            .shells
            .find(self.shell_id(), self.user)
            .map(|shell| vec![describe(shell)])
    }

    /// All shells of the host, at once or by one Pull.
    fn enumerate(&self) -> Tag {
        let pulls = self.request.action.ends_with("/Pull");
        let optimized = self
            .request
            .body(ns::ENUMERATION, "Enumerate")
            .is_some_and(|e| e.child(ns::WSMAN, "OptimizeEnumeration").is_some());
        if !pulls && !optimized {
            let context = Uuid::new_v4().to_string().to_uppercase();
            return Tag::new("n:EnumerateResponse").child(Tag::with_text("n:EnumerationContext", context));
        }
        let mut state = self.host.lock();
        let shells: Vec<Tag> = state.shells.all().map(describe).collect();
        let names = if pulls {
            ("n:PullResponse", "n:Items", "n:EndOfSequence")
        } else {
            ("n:EnumerateResponse", "w:Items", "w:EndOfSequence")
        };
        let context = Tag::new("n:EnumerationContext");
        let items = Tag::new(names.1).children(shells);
        Tag::new(names.0)
            .child(context)
            .child(items)
            .child(Tag::new(names.2))
    }
}

fn resource_created(shell: &Shell) -> Tag {
    let selectors =
        Tag::new("w:SelectorSet").child(Tag::with_text("w:Selector", &*shell.id).attr("Name", "ShellId"));
    let parameters = Tag::new("a:ReferenceParameters")
        .child(Tag::with_text("w:ResourceURI", format!("{}/cmd", ns::SHELL)))
        .child(selectors);
    Tag::new("x:ResourceCreated")
        .child(Tag::with_text(
            "a:Address",
            format!("{}/role/anonymous", ns::ADDRESSING),
        ))
        .child(parameters)
}

fn describe(shell: &Shell) -> Tag {
    let text = Tag::with_text;
    Tag::new("rsp:Shell")
        .attr("xmlns:rsp", ns::SHELL)
        .child(text("rsp:ShellId", shell.id.clone()))
        .children(shell.name.iter().map(|name| text("rsp:Name", name.clone())))
        .child(text("rsp:ResourceUri", format!("{}/cmd", ns::SHELL)))
        .child(text("rsp:Owner", shell.owner.clone()))
        .child(text("rsp:ClientIP", shell.client.to_string()))
        .child(text("rsp:IdleTimeOut", duration_text(shell.idle)))
        .child(text("rsp:InputStreams", shell.streams.0.clone()))
        .child(text("rsp:OutputStreams", shell.streams.1.clone()))
        .child(text("rsp:ShellRunTime", duration_text(shell.created.elapsed())))
        .child(text(
            "rsp:ShellInactivity",
            duration_text(shell.touched.elapsed()),
        ))
}
