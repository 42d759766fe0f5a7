//! Faults that can be switched on for a host while it runs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A message of the conversation at which a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// A new connection, before anything is read.
    Connect,
    /// The TLS handshake.
    TlsHandshake,
    /// An NTLM type 1 message.
    Negotiate,
    /// An NTLM type 3 message.
    Authenticate,
    /// Identify, anonymous or not.
    Identify,
    /// Create, before a shell is opened.
    Create,
    /// Create, after the shell was opened: only the answer is lost.
    CreateAnswer,
    /// Command, before the program is started.
    Command,
    /// Command, after the program was started: only the answer is lost.
    CommandAnswer,
    /// Receive, before output is taken.
    Receive,
    /// Receive, after output was taken: the bytes are lost.
    ReceiveAnswer,
    /// Send.
    Send,
    /// Signal.
    Signal,
    /// Delete.
    Delete,
    /// Get, of a shell or of a CIM instance.
    Get,
    /// Enumerate and Pull.
    Enumerate,
    /// In the middle of the body of any SOAP answer.
    MidBody,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Nothing comes any more; the connection stays open.
    Hang(At),
    /// The connection is reset.
    Reset(At),
    /// Every answer leaves one byte at a time with this pause between the bytes.
    Drip {
        /// Pause after each byte.
        every: Duration,
    },
    /// TLS shows a certificate of another authority, with another key, for the right name.
    WrongCertificate,
    /// Every request gets 503.
    Http503 {
        /// Seconds of the `Retry-After` header, if there is one.
        retry_after: Option<u32>,
    },
    /// Every SOAP answer breaks off in the middle of an element.
    MalformedXml,
    /// Every SOAP answer is padded to at least this many bytes.
    HugeXml(usize),
    /// From the next power on the machine never opens its ports.
    NeverBoots,
    /// The next boot is followed by a second one of its own accord.
    BootsTwice,
    /// From the next boot the address belongs to another computer with another name and certificate.
    WakesAsAnotherMachine,
    /// The host's clock is wrong by this much.
    ClockSkew(chrono::Duration),
    /// A WS-Management fault with this code answers the message; nothing is done.
    FaultCode(u32, At),
    /// Create answers with fault 5: authenticated, but without the right to use the shell.
    AccessDenied,
    /// The Lab Station command (for example `prepare-session` or `power shutdown`) does nothing and ends with this code.
    ExitCode {
        /// First words of the command.
        command: String,
        /// Exit code.
        code: i32,
    },
    /// The Lab Station command starts and never ends.
    CommandHangs {
        /// First words of the command.
        command: String,
    },
    /// `heartbeat.json` holds the first half of a document.
    GarbledHeartbeat,
    /// `heartbeat.json` does not exist.
    NoHeartbeat,
    /// The station no longer rewrites its heartbeat, neither by its timer nor after operations nor after a boot.
    StaleHeartbeat,
    /// An ordered shutdown, hibernation or reboot is acknowledged and never happens.
    IgnoresPowerOrders,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    left: Option<u32>,
}

/// The faults switched on for one host.
#[derive(Debug, Default)]
pub(crate) struct FaultBoard(Mutex<Vec<Active>>);

impl FaultBoard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Active>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, fault: Fault, times: Option<u32>) {
        self.lock().push(Active { fault, left: times });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// The first active fault for which `pick` answers; one use of it is counted.
    pub(crate) fn take<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut board = self.lock();
        let (index, found) = board
            .iter()
            .enumerate()
            .find_map(|(i, a)| pick(&a.fault).map(|t| (i, t)))?;
        if let Some(left) = &mut board[index].left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                board.remove(index);
            }
        }
        Some(found)
    }

    /// Like [`Self::take`] without counting a use: for faults that describe a condition.
    pub(crate) fn look<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.lock().iter().find_map(|a| pick(&a.fault))
    }

    /// Switches one fault off, for faults that are over once they have struck.
    pub(crate) fn consume(&self, fault: &Fault) -> bool {
        let mut board = self.lock();
        let found = board.iter().position(|a| a.fault == *fault);
        found.map(|index| board.remove(index)).is_some()
    }

    pub(crate) fn has(&self, fault: &Fault) -> bool {
        self.look(|f| (f == fault).then_some(())).is_some()
    }

    /// How a connection is to end at this message, if at all.
    pub(crate) fn strike(&self, at: At) -> Option<Strike> {
        self.take(|f| match f {
            Fault::Hang(a) if *a == at => Some(Strike::Hang),
            Fault::Reset(a) if *a == at => Some(Strike::Reset),
            _ => None,
        })
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    Hang,
    Reset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_strikes_so_many_times() {
        let board = FaultBoard::default();
        board.set(Fault::Reset(At::Command), Some(2));
        assert_eq!(board.strike(At::Receive), None);
        assert_eq!(board.strike(At::Command), Some(Strike::Reset));
        assert_eq!(board.strike(At::Command), Some(Strike::Reset));
        assert_eq!(board.strike(At::Command), None);
    }

    #[test]
    fn a_fault_without_a_count_stays_until_it_is_cleared() {
        let board = FaultBoard::default();
        board.set(Fault::Hang(At::Create), None);
        for _ in 0..3 {
            assert_eq!(board.strike(At::Create), Some(Strike::Hang));
        }
        board.clear();
        assert_eq!(board.strike(At::Create), None);
    }
}
