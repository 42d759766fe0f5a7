//! Long work: handed over once, then followed by its events, or by asking where there are none.

use std::cell::RefCell;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;

use super::model::Operation;
use super::{Answer, Client, ClientError, Order, Raw, Refusal, typed};

/// How often to ask where events cannot be had.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often asking may fail in a row.
const FAILURES_IN_A_ROW: u32 = 10;

/// How far the work is; shared with whoever shows it, and with whoever has to say where it goes on.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    id: RefCell<Option<String>>,
}

impl Tracker {
    /// The operation's id, once the service has taken the work.
    pub(crate) fn id(&self) -> Option<String> {
        self.id.borrow().clone()
    }
}

/// What came of an order.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer that a caller who waited would have had.
    Answered { status: u16, body: Value },
    /// The work was taken; nobody waited.
    Accepted { document: Value, id: String },
}

impl Client {
    /// Hands over the work. With `detach` it is not waited for.
    ///
    /// # Errors
    /// As for every call; [`ClientError::Cut`] leaves unknown whether the work was taken.
    pub(crate) async fn order(
        &self,
        order: &Order,
        detach: bool,
        tracker: &Tracker,
        changed: impl FnMut(&Operation),
    ) -> Result<Outcome, ClientError> {
        let deadline = self.long_deadline();
        let request = self
            .request(Method::POST, order.path, &[], Some(&order.body))?
            .header("prefer", "respond-async")
            .header("idempotency-key", &order.key);
        let answer = self.send(request, deadline, true).await?;
        if answer.status != 202 {
            return answered(&answer);
        }
        let accepted: Answer<Operation> = typed(&answer)?;
        let named = accepted
            .value
            .id
            .clone()
            .or_else(|| id_of_location(answer.header("location")?));
        let Some(id) = named else {
            return Err(ClientError::Unreadable {
                why: "it does not say which operation was begun".into(),
            });
        };
        tracker.id.replace(Some(id.clone()));
        if detach {
            return Ok(Outcome::Accepted {
                document: accepted.document,
                id,
            });
        }
        let ended = self.follow(&id, Some(deadline), changed).await?;
        of_operation(&ended)
    }

    /// Follows an operation to its end.
    ///
    /// # Errors
    /// As for every call; [`ClientError::TimedOut`] when the work is not done by the deadline.
    pub(crate) async fn follow(
        &self,
        id: &str,
        deadline: Option<Instant>,
        mut changed: impl FnMut(&Operation),
    ) -> Result<Answer<Operation>, ClientError> {
        let mut events = self.operation_events(id, deadline);
        loop {
            let event = match events.next().await {
                Ok(event) => event,
                Err(error) if may_ask(&error) => break,
                Err(error) => return Err(error),
            };
            if event.name == "end" {
                break;
            }
            let document = serde_json::from_str::<Value>(&event.data).ok();
            let operation = document.and_then(|document| Operation::deserialize(document).ok());
            let Some(operation) = operation.filter(|_| event.name == "operation") else {
                continue;
            };
            changed(&operation);
            if operation.is_over() {
                break;
            }
        }
        self.ask(id, deadline, changed).await
    }

    /// Asks until the operation is over.
    async fn ask(
        &self,
        id: &str,
        deadline: Option<Instant>,
        mut changed: impl FnMut(&Operation),
    ) -> Result<Answer<Operation>, ClientError> {
        let mut failures = 0;
        loop {
            match self.operation(id).await {
                Ok(answer) if answer.value.is_over() => return Ok(answer),
                Ok(answer) => {
                    failures = 0;
                    changed(&answer.value);
                }
                Err(error) if may_pass(&error) && failures < FAILURES_IN_A_ROW => failures += 1,
                Err(error) => return Err(error),
            }
            let next = Instant::now() + ASK_EVERY;
            if deadline.is_some_and(|deadline| next >= deadline) {
                return Err(ClientError::TimedOut {
                    what: "the work is not done yet".into(),
                });
            }
            tokio::time::sleep_until(next).await;
        }
    }
}

/// A stream that cannot be had or read leaves asking; a refusal of the caller does not.
fn may_ask(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refusal) => !matches!(refusal.status, 401 | 403),
        ClientError::Cut { .. } | ClientError::Unreachable { .. } | ClientError::Unreadable { .. } => true,
        ClientError::TooLong { .. } => true,
        ClientError::TimedOut { .. } | ClientError::Setting(_) => false,
    }
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refusal) => matches!(refusal.status, 429 | 502..=504),
        ClientError::Cut { .. } | ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => true,
        _ => false,
    }
}

fn id_of_location(location: &str) -> Option<String> {
    let id = location.split(['?', '#']).next()?.rsplit('/').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// A 502 that lists steps is an answer: the steps say what failed.
fn answered(answer: &Raw) -> Result<Outcome, ClientError> {
    let body = answer.document();
    let success = (200..300).contains(&answer.status);
    match body {
        Some(body) if success || body["steps"].is_array() => Ok(Outcome::Answered {
            status: answer.status,
            body,
        }),
        _ if success => Err(ClientError::Unreadable {
            why: "it is no JSON".into(),
        }),
        _ => Err(ClientError::Refused(Box::new(answer.refusal()))),
    }
}

/// What the operation's own record says the answer was.
fn of_operation(ended: &Answer<Operation>) -> Result<Outcome, ClientError> {
    let stored = ended.document["answer"].as_object();
    let Some(stored) = stored else {
        // A worker that died took the answer along; the state is all that is left.
        let state = ended.value.state.clone().unwrap_or_default();
        let refusal = Refusal {
            status: 500,
            error: Some(format!("the operation {state}")),
            code: Some(format!("operation_{state}")),
            body: Some(ended.document.clone()),
            ..Refusal::default()
        };
        return Err(ClientError::Refused(Box::new(refusal)));
    };
    let status = stored
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok());
    let body = stored.get("body").cloned().unwrap_or_default();
    let status = status.unwrap_or(200);
    if (200..300).contains(&status) || body["steps"].is_array() {
        return Ok(Outcome::Answered { status, body });
    }
    let refusal = Refusal::read(status, Some(body).filter(Value::is_object), None, None);
    Err(ClientError::Refused(Box::new(refusal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_last_part_of_the_location() {
        for location in ["/api/operations/5f", "https://gw/ops/api/operations/5f?x=1"] {
            assert_eq!(id_of_location(location).unwrap(), "5f");
        }
        assert_eq!(id_of_location("/api/operations/"), None);
    }
}
