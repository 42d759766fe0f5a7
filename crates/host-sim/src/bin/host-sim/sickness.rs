//! Which hosts are sick, and of what.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use host_sim::{At, Farm, Fault};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

/// Pause of a dripping host after each byte of its answers.
const DRIP: Duration = Duration::from_millis(200);

/// What a sick host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sickness {
    /// Takes connections and answers nothing.
    HangAccept,
    /// Logs on, takes the command, and never answers.
    HangRequest,
    /// Answers a byte at a time, five a second.
    Drip,
    /// Resets the connection at the command.
    Reset,
}

impl Sickness {
    pub(crate) const ALL: [Self; 4] = [Self::HangAccept, Self::HangRequest, Self::Drip, Self::Reset];

    fn fault(self) -> Fault {
        match self {
            Self::HangAccept => Fault::Hang(At::Connect),
            Self::HangRequest => Fault::Hang(At::Command),
            Self::Drip => Fault::Drip { every: DRIP },
            Self::Reset => Fault::Reset(At::Command),
        }
    }
}

/// A share of the hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
        percent
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| format!("{text:?} is no share from 0% to 100%"))
    }
}

impl Share {
    fn of(self, hosts: usize) -> usize {
        // The share is at most one, so the product is a number of hosts.
        (self.0 * hosts as f64).round() as usize
    }
}

/// Makes this share of the hosts sick and gives their numbers, in ascending order.
pub(crate) fn infect(farm: &Farm, share: Share, kinds: &[Sickness], seed: u64) -> Vec<usize> {
    let sick = choose(farm.hosts().len(), share, seed);
    for (host, kind) in sick.iter().zip(kinds.iter().cycle()) {
        farm.hosts()[*host].set_fault(kind.fault());
    }
    sick
}

fn choose(hosts: usize, share: Share, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..hosts).collect();
    all.shuffle(&mut StdRng::seed_from_u64(seed));
    all.truncate(share.of(hosts));
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_part_of_all_hosts_and_the_seed_says_which() {
        let share: Share = "5%".parse().unwrap();
        let chosen = choose(1000, share, 7);
        assert_eq!(chosen.len(), 50);
        assert_eq!(chosen, choose(1000, share, 7));
        assert_ne!(chosen, choose(1000, share, 8));
        assert!("120%".parse::<Share>().is_err());
        assert!("some".parse::<Share>().is_err());
    }
}
