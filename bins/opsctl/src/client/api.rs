//! The calls, by name.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::model::{
    Audit, EventList, Explanation, Health, History, Host, HostExplanation, HostList, Hours, Operation,
    Polled, RecentOperations, ReservationList, Timeline, Worker, WorkerList,
};
use super::{Answer, Client, ClientError, Stream, accept, typed};

type Called<T> = Result<Answer<T>, ClientError>;

/// Which reservations to list.
#[derive(Debug, Default)]
pub(crate) struct ReservationFilter {
    pub(crate) host: Option<String>,
    pub(crate) lab: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) limit: Option<u32>,
    pub(crate) after: Option<String>,
}

/// Work that may take long, and how it is asked for.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) path: &'static [&'static str],
    pub(crate) body: Value,
    pub(crate) key: String,
}

/// Those of the pairs that have a value.
fn given<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn text(number: Option<impl ToString>) -> Option<String> {
    number.map(|number| number.to_string())
}

impl Client {
    pub(crate) async fn hosts(
        &self,
        lab: Option<String>,
        verdict: Option<String>,
        words: Option<String>,
    ) -> Called<HostList> {
        let query = given([("lab", lab), ("verdict", verdict), ("q", words)]);
        self.get(&["api", "hosts"], &query).await
    }

    pub(crate) async fn host(&self, name: &str) -> Called<Host> {
        self.get(&["api", "hosts", name], &[]).await
    }

    pub(crate) async fn reservations(&self, filter: ReservationFilter) -> Called<ReservationList> {
        let query = given([
            ("host", filter.host),
            ("labId", filter.lab),
            ("status", filter.status),
            ("from", filter.from),
            ("to", filter.to),
            ("limit", text(filter.limit)),
            ("after", filter.after),
        ]);
        self.get(&["api", "reservations"], &query).await
    }

    pub(crate) async fn timeline(
        &self,
        id: &str,
        limit: Option<u32>,
        offset: Option<u64>,
    ) -> Called<Timeline> {
        let query = given([
            ("reservationId", Some(id.to_owned())),
            ("limit", text(limit)),
            ("offset", text(offset)),
        ]);
        self.get(&["api", "reservations", "timeline"], &query).await
    }

    pub(crate) async fn explain_reservation(&self, id: &str) -> Called<Explanation> {
        self.get(&["api", "reservations", id, "explain"], &[]).await
    }

    pub(crate) async fn explain_host(&self, name: &str) -> Called<HostExplanation> {
        self.get(&["api", "hosts", name, "explain"], &[]).await
    }

    pub(crate) async fn poll(&self, host: &str, events: bool) -> Called<Polled> {
        let body = json!({"host": host, "include_events": events});
        let path = ["api", "heartbeat", "poll"];
        self.change(Method::POST, &path, Some(&body), self.long_deadline())
            .await
    }

    /// All hosts when none is named.
    pub(crate) fn heartbeats(&self, hosts: &[String], events: bool) -> Stream<'_> {
        let mut query: Vec<(&'static str, String)> =
            hosts.iter().map(|host| ("host", host.clone())).collect();
        query.push(("include_events", events.to_string()));
        Stream::new(
            self,
            &["api", "heartbeat", "stream"],
            query,
            self.stream_deadline(),
        )
    }

    pub(crate) async fn history(
        &self,
        host: &str,
        field: &str,
        from: Option<String>,
        to: Option<String>,
        step_secs: Option<u64>,
    ) -> Called<History> {
        let query = given([
            ("field", Some(field.to_owned())),
            ("from", from),
            ("to", to),
            ("stepSecs", text(step_secs)),
        ]);
        self.get(&["api", "hosts", host, "history"], &query).await
    }

    pub(crate) async fn hours(&self, host: &str, from: Option<String>, to: Option<String>) -> Called<Hours> {
        let query = given([("from", from), ("to", to)]);
        self.get(&["api", "hosts", host, "hours"], &query).await
    }

    /// `after` is an id, or `newest`.
    pub(crate) async fn events(
        &self,
        host: Option<String>,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Called<EventList> {
        let query = given([("host", host), ("after", after), ("limit", text(limit))]);
        self.get(&["api", "events"], &query).await
    }

    pub(crate) async fn recent_operations(
        &self,
        host: Option<String>,
        reservation: Option<String>,
        limit: Option<u32>,
        offset: Option<u64>,
    ) -> Called<RecentOperations> {
        let query = given([
            ("host", host),
            ("reservationId", reservation),
            ("limit", text(limit)),
            ("offset", text(offset)),
        ]);
        self.get(&["api", "operations", "recent"], &query).await
    }

    pub(crate) async fn operation(&self, id: &str) -> Called<Operation> {
        self.get(&["api", "operations", id], &[]).await
    }

    pub(super) fn operation_events(&self, id: &str, deadline: Option<tokio::time::Instant>) -> Stream<'_> {
        Stream::new(self, &["api", "operations", id, "events"], Vec::new(), deadline)
    }

    pub(crate) async fn begin_maintenance(
        &self,
        host: &str,
        reason: &str,
        owner: Option<String>,
        until: Option<String>,
    ) -> Called<Value> {
        let fields = given([("owner", owner), ("until", until)]);
        let mut body: Map<String, Value> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        body.insert("reason".into(), reason.into());
        self.maintenance(Method::POST, host, Some(&Value::Object(body)))
            .await
    }

    pub(crate) async fn end_maintenance(&self, host: &str) -> Called<Value> {
        self.maintenance(Method::DELETE, host, None).await
    }

    async fn maintenance(&self, method: Method, host: &str, body: Option<&Value>) -> Called<Value> {
        self.change(
            method,
            &["api", "hosts", host, "maintenance"],
            body,
            self.read_deadline(),
        )
        .await
    }

    pub(crate) async fn reload(&self) -> Called<Value> {
        self.change(
            Method::POST,
            &["api", "hosts", "reload"],
            None,
            self.read_deadline(),
        )
        .await
    }

    pub(crate) async fn workers(&self) -> Called<WorkerList> {
        self.get(&["api", "workers"], &[]).await
    }

    pub(crate) async fn cordon(&self, name: &str, reason: &str) -> Called<Worker> {
        let body = json!({"reason": reason});
        let path = ["api", "workers", name, "cordon"];
        self.change(Method::POST, &path, Some(&body), self.read_deadline())
            .await
    }

    pub(crate) async fn uncordon(&self, name: &str) -> Called<Worker> {
        let path = ["api", "workers", name, "uncordon"];
        self.change(Method::POST, &path, None, self.read_deadline()).await
    }

    /// A service that is not well says so with 503 and the same document.
    pub(crate) async fn health(&self) -> Called<Health> {
        let request = self.request(Method::GET, &["health"], &[], None)?;
        let answer = self.send(request, self.read_deadline(), false).await?;
        let says = answer
            .document()
            .is_some_and(|document| document["status"].is_string());
        if answer.status == 503 && says {
            typed(&answer)
        } else {
            accept(answer)
        }
    }

    pub(crate) async fn audit(
        &self,
        after: Option<String>,
        limit: Option<u32>,
        caller: Option<String>,
        subject: Option<String>,
    ) -> Called<Audit> {
        let query = given([
            ("after", after),
            ("limit", text(limit)),
            ("caller", caller),
            ("subject", subject),
        ]);
        self.get(&["api", "audit"], &query).await
    }
}
