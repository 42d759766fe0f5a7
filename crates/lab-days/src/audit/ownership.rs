//! Who may act on a host, and who did.

use std::collections::BTreeMap;
use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{FencingToken, Step};

use super::{Invariant, Record, Violation};
use crate::log::{Entry, What};

/// How long a command that left in time may be on its way.
const IN_FLIGHT: Duration = Duration::from_secs(1);

/// A claim as the store has it.
struct Lease {
    token: FencingToken,
    until: Duration,
}

/// The store grants a host only when the former claim is over, with a token that grows, and takes writes about it
/// only from the owner of the day.
pub(super) fn a_host_has_one_owner_and_only_the_owner_writes(day: &Record) -> Vec<Violation> {
    let mut leases: BTreeMap<&HostName, Lease> = BTreeMap::new();
    let mut broken = Vec::new();
    let mut breaks = |at: Duration, told: String| {
        broken.push(Violation {
            invariant: Invariant::OneOwner,
            at,
            told,
        });
    };
    for Entry { at, what } in &day.entries {
        match what {
            What::Granted { process, host, token } => {
                if let Some(former) = leases.get(host) {
                    if former.until > *at {
                        breaks(*at, format!("{process} was granted {host}, which has an owner"));
                    }
                    if former.token >= *token {
                        breaks(*at, format!("the token of {host} did not grow: {token:?}"));
                    }
                }
                let until = *at + day.settings.lease;
                leases.insert(host, Lease { token: *token, until });
            }
            What::Renewed { host, token } => {
                match leases
                    .get_mut(host)
                    .filter(|lease| lease.token == *token && lease.until > *at)
                {
                    Some(lease) => lease.until = *at + day.settings.lease,
                    None => breaks(
                        *at,
                        format!("a claim on {host} that is over was renewed: {token:?}"),
                    ),
                }
            }
            What::Returned { host, token } => {
                if let Some(lease) = leases.get_mut(host).filter(|lease| lease.token == *token) {
                    lease.until = lease.until.min(*at);
                }
            }
            What::Wrote {
                process,
                host,
                token,
                write,
            } => {
                let owner = leases
                    .get(host)
                    .is_some_and(|lease| lease.token == *token && lease.until > *at);
                if !owner {
                    breaks(
                        *at,
                        format!("{process} wrote {write:?} for {host} under {token:?}, which is over"),
                    );
                }
            }
            _ => {}
        }
    }
    broken
}

/// No command leaves for a host after somebody else was granted a newer token for it, but for what was under way
/// at that moment. A wake is no command: a packet to a host that is up does nothing.
pub(super) fn nothing_is_sent_under_an_older_token(day: &Record) -> Vec<Violation> {
    day.sent()
        .filter(|sent| sent.step != Step::Wake)
        .filter_map(|sent| {
            let ours = sent.intent?.token;
            let newest = day.newest_token(sent.host, sent.at.saturating_sub(IN_FLIGHT))?;
            (newest > ours).then(|| Violation {
                invariant: Invariant::NoneAfterNewerToken,
                at: sent.at,
                told: format!(
                    "{} sent {:?} to {} under {ours:?} although {newest:?} was granted",
                    sent.process, sent.step, sent.host
                ),
            })
        })
        .collect()
}
