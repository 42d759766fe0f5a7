use chrono::{TimeDelta, TimeZone as _};
use proptest::prelude::*;

use super::*;

/// Small, so that every border is met often.
const SMALL: Limits = Limits { line: 64, anchor: 64 };

#[derive(Debug, Clone, Copy)]
enum Written {
    Utf8,
    MarkedUtf8,
    Utf16(fn(u16) -> [u8; 2]),
}

impl Written {
    fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 | Self::MarkedUtf8 => text.into(),
            Self::Utf16(unit) => text.encode_utf16().flat_map(unit).collect(),
        }
    }

    fn mark(self) -> Vec<u8> {
        match self {
            Self::Utf8 => Vec::new(),
            _ => self.encode("\u{feff}"),
        }
    }

    fn limits(self) -> Limits {
        match self {
            Self::Utf16(_) => Limits {
                line: 128,
                anchor: 128,
            },
            _ => SMALL,
        }
    }
}

fn any_writing() -> impl Strategy<Value = Written> {
    prop_oneof![
        Just(Written::Utf8),
        Just(Written::MarkedUtf8),
        Just(Written::Utf16(u16::to_le_bytes)),
        Just(Written::Utf16(u16::to_be_bytes)),
    ]
}

/// What is written next.
#[derive(Debug, Clone)]
enum Text {
    Event { pad: usize, crlf: bool },
    Blank,
    Bad,
    TooLong(usize),
}

fn any_text() -> impl Strategy<Value = Text> {
    prop_oneof![
        8 => (0_usize..30, any::<bool>()).prop_map(|(pad, crlf)| Text::Event { pad, crlf }),
        1 => Just(Text::Blank),
        1 => Just(Text::Bad),
        1 => (70_usize..400).prop_map(Text::TooLong),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    /// Some bytes of what is still to be written.
    Write(usize),
    /// Reads by pieces of at least one line's length.
    Read { piece: usize, times: usize },
    /// A new file begins, with the next line.
    Rotate,
    /// The file loses its first lines.
    Trim(usize),
}

fn any_op(rotates: bool) -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1_usize..200).prop_map(Op::Write),
        4 => (0_usize..300, 1_usize..4).prop_map(|(piece, times)| Op::Read { piece, times }),
        u32::from(rotates) => Just(Op::Rotate),
        u32::from(rotates) => (1_usize..5).prop_map(Op::Trim),
    ]
}

struct Model {
    written: Written,
    /// Still to be written, line by line.
    coming: std::collections::VecDeque<Vec<u8>>,
    file: Vec<u8>,
    cursor: EventCursor,
    seen: Vec<u64>,
    bad: usize,
    resyncs: usize,
}

fn line_of(text: &Text, number: usize) -> String {
    match text {
        Text::Event { pad, crlf } => {
            let end = if *crlf { "\r\n" } else { "\n" };
            format!("{{\"p\":\"{}\",\"n\":{number}}}{end}", "x".repeat(*pad))
        }
        Text::Blank => "\r\n".to_owned(),
        Text::Bad => format!("broken {number}\n"),
        // What is left of it when it was cut must not be taken for an event.
        Text::TooLong(length) => format!("{}{{\"n\":{number}}}\n", "y".repeat(*length)),
    }
}

impl Model {
    fn new(written: Written, texts: &[Text]) -> Self {
        let lines = texts.iter().enumerate();
        let lines = lines.map(|(number, text)| written.encode(&line_of(text, number)));
        Self {
            written,
            coming: lines.collect(),
            file: written.mark(),
            cursor: EventCursor::START,
            seen: Vec::new(),
            bad: 0,
            resyncs: 0,
        }
    }

    fn write(&mut self, mut count: usize) {
        while count > 0
            && let Some(line) = self.coming.front_mut()
        {
            let now: Vec<u8> = line.drain(..count.min(line.len())).collect();
            count -= now.len();
            self.file.extend(now);
            if line.is_empty() {
                self.coming.pop_front();
            }
        }
    }

    /// The rest of a line that is half written, so that the next one begins with its own beginning.
    fn finish_line(&mut self) {
        let unit = Encoding::of_head(&self.file);
        if !self.file.is_empty()
            && self.file != self.written.mark()
            && !unit.ends_line(&self.file)
            && let Some(line) = self.coming.pop_front()
        {
            self.file.extend(line);
        }
    }

