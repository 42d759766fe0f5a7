//! Hosts whose entry names a stored credential.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use host_sim::{Farm, FarmOptions, SimHost};
use lab_model::{CredentialRef, HostName, SystemClock};
use reservation_engine::{Station as _, StepAction, StepOrder, StepOutcome, WakeOrder};
use serde_json::{Map, Value, json};
use station_control::{
    Credentials, Effect, EventsRead, FoundAccount, NoCredential, SharedCatalog, StationControl, StoredAccount,
};

use crate::bench::{LIMIT, awake, catalog, entry, settings, until};

/// A store of the test's own.
#[derive(Debug, Default)]
struct Drawer {
    accounts: Mutex<HashMap<String, Result<StoredAccount, NoCredential>>>,
    asked: AtomicU32,
}

impl Drawer {
    fn put(&self, name: &str, user: &str, password: &str) {
        let account = StoredAccount {
            user: user.to_owned(),
            password: password.into(),
        };
        self.accounts.lock().unwrap().insert(name.into(), Ok(account));
    }

    fn refuse(&self, name: &str, why: NoCredential) {
        self.accounts.lock().unwrap().insert(name.into(), Err(why));
    }
}

impl Credentials for Drawer {
    fn find<'a>(&'a self, name: &'a CredentialRef) -> FoundAccount<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.accounts.lock().unwrap().get(name.as_str()).cloned();
        Box::pin(std::future::ready(found.unwrap_or(Err(NoCredential::Missing))))
    }
}

fn named(sim: &SimHost, reference: &str) -> Map<String, Value> {
    let mut entry = entry(sim);
    entry.remove("winrm_user");
    entry.remove("winrm_pass");
    entry.insert("winrm_credential_ref".into(), json!(reference));
    entry
}

struct Site {
    farm: Farm,
    drawer: Arc<Drawer>,
    catalog: SharedCatalog,
    control: StationControl,
    name: HostName,
}

impl Site {
    async fn start() -> Self {
        let farm = Farm::start(vec![awake()], FarmOptions::default()).await.unwrap();
        let sim = &farm.hosts()[0];
        let drawer = Arc::new(Drawer::default());
        let shared = SharedCatalog::new(catalog(vec![named(sim, "Station-01")]));
        let control = StationControl::with_credentials(
            shared.clone(),
            settings(),
            Arc::new(SystemClock),
            drawer.clone(),
        );
        let name = HostName::parse(sim.name()).unwrap();
        drawer.put("station-01", &sim.spec().user, &sim.spec().password);
        Self {
            farm,
            drawer,
            catalog: shared,
            control,
            name,
        }
    }

    fn sim(&self) -> &SimHost {
        &self.farm.hosts()[0]
    }

    async fn read(&self) -> Result<(), String> {
        let read = self
            .control
            .read_heartbeat(&self.name, EventsRead::No, LIMIT)
            .await;
        read.map(drop).map_err(|error| error.code().to_owned())
    }

    async fn end(self) {
        self.control.close(LIMIT).await;
        self.farm.stop().await;
    }
}

#[tokio::test]
async fn the_stored_account_is_used_over_one_connection_as_long_as_it_stays() {
    let site = Site::start().await;
    for _ in 0..3 {
        site.read().await.unwrap();
    }
    assert_eq!(site.sim().counts().connections, 1);
    assert_eq!(site.drawer.asked.load(Ordering::SeqCst), 3);
    // The catalog read anew with the same entry is no reason to log on again.
    site.control
        .replace_catalog(catalog(vec![named(site.sim(), "station-01")]));
    site.read().await.unwrap();
    assert_eq!(site.sim().counts().connections, 1);
    site.end().await;
}

#[tokio::test]
async fn a_changed_credential_is_used_for_the_next_command_and_the_old_link_is_closed() {
    let site = Site::start().await;
    site.read().await.unwrap();
    let (user, password) = (site.sim().spec().user.clone(), site.sim().spec().password.clone());
    site.drawer.put("station-01", &user, "Canary-wrong");
    assert_eq!(site.read().await.unwrap_err(), "unauthorized");
    until("the shell of the old link is gone", || async {
        site.sim().counts().open_shells == 0
    })
    .await;
    site.drawer.put("station-01", &user, &password);
    site.read().await.unwrap();
    // Another name is another credential.
    site.drawer.put("other", &user, &password);
    site.catalog.replace(catalog(vec![named(site.sim(), "other")]));
    site.read().await.unwrap();
    site.end().await;
}

#[tokio::test]
async fn polls_and_steps_of_a_host_without_its_credential_fail_by_name_and_nothing_is_sent() {
    let site = Site::start().await;
    for (why, code) in [
        (NoCredential::Missing, "credential_missing"),
        (NoCredential::NoKey, "secrets_key_missing"),
        (NoCredential::Unreadable("why".into()), "credential_unreadable"),
        (NoCredential::Unavailable, "credential_unavailable"),
    ] {
        site.drawer.refuse("station-01", why);
        assert_eq!(site.read().await.unwrap_err(), code);
        let step = |action| StepOrder {
            host: site.name.clone(),
            action,
            deadline: LIMIT,
        };
        for action in [
            StepAction::Prepare { args: vec![] },
            StepAction::Wake(WakeOrder::default()),
        ] {
            let report = site.control.perform(step(action)).await;
            let StepOutcome::Failed(reason) = report.outcome else {
                panic!("{report:?}");
            };
            assert_eq!(reason.code, code);
            assert!(reason.detail.contains("station-01"), "{reason:?}");
        }
        let run = site
            .control
            .run(&site.name, "status", &[], None)
            .await
            .unwrap_err();
        assert_eq!((run.effect(), run.is_host_problem()), (Effect::None, false));
    }
    assert_eq!(site.sim().counts().connections, 0);
    site.end().await;
}

#[tokio::test]
async fn a_credential_that_was_removed_closes_its_link() {
    let site = Site::start().await;
    site.read().await.unwrap();
    site.drawer.refuse("station-01", NoCredential::Missing);
    assert_eq!(site.read().await.unwrap_err(), "credential_missing");
    until("the shell of the link is gone", || async {
        site.sim().counts().open_shells == 0
    })
    .await;
    site.end().await;
}

#[tokio::test]
async fn without_a_store_such_a_host_is_refused() {
    let farm = Farm::start(vec![awake()], FarmOptions::default()).await.unwrap();
    let shared = SharedCatalog::new(catalog(vec![named(&farm.hosts()[0], "x")]));
    let control = StationControl::new(shared, settings(), Arc::new(SystemClock));
    let name = HostName::parse(farm.hosts()[0].name()).unwrap();
    let refused = control
        .read_heartbeat(&name, EventsRead::No, LIMIT)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "secrets_key_missing");
    farm.stop().await;
}
