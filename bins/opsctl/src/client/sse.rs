//! Server-sent events: bytes in, events out. No sockets here.
//!
//! Source: the HTML standard, "Server-sent events", section "Parsing an event stream".

use std::collections::VecDeque;

use super::ClientError;

/// No event is longer; a line without an end must not fill the memory.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// The last id that was given, also by an earlier event.
    pub(crate) id: Option<String>,
    /// `message` when the event has no name.
    pub(crate) name: String,
    pub(crate) data: String,
}

/// What has been read of a stream so far.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    name: String,
    data: String,
    has_data: bool,
    /// Counts once its event is complete: one that was torn has to come again.
    pending_id: Option<String>,
    last_id: Option<String>,
    ready: VecDeque<Event>,
}

impl Parser {
    /// For a stream that goes on after this id.
    pub(super) fn after(last_id: Option<String>) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    /// The id to go on after.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The next complete event.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Takes more bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(),
                other => self.line.push(other),
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(ClientError::TooLong { limit: MAX_EVENT });
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = match self.begun {
            true => &text,
            false => text.strip_prefix('\u{feff}').unwrap_or(&text),
        };
        self.begun = true;
        if text.is_empty() {
            return self.end_event();
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            // It goes back to the service in a header.
            "id" if value.len() <= 256 && value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => {
                self.pending_id = Some(value.to_owned());
            }
            _ => {}
        }
    }

    fn end_event(&mut self) {
        if let Some(id) = self.pending_id.take() {
            self.last_id = Some(id);
        }
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) || !name.is_empty() {
            self.ready.push_back(Event {
                id: self.last_id.clone(),
                name: if name.is_empty() {
                    "message".to_owned()
                } else {
                    name
                },
                data,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        for chunk in chunks {
            parser.push(chunk).unwrap();
        }
        std::iter::from_fn(|| parser.next()).collect()
    }

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn fields_comments_and_several_lines_of_data_are_read() {
        let text =
            b"\xef\xbb\xbf: hello\nid: 7\nevent: heartbeat\ndata: {\ndata:  }\n\ndata\n\nevent: end\n\n";
        assert_eq!(
            events(&[text]),
            [
                event(Some("7"), "heartbeat", "{\n }"),
                event(Some("7"), "message", ""),
                event(Some("7"), "end", "")
            ]
        );
    }

    #[test]
    fn any_line_end_and_any_cut_give_the_same_events() {
        let whole = "id: 1\r\nevent: a\r\ndata: x\r\n\r\ndata: y\r\rdata: z\n\n";
        let expected = events(&[whole.as_bytes()]);
        assert_eq!(expected.len(), 3);
        for cut in 0..whole.len() {
            let (left, right) = whole.as_bytes().split_at(cut);
            assert_eq!(events(&[left, right]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_event_that_never_ends_is_given_up() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let given_up = (0..8).any(|_| parser.push(&chunk).is_err());
        assert!(given_up);
    }

    #[test]
    fn an_id_that_does_not_fit_a_header_is_not_kept() {
        assert_eq!(
            events(&["id: a\u{1}b\ndata: x\n\n".as_bytes()]),
            [event(None, "message", "x")]
        );
    }
}
