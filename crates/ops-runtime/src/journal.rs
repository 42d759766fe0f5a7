//! Lines for the journal of systemd: each begins with its priority, so that `journalctl -p warning` finds what matters.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Set by systemd for whatever it connects to the journal: device and inode of the stream.
const STREAM: &str = "JOURNAL_STREAM";
/// The priority of what somebody must act on.
const ERROR: &str = "<3>";

/// Whether the journal reads a stream itself: a service may have been started by another one, whose variables it has
/// inherited, and write to a file.
///
/// Source: systemd.exec(5), `$JOURNAL_STREAM`.
pub(crate) fn is_journal(stream: &impl AsFd) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting: systemd tells where its own stream leads"
    )]
    let told = std::env::var(STREAM);
    told.is_ok_and(|told| leads_to(&told, stream))
}

/// Whether `told`, a device and an inode, is that of a stream.
fn leads_to(told: &str, stream: &impl AsFd) -> bool {
    let Ok(stream) = stream.as_fd().try_clone_to_owned() else {
        return false;
    };
    let Ok(found) = std::fs::File::from(stream).metadata() else {
        return false;
    };
    let told = told.split_once(':');
    let told = told.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    told == Some((found.dev(), found.ino()))
}

/// What is put before an error that is no event of the log, on standard error.
pub(crate) fn error_prefix() -> &'static str {
    match is_journal(&io::stderr()) {
        true => ERROR,
        false => "",
    }
}

/// Puts the priority of each line before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prioritized<M>(pub(crate) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Prioritized<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            priority: priority(Level::INFO),
            to: self.0.make_writer(),
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        Line {
            priority: priority(*metadata.level()),
            to: self.0.make_writer_for(metadata),
        }
    }
}

/// Source: sd-daemon(3), the prefixes `SD_ERR` to `SD_DEBUG`.
fn priority(level: Level) -> &'static [u8] {
    match level {
        Level::ERROR => ERROR.as_bytes(),
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        _ => b"<7>",
    }
}

/// Where one event is written, which the formatter does at once.
#[derive(Debug)]
pub(crate) struct Line<W> {
    priority: &'static [u8],
    to: W,
}

impl<W: Write> Write for Line<W> {
    /// Priority and line go out together: several threads share the stream.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.write_all(&[self.priority, line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer as _;
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// One line of each level, in the text or the JSON of the services.
    fn logged(json: bool) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer()
            .with_ansi(false)
            .with_writer(Prioritized(move || writer.clone()));
        let layer = match json {
            true => layer.json().flatten_event(true).boxed(),
            false => layer.fmt_fields(crate::escaped::EscapedFields).boxed(),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!("one\n<0>two");
            tracing::warn!("said");
            tracing::info!("said");
            tracing::debug!("said");
            tracing::trace!("said");
        });
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_line_begins_with_the_priority_of_its_level_in_text_and_in_json() {
        for json in [false, true] {
            let lines = logged(json);
            let begins: Vec<&str> = lines.iter().map(|line| &line[..3]).collect();
            assert_eq!(begins, ["<3>", "<4>", "<6>", "<7>", "<7>"], "{lines:?}");
            for line in &lines {
                let rest = &line[3..];
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(rest).is_ok(),
                    json,
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn a_stream_is_the_journal_only_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let found = file.metadata().unwrap();
        let (device, inode) = (found.dev(), found.ino());
        assert!(leads_to(&format!("{device}:{inode}"), &file));
        for told in [
            String::new(),
            device.to_string(),
            format!("{device}:"),
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            format!("{device}:{inode}:0"),
        ] {
            assert!(!leads_to(&told, &file), "{told}");
        }
    }
}
