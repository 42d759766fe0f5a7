//! The Lab Station software and the little of Windows that stands behind the shell.

mod builtins;
mod cmdline;
mod curl;
mod documents;
mod files;
mod json;
mod labstation;
mod powershell;
mod programs;
mod watch;

pub use cmdline::argv;
pub use files::paths;
pub(crate) use programs::{Console, Environment, run};

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::spec::{HostSpec, StationSpec};
use files::File;

/// One instant by two clocks: the farm's, which orders things, and the host's, which is written into documents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) farm: DateTime<Utc>,
    pub(crate) station: DateTime<Utc>,
    /// The service no longer writes its heartbeat, by a fault.
    pub(crate) heartbeat_frozen: bool,
}

#[derive(Debug, Clone)]
struct Session {
    id: u32,
    user: String,
}

/// The state of one station.
pub(crate) struct Station {
    spec: StationSpec,
    computer: String,
    mac: [u8; 6],
    heartbeat_every: Duration,
    sessions: Vec<Session>,
    local_mode: bool,
    ready: bool,
    issues: Vec<String>,
    /// The `operations` object: what was last done, by key.
    operations: BTreeMap<&'static str, Value>,
    service_running: bool,
    /// The heartbeat file as last written, and when (farm clock).
    heartbeat: Option<(String, DateTime<Utc>)>,
    status: Option<String>,
    events: String,
    /// Files that commands and tests wrote elsewhere, by normalized path.
    other_files: BTreeMap<String, File>,
}

impl Station {
    pub(crate) fn new(spec: &HostSpec, computer: &str, heartbeat_every: Duration) -> Self {
        let station = &spec.station;
        Self {
            spec: station.clone(),
            computer: computer.to_owned(),
            mac: spec.mac,
            heartbeat_every: heartbeat_every.max(Duration::from_millis(1)),
            sessions: Vec::new(),
            local_mode: station.local_mode,
            ready: station.issues.is_empty(),
            issues: station.issues.clone(),
            operations: BTreeMap::new(),
            service_running: false,
            heartbeat: None,
            status: None,
            events: String::new(),
            other_files: BTreeMap::new(),
        }
    }

    /// The machine booted: nobody is logged on, except that the first boot finds whom the spec names.
    pub(crate) fn booted(&mut self, computer: &str, first: bool) {
        self.computer = computer.to_owned();
        self.sessions.clear();
        if first {
            for user in self.spec.logged_on.clone() {
                self.add_session(&user);
            }
        }
    }

    pub(crate) fn start_service(&mut self, moment: Moment) {
        self.service_running = true;
        self.write_heartbeat(moment);
    }

    pub(crate) fn stop_service(&mut self, moment: Moment) {
        self.catch_up(moment);
        self.service_running = false;
    }

    pub(crate) fn service_running(&self) -> bool {
        self.service_running
    }

    /// Writes what the service's timer would have written since the last look. Writing late gives the same files as a
    /// timer per host would, because every change of state catches up first.
    pub(crate) fn catch_up(&mut self, moment: Moment) {
        let Some((_, written)) = &self.heartbeat else {
            return;
        };
        let passed = (moment.farm - *written).to_std().unwrap_or_default();
        if !self.service_running || passed < self.heartbeat_every {
            return;
        }
        let beyond_last_tick = passed.as_nanos() % self.heartbeat_every.as_nanos();
        let back = Duration::from_nanos(u64::try_from(beyond_last_tick).unwrap_or(0));
        self.write_heartbeat(Moment {
            farm: moment.farm - back,
            station: moment.station - back,
            ..moment
        });
    }

    pub(crate) fn write_heartbeat(&mut self, moment: Moment) {
        if !self.service_running || moment.heartbeat_frozen {
            return;
        }
        self.heartbeat = Some((json::with_mark(&self.heartbeat_document(moment)), moment.farm));
        self.status = Some(json::with_mark(&self.status_document(moment)));
    }

    /// Records an operation under its key and rewrites the heartbeat, as the station does after each.
    fn record(&mut self, key: &'static str, entry: Value, moment: Moment) {
        self.operations.insert(key, entry);
        self.write_heartbeat(moment);
    }

    pub(crate) fn set_local_mode(&mut self, on: bool, moment: Moment) {
        self.catch_up(moment);
        self.local_mode = on;
    }

    pub(crate) fn set_ready(&mut self, ready: bool, issues: &[&str], moment: Moment) {
        self.catch_up(moment);
        self.ready = ready;
        self.issues = issues.iter().map(|&i| i.to_owned()).collect();
    }

    /// Logs a user on; false if he is already.
    pub(crate) fn log_on(&mut self, user: &str, moment: Moment) -> bool {
        self.catch_up(moment);
        let new = !self.sessions.iter().any(|s| s.user.eq_ignore_ascii_case(user));
        if new {
            self.add_session(user);
        }
        new
    }

    /// Logs a user off; false if he was not on.
    pub(crate) fn log_off(&mut self, user: &str, moment: Moment) -> bool {
        self.catch_up(moment);
        let before = self.sessions.len();
        self.sessions.retain(|s| !s.user.eq_ignore_ascii_case(user));
        self.sessions.len() < before
    }

    pub(crate) fn users(&self) -> Vec<String> {
        self.sessions.iter().map(|s| s.user.clone()).collect()
    }

    fn add_session(&mut self, user: &str) {
        let id = self.sessions.iter().map(|s| s.id).max().unwrap_or(0) + 1;
        self.sessions.push(Session {
            id,
            user: user.to_owned(),
        });
    }

    fn is_lab_user(&self, user: &str) -> bool {
        user.eq_ignore_ascii_case(&self.spec.lab_user)
    }

    fn other_users(&self) -> Vec<Session> {
        self.sessions
            .iter()
            .filter(|s| !self.is_lab_user(&s.user))
            .cloned()
            .collect()
    }

    /// The session guard sends a user off, as it does when a reservation begins; false if he was not on.
    pub(crate) fn send_off(&mut self, user: &str, moment: Moment) -> bool {
        self.catch_up(moment);
        let session = self
            .sessions
            .iter()
            .find(|s| s.user.eq_ignore_ascii_case(user))
            .cloned();
        if let Some(session) = &session {
            self.force_logoff(session, 30, "This computer is needed", moment);
        }
        session.is_some()
    }

    /// Logs a session off against the user's will: one line in the event file, and the operation record.
    fn force_logoff(&mut self, session: &Session, grace: u64, message: &str, moment: Moment) {
        self.sessions.retain(|s| s.id != session.id);
        let event = json!({
            "force": true,
            "grace": grace,
            "message": message,
            "sessionId": session.id,
            "source": "session-guard",
            "state": "Active",
            "timestamp": documents::stamp(moment.station),
            "user": session.user,
        });
        if self.events.is_empty() {
            self.events.push(json::MARK);
        }
        self.events.push_str(&json::write(&event));
        self.events.push_str("\r\n");
        self.record("lastForcedLogoff", event, moment);
    }
}
