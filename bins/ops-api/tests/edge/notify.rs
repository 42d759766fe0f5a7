//! A service manager's ear: the socket that `NOTIFY_SOCKET` names.

use std::path::{Path, PathBuf};

use tokio::net::UnixDatagram;

use crate::harness::LIMIT;

/// Hears what a service says.
pub(crate) struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    /// Listens in `folder`.
    pub(crate) fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { path, socket }
    }

    /// The variables of a service that is watched with this interval.
    pub(crate) fn variables(&self, watchdog_usec: u32) -> [(String, String); 2] {
        [
            ("NOTIFY_SOCKET".to_owned(), self.path.display().to_string()),
            ("WATCHDOG_USEC".to_owned(), watchdog_usec.to_string()),
        ]
    }

    /// What is said next.
    pub(crate) async fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let heard = tokio::time::timeout(LIMIT, self.socket.recv(&mut buffer)).await;
        let length = heard.expect("the service says nothing").unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for a line, and gives all that was said until then.
    pub(crate) async fn hears(&self, line: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let next = self.next().await;
            let found = next.lines().any(|said| said == line);
            said.push(next);
            if found {
                return said;
            }
            assert!(said.len() < 10_000, "{line:?} is never said: {:?}", &said[..10]);
        }
    }
}
