//! What to ask for to read what is new in an event file, and what the answers come to.

use chrono::{DateTime, Utc};

use super::{ANCHOR_LIMIT, EventBatch, EventCursor, LINE_LIMIT, Limits, PIECE_LENGTH, Piece, Resync};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// How many bytes are asked for at once. Default [`PIECE_LENGTH`]; at least four times the longest line.
    pub piece: u64,
    /// In how many pieces from its beginning a line is searched for in another file; and how many of its last ones are
    /// looked at on first sight. Default 8.
    pub pieces: u32,
    /// The longest part that can be asked for. Default 8 MiB.
    pub longest: u64,
    /// The longest line that is looked at. Default [`LINE_LIMIT`].
    pub line: usize,
    /// How many bytes before a place prove it, at most. Default [`LINE_LIMIT`].
    pub anchor: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            piece: PIECE_LENGTH,
            pieces: 8,
            longest: 8 << 20,
            line: LINE_LIMIT,
            anchor: ANCHOR_LIMIT,
        }
    }
}

impl ReadLimits {
    fn limits(&self) -> Limits {
        Limits {
            line: self.line,
            anchor: self.anchor,
        }
    }

    /// Even, for the characters of UTF-16, and more than what two pieces have in common.
    fn piece(&self) -> u64 {
        (self.piece & !1).max(4 * self.line as u64)
    }

    /// Pieces have so much in common that a line and what it proves lies whole in one of them.
    fn overlap(&self) -> u64 {
        2 * self.line as u64
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum EventsStep {
    /// Ask for `length` bytes of the file from `at` on.
    Part {
        /// The first byte.
        at: u64,
        /// How many at most.
        length: u64,
    },
    /// Ask how long the file is.
    Length,
    /// This is what was read; `None` where there is no file, or where it changed too much to tell.
    Done(Option<EventBatch>),
}

/// What was answered.
#[derive(Debug, Clone, Copy)]
pub enum EventsAnswer<'a> {
    /// Bytes; fewer than asked for where the file ends.
    Part(Piece<'a>),
    /// The length of the file.
    Length(u64),
    /// The file ends before the place asked for.
    PastEnd,
    /// There is no file.
    Missing,
}

/// Reads what is new in an event file, in a bounded number of steps. It asks for parts of the file and does not say how
/// they are got.
///
/// ```
/// use labstation_commands::{EventCursor, EventReading, EventsAnswer, EventsStep, Piece};
///
/// let file = b"{\"user\":\"a\"}\r\n";
/// let mut reading = EventReading::after(EventCursor::START);
/// let batch = loop {
///     match reading.next_step() {
///         EventsStep::Done(batch) => break batch,
///         EventsStep::Length => reading.answer(EventsAnswer::Length(file.len() as u64)),
///         EventsStep::Part { at, .. } => {
///             let bytes = &file[at as usize..];
///             reading.answer(EventsAnswer::Part(Piece { at, bytes, is_end: true }));
///         }
///     }
/// };
/// assert_eq!(batch.unwrap().events.len(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct EventReading {
    limits: ReadLimits,
    /// Where it begins; at first sight nowhere.
    from: Option<EventCursor>,
    since: Option<DateTime<Utc>>,
    why: Option<Resync>,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// What follows the cursor.
    Advance(EventCursor),
    /// The anchor's line is searched for, in so many pieces yet.
    Search {
        at: u64,
        left: u32,
    },
    /// What follows the place in another file.
    Anew(EventCursor),
    /// How long is the file of which this is a piece? Asked last: were it the length of the file before that, the piece
    /// might be of a longer one.
    Measure(Box<EventBatch>),
    /// How long is the file?
    FirstLength,
    /// So much of the end of so long a file.
    FirstPart {
        length: u64,
        wanted: u64,
    },
    Done(Option<EventBatch>),
}

impl EventReading {
    /// Reads what follows a place.
    #[must_use]
    pub fn after(cursor: EventCursor) -> Self {
        // At the head of another file nothing proves that it is still that one: how much of it was read before is asked
        // again.
        let is_at_head_of_other = cursor.anchor.is_none() && cursor.repeats_until > 0;
        let (why, state) = match is_at_head_of_other {
            true => (Some(Resync::Replaced), State::Anew(cursor)),
            false => (None, State::Advance(cursor)),
        };
        Self {
            limits: ReadLimits::default(),
            from: Some(cursor),
            since: None,
            why,
            state,
        }
    }

    /// Begins with a file that was never read: at its end, or with the first event since an instant of the station's
    /// clock.
    #[must_use]
    pub fn first_sight(since: Option<DateTime<Utc>>) -> Self {
        Self {
            limits: ReadLimits::default(),
            from: None,
            since,
            why: None,
            state: State::FirstLength,
        }
    }

    /// With other limits.
    #[must_use]
    pub fn within(self, limits: ReadLimits) -> Self {
        Self { limits, ..self }
    }

    /// Why the file is no longer the one of the cursor, once that was found.
    #[must_use]
    pub fn resync(&self) -> Option<Resync> {
        self.why
    }

