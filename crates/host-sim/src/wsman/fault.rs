//! SOAP faults as Windows words them.

use super::envelope::wrap;
use super::ns;
use super::xml::Tag;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SoapFault {
    pub(crate) code: u32,
    side: &'static str,
    subcode: &'static str,
    text: String,
}

impl SoapFault {
    fn new(code: u32, side: &'static str, subcode: &'static str, text: &str) -> Self {
        Self {
            code,
            side,
            subcode,
            text: text.to_owned(),
        }
    }

    /// Nothing happened within the operation time-out. Source: fault 0x80338029.
    pub(crate) fn timed_out() -> Self {
        Self::new(
            2_150_858_793,
            "s:Receiver",
            "w:TimedOut",
            "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
        )
    }

    /// Source: fault 0x8033805B.
    pub(crate) fn shell_not_found(id: &str) -> Self {
        Self::new(
            2_150_858_843,
            "s:Sender",
            "w:InvalidSelectors",
            &format!(
                "The request for the Windows Remote Shell with ShellId {id} failed because the shell was not found on \
                 the server. Possible causes are: the specified ShellId is incorrect or the shell no longer exists on \
                 the server."
            ),
        )
    }

    /// The same number serves for a command that the shell does not know.
    pub(crate) fn command_not_found(id: &str) -> Self {
        Self::new(
            2_150_858_843,
            "s:Sender",
            "w:InvalidSelectors",
            &format!(
                "The shell has no command with the identifier {id}. It was never started, or it has ended."
            ),
        )
    }

    /// Source: fault 0x803381A5.
    pub(crate) fn too_many_shells(limit: usize) -> Self {
        Self::new(
            2_150_859_173,
            "s:Sender",
            "w:QuotaLimit",
            &format!(
                "The WS-Management service cannot process the request. This user is allowed a maximum number of \
                 {limit} concurrent shells, which has been exceeded. Close existing shells or raise the quota for this \
                 user."
            ),
        )
    }

    /// Source: fault 0x803381A6.
    pub(crate) fn too_many_operations(limit: usize) -> Self {
        Self::new(
            2_150_859_174,
            "s:Sender",
            "w:QuotaLimit",
            &format!(
                "The WS-Management service cannot process the request. The maximum number of concurrent operations for \
                 this user has been exceeded. Close existing operations for this user, or raise the quota of {limit}."
            ),
        )
    }

    /// Source: fault 0x803381A7 for the number of processes of one shell.
    pub(crate) fn too_many_processes(limit: usize) -> Self {
        Self::new(
            2_150_859_175,
            "s:Sender",
            "w:QuotaLimit",
            &format!(
                "The WS-Management service cannot process the request. The maximum number of {limit} concurrent \
                 processes per shell has been exceeded."
            ),
        )
    }

    /// Source: Win32 error 5.
    pub(crate) fn access_denied() -> Self {
        Self::new(5, "s:Sender", "w:AccessDenied", "Access is denied.")
    }

    /// Source: fault 0x8033800F.
    pub(crate) fn bad_timeout() -> Self {
        Self::new(
            2_150_858_767,
            "s:Sender",
            "w:InvalidTimeout",
            "The WS-Management service cannot process the request. The OperationTimeout header is not a duration that \
             the service understands.",
        )
    }

    /// Source: DSP0226 section 13, MaxEnvelopeSize below 8192 is `wsman:EncodingLimit`; the number is the invalid
    /// parameter of Win32 (0x80070057) and was not seen on a real host.
    pub(crate) fn envelope_too_small() -> Self {
        Self::new(
            2_147_942_487,
            "s:Sender",
            "w:EncodingLimit",
            "The WS-Management service cannot process the request. The MaxEnvelopeSize of the request is below 8192.",
        )
    }

    /// Source: fault 0x80338000 (the resource URI names nothing).
    pub(crate) fn no_such_resource(resource: &str) -> Self {
        Self::new(
            2_150_858_752,
            "s:Sender",
            "w:InvalidResourceURI",
            &format!(
                "The WS-Management service cannot process the request. There is no resource {resource}."
            ),
        )
    }

    /// Source: WS-Addressing, the action is not supported at the endpoint.
    pub(crate) fn unknown_action(action: &str) -> Self {
        Self::new(
            2_150_858_754,
            "s:Sender",
            "a:ActionNotSupported",
            &format!(
                "The WS-Management service cannot process the request. The action {action} is not supported."
            ),
        )
    }

    /// The body does not fit the action. Source: DSP0226 `wsman:SchemaValidationError`.
    pub(crate) fn bad_body(problem: &str) -> Self {
        Self::new(2_147_942_487, "s:Sender", "w:SchemaValidationError", problem)
    }

    /// The number a test asked for.
    pub(crate) fn on_demand(code: u32) -> Self {
        match code {
            2_150_858_793 => Self::timed_out(),
            5 => Self::access_denied(),
            2_150_859_172..=2_150_859_176 => {
                Self::new(code, "s:Sender", "w:QuotaLimit", "A quota has been exceeded.")
            }
            _ => Self::new(code, "s:Receiver", "w:InternalError", "The operation failed."),
        }
    }

    /// The whole answer.
    pub(crate) fn to_envelope(&self, relates_to: &str, machine: &str) -> String {
        let code = Tag::new("s:Code")
            .child(Tag::with_text("s:Value", self.side))
            .child(Tag::new("s:Subcode").child(Tag::with_text("s:Value", self.subcode)));
        let reason =
            Tag::new("s:Reason").child(Tag::with_text("s:Text", &*self.text).attr("xml:lang", "en-US"));
        let detail = Tag::new("f:WSManFault")
            .attr("xmlns:f", ns::FAULT)
            .attr("Code", self.code.to_string())
            .attr("Machine", machine)
            .child(Tag::with_text("f:Message", &*self.text));
        let body = Tag::new("s:Fault")
            .child(code)
            .child(reason)
            .child(Tag::new("s:Detail").child(detail));
        wrap(
            "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault",
            relates_to,
            Some(body),
        )
    }
}
