//! Tickets for services, kept with the account until shortly before they end, so that a new connection need not ask
//! the KDC again.
//!
//! In memory only, and never the ticket for tickets: what is lost with a process is one login.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::crypto::Key;
use super::settings::Login;

/// An account that is used for more services than this asks the KDC again for some.
const MAX_TICKETS: usize = 64;
/// By so much the clocks of KDC, host and ourselves may differ.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// What a KDC says is not believed beyond this.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A ticket for one service, with what is needed to use it.
#[derive(Clone)]
pub(super) struct Ticket {
    /// As the KDC gave it.
    pub(super) sealed: Vec<u8>,
    /// The client's realm, as the KDC writes it.
    pub(super) realm: Vec<u8>,
    /// The client's name, a whole PrincipalName.
    pub(super) client: Vec<u8>,
    /// Shared by the service, which finds it in the ticket.
    pub(super) key: Key,
}

struct Kept {
    login: Login,
    service: String,
    ticket: Ticket,
    until: Instant,
}

/// The tickets of one account. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Tickets(Arc<Mutex<Vec<Kept>>>);

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket that is good for a while.
    pub(super) fn find(&self, login: &Login, service: &str) -> Option<Ticket> {
        let now = Instant::now();
        let kept = self.lock();
        let found = kept
            .iter()
            .find(|kept| kept.is_for(login, service) && kept.until > now);
        found.map(|kept| kept.ticket.clone())
    }

    /// Keeps a ticket that the host took, for as long as it is good.
    pub(super) fn keep(&self, login: &Login, service: &str, ticket: Ticket, life: Duration) {
        let now = Instant::now();
        let until = now + life.min(MAX_LIFE).saturating_sub(SKEW);
        let mut kept = self.lock();
        kept.retain(|kept| !kept.is_for(login, service) && kept.until > now);
        if kept.len() >= MAX_TICKETS {
            let first = kept.iter().enumerate().min_by_key(|(_, kept)| kept.until);
            if let Some(first) = first.map(|(at, _)| at) {
                kept.swap_remove(first);
            }
        }
        kept.push(Kept {
            login: login.clone(),
            service: service.to_owned(),
            ticket,
            until,
        });
    }

    /// Lets go of a ticket with which a login failed, whatever the reason.
    pub(super) fn forget(&self, login: &Login, service: &str) {
        self.lock().retain(|kept| !kept.is_for(login, service));
    }
}

impl Kept {
    fn is_for(&self, login: &Login, service: &str) -> bool {
        self.login == *login && self.service == service
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str) -> Login {
        Login {
            user: user.to_owned(),
            realm: "LAB.TEST".to_owned(),
            kdcs: Vec::new(),
        }
    }

    fn ticket(number: u8) -> Ticket {
        Ticket {
            sealed: vec![number],
            realm: Vec::new(),
            client: Vec::new(),
            key: Key::new(18, &[number; 32]).unwrap(),
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_used_until_its_end_without_what_clocks_may_differ_by() {
        let (tickets, alice) = (Tickets::default(), login("alice"));
        tickets.keep(&alice, "HTTP/a", ticket(1), HOUR);
        let found = |service| tickets.find(&alice, service).map(|ticket| ticket.sealed[0]);
        assert_eq!((found("HTTP/a"), found("HTTP/b")), (Some(1), None));
        assert!(tickets.find(&login("bob"), "HTTP/a").is_none());
        tokio::time::advance(HOUR - SKEW - Duration::from_secs(1)).await;
        assert_eq!(found("HTTP/a"), Some(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(found("HTTP/a"), None);
        // One that would have ended before it could be used, and one that claims to be good for years.
        tickets.keep(&alice, "HTTP/a", ticket(2), SKEW);
        assert_eq!(found("HTTP/a"), None);
        tickets.keep(&alice, "HTTP/a", ticket(3), Duration::MAX);
        assert_eq!(found("HTTP/a"), Some(3));
        tokio::time::advance(MAX_LIFE - SKEW).await;
        assert_eq!(found("HTTP/a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_a_bounded_number_is_kept_and_a_new_one_replaces_the_old() {
        let (tickets, alice) = (Tickets::default(), login("alice"));
        for number in 0..MAX_TICKETS + 1 {
            let life = HOUR + Duration::from_secs(number as u64);
            tickets.keep(&alice, &format!("HTTP/{number}"), ticket(0), life);
        }
        assert_eq!(tickets.lock().len(), MAX_TICKETS);
        assert!(
            tickets.find(&alice, "HTTP/0").is_none(),
            "the first to end has gone"
        );
        tickets.keep(&alice, "HTTP/1", ticket(9), HOUR);
        assert_eq!(tickets.lock().len(), MAX_TICKETS);
        assert_eq!(tickets.find(&alice, "HTTP/1").unwrap().sealed, [9]);
        tickets.forget(&alice, "HTTP/1");
        assert!(tickets.find(&alice, "HTTP/1").is_none());
    }
}
