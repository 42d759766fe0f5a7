//! How many files a process may have open, beside how many it will need: with too few of them connections to hosts and
//! to the database fail one by one, and nothing says why.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Listeners, log, callers of the API, timers, name lookups, and what nobody thought of.
const SLACK: u64 = 500;

/// What is to be done about the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Enough,
    /// The soft limit can be raised to this.
    Raise(u64),
    /// Not even the hard limit is enough.
    TooFew {
        /// What can be had.
        most: u64,
    },
}

/// One connection to each host for polls and one for a command, and those of the database.
fn needed(hosts: usize, database_connections: u32) -> u64 {
    2 * hosts as u64 + u64::from(database_connections) + SLACK
}

/// `None` is no limit.
fn step(needed: u64, soft: Option<u64>, hard: Option<u64>) -> Step {
    match (soft, hard) {
        (None, _) => Step::Enough,
        (Some(soft), _) if soft >= needed => Step::Enough,
        (_, None) => Step::Raise(needed),
        (_, Some(hard)) if hard >= needed => Step::Raise(hard),
        (_, Some(hard)) => Step::TooFew { most: hard },
    }
}

/// Raises the limit as far as it is needed and allowed; gives what an operator has to do when that is not enough.
pub(crate) fn ensure(hosts: usize, database_connections: u32) -> Option<String> {
    let needed = needed(hosts, database_connections);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = match step(needed, current, maximum) {
        Step::Enough => return None,
        Step::Raise(to) => {
            let wanted = Rlimit {
                current: Some(to),
                maximum,
            };
            match setrlimit(Resource::Nofile, wanted) {
                Ok(()) => {
                    tracing::debug!(from = current, to, "more files may be open");
                    return None;
                }
                // A service manager may forbid the call.
                Err(_) => current.unwrap_or(to),
            }
        }
        Step::TooFew { most } => {
            let wanted = Rlimit {
                current: Some(most),
                maximum,
            };
            let raised = setrlimit(Resource::Nofile, wanted).is_ok();
            if raised { most } else { current.unwrap_or(most) }
        }
    };
    Some(told(needed, most, hosts))
}

fn told(needed: u64, most: u64, hosts: usize) -> String {
    format!(
        "this process may open {most} files and needs up to {needed} for {hosts} hosts: set LimitNOFILE={needed} in the \
         systemd unit, or ulimit -n {needed} before the start"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_when_that_helps_and_told_when_it_does_not() {
        let ten_thousand = needed(10_000, 10);
        assert_eq!(ten_thousand, 20_510);
        assert_eq!(step(ten_thousand, Some(32_768), Some(32_768)), Step::Enough);
        assert_eq!(step(ten_thousand, None, None), Step::Enough);
        assert_eq!(
            step(ten_thousand, Some(1024), Some(524_288)),
            Step::Raise(524_288)
        );
        assert_eq!(step(ten_thousand, Some(1024), None), Step::Raise(ten_thousand));
        assert_eq!(
            step(ten_thousand, Some(1024), Some(4096)),
            Step::TooFew { most: 4096 }
        );
        let said = told(ten_thousand, 4096, 10_000);
        assert!(
            said.contains("may open 4096 files") && said.contains("LimitNOFILE=20510"),
            "{said}"
        );
    }

    #[test]
    fn a_few_hosts_need_nothing() {
        assert_eq!(ensure(3, 5), None);
    }
}
