//! A stream of events that survives lost connections: it comes back with the last id, at most so often in a row.

use std::time::Duration;

use reqwest::{Method, Response};
use tokio::time::Instant;

use super::sse::Parser;
use super::{Client, ClientError, Event, Raw, error, read};

/// How often to come back in a row without having heard anything.
const LOST_IN_A_ROW: u32 = 5;
/// The service writes a comment every 15 seconds; one that is silent for much longer is gone.
const SILENT: Duration = Duration::from_secs(60);

/// Events of one route.
pub(crate) struct Stream<'a> {
    client: &'a Client,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    deadline: Option<Instant>,
    parser: Parser,
    open: Option<Response>,
    lost: u32,
}

impl<'a> Stream<'a> {
    /// Opens nothing yet.
    pub(super) fn new(
        client: &'a Client,
        segments: &[&str],
        query: Vec<(&'static str, String)>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            client,
            segments: segments.iter().map(|segment| (*segment).to_owned()).collect(),
            query,
            deadline,
            parser: Parser::default(),
            open: None,
            lost: 0,
        }
    }

    /// The next event. The stream is over for the caller when it has had the event it waited for.
    ///
    /// # Errors
    /// When the service refuses the stream, or was lost too often in a row.
    ///
    /// # Cancel safety
    /// Cancel safe: an event that was not returned comes with the next call.
    pub(crate) async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                self.lost = 0;
                return Ok(event);
            }
            let deadline = self.deadline;
            let step = self.step();
            let stepped = match deadline {
                None => step.await,
                Some(deadline) => match tokio::time::timeout_at(deadline, step).await {
                    Ok(stepped) => stepped,
                    Err(_) => {
                        return Err(ClientError::TimedOut {
                            what: "the time to follow is over".into(),
                        });
                    }
                },
            };
            if let Err(error) = stepped {
                self.come_back(error).await?;
            }
        }
    }

    /// Connects, or reads a piece.
    async fn step(&mut self) -> Result<(), ClientError> {
        let Some(response) = &mut self.open else {
            self.open = Some(self.connect().await?);
            return Ok(());
        };
        let cut = ClientError::Cut { sent_effect: false };
        match tokio::time::timeout(SILENT, response.chunk()).await {
            Ok(Ok(Some(piece))) => self.parser.push(&piece),
            Ok(Ok(None) | Err(_)) | Err(_) => Err(cut),
        }
    }

    async fn connect(&self) -> Result<Response, ClientError> {
        let segments: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        let mut request = self.client.request(Method::GET, &segments, &self.query, None)?;
        request = request.header("accept", "text/event-stream");
        if let Some(id) = self.parser.last_id() {
            request = request.header("last-event-id", id);
        }
        let sending = tokio::time::timeout(SILENT, request.send()).await;
        let response = sending
            .map_err(|_| ClientError::TimedOut {
                what: "the service did not answer in time".into(),
            })?
            .map_err(|error| error::of_sending(&error, &self.client.base, false))?;
        let kind = response
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if response.status().as_u16() == 200 && is_stream {
            return Ok(response);
        }
        if response.status().is_success() {
            return Err(ClientError::Unreadable {
                why: "it is no stream of events".into(),
            });
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response, false).await?;
        Err(ClientError::Refused(Box::new(
            Raw {
                status,
                headers,
                body,
            }
            .refusal(),
        )))
    }

    /// Waits before the next try, where another one may help.
    async fn come_back(&mut self, error: ClientError) -> Result<(), ClientError> {
        // Half an event must not be glued to the next connection's first.
        let last_id = self.parser.last_id().map(str::to_owned);
        self.parser = Parser::after(last_id);
        self.open = None;
        let passing = match &error {
            ClientError::Cut { .. } | ClientError::Unreachable { .. } => true,
            ClientError::Refused(refusal) => matches!(refusal.status, 429 | 502 | 503),
            _ => false,
        };
        self.lost += 1;
        if !passing || self.lost > LOST_IN_A_ROW {
            return Err(error);
        }
        let asked = match &error {
            ClientError::Refused(refusal) => refusal.retry_after_secs.map(Duration::from_secs),
            _ => None,
        };
        let pause = asked
            .unwrap_or(Duration::from_millis(100) * 2_u32.pow(self.lost))
            .min(Duration::from_secs(10));
        let until = Instant::now() + pause;
        if self.deadline.is_some_and(|deadline| until >= deadline) {
            return Err(ClientError::TimedOut {
                what: "the time to follow is over".into(),
            });
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }
}
