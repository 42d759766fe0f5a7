//! Where in a station's event file we are, and what comes next.
//!
//! The station only ever adds lines at the end of the file. A cursor is the number of bytes that were consumed, whole
//! lines of them, and a digest of the last line among them: bytes are asked for from that line on, and only where it
//! still stands there is the file still the same, so that what follows it is new.
//!
//! Of another file in its place, what stands in the first so many bytes may have been read before. That number is part of
//! the cursor, so that it outlives whoever found the other file.

mod reading;

use std::ops::Range;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::encoding::Encoding;
use crate::events::{Event, Line, parse_line};

pub use self::reading::{EventReading, EventsAnswer, EventsStep, ReadLimits};

/// How many bytes are asked for at once. Room for an anchor and many of the longest lines.
pub const PIECE_LENGTH: u64 = 1 << 20;
/// Longest line that is looked at, in bytes, its end included. Real ones have some hundred.
pub const LINE_LIMIT: usize = 64 << 10;
/// So many bytes before a place prove it: a whole line, since lines may differ in their first bytes alone.
const ANCHOR_LIMIT: usize = LINE_LIMIT;

const LIMITS: Limits = Limits {
    line: LINE_LIMIT,
    anchor: ANCHOR_LIMIT,
};

#[derive(Clone, Copy)]
struct Limits {
    line: usize,
    anchor: usize,
}

/// A place in an event file: what is before it has been consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventCursor {
    /// Bytes consumed.
    pub offset: u64,
    /// Proves that it is still the same file; nothing at its head.
    pub anchor: Option<Anchor>,
    /// What stands before this place in the file, though behind the offset, may have been read and stored before: it has
    /// to be compared. Zero where nothing does.
    pub repeats_until: u64,
    /// How many steps led here. A place that is come to again differs in it, so that what somebody read from there the
    /// first time is not taken for what follows the second time.
    pub step: u64,
}

/// What stands before a place from the last event's line on, its end included; of what is longer than [`LINE_LIMIT`], the
/// end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// In bytes.
    pub length: u32,
    /// The first 16 bytes of its SHA-256.
    pub digest: [u8; 16],
}

/// Bytes of an event file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where in the file they begin.
    pub at: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether the file ended with them when they were read.
    pub is_end: bool,
}

/// What was read from an event file in one go.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    /// Where reading began; nothing at first sight of the host.
    pub from: Option<EventCursor>,
    /// Where to go on.
    pub to: EventCursor,
    /// The events between, oldest first.
    pub events: Vec<Event>,
    /// Whole lines between that are no events, or too long for one.
    pub bad_lines: usize,
    /// The file was not the one that the cursor came from: some of these events may have been read before.
    pub resync: Option<Resync>,
    /// There is more to read at once.
    pub more: bool,
}

/// Why a cursor no longer fits its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resync {
    /// The file ends before the cursor.
    Truncated,
    /// Something else stands before the cursor: another file, or one that lost its head.
    Replaced,
}

impl Resync {
    /// A stable name for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Replaced => "replaced",
        }
    }
}

/// Where to begin with a file never seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstSight {
    /// Where to go on from.
    pub cursor: EventCursor,
    /// Whether no earlier line can be wanted; otherwise look at a longer part of the end.
    pub is_whole: bool,
}

impl Anchor {
    fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Self {
            // No longer than the longest line.
            length: bytes.len() as u32,
            digest,
        }
    }
}

impl EventCursor {
    /// The head of a file.
    pub const START: Self = Self {
        offset: 0,
        anchor: None,
        repeats_until: 0,
        step: 0,
    };
    /// No file is longer: what is stored is a signed number.
    const LONGEST: u64 = i64::MAX as u64;

    /// From where on bytes are needed to go on: from the anchor.
    #[must_use]
    pub fn read_from(&self) -> u64 {
        let anchor = self.anchor.map_or(0, |anchor| u64::from(anchor.length));
        self.offset.saturating_sub(anchor)
    }