    fn piece(&self, from: u64, length: usize) -> Option<Piece<'_>> {
        let from = usize::try_from(from).unwrap();
        let rest = self.file.get(from..)?;
        let bytes = &rest[..rest.len().min(length)];
        Some(Piece {
            at: from as u64,
            bytes,
            // As a reader tells who asked for so many bytes.
            is_end: bytes.len() < length,
        })
    }

    /// Gives whether there may be more.
    fn read(&mut self, piece: usize) -> bool {
        let limits = self.written.limits();
        let piece = (piece + limits.line + limits.anchor + 2) & !1;
        let advanced = match self.piece(self.cursor.read_from(), piece) {
            Some(piece) => self.cursor.advance_within(piece, limits),
            None => Err(Resync::Truncated),
        };
        let batch = advanced.unwrap_or_else(|_| {
            self.resyncs += 1;
            let whole = self.piece(0, usize::MAX).unwrap();
            let found = self.cursor.find_again(whole);
            let place = self.cursor.in_other_file(found, self.file.len() as u64);
            place
                .advance_within(self.piece(place.read_from(), piece).unwrap(), limits)
                .unwrap()
        });
        let numbers = batch.events.iter().map(|event| event.raw["n"].as_u64().unwrap());
        self.seen.extend(numbers);
        self.bad += batch.bad_lines;
        assert!(batch.to.offset <= self.file.len() as u64);
        self.cursor = batch.to;
        batch.more
    }

    fn read_all(&mut self) {
        for _ in 0..10_000 {
            if !self.read(50) {
                return;
            }
        }
        panic!("reading comes to no end");
    }

    fn trim(&mut self, lines: usize) {
        let encoding = Encoding::of_head(&self.file);
        let mark = self.written.mark();
        let mut at = mark.len();
        for _ in 0..lines {
            at += encoding.line_length(&self.file[at..]).unwrap_or(0);
        }
        self.file.drain(mark.len()..at);
    }
}

