//! The promises of [`Store`] that can be seen through the port, checked on any implementation.
//!
//! ```
//! # use lab_model::ReservationId;
//! # use reservation_engine::testing::{MemoryStore, conformance};
//! # use reservation_engine::{Reservation, Store};
//! struct InMemory(MemoryStore);
//!
//! impl conformance::Subject for InMemory {
//!     fn store(&self) -> &impl Store {
//!         &self.0
//!     }
//!     async fn put(&self, reservation: Reservation) {
//!         self.0.put(reservation);
//!     }
//!     async fn history(&self) -> usize {
//!         self.0.history().len()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let broken = conformance::broken_promises(&InMemory(MemoryStore::default())).await;
//! assert!(broken.is_empty(), "{broken:?}");
//! # }
//! ```

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{HostName, IdError, LabId, ReservationId};
use tokio::time::sleep;

use crate::operation::{NewOperation, Operation, OperationKind, Step};
use crate::ports::{AttemptEnd, AttemptId, AttemptOutcome, Claim, HistoryRow, Store, StoreError, WorkItem};
use crate::reservation::{Reservation, ReservationStatus};
use crate::state::State;

/// A store under test, empty, and what a test has to do beside its port.
pub trait Subject: Sync {
    /// The store.
    fn store(&self) -> &impl Store;

    /// Writes a reservation as its owner would.
    fn put(&self, reservation: Reservation) -> impl Future<Output = ()> + Send;

    /// How many rows the history has.
    fn history(&self) -> impl Future<Output = usize> + Send;

    /// Whether the store says who holds a host, or leaves [`Store::find_claim`] to its default.
    fn tells_holders(&self) -> bool {
        true
    }

    /// Whether the store has a journal, or leaves [`Store::begin_attempt`] and [`Store::finish_attempt`] to their
    /// defaults.
    fn keeps_tries(&self) -> bool {
        true
    }
}

/// Long enough for the calls of one check on a slow machine.
const LEASE: Duration = Duration::from_secs(20);
/// What has to be over soon.
const SHORT: Duration = Duration::from_secs(1);
const LIMIT: u32 = 100;

/// Tries the store and gives the promises it does not keep, or cannot be asked about because a call failed. It
/// takes a second or two of the store's time, since leases have to end. How long hosts take is not asked about.
pub async fn broken_promises(subject: &impl Subject) -> Vec<String> {
    let mut check = Check {
        store: subject.store(),
        broken: Vec::new(),
    };
    let ended = async {
        check.claims(subject).await?;
        check.leases_end().await?;
        check.reservations(subject).await?;
        check.journal(subject).await?;
        check.fences(subject).await
    };
    if let Err(error) = ended.await {
        check.broken.push(format!("a call failed: {error}"));
    }
    check.broken
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("the host {0} was not free")]
    Taken(HostName),
}

struct Check<'a, S> {
    store: &'a S,
    broken: Vec<String>,
}