    /// Goes on to the last whole line of `piece`, which begins at or before [`EventCursor::read_from`]. A line without
    /// an end stays for the next time, unless it is longer than [`LINE_LIMIT`]: then it counts as a bad one.
    ///
    /// ```
    /// use labstation_commands::{EventCursor, Piece};
    ///
    /// let bytes = b"{\"user\":\"a\"}\r\n{\"user\":\"b\"}\r\n{\"us";
    /// let batch = EventCursor::START.advance(Piece { at: 0, bytes, is_end: true }).unwrap();
    /// assert_eq!((batch.events.len(), batch.to.offset), (2, 28));
    /// // Fourteen bytes of the line before, and what was written since.
    /// let bytes = b"{\"user\":\"b\"}\r\n{\"user\":\"c\"}\r\n";
    /// let at = batch.to.read_from();
    /// let batch = batch.to.advance(Piece { at, bytes, is_end: true }).unwrap();
    /// assert_eq!(batch.events[0].user.as_deref(), Some("c"));
    /// ```
    ///
    /// # Errors
    /// [`Resync`] when the anchor is not where it was. [`EventCursor::find_again`] looks for it elsewhere; where it is
    /// not found either, reading begins anew with [`EventCursor::START`].
    pub fn advance(&self, piece: Piece<'_>) -> Result<EventBatch, Resync> {
        self.advance_within(piece, LIMITS)
    }

    fn advance_within(&self, piece: Piece<'_>, limits: Limits) -> Result<EventBatch, Resync> {
        let skip = self.read_from().checked_sub(piece.at).ok_or(Resync::Replaced)?;
        let skip = usize::try_from(skip).map_err(|_| Resync::Truncated)?;
        let bytes = piece.bytes.get(skip..).ok_or(Resync::Truncated)?;
        let length = self.anchor.map_or(0, |anchor| anchor.length as usize);
        let (known, fresh) = bytes.split_at_checked(length).ok_or(Resync::Truncated)?;
        if self.anchor.is_some_and(|anchor| anchor != Anchor::of(known)) {
            return Err(Resync::Replaced);
        }
        Ok(self.consume(known, fresh, piece.is_end, limits))
    }

    /// The lines of `fresh`, which follows `known`.
    fn consume(&self, known: &[u8], fresh: &[u8], is_end: bool, limits: Limits) -> EventBatch {
        let encoding = match self.offset {
            0 => Encoding::of_head(&fresh[..fresh.len().min(limits.line)]),
            _ => Encoding::of_part(known),
        };
        let mut batch = EventBatch {
            from: Some(*self),
            to: *self,
            events: Vec::new(),
            bad_lines: 0,
            resync: (self.offset < self.repeats_until).then_some(Resync::Replaced),
            more: !is_end,
        };
        let whole_units = fresh.len() - fresh.len() % encoding.unit();
        let mut at = 0;
        if !known.is_empty() && !encoding.ends_line(known) {
            // The rest of a line that was too long; it has been counted.
            at = encoding.line_length(fresh).unwrap_or(whole_units);
        }
        let mut last = None;
        while let Some(length) = encoding.line_length(&fresh[at..]) {
            let line = &fresh[at..at + length];
            let at_head = self.offset == 0 && at == 0;
            let text = encoding.text(line, at_head).filter(|_| length <= limits.line);
            match text.as_deref().map_or(Line::Bad, parse_line) {
                Line::Blank => {}
                Line::Event(event) => {
                    batch.events.push(*event);
                    last = Some(at);
                }
                Line::Bad => batch.bad_lines += 1,
            }
            at += length;
        }
        if fresh.len() - at > limits.line {
            batch.bad_lines += 1;
            at = whole_units;
        }
        batch.to = self.moved(known, &fresh[..at], last, limits);
        batch
    }

    /// The cursor behind `consumed`, in which the last line with an event begins at `last`.
    fn moved(&self, known: &[u8], consumed: &[u8], last: Option<usize>, limits: Limits) -> Self {
        if consumed.is_empty() {
            return *self;
        }
        let anchor = match last {
            Some(last) => Anchor::of(end_of(&consumed[last..], limits.anchor)),
            // Lines without an event may be the same in any file: what was before them is taken along.
            None => Anchor::of(end_of(&[known, consumed].concat(), limits.anchor)),
        };
        let offset = self.offset + consumed.len() as u64;
        Self {
            offset,
            anchor: Some(anchor),
            repeats_until: if offset < self.repeats_until {
                self.repeats_until
            } else {
                0
            },
            step: self.step + 1,
        }
    }

