//! The files of a simulated host.

use chrono::{DateTime, Utc};

use super::{Moment, Station, json};
use crate::faults::Fault;
use crate::host::Inner;

/// Where the station keeps its files.
pub mod paths {
    /// The station's program.
    pub const PROGRAM: &str = r"C:\LabStation\LabStation.exe";
    /// The heartbeat.
    pub const HEARTBEAT: &str = r"C:\LabStation\labstation\data\telemetry\heartbeat.json";
    /// Forced log-offs, one JSON object per line.
    pub const EVENTS: &str = r"C:\LabStation\labstation\data\telemetry\session-guard-events.jsonl";
    /// The status document, written together with the heartbeat.
    pub const STATUS: &str = r"C:\LabStation\labstation\data\status.json";
    /// Present while local mode is on.
    pub const LOCAL_MODE: &str = r"C:\LabStation\labstation\data\local-mode.flag";
}

/// Files that commands may write beside the station's own.
const OTHER_FILES_LIMIT: usize = 64;

/// The form in which paths are compared: lower case, backslashes, none doubled, no quotes around.
pub(super) fn normalize(path: &str) -> String {
    let mut normal = path.trim().trim_matches('"').to_lowercase().replace('/', "\\");
    while normal.contains("\\\\") {
        normal = normal.replace("\\\\", "\\");
    }
    normal
}

/// Content of a file, or `None` if there is none.
pub(super) fn read(host: &Inner, path: &str) -> Option<Vec<u8>> {
    let moment = host.moment();
    let path = normalize(path);
    let is = |known: &str| path == normalize(known);
    if is(paths::HEARTBEAT) {
        if host.faults.has(&Fault::NoHeartbeat) {
            return None;
        }
        let text = host.lock().station.heartbeat_file(moment)?;
        let garbled = host.faults.has(&Fault::GarbledHeartbeat);
        let keep = if garbled { text.len() / 2 } else { text.len() };
        return Some(text.into_bytes()[..keep].to_vec());
    }
    let mut state = host.lock();
    let station = &mut state.station;
    if is(paths::EVENTS) {
        (!station.events.is_empty()).then(|| station.events.clone().into_bytes())
    } else if is(paths::STATUS) {
        station.catch_up(moment);
        station.status.clone().map(String::into_bytes)
    } else if is(paths::LOCAL_MODE) {
        station.local_mode.then(Vec::new)
    } else {
        station.other_files.get(&path).map(|file| file.bytes.clone())
    }
}

/// Whether a file of that name could be made: there are the system's drive and the station's folders, and no others.
pub(super) fn has_folder(path: &str) -> bool {
    let path = normalize(path);
    let folder = path.rsplit_once('\\').map_or("", |(folder, _)| folder);
    folder == "c:" || folder.starts_with(r"c:\labstation") || folder.starts_with(r"c:\lab station")
}

/// Writes an empty file, or takes one away. The station's own documents cannot be written over from here.
pub(super) fn set_empty(host: &Inner, path: &str, there: bool) -> bool {
    let moment = host.moment();
    let mut state = host.lock();
    let station = &mut state.station;
    let normal = normalize(path);
    if normal == normalize(paths::LOCAL_MODE) {
        station.set_local_mode(there, moment);
        return true;
    }
    let own = [paths::HEARTBEAT, paths::EVENTS, paths::STATUS, paths::PROGRAM];
    if own.iter().any(|own| normal == normalize(own)) {
        return false;
    }
    let fits = station.other_files.len() < OTHER_FILES_LIMIT || station.other_files.contains_key(&normal);
    if there && !fits {
        return false;
    }
    station.put_file(path, there.then(Vec::new), moment.station);
    true
}

/// A file that is not the station's own.
#[derive(Debug, Clone)]
pub(super) struct File {
    bytes: Vec<u8>,
    modified: DateTime<Utc>,
}

/// When a file was last written, by the host's clock; nothing if there is none.
pub(super) fn modified(host: &Inner, path: &str) -> Option<DateTime<Utc>> {
    read(host, path)?;
    let moment = host.moment();
    let state = host.lock();
    let written = state.station.heartbeat.as_ref().map(|(_, written)| *written);
    let other = state.station.other_files.get(&normalize(path));
    Some(other.map_or(written.unwrap_or(moment.station), |file| file.modified))
}

impl Station {
    fn heartbeat_file(&mut self, moment: Moment) -> Option<String> {
        self.catch_up(moment);
        self.heartbeat.as_ref().map(|(text, _)| text.clone())
    }

    /// Writes the status document to a path of the caller's choice; false if there are too many files already.
    pub(super) fn export_status(&mut self, path: &str, moment: Moment) -> bool {
        let text = json::with_mark(&self.status_document(moment));
        let path = normalize(path);
        if path == normalize(paths::STATUS) {
            self.status = Some(text);
            return true;
        }
        let fits = self.other_files.len() < OTHER_FILES_LIMIT || self.other_files.contains_key(&path);
        if fits {
            let (bytes, modified) = (text.into_bytes(), moment.station);
            self.other_files.insert(path, File { bytes, modified });
        }
        fits
    }

    /// Writes a file for a test, or takes it away.
    pub(crate) fn put_file(&mut self, path: &str, bytes: Option<Vec<u8>>, modified: DateTime<Utc>) {
        let path = normalize(path);
        match bytes {
            Some(bytes) => self.other_files.insert(path, File { bytes, modified }),
            None => self.other_files.remove(&path),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_compare_without_case_doubled_backslashes_and_quotes() {
        assert_eq!(
            normalize(r#""c:\\labstation/LabStation.exe""#),
            normalize(paths::PROGRAM)
        );
    }
}