impl<S: Store> Check<'_, S> {
    fn that(&mut self, held: bool, promise: &str) {
        if !held {
            self.broken.push(promise.to_owned());
        }
    }

    async fn claim(&self, host: &str, lease: Duration) -> Result<Claim, Failure> {
        let host = HostName::parse(host)?;
        let claim = self.store.claim_host(&host, "one", lease).await?;
        claim.ok_or(Failure::Taken(host))
    }

    async fn claims(&mut self, subject: &impl Subject) -> Result<(), Failure> {
        let store = self.store;
        let claim = self.claim("claims", LEASE).await?;
        let host = &claim.host;
        let by_another = store.claim_host(host, "two", LEASE).await?;
        self.that(by_another.is_none(), "a host that is held is nobody else's");
        let again = store.claim_host(host, "one", LEASE).await?;
        self.that(again.is_none(), "a holder does not get the same host twice");
        let found = store.find_claim(host).await?;
        let told = found.is_some_and(|found| found.holder == "one" && found.left <= LEASE);
        self.that(
            told || !subject.tells_holders(),
            "find_claim names the holder and what is left of the lease",
        );
        self.that(
            store.renew_claim(&claim, LEASE).await?,
            "a claim that is held is renewed",
        );
        store.give_back(&claim).await?;
        let free = store.find_claim(host).await?.is_none();
        self.that(free, "a host that was given back is free");
        let Some(newer) = store.claim_host(host, "two", LEASE).await? else {
            return Err(Failure::Taken(host.clone()));
        };
        self.that(
            newer.token > claim.token,
            "tokens grow with each change of holder",
        );
        let renewed = store.renew_claim(&claim, LEASE).await?;
        self.that(!renewed, "a claim that was lost is not renewed");
        store.give_back(&claim).await?;
        let kept = store.renew_claim(&newer, LEASE).await?;
        self.that(kept, "giving a lost claim back leaves the newer one alone");
        Ok(())
    }

    async fn leases_end(&mut self) -> Result<(), Failure> {
        let old = self.claim("lease", SHORT).await?;
        sleep(SHORT + SHORT / 4).await;
        let renewed = self.store.renew_claim(&old, LEASE).await?;
        self.that(!renewed, "a lease that is over cannot be renewed");
        let found = self.store.find_claim(&old.host).await?;
        self.that(found.is_none(), "a host whose lease is over is free");
        let newer = self.claim("lease", LEASE).await?;
        self.that(
            newer.token > old.token,
            "tokens grow when a lease ended by itself",
        );
        Ok(())
    }

    async fn reservations(&mut self, subject: &impl Subject) -> Result<(), Failure> {
        use ReservationStatus::{Active, Confirmed, Pending};
        for (id, status, minutes) in [
            ("later", Confirmed, 30),
            ("soon", Confirmed, 10),
            ("beyond", Confirmed, 90),
            ("pending", Pending, 10),
            ("running", Active, -10),
        ] {
            subject.put(a_reservation(id, status, minutes)?).await;
        }
        let (now, horizon) = (at(0), at(60));
        let found = ids(&self.store.work(now, horizon, LIMIT).await?);
        let expected = ["running", "soon", "later"];
        self.that(
            found == expected,
            "work gives what may need something before the horizon, earliest first",
        );
        let few = ids(&self.store.work(now, horizon, 2).await?);
        self.that(few == expected[..2], "work gives at most `limit`");
        let asked = ["beyond", "unknown", "pending"].map(ReservationId::parse);
        let asked: Vec<_> = asked.into_iter().collect::<Result<_, _>>()?;
        let mut found = ids(&self.store.find_work(&asked).await?);
        found.sort_unstable();
        self.that(
            found == ["beyond", "pending"],
            "find_work gives what it knows, whatever its status",
        );
        Ok(())
    }

    async fn journal(&mut self, subject: &impl Subject) -> Result<(), Failure> {
        let store = self.store;
        subject
            .put(a_reservation("journal", ReservationStatus::Confirmed, 10)?)
            .await;
        let claim = self.claim("journal", LEASE).await?;
        let new = an_operation("journal", &claim)?;
        let opened = store.open_operation(&claim, new.clone(), at(0)).await?;
        let again = NewOperation { state: done(), ..new };
        let again = store.open_operation(&claim, again, at(1)).await?;
        self.that(
            again == opened,
            "an operation is opened once for its key; then the stored one is given",
        );

        let begun = Operation {
            state: running(1),
            ..opened.clone()
        };
        let first = store.begin_attempt(&claim, &begun, Step::Wake, 1, at(1)).await?;
        let same = store.begin_attempt(&claim, &begun, Step::Wake, 1, at(1)).await?;
        self.that(same == first, "the same intent again gives the same try");
        let stored = self.start_of("journal").await?;
        self.that(
            stored.as_ref() == Some(&begun),
            "an intent is committed with the operation's state",
        );

        let rows = [a_row(&begun)];
        let before = subject.history().await;
        let ended = Operation {
            state: State::Pending {
                step: Step::Prepare,
                failed: 0,
            },
            ..begun.clone()
        };
        store.finish_attempt(&claim, ending(&ended, first, &rows)).await?;
        store.finish_attempt(&claim, ending(&ended, first, &rows)).await?;
        let wrong = Operation {
            state: done(),
            ..begun
        };
        if subject.keeps_tries() {
            store.finish_attempt(&claim, ending(&wrong, first, &rows)).await?;
        }
        let stored = self.start_of("journal").await?;
        self.that(
            stored.as_ref() == Some(&ended),
            "a try that has an outcome is left as it is",
        );
        let written = subject.history().await - before;
        self.that(written == 1, "an outcome writes its history once");
        let repeated = Operation {
            state: running(2),
            prepare_began_at: Some(at(1)),
            ..ended
        };
        let second = store
            .begin_attempt(&claim, &repeated, Step::Wake, 2, at(2))
            .await?;
        self.that(second != first, "another try is another one");

        let over = Operation {
            state: done(),
            ..repeated
        };
        let before = subject.history().await;
        store.save_operation(&claim, &over, &rows, at(3)).await?;
        store.save_operation(&claim, &over, &rows, at(3)).await?;
        let stored = self.start_of("journal").await?;
        self.that(
            stored.as_ref() == Some(&over),
            "save_operation stores what it is given",
        );
        let written = subject.history().await - before;
        self.that(written == 1, "the same state again writes no history again");
        self.confirmed_again(&claim, &over).await
    }

    /// The reservation is `CONFIRMED` although its start is done, so it was called off and confirmed again.
    async fn confirmed_again(&mut self, claim: &Claim, former: &Operation) -> Result<(), Failure> {
        let store = self.store;
        let of = "journal".to_owned();
        let seen = ids(&store.work(at(0), at(60), LIMIT).await?).contains(&of);
        self.that(seen, "work gives a confirmed one whose start is done");
        let end = NewOperation {
            key: "end:journal".to_owned(),
            kind: OperationKind::End,
            ..an_operation("journal", claim)?
        };
        let end = store.open_operation(claim, end, at(4)).await?;
        let end = Operation { state: done(), ..end };
        store.save_operation(claim, &end, &[], at(4)).await?;
        let seen = ids(&store.work(at(0), at(60), LIMIT).await?).contains(&of);
        self.that(seen, "work gives a confirmed one whose host was released");
        let further = NewOperation {
            key: format!("start:journal:{}", former.id),
            ..an_operation("journal", claim)?
        };
        let further = store.open_operation(claim, further, at(5)).await?;
        self.that(
            former.id < end.id && end.id < further.id,
            "the ids of operations grow",
        );
        let found = store.find_work(&[ReservationId::parse("journal")?]).await?;
        let counts = found
            .first()
            .is_some_and(|item| item.start.as_ref() == Some(&further) && item.end.is_none());
        self.that(
            counts,
            "the newest start counts, and no end that was over before it",
        );
        Ok(())
    }

    async fn fences(&mut self, subject: &impl Subject) -> Result<(), Failure> {
        use ReservationStatus::{Active, Completed, Confirmed};
        let store = self.store;
        let reservation = a_reservation("fences", Confirmed, 10)?;
        subject.put(reservation.clone()).await;
        let id = &reservation.id;
        let old = self.claim("fences", LEASE).await?;
        let opened = store
            .open_operation(&old, an_operation("fences", &old)?, at(0))
            .await?;
        let begun = Operation {
            state: running(1),
            ..opened.clone()
        };
        let attempt = store.begin_attempt(&old, &begun, Step::Wake, 1, at(1)).await?;
        store.give_back(&old).await?;
        let newer = self.claim("fences", LEASE).await?;

        let over = Operation {
            state: done(),
            ..begun.clone()
        };
        let new = NewOperation {
            key: "end:fences".to_owned(),
            kind: OperationKind::End,
            ..an_operation("fences", &old)?
        };
        let before = subject.history().await;
        let rows = [a_row(&over)];
        let refused = [
            (
                "open_operation",
                fenced(store.open_operation(&old, new, at(2)).await),
            ),
            (
                "begin_attempt",
                fenced(store.begin_attempt(&old, &over, Step::Wake, 2, at(2)).await),
            ),
            (
                "finish_attempt",
                fenced(store.finish_attempt(&old, ending(&over, attempt, &rows)).await),
            ),
            (
                "save_operation",
                fenced(store.save_operation(&old, &over, &rows, at(2)).await),
            ),
            (
                "change_status",
                fenced(store.change_status(&old, id, Confirmed, Active, at(2)).await),
            ),
        ];
        for (call, fenced) in refused {
            self.that(fenced, &format!("{call} is refused under an older token"));
        }
        let untouched = self.start_of("fences").await? == Some(begun) && subject.history().await == before;
        self.that(untouched, "what was refused left nothing behind");

        let moved = store.change_status(&newer, id, Active, Completed, at(3)).await?;
        self.that(!moved, "a status that is not what was expected is left alone");
        let moved = store.change_status(&newer, id, Confirmed, Active, at(3)).await?;
        self.that(moved, "a status that is what was expected is changed");
        let read = store.find_work(std::slice::from_ref(id)).await?;
        let active = read.first().is_some_and(|item| item.reservation.status == Active);
        self.that(active, "a changed status is read back");
        Ok(())
    }

    async fn start_of(&self, id: &str) -> Result<Option<Operation>, Failure> {
        let found = self.store.find_work(&[ReservationId::parse(id)?]).await?;
        Ok(found.into_iter().next().and_then(|item| item.start))
    }
}

