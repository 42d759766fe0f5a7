//! The PowerShell script that waits for changes of two files and tells them line by line, done in its stead.
//!
//! What counts is what the script would print: one line for each change, `LW`, a number that grows by one, a letter
//! and its figures, and the bytes in base64; `H` the heartbeat, `L` one too long to tell, `M` none for a while, `E` the
//! event file from a little before the lines that are new, `K` that nothing happened for so long.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::{Instant, sleep};

use super::files;
use super::programs::Call;

/// By these words the script is known.
const SIGN: &str = "'LW {0} ";
/// Bytes told again before what is new.
const OVERLAP: usize = 8_192;
/// Most bytes that one line tells of the event file.
const MOST: usize = 270_336;
const LONGEST_HEARTBEAT: usize = 4 << 20;
const LONGEST_LINE: usize = 131_072;
const MISSED_BEFORE_TOLD: u32 = 10;
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The parameters of the script, if it is the one.
pub(super) struct Watch {
    heartbeat: String,
    events: String,
    every: Duration,
    alive: Duration,
    offset: usize,
}

struct State<'a> {
    call: &'a Call<'a>,
    said: u64,
    spoke: Instant,
    heartbeat: Option<Stamp>,
    events: Option<Stamp>,
    missed: u32,
    offset: usize,
    /// What stands before the offset.
    before: Option<Vec<u8>>,
}

/// By what the script knows that a file has not changed.
type Stamp = (chrono::DateTime<chrono::Utc>, usize);

impl Watch {
    pub(super) fn of(script: &str, values: &HashMap<&str, String>) -> Option<Self> {
        if !script.contains(SIGN) {
            return None;
        }
        let number = |name| values.get(name)?.parse::<u64>().ok();
        Some(Self {
            heartbeat: values.get("heartbeat")?.clone(),
            events: values.get("events")?.clone(),
            every: Duration::from_millis(number("every")?),
            alive: Duration::from_millis(number("alive")?),
            offset: usize::try_from(number("offset")?).ok()?,
        })
    }

    pub(super) async fn run(self, call: &Call<'_>) -> i32 {
        let began = Instant::now();
        let mut state = State {
            call,
            said: 0,
            spoke: began,
            heartbeat: None,
            events: None,
            missed: 0,
            offset: self.offset,
            before: None,
        };
        while began.elapsed() < LIFETIME {
            state.look_at_heartbeat(&self.heartbeat);
            if !self.events.is_empty() {
                state.look_at_events(&self.events);
            }
            if state.spoke.elapsed() >= self.alive {
                state.say('K', 0, 0, &[]);
            }
            sleep(self.every).await;
        }
        0
    }
}

impl State<'_> {
    fn say(&mut self, letter: char, at: usize, length: usize, bytes: &[u8]) {
        self.said += 1;
        self.spoke = Instant::now();
        let line = format!(
            "LW {} {letter} {at} {length} {}\n",
            self.said,
            BASE64.encode(bytes)
        );
        self.call.out(&line);
    }

    fn look_at_heartbeat(&mut self, path: &str) {
        self.missed += 1;
        let Some((bytes, stamp)) = file(self.call, path) else {
            if self.missed == MISSED_BEFORE_TOLD {
                self.say('M', 0, 0, &[]);
            }
            return;
        };
        self.missed = 0;
        if self.heartbeat.replace(stamp) == Some(stamp) {
            return;
        }
        let length = bytes.len();
        if length > LONGEST_HEARTBEAT {
            self.say('L', 0, length, &[]);
        } else {
            self.say('H', 0, length, &bytes);
        }
    }

    fn look_at_events(&mut self, path: &str) {
        let Some((bytes, stamp)) = file(self.call, path) else {
            return;
        };
        if self.events.replace(stamp) == Some(stamp) {
            return;
        }
        loop {
            let length = bytes.len();
            if length < self.offset {
                (self.offset, self.before) = (0, None);
            }
            let at = self.offset.saturating_sub(OVERLAP);
            let known = self.offset - at;
            let part = &bytes[at..length.min(at + MOST)];
            if self
                .before
                .as_deref()
                .is_some_and(|before| before != &part[..known])
            {
                (self.offset, self.before) = (0, None);
                continue;
            }
            let mut end = part
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            if end > 0 && part.get(end) == Some(&0) {
                end += 1;
            }
            if end <= known {
                if part.len() - known <= LONGEST_LINE {
                    return;
                }
                end = part.len();
            }
            self.say('E', at, length, &part[..end]);
            self.offset = at + end;
            self.before = Some(part[end - self.offset.min(OVERLAP)..end].to_vec());
            if at + part.len() >= length {
                return;
            }
        }
    }
}

fn file(call: &Call<'_>, path: &str) -> Option<(Vec<u8>, Stamp)> {
    let bytes = files::read(call.host, path)?;
    let modified = files::modified(call.host, path)?;
    let length = bytes.len();
    Some((bytes, (modified, length)))
}
