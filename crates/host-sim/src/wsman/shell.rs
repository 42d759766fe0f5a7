//! Shells and their commands: what survives a lost connection and dies with a reboot.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fault::SoapFault;
use crate::effects::Gauge;
use crate::host::Inner;
use crate::station::{Console, Environment, run};

/// Output kept per stream and command; what a program writes beyond it is lost.
const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;
/// Exit code of a program ended by Ctrl+C (STATUS_CONTROL_C_EXIT).
const CONTROL_C_EXIT: i32 = 0xC000_013A_u32 as i32;

/// The open shells of a host.
#[derive(Default)]
pub(crate) struct Shells {
    open: HashMap<String, Shell>,
}

/// One shell.
pub(crate) struct Shell {
    pub(crate) id: String,
    /// As the client called it.
    pub(crate) name: Option<String>,
    pub(crate) owner: String,
    pub(crate) client: IpAddr,
    pub(crate) environment: Environment,
    pub(crate) idle: Duration,
    pub(crate) touched: Instant,
    pub(crate) created: Instant,
    pub(crate) streams: (String, String),
    pub(crate) commands: HashMap<String, Arc<Command>>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        for command in self.commands.values() {
            command.end.cancel();
        }
    }
}

impl Shells {
    pub(crate) fn open_count(&self) -> u64 {
        self.open.values().filter(|s| !s.is_idle()).count() as u64
    }

    /// Ends all shells with their programs.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }

    /// Shells that are not idle for too long; the others are ended.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &Shell> {
        self.open.retain(|_, shell| !shell.is_idle());
        self.open.values()
    }

    pub(crate) fn add(&mut self, shell: Shell) {
        self.open.insert(shell.id.clone(), shell);
    }

    /// Finds a shell of this owner and marks it as used.
    pub(crate) fn find(&mut self, id: &str, owner: &str) -> Result<&mut Shell, SoapFault> {
        self.open.retain(|_, shell| !shell.is_idle());
        let id = id.to_ascii_uppercase();
        match self.open.get_mut(&id) {
            Some(shell) if shell.owner.eq_ignore_ascii_case(owner) => {
                shell.touched = Instant::now();
                Ok(shell)
            }
            _ => Err(SoapFault::shell_not_found(&id)),
        }
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.open.remove(&id.to_ascii_uppercase());
    }

    /// Commands of this owner that Signal has not ended.
    pub(crate) fn operations_of(&self, owner: &str) -> usize {
        self.open
            .values()
            .filter(|s| s.owner.eq_ignore_ascii_case(owner))
            .map(|s| s.commands.len())
            .sum()
    }
}

impl Shell {
    fn is_idle(&self) -> bool {
        let running = self.commands.values().any(|c| c.lock().exit_code.is_none());
        !running && self.touched.elapsed() >= self.idle
    }

    pub(crate) fn command(&self, id: &str) -> Result<Arc<Command>, SoapFault> {
        let found = self.commands.get(&id.to_ascii_uppercase());
        found.cloned().ok_or_else(|| SoapFault::command_not_found(id))
    }
}

/// One command of a shell.
#[derive(Default)]
pub(crate) struct Command {
    state: Mutex<CommandState>,
    changed: Notify,
    input_changed: Notify,
    end: CancellationToken,
}

#[derive(Default)]
struct CommandState {
    out: Vec<u8>,
    err: Vec<u8>,
    exit_code: Option<i32>,
    /// Standard input that the program has not read.
    input: Vec<u8>,
    input_closed: bool,
    /// The client has been told the exit code; the command is known no longer.
    told: bool,
}

/// What one Receive gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    /// Exit code, if this ends the command.
    pub(crate) done: Option<i32>,
}

impl Console for Command {
    fn out(&self, bytes: &[u8]) {
        let mut state = self.lock();
        append(&mut state.out, bytes);
        drop(state);
        self.changed.notify_waiters();
    }

    fn input(&self) -> (Vec<u8>, bool) {
        let mut state = self.lock();
        (std::mem::take(&mut state.input), state.input_closed)
    }

    fn input_changed(&self) -> &Notify {
        &self.input_changed
    }