    /// The place to go on from in another file, which has `length` bytes now: behind the anchor's line where that was
    /// `found` again, else its beginning.
    ///
    /// Whatever stands in that file now may have been read before, here or in a file before this one; and while it is
    /// still being written, so may as many bytes as were consumed of the file that it is a part of.
    #[must_use]
    pub fn in_other_file(&self, found: Option<Self>, length: u64) -> Self {
        let consumed = if found.is_some() { 0 } else { self.offset };
        let place = Self {
            step: self.step + 1,
            repeats_until: 0,
            ..found.unwrap_or(Self::START)
        };
        place.repeating(length.max(consumed).max(self.repeats_until))
    }

    /// The same place, where what stands before another one may have been read before too.
    fn repeating(self, until: u64) -> Self {
        let until = self.repeats_until.max(until).min(Self::LONGEST);
        Self {
            repeats_until: if self.offset < until { until } else { 0 },
            ..self
        }
    }

    /// Looks for the anchor's line in a file that is no longer the same, such as one that lost its head. `None` when it
    /// is not within `piece`, or the cursor has none, or only the end of a line, which other lines may have too. [`EventCursor::in_other_file`] makes a place to go on from of it.
    #[must_use]
    pub fn find_again(&self, piece: Piece<'_>) -> Option<Self> {
        let anchor = self.anchor?;
        let length = anchor.length as usize;
        let encoding = match piece.at {
            0 => Encoding::of_head(piece.bytes),
            _ => Encoding::of_part(piece.bytes),
        };
        // The first line of a file has a mark before it, which it had not when it was another one.
        let mut begins = match (piece.at, piece.bytes) {
            (0, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => vec![0, 2],
            (0, [0xef, 0xbb, 0xbf, ..]) => vec![0, 3],
            (0, _) => vec![0],
            _ => Vec::new(),
        };
        // Each line is hashed about once. A file of blank lines would have us hash it over and over.
        let mut left = piece.bytes.len().saturating_mul(16).saturating_add(length);
        let mut end = 0;
        while let Some(line) = encoding.line_length(&piece.bytes[end..]) {
            end += line;
            let begin = end.checked_sub(length);
            let begin = begin.filter(|begin| begins.binary_search(begin).is_ok());
            begins.push(end);
            let Some(begin) = begin else {
                continue;
            };
            left = left.checked_sub(length)?;
            if Anchor::of(&piece.bytes[begin..end]) == anchor {
                return Some(Self {
                    offset: piece.at + end as u64,
                    anchor: Some(anchor),
                    ..Self::START
                });
            }
        }
        None
    }

    /// Where to begin with a file of which `end` is the end: before the first line not older than `since` (by the
    /// station's clock), or behind the last whole line.
    #[must_use]
    pub fn first_sight(end: Piece<'_>, since: Option<DateTime<Utc>>) -> FirstSight {
        first_sight_within(end, since, LIMITS)
    }
}

fn first_sight_within(end: Piece<'_>, since: Option<DateTime<Utc>>, limits: Limits) -> FirstSight {
    let bytes = end.bytes;
    let encoding = match end.at {
        0 => Encoding::of_head(bytes),
        _ => Encoding::of_part(bytes),
    };
    let behind = |range: Range<usize>| match range.end {
        0 if end.at == 0 => EventCursor {
            step: 1,
            ..EventCursor::START
        },
        stop => EventCursor {
            offset: end.at + stop as u64,
            anchor: Some(Anchor::of(end_of(&bytes[range], limits.anchor))),
            repeats_until: 0,
            step: 1,
        },
    };
    // A part may begin within a line.
    let mut at = match end.at {
        0 => 0,
        _ => encoding.line_length(bytes).unwrap_or(bytes.len()),
    };
    let (mut last, mut is_whole) = (at, end.at == 0 || since.is_none());
    while let Some(length) = encoding.line_length(&bytes[at..]) {
        let text = encoding.text(&bytes[at..at + length], end.at == 0 && at == 0);
        match text.as_deref().map_or(Line::Bad, parse_line) {
            Line::Blank | Line::Bad => {}
            Line::Event(event) => {
                if let (Some(reported_at), Some(since)) = (event.at, since) {
                    if reported_at >= since {
                        break;
                    }
                    is_whole = true;
                }
                last = at;
            }
        }
        at += length;
    }
    // Without a whole line, what there is proves the place as well.
    let last = if last == at { 0 } else { last };
    FirstSight {
        cursor: behind(last..at),
        is_whole,
    }
}

/// At most the last `limit` bytes.
fn end_of(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(limit)..]
}

#[cfg(test)]
mod tests;
