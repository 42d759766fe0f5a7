//! How a command ended, for people in a sentence and for scripts in a number.

use std::process::ExitCode;

use crate::client::{ClientError, Refusal};

/// The exit code. The numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Unreachable = 5,
    Busy = 6,
    TimedOut = 7,
    Interrupted = 130,
}

impl Exit {
    /// All of them with what they mean, for the manual.
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Done, "done"),
        (
            Self::Failed,
            "the host or a step failed, or the service made a mistake",
        ),
        (
            Self::Usage,
            "the command line or a value is wrong; nothing was done",
        ),
        (Self::NotFound, "no such host, reservation, operation or worker"),
        (
            Self::Refused,
            "refused: no token, a wrong one, or too small a role (401, 403)",
        ),
        (
            Self::Unreachable,
            "the service cannot be reached, or says that it is not ready (503)",
        ),
        (
            Self::Busy,
            "somebody else works on the host, a conflict, or too many calls (409, 423, 429), after retries",
        ),
        (Self::TimedOut, "no answer within --timeout; long work goes on"),
        (Self::Interrupted, "interrupted with Ctrl-C; long work goes on"),
    ];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// Judges an answer by its status. A 502 or 504 is the API speaking of a host, unless a proxy gave up waiting: ours
    /// has codes for that, others send none.
    pub(crate) fn of_refusal(refusal: &Refusal) -> Self {
        match refusal.status {
            400 | 405 | 406 | 411..=417 | 422 | 431 => Self::Usage,
            401 | 403 => Self::Refused,
            404 | 410 => Self::NotFound,
            408 => Self::TimedOut,
            409 | 423 | 425 | 429 => Self::Busy,
            502 if refusal.is_a_proxys() => Self::Unreachable,
            503 => Self::Unreachable,
            504 if refusal.is_a_proxys() => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a command could not be carried out to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write")]
    Output(#[from] std::io::Error),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            // Whoever closed the pipe has seen enough.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Failed,
            Self::Client(error) => match error {
                ClientError::Refused(refusal) => Exit::of_refusal(refusal),
                ClientError::Unreachable { .. } | ClientError::Cut { .. } => Exit::Unreachable,
                ClientError::TimedOut { .. } => Exit::TimedOut,
                ClientError::TooLong { .. } | ClientError::Unreadable { .. } => Exit::Failed,
                ClientError::Setting(_) => Exit::Usage,
            },
        }
    }

    /// What to do about it, where there is something.
    pub(crate) fn hint(&self) -> Option<String> {
        let Self::Client(error) = self else { return None };
        match error {
            ClientError::Refused(refusal) => hint_for(refusal),
            ClientError::Unreachable { .. } => {
                Some("is the address right (--url, OPSCTL_URL), and the service up?".into())
            }
            ClientError::Cut {
                sent_effect: true, ..
            } => Some("whether it was done is not known: see `opsctl operations`".into()),
            ClientError::TimedOut { .. } => Some("allow more with --timeout".into()),
            _ => None,
        }
    }
}

fn hint_for(refusal: &Refusal) -> Option<String> {
    let hint = match (refusal.status, refusal.code.as_deref()) {
        (_, Some("unknown_host")) => "see `opsctl hosts`".into(),
        (_, Some("unknown_reservation")) => "see `opsctl reservations`".into(),
        (_, Some("unknown_worker")) => "see `opsctl workers`".into(),
        (401, _) => "give a token: --token-file, OPSCTL_TOKEN or OPSCTL_TOKEN_FILE".into(),
        (403, Some("forbidden")) => {
            "the proxy takes your address for a foreign one (lab-ops.networks.conf)".into()
        }
        (403, None | Some("role_too_small")) => "this takes a token with a larger role".into(),
        (502..=504, _) if refusal.is_a_proxys() => {
            "the proxy answered, not the service: does ops-api run? see both logs".into()
        }
        (409 | 429 | 503, _) => match refusal.retry_after_secs {
            Some(secs) => format!("try again in {secs} s"),
            None => return None,
        },
        (500.., _) => match &refusal.request_id {
            Some(id) => format!("the service's log has more under {id}"),
            None => "the service's log has more".into(),
        },
        _ => return None,
    };
    Some(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: Option<&str>) -> Refusal {
        Refusal {
            status,
            code: code.map(str::to_owned),
            ..Refusal::default()
        }
    }

    #[test]
    fn every_class_of_answer_has_its_exit_code() {
        for (status, code, exit) in [
            (400, Some("invalid_field"), 2),
            (401, None, 4),
            (403, None, 4),
            (404, Some("unknown_host"), 3),
            (409, Some("host_busy"), 6),
            (415, None, 2),
            (429, Some("too_many"), 6),
            (500, None, 1),
            (502, Some("auth_failed"), 1),
            (502, None, 5),
            (502, Some("unavailable"), 5),
            (503, Some("database_unavailable"), 5),
            (504, Some("timed_out"), 1),
            (504, None, 7),
            (504, Some("timeout"), 7),
            (302, None, 1),
        ] {
            assert_eq!(
                Exit::of_refusal(&refusal(status, code)).number(),
                exit,
                "{status}"
            );
        }
    }

    #[test]
    fn what_to_do_next_depends_on_what_was_said() {
        let hint = |status, code| hint_for(&refusal(status, code));
        assert_eq!(hint(404, Some("unknown_host")).unwrap(), "see `opsctl hosts`");
        assert!(hint(401, None).unwrap().contains("--token-file"));
        assert_eq!(hint(400, Some("invalid_field")), None);
        assert!(hint(403, Some("role_too_small")).unwrap().contains("role"));
        assert!(hint(403, Some("forbidden")).unwrap().contains("networks"));
        assert_eq!(hint(403, Some("cross_site")), None);
        for (status, code) in [(502, Some("unavailable")), (504, Some("timeout")), (502, None)] {
            assert!(hint(status, code).unwrap().contains("proxy"), "{status}");
        }
        assert!(hint(502, Some("auth_failed")).unwrap().contains("log"));
        let busy = Refusal {
            retry_after_secs: Some(7),
            ..refusal(409, Some("host_busy"))
        };
        assert_eq!(hint_for(&busy).unwrap(), "try again in 7 s");
    }
}