fn events(texts: &[Text]) -> Vec<u64> {
    let numbered = texts.iter().enumerate();
    let events = numbered.filter(|(_, text)| matches!(text, Text::Event { .. }));
    events.map(|(number, _)| number as u64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_line_comes_once_and_in_order_however_it_is_written_and_read(
        written in any_writing(),
        texts in prop::collection::vec(any_text(), 0..40),
        ops in prop::collection::vec(any_op(false), 0..60),
    ) {
        let mut model = Model::new(written, &texts);
        for op in ops {
            match op {
                Op::Write(count) => model.write(count),
                Op::Read { piece, times } => { for _ in 0..times { model.read(piece); } }
                Op::Rotate | Op::Trim(_) => {}
            }
        }
        model.write(usize::MAX);
        model.read_all();
        prop_assert_eq!(&model.seen, &events(&texts));
        let bad = texts.iter().filter(|text| matches!(text, Text::Bad | Text::TooLong(_))).count();
        prop_assert_eq!((model.bad, model.resyncs), (bad, 0));
        prop_assert_eq!(model.cursor.offset, if texts.is_empty() { 0 } else { model.file.len() as u64 });
    }

    #[test]
    fn over_rotations_nothing_comes_twice_and_only_what_was_taken_away_unread_is_lost(
        written in any_writing(),
        texts in prop::collection::vec((0_usize..30, any::<bool>()), 0..60),
        ops in prop::collection::vec(any_op(true), 0..80),
    ) {
        let texts: Vec<Text> = texts.into_iter().map(|(pad, crlf)| Text::Event { pad, crlf }).collect();
        let mut model = Model::new(written, &texts);
        let mut lost: Vec<u64> = Vec::new();
        for op in ops {
            match op {
                Op::Write(count) => model.write(count),
                Op::Read { piece, times } => { for _ in 0..times { model.read(piece); } }
                Op::Rotate | Op::Trim(_) => {
                    // A program that puts another file in place has written whole lines before.
                    model.finish_line();
                    let there = |model: &Model| -> Vec<u64> {
                        let batch = EventCursor::START.advance(model.piece(0, usize::MAX).unwrap()).unwrap();
                        batch.events.iter().map(|event| event.raw["n"].as_u64().unwrap()).collect()
                    };
                    let before = there(&model);
                    match op {
                        Op::Trim(lines) => model.trim(lines),
                        _ => model.file = written.mark(),
                    }
                    let after = there(&model);
                    lost.extend(before.iter().filter(|n| !after.contains(n) && !model.seen.contains(n)));
                }
            }
        }
        model.write(usize::MAX);
        model.read_all();
        let mut all: Vec<u64> = model.seen.iter().copied().chain(lost.iter().copied()).collect();
        all.sort_unstable();
        prop_assert_eq!(all, events(&texts));
        prop_assert!(model.seen.is_sorted());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_stand_still(bytes: Vec<u8>, more: Vec<u8>, at in 0_u64..9, length in 0_u32..9) {
        let piece = |at, bytes| Piece { at, bytes, is_end: true };
        let batch = EventCursor::START.advance_within(piece(0, &bytes), SMALL).unwrap();
        prop_assert!(batch.to.offset <= bytes.len() as u64);
        let all = [bytes.clone(), more].concat();
        let again = batch.to.advance_within(piece(0, &all), SMALL);
        prop_assert!(again.is_ok_and(|again| again.to.offset >= batch.to.offset));
        let strange = EventCursor { offset: at, anchor: Some(Anchor { length, digest: [7; 16] }), ..EventCursor::START };
        let _ = (strange.advance(piece(at, &bytes)), strange.find_again(piece(at, &bytes)));
        let sight = EventCursor::first_sight(piece(at * 2, &bytes), None);
        prop_assert!(sight.cursor.offset <= at * 2 + bytes.len() as u64);
    }
}

fn whole(bytes: &[u8]) -> Piece<'_> {
    Piece {
        at: 0,
        bytes,
        is_end: true,
    }
}

#[test]
fn a_cursor_tells_a_shorter_file_from_another_one() {
    let cursor = EventCursor::START
        .advance(whole(b"{\"n\":1}\n{\"n\":2}\n"))
        .unwrap()
        .to;
    assert_eq!((cursor.offset, cursor.read_from()), (16, 8));
    assert_eq!(
        cursor.advance(whole(b"{\"n\":1}\n")).unwrap_err(),
        Resync::Truncated
    );
    assert_eq!(
        cursor
            .advance(whole(b"{\"n\":1}\n{\"n\":3}\n{\"n\":4}\n"))
            .unwrap_err(),
        Resync::Replaced
    );
    let trimmed = b"{\"n\":2}\n{\"n\":3}\n";
    let found = cursor.find_again(whole(trimmed)).unwrap();
    assert_eq!(found.advance(whole(trimmed)).unwrap().events[0].raw["n"], 3);
}

#[test]
fn a_line_without_an_end_stays_until_it_has_one_even_if_it_is_a_whole_object() {
    let torn = b"{\"n\":1}\r\n{\"n\":2}";
    let batch = EventCursor::START.advance(whole(torn)).unwrap();
    assert_eq!((batch.events.len(), batch.to.offset), (1, 9));
    let longer = [&torn[..], b"3}\r\n"].concat();
    let batch = batch.to.advance(whole(&longer)).unwrap();
    assert_eq!(
        (batch.events.len(), batch.bad_lines),
        (0, 1),
        "it went on otherwise"
    );
}

#[test]
fn a_line_too_long_is_counted_once_and_blocks_nothing() {
    let mut bytes = b"{\"n\":1}\n{\"x\":\"".to_vec();
    bytes.resize(bytes.len() + 3 * LINE_LIMIT, b'x');
    let batch = EventCursor::START.advance(whole(&bytes)).unwrap();
    assert_eq!((batch.events.len(), batch.bad_lines), (1, 1));
    assert_eq!(batch.to.offset, bytes.len() as u64);
    bytes.extend_from_slice(b"\"}\n{\"n\":2}\n");
    let batch = batch.to.advance(whole(&bytes)).unwrap();
    assert_eq!((batch.events.len(), batch.bad_lines), (1, 0));
    assert_eq!(batch.events[0].raw["n"], 2);
}

#[test]
fn first_sight_begins_behind_the_last_line_or_so_far_back_as_was_wanted() {
    let at = |minute| chrono::Utc.with_ymd_and_hms(2026, 3, 1, 8, minute, 0).unwrap();
    let lines: String = (0..10)
        .map(|minute| {
            format!(
                "{{\"timestamp\":\"{}\",\"n\":{minute}}}\r\n",
                at(minute).to_rfc3339()
            )
        })
        .collect();
    let text = format!("\u{feff}{lines}{{\"torn");
    let end = EventCursor::first_sight(whole(text.as_bytes()), None);
    assert_eq!(end.cursor.offset as usize, text.len() - 6);
    assert!(end.is_whole);
    let none = end.cursor.advance(whole(text.as_bytes())).unwrap();
    assert_eq!((none.events.len(), none.bad_lines, none.to), (0, 0, end.cursor));

    for (since, expected) in [(at(7), 3), (at(0) - TimeDelta::hours(1), 10), (at(30), 0)] {
        let sight = EventCursor::first_sight(whole(text.as_bytes()), Some(since));
        let batch = sight.cursor.advance(whole(text.as_bytes())).unwrap();
        assert_eq!((batch.events.len(), sight.is_whole), (expected, true), "{since}");
    }

    // Of a part of the end, only what is behind its first line end counts.
    let from = text.len() - 120;
    let part = Piece {
        at: from as u64,
        bytes: &text.as_bytes()[from..],
        is_end: true,
    };
    let sight = EventCursor::first_sight(part, Some(at(9)));
    assert!(sight.is_whole);
    assert_eq!(
        sight.cursor.advance(whole(text.as_bytes())).unwrap().events.len(),
        1
    );
    let sight = EventCursor::first_sight(part, Some(at(1)));
    assert!(!sight.is_whole, "there may be earlier ones");
    for empty in ["", "\u{feff}", "{\"torn"] {
        assert_eq!(
            EventCursor::first_sight(whole(empty.as_bytes()), None)
                .cursor
                .offset,
            0
        );
    }
}

#[test]
fn a_file_of_blank_lines_is_searched_in_bounded_time() {
    let cursor = EventCursor {
        offset: 9_000,
        anchor: Some(Anchor {
            length: 4_096,
            digest: [1; 16],
        }),
        ..EventCursor::START
    };
    assert_eq!(cursor.find_again(whole(&vec![b'\n'; 1 << 20])), None);
}

/// An event whose line is long, and differs from the next one at its beginning alone.
fn long_event(number: usize) -> String {
    format!("{{\"n\":{number},\"message\":\"{}\"}}\n", "x".repeat(5_000))
}

#[test]
fn another_file_whose_long_lines_end_alike_is_not_taken_for_the_same() {
    let lines = |range: std::ops::Range<usize>| range.map(long_event).collect::<String>();
    let cursor = EventCursor::START
        .advance(whole(lines(1..4).as_bytes()))
        .unwrap()
        .to;
    let other = lines(4..8);
    assert_eq!(
        cursor.advance(whole(other.as_bytes())).unwrap_err(),
        Resync::Replaced
    );
    assert_eq!(cursor.find_again(whole(other.as_bytes())), None);
    let trimmed = lines(3..6);
    let found = cursor.find_again(whole(trimmed.as_bytes())).unwrap();
    assert_eq!(found.advance(whole(trimmed.as_bytes())).unwrap().events.len(), 2);
}

#[test]
fn another_file_that_ends_with_the_same_line_without_an_event_is_not_taken_for_the_same() {
    let cursor = EventCursor::START
        .advance(whole(b"{\"n\":1}\n----\n"))
        .unwrap()
        .to;
    let other = b"{\"n\":2}\n----\n{\"n\":3}\n";
    assert_eq!(cursor.advance(whole(other)).unwrap_err(), Resync::Replaced);
    assert_eq!(cursor.find_again(whole(other)), None);
}

#[test]
fn a_long_line_is_found_again_among_many_short_ones() {
    let cursor = EventCursor::START
        .advance(whole(long_event(1).as_bytes()))
        .unwrap()
        .to;
    let short = |number: usize| format!("{{\"n\":{number}}}\n");
    let mut other: String = (100..20_000).map(short).collect();
    other.push_str(&long_event(1));
    other.push_str(&short(2));
    let found = cursor
        .find_again(whole(other.as_bytes()))
        .expect("within the bound of the search");
    assert_eq!(
        found.advance(whole(other.as_bytes())).unwrap().events[0].raw["n"],
        2
    );
}

#[test]
fn the_end_of_a_long_line_that_an_older_version_kept_is_accepted_in_its_place_only() {
    let text = long_event(1) + &long_event(2);
    let older = EventCursor {
        offset: text.len() as u64,
        anchor: Some(Anchor::of(&text.as_bytes()[text.len() - 4_096..])),
        ..EventCursor::START
    };
    assert!(older.advance(whole(text.as_bytes())).is_ok());
    let trimmed = long_event(2) + &long_event(3);
    assert_eq!(
        older.find_again(whole(trimmed.as_bytes())),
        None,
        "other lines end alike"
    );
}

#[test]
fn what_of_another_file_may_have_been_read_is_known_until_it_is_passed() {
    let cursor = EventCursor::START
        .advance(whole(b"{\"n\":1}\n{\"n\":2}\n"))
        .unwrap()
        .to;
    assert_eq!((cursor.repeats_until, cursor.step), (0, 1));
    // It is still being written: as much as was consumed may come again.
    let place = cursor.in_other_file(None, 8);
    assert_eq!((place.offset, place.repeats_until, place.step), (0, 16, 2));
    let batch = place.advance(whole(b"{\"n\":1}\n")).unwrap();
    assert_eq!(
        (batch.resync, batch.to.repeats_until),
        (Some(Resync::Replaced), 16)
    );
    let batch = batch.to.advance(whole(b"{\"n\":1}\n{\"n\":2}\n")).unwrap();
    assert_eq!(
        (batch.resync, batch.to.repeats_until, batch.to.step),
        (Some(Resync::Replaced), 0, 4)
    );
    let found = cursor.find_again(whole(b"{\"n\":2}\n{\"n\":3}\n"));
    assert_eq!(cursor.in_other_file(found, 16).repeats_until, 16);
    assert_eq!(place.in_other_file(None, u64::MAX).repeats_until, i64::MAX as u64);
}