    /// What to do next; the same until it is answered.
    #[must_use]
    pub fn next_step(&self) -> EventsStep {
        let piece = self.limits.piece();
        let part = |at, length| EventsStep::Part { at, length };
        match &self.state {
            State::Advance(cursor) | State::Anew(cursor) => part(cursor.read_from(), piece),
            State::Search { at, .. } => part(*at, piece),
            State::Measure(_) | State::FirstLength => EventsStep::Length,
            State::FirstPart { length, wanted } => {
                // Even, for the characters of UTF-16.
                let at = length.saturating_sub(*wanted) & !1;
                part(at, length - at)
            }
            State::Done(batch) => EventsStep::Done(batch.clone()),
        }
    }

    /// Takes the answer to the last question; an answer to another one counts as if the file was not there.
    pub fn answer(&mut self, answer: EventsAnswer<'_>) {
        use EventsAnswer as A;
        self.state = match (&self.state, answer) {
            (State::Advance(cursor), A::Part(piece)) => {
                match cursor.advance_within(piece, self.limits.limits()) {
                    Ok(batch) => State::Done(Some(batch)),
                    Err(why) => self.lost(why),
                }
            }
            (State::Advance(_), A::PastEnd) => self.lost(Resync::Truncated),
            (State::Search { left, .. }, A::Part(piece)) => self.searched(*left, piece),
            // It became shorter meanwhile.
            (State::Search { .. }, A::PastEnd) => self.anew(None),
            (State::Anew(place), A::Part(piece)) => match place.advance_within(piece, self.limits.limits()) {
                Ok(batch) => State::Measure(Box::new(batch)),
                Err(_) => self.changed_again(),
            },
            (State::Anew(_), A::PastEnd) => self.changed_again(),
            (State::Measure(batch), A::Length(length)) => {
                let mut to = batch.to.repeating(length);
                if Some(to) != self.from && Some(to.step) == self.from.map(|from| from.step) {
                    to.step += 1;
                }
                self.told(EventBatch {
                    to,
                    ..(**batch).clone()
                })
            }
            (State::FirstLength, A::Length(length @ 1..)) => State::FirstPart {
                length,
                wanted: self.limits.piece().min(self.limits.longest).min(length),
            },
            (State::FirstLength, A::Length(0) | A::Missing) => State::Done(Some(EventBatch {
                from: None,
                ..nothing_at(EventCursor {
                    step: 1,
                    ..EventCursor::START
                })
            })),
            (State::FirstPart { length, wanted }, A::Part(piece)) => self.seen(*length, *wanted, piece),
            _ => State::Done(None),
        };
    }

    fn lost(&mut self, why: Resync) -> State {
        self.why = Some(why);
        State::Search {
            at: 0,
            left: self.limits.pieces,
        }
    }

    fn cursor(&self) -> EventCursor {
        self.from.unwrap_or_default()
    }

    fn searched(&self, left: u32, piece: Piece<'_>) -> State {
        let end = piece.at + piece.bytes.len() as u64;
        let found = self.cursor().find_again(piece);
        let goes_on = left > 1 && !piece.is_end && end > piece.at + self.limits.overlap();
        match found {
            None if goes_on => State::Search {
                at: end - self.limits.overlap(),
                left: left - 1,
            },
            found => self.anew(found),
        }
    }

    fn anew(&self, found: Option<EventCursor>) -> State {
        State::Anew(self.cursor().in_other_file(found, 0))
    }

    fn told(&self, batch: EventBatch) -> State {
        State::Done(Some(EventBatch {
            from: self.from,
            resync: self.why,
            ..batch
        }))
    }

    /// While we looked: the next reading begins at the beginning.
    fn changed_again(&self) -> State {
        let to = self.cursor().in_other_file(None, 0);
        self.told(EventBatch {
            more: true,
            ..nothing_at(to)
        })
    }

    fn seen(&self, length: u64, wanted: u64, piece: Piece<'_>) -> State {
        let limits = self.limits.limits();
        let most = match self.since {
            Some(_) => self.limits.piece() * u64::from(self.limits.pieces),
            None => self.limits.piece(),
        };
        let most = most.min(self.limits.longest).min(length);
        let sight = super::first_sight_within(piece, self.since, limits);
        if !sight.is_whole && wanted < most {
            let wanted = (wanted * 2).min(most);
            return State::FirstPart { length, wanted };
        }
        // Of what is behind it, whoever stored the first events may have stored the rest too.
        let place = EventCursor {
            repeats_until: if sight.cursor.offset < length { length } else { 0 },
            ..sight.cursor
        };
        // A piece of it, as at any other time.
        let at = place.read_from();
        let skip = usize::try_from(at.saturating_sub(piece.at)).unwrap_or(usize::MAX);
        let rest = piece.bytes.get(skip..).unwrap_or_default();
        let bytes = &rest[..rest
            .len()
            .min(usize::try_from(self.limits.piece()).unwrap_or(usize::MAX))];
        let is_end = bytes.len() == rest.len();
        let batch = place.advance_within(Piece { at, bytes, is_end }, limits);
        State::Done(Some(EventBatch {
            from: None,
            resync: None,
            ..batch.unwrap_or_else(|_| nothing_at(place))
        }))
    }
}

fn nothing_at(to: EventCursor) -> EventBatch {
    EventBatch {
        from: Some(to),
        to,
        events: Vec::new(),
        bad_lines: 0,
        resync: None,
        more: false,
    }
}
