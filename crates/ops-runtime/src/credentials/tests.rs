use secrecy::ExposeSecret as _;
use store_support::test_support::{TestDatabase, on_sqlite};

use super::*;

const LONG: Duration = Duration::from_secs(3600);

fn ring() -> KeyRing {
    KeyRing::parse(&"a:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into()).unwrap()
}

fn name(text: &str) -> CredentialRef {
    CredentialRef::parse(text).unwrap()
}

fn credential(password: &str) -> Credential {
    Credential::new("svc", password.into()).unwrap()
}

async fn credentials(test: &TestDatabase, fresh: Duration) -> StoredCredentials {
    migrations::run(test.database().connection()).await.unwrap();
    let mut credentials = StoredCredentials::new(test.database().clone(), Some(ring()));
    credentials.fresh = fresh;
    credentials
}

async fn password(credentials: &StoredCredentials, of: &str) -> Result<String, NoCredential> {
    let found = credentials.find(&name(of)).await?;
    Ok(found.password.expose_secret().to_owned())
}

#[tokio::test]
async fn what_is_changed_here_counts_at_once_and_what_others_change_a_moment_later() {
    on_sqlite(|test| async move {
        let ours = credentials(&test, LONG).await;
        let others = CredentialStore::new(test.database().clone(), Some(ring()));
        assert_eq!(password(&ours, "x").await, Err(NoCredential::Missing));
        ours.put(&name("x"), &credential("one"), "t", false)
            .await
            .unwrap();
        assert_eq!(password(&ours, "x").await.as_deref(), Ok("one"));
        others
            .put(&name("x"), &credential("two"), "t", true)
            .await
            .unwrap();
        assert_eq!(password(&ours, "x").await.as_deref(), Ok("one"), "still fresh");
        let mut hasty = ours.clone();
        hasty.fresh = Duration::ZERO;
        assert_eq!(password(&hasty, "x").await.as_deref(), Ok("two"));
        ours.remove(&name("x")).await.unwrap();
        assert_eq!(password(&ours, "x").await, Err(NoCredential::Missing));
    })
    .await;
}

#[tokio::test]
async fn while_the_database_is_away_the_last_known_account_is_used() {
    on_sqlite(|test| async move {
        let ours = credentials(&test, Duration::ZERO).await;
        ours.put(&name("x"), &credential("one"), "t", false)
            .await
            .unwrap();
        assert_eq!(password(&ours, "x").await.as_deref(), Ok("one"));
        test.database().clone().close().await;
        assert_eq!(password(&ours, "x").await.as_deref(), Ok("one"));
        assert_eq!(password(&ours, "y").await, Err(NoCredential::Unavailable));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_was_overtaken_by_a_change_is_not_kept() {
    on_sqlite(|test| async move {
        let ours = credentials(&test, LONG).await;
        let old = Ok(StoredAccount {
            user: "svc".into(),
            password: "old".into(),
        });
        let changes = ours.kept().changes;
        ours.put(&name("x"), &credential("new"), "t", false)
            .await
            .unwrap();
        ours.keep(&name("x"), &old, changes);
        assert_eq!(password(&ours, "x").await.as_deref(), Ok("new"));
    })
    .await;
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    on_sqlite(|test| async move {
        let ours = credentials(&test, LONG).await;
        for at in 0..MAX_KEPT + 50 {
            ours.keep(&name(&format!("x{at}")), &Err(NoCredential::Missing), 0);
        }
        assert_eq!(ours.kept().answers.len(), MAX_KEPT);
        let mut stale = ours.clone();
        stale.fresh = Duration::ZERO;
        stale.keep(&name("another"), &Err(NoCredential::Missing), 0);
        assert_eq!(ours.kept().answers.len(), 1, "what is no longer fresh makes room");
    })
    .await;
}

#[tokio::test]
async fn nothing_of_an_account_shows() {
    on_sqlite(|test| async move {
        let ours = credentials(&test, LONG).await;
        ours.put(&name("x"), &credential("Canary-7Qz"), "t", false)
            .await
            .unwrap();
        let found = ours.find(&name("x")).await;
        let shown = format!("{ours:?} {found:?}");
        assert!(!shown.contains("Canary") && !shown.contains("svc"), "{shown}");
    })
    .await;
}
