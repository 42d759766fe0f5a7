//! Faults as errors.

use crate::error::{Error, LostBecause, Stage};
use crate::soap::{Fault, codes};

/// A fault as the error that says what to do.
pub(crate) fn refused(fault: Fault, during: Stage) -> Error {
    let Fault {
        code,
        subcode,
        message,
    } = fault;
    let said = |name| subcode.as_deref() == Some(name);
    if code == codes::SHELL_NOT_FOUND {
        Error::ShellGone { during }
    } else if codes::is_access_denied(code) || (code == 0 && said("AccessDenied")) {
        Error::AccessDenied { during, code }
    } else if codes::is_quota(code) || said("QuotaLimit") {
        Error::Quota { code, during }
    } else if code == codes::ABORTED {
        Error::ConnectionLost {
            during,
            source: LostBecause::Aborted { code },
        }
    } else {
        Error::Fault {
            code,
            subcode,
            message,
            during,
        }
    }
}