    fn err(&self, bytes: &[u8]) {
        let mut state = self.lock();
        append(&mut state.err, bytes);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Command {
    /// Standard input from the client; false when it was closed before.
    pub(crate) fn give(&self, bytes: &[u8], end: bool) -> bool {
        let mut state = self.lock();
        let open = !state.input_closed;
        if open {
            append(&mut state.input, bytes);
            state.input_closed = end;
        }
        drop(state);
        self.input_changed.notify_waiters();
        open
    }
}

fn append(stream: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_LIMIT.saturating_sub(stream.len());
    stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl Command {
    fn lock(&self) -> MutexGuard<'_, CommandState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the program; it runs until it ends, a signal ends it, or its shell goes.
    pub(crate) fn start(
        self: &Arc<Self>,
        host: Arc<Inner>,
        environment: Environment,
        line: String,
        skip_cmd: bool,
    ) {
        let command = Arc::clone(self);
        host.counts.command_started();
        host.asked(&line);
        tokio::spawn(async move {
            let _running = Gauge::adopt(&host.counts.running);
            let code = tokio::select! {
                code = run(&host, &*command, &environment, &line, skip_cmd) => code,
                () = command.end.cancelled() => CONTROL_C_EXIT,
            };
            command.lock().exit_code = Some(code);
            command.changed.notify_waiters();
        });
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock().exit_code.is_none()
    }

    /// Ends the program if it still runs.
    pub(crate) fn interrupt(&self) {
        self.end.cancel();
    }

    /// Waits for output or the end until `deadline` and takes at most `room` bytes. `Ok(None)` when nothing came.
    ///
    /// # Cancel safety
    /// Cancel safe: output is taken and returned in one step.
    pub(crate) async fn receive(
        &self,
        id: &str,
        deadline: Instant,
        room: usize,
        done_alone: bool,
    ) -> Result<Option<Received>, SoapFault> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that output between look and wait is not slept over.
            changed.as_mut().enable();
            if let Some(received) = self.take(id, room, done_alone)? {
                return Ok(Some(received));
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline) => return Ok(None),
            }
        }
    }

    fn take(&self, id: &str, room: usize, done_alone: bool) -> Result<Option<Received>, SoapFault> {
        let mut state = self.lock();
        if state.told {
            return Err(SoapFault::command_not_found(id));
        }
        let from_out = state.out.len().min(room);
        let from_err = state.err.len().min(room - from_out);
        let out: Vec<u8> = state.out.drain(..from_out).collect();
        let err: Vec<u8> = state.err.drain(..from_err).collect();
        let drained = state.out.is_empty() && state.err.is_empty();
        let took_some = !(out.is_empty() && err.is_empty());
        let done = state.exit_code.filter(|_| drained && !(took_some && done_alone));
        state.told = done.is_some();
        Ok((took_some || done.is_some()).then_some(Received { out, err, done }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn output_comes_in_pieces_that_fit_and_done_comes_last() {
        let command = Command::default();
        command.out(b"hello");
        command.err(b"oh");
        command.lock().exit_code = Some(3);
        let first = command.receive("x", soon(), 4, false).await.unwrap().unwrap();
        assert_eq!(
            first,
            Received {
                out: b"hell".into(),
                err: vec![],
                done: None
            }
        );
        let second = command.receive("x", soon(), 4, false).await.unwrap().unwrap();
        assert_eq!(
            second,
            Received {
                out: b"o".into(),
                err: b"oh".into(),
                done: Some(3)
            }
        );
        assert!(command.receive("x", soon(), 4, false).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn done_can_come_in_an_answer_of_its_own() {
        let command = Command::default();
        command.out(b"a");
        command.lock().exit_code = Some(0);
        assert_eq!(
            command.receive("x", soon(), 9, true).await.unwrap().unwrap().done,
            None
        );
        assert_eq!(
            command.receive("x", soon(), 9, true).await.unwrap().unwrap().done,
            Some(0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_command_gives_nothing_at_the_deadline() {
        let command = Command::default();
        assert_eq!(command.receive("x", soon(), 9, false).await.unwrap(), None);
    }
}
