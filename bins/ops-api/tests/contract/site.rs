//! The program, running on the test's database among simulated hosts, for all lines of one part.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use host_sim::HostSpec;
use serde_json::{Value, json};
use store_support::Database;
use store_support::test_support::TestDatabase;

use crate::harness::{Lab, Process, asleep, awake, migrate};
use crate::http::{Answer, call};

/// What every line of a part shares.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    test: TestDatabase,
    process: Mutex<Option<Process>>,
    address: SocketAddr,
}

impl Site {
    /// A host that is up, one that sleeps, one whose entry has no card; and whatever `change` makes of it.
    pub(crate) async fn start(test: TestDatabase) -> Arc<Self> {
        Self::of(test, vec![awake(1), asleep(2), awake(3)], |lab| lab).await
    }

    pub(crate) async fn of(
        test: TestDatabase,
        specs: Vec<HostSpec>,
        change: impl FnOnce(Lab) -> Lab,
    ) -> Arc<Self> {
        migrate(test.database()).await;
        let lab = Lab::start(specs).await.on(&test).with("OPS_WAKE_TIMEOUT", "60");
        lab.write_catalog(|entries| {
            if let Some(third) = entries.get_mut(2).and_then(Value::as_object_mut) {
                third.remove("mac");
            }
        });
        let lab = change(lab);
        let mut process = lab.run(crate::API, &[]);
        let address = process.address().await;
        let site = Self {
            lab,
            test,
            process: Mutex::new(Some(process)),
            address,
        };
        crate::harness::until("the database is open", async || {
            (site.get("/health").await.status == 200).then_some(())
        })
        .await;
        Arc::new(site)
    }

    pub(crate) fn database(&self) -> &Database {
        self.test.database()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        call(self.address, "POST", path, &[], body.to_string()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        call(self.address, method, path, headers, body.to_owned()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        call(self.address, "GET", path, &[], "").await
    }

    /// What the program wrote so far.
    pub(crate) fn said(&self) -> String {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .map(Process::said)
            .unwrap_or_default()
    }

    /// Ends the program as a service manager does.
    pub(crate) async fn stop(&self) {
        let process = self.process.lock().unwrap().take();
        let (status, said) = process.unwrap().terminate().await;
        assert!(status.success(), "{said}");
    }
}

/// The keys of an object, sorted.
pub(crate) fn keys(document: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// That it has at least these keys: the contract's; ours may say more.
#[track_caller]
pub(crate) fn has_keys(document: &Value, wanted: &[&str]) {
    let missing: Vec<&&str> = wanted
        .iter()
        .filter(|key| document.get(**key).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {:?}", keys(document));
}

/// An order about a reservation.
pub(crate) fn order(id: &str, host: &str, more: Value) -> Value {
    let mut body = json!({"reservationId": id, "host": host});
    let (Some(fields), Value::Object(more)) = (body.as_object_mut(), more) else {
        panic!("an order is an object");
    };
    fields.extend(more);
    body
}

/// The lines of one part: each a function named by its section and what it says, all run one after the other on one
/// running program, once per database. Those that broke are named at the end; the log has why.
macro_rules! walk {
    ($start:path; $(async fn $name:ident($site:ident) $body:block)*) => {
        $(async fn $name($site: std::sync::Arc<crate::site::Site>) $body)*

        store_support::each_backend! {
            async fn every_line_holds(test) {
                let site = $start(test).await;
                let mut broken: Vec<&str> = Vec::new();
                $(
                    if tokio::spawn($name(site.clone())).await.is_err() {
                        broken.push(stringify!($name));
                    }
                )*
                site.stop().await;
                assert!(broken.is_empty(), "broken: {broken:?}\n{}", site.said());
            }
        }
    };
}