fn fenced<T>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Fenced { .. }))
}

fn ids(items: &[WorkItem]) -> Vec<String> {
    items.iter().map(|item| item.reservation.id.to_string()).collect()
}

/// Minutes from an arbitrary instant; whole seconds, since a store need not keep more of a reservation's.
fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

fn a_reservation(id: &str, status: ReservationStatus, minutes: i64) -> Result<Reservation, Failure> {
    Ok(Reservation {
        id: ReservationId::parse(id)?,
        lab: LabId::new("7"),
        status,
        starts_at: at(minutes),
        ends_at: at(minutes + 60),
    })
}

fn an_operation(id: &str, claim: &Claim) -> Result<NewOperation, Failure> {
    Ok(NewOperation {
        key: format!("start:{id}"),
        kind: OperationKind::Start,
        reservation: ReservationId::parse(id)?,
        lab: Some(LabId::new("7")),
        host: claim.host.clone(),
        state: State::first(Step::Wake),
        due_at: at(8),
    })
}

fn running(attempt: u32) -> State {
    State::Running {
        step: Step::Wake,
        attempt,
        since: at(1),
        last: None,
    }
}

fn done() -> State {
    State::Done {
        at: at(3),
        note: None,
    }
}

fn a_row(operation: &Operation) -> HistoryRow {
    HistoryRow {
        reservation: operation.reservation.clone(),
        lab: operation.lab.clone(),
        host: operation.host.to_string(),
        action: "wake".to_owned(),
        status: "completed",
        success: true,
        response_code: Some(200),
        duration_ms: Some(5),
        payload: None,
        message: Some("Host reachable".to_owned()),
        at: at(2),
    }
}

fn ending<'a>(operation: &'a Operation, attempt: AttemptId, history: &'a [HistoryRow]) -> AttemptEnd<'a> {
    AttemptEnd {
        operation,
        attempt,
        outcome: AttemptOutcome::Done,
        reason: None,
        history,
        now: at(2),
    }
}
