//! The lines that the watching script writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest line: a heartbeat of 4 MiB in base64, and its figures.
const LONGEST: usize = 6 << 20;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Heartbeat(Vec<u8>),
    /// The heartbeat is too long to be told.
    TooLong {
        length: usize,
    },
    /// There has been none for some seconds.
    NoHeartbeat,
    /// A part of the event file, from a little before what is new.
    Events {
        at: u64,
        length: u64,
        bytes: Vec<u8>,
    },
    /// Nothing happened.
    Alive,
}

/// The script wrote what it never writes, or a line is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// Cuts output into frames, and sees that none is missing.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Up to where the buffer is known to have no line end.
    searched: usize,
    read: u64,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Garbled> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > LONGEST {
                Err(Garbled)
            } else {
                Ok(None)
            };
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        self.searched = 0;
        if self.buffer.is_empty() {
            // A heartbeat in base64 need not be kept room for.
            self.buffer = Vec::new();
        }
        let (number, frame) = parse(&line).ok_or(Garbled)?;
        self.read += 1;
        if number != self.read {
            return Err(Garbled);
        }
        Ok(Some(frame))
    }

    pub(super) fn any_read(&self) -> bool {
        self.read > 0
    }
}

fn parse(line: &[u8]) -> Option<(u64, Frame)> {
    let text = std::str::from_utf8(line).ok()?.trim_end_matches(['\r', '\n']);
    // A mark may come first, for which the console is known.
    let mut words = text
        .trim_start_matches('\u{feff}')
        .strip_prefix("LW ")?
        .split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let count = number()?;
    let letter = words.next()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (at, length) = (number()?, number()?);
    let bytes = STANDARD.decode(words.next()?).ok()?;
    let frame = match letter {
        "H" if bytes.len() as u64 == length => Frame::Heartbeat(bytes),
        "L" => Frame::TooLong {
            length: usize::try_from(length).unwrap_or(usize::MAX),
        },
        "M" => Frame::NoHeartbeat,
        "E" => Frame::Events { at, length, bytes },
        "K" => Frame::Alive,
        _ => return None,
    };
    words.next().is_none().then_some((count, frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_and_in_order_however_they_were_cut() {
        let text = b"LW 1 H 0 2 e30=\r\nLW 2 K 0 0 \nLW 3 E 8 14 YWIK\n";
        for cut in 1..text.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in text.chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.next().unwrap() {
                    seen.push(frame);
                }
            }
            let events = Frame::Events {
                at: 8,
                length: 14,
                bytes: b"ab\n".to_vec(),
            };
            assert_eq!(seen, [Frame::Heartbeat(b"{}".to_vec()), Frame::Alive, events]);
        }
    }

    #[test]
    fn a_frame_that_is_missing_or_strange_is_seen() {
        for text in [
            "LW 2 K 0 0 \n",
            "LW 1 X 0 0 \n",
            "LW 1 H 0 3 e30=\n",
            "LW 1 H 0 2 e30= x\n",
            "LW 1 H 0 2 ***\n",
            "Preparing modules for first use.\n",
            "\n",
        ] {
            let mut frames = Frames::default();
            frames.push(text.as_bytes());
            assert_eq!(frames.next(), Err(Garbled), "{text}");
        }
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; LONGEST + 1]);
        assert_eq!(frames.next(), Err(Garbled));
    }
}
