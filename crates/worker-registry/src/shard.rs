//! Shards: a fixed number of pieces that the hosts are hashed onto.

use lab_model::HostName;

/// How many shards a duty has. Written into the names of leases: never changed.
pub const SHARDS: u8 = 64;

/// What a worker can be in charge of; each duty has shards of its own, since a scheduler may do only one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Reading the heartbeats of stations.
    Polls,
    /// Starting and ending reservations.
    Reservations,
}

impl Duty {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Polls, Self::Reservations];

    /// The word as other programs see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polls => "polls",
            Self::Reservations => "reservations",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Polls => 0,
            Self::Reservations => 1,
        }
    }

    fn lease_word(self) -> &'static str {
        match self {
            Self::Polls => "poll",
            Self::Reservations => "resv",
        }
    }
}

/// One piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// The shard of a host: the 64-bit FNV-1a hash of its name in the compared form (lower case, UTF-8), mixed by
    /// the finalizer of MurmurHash3, modulo [`SHARDS`]. Every release has to agree on it, since copies of different
    /// releases share one set of leases.
    ///
    /// Source: draft-eastlake-fnv (offset basis and prime), MurmurHash3 `fmix64` (constants).
    ///
    /// ```
    /// use lab_model::HostName;
    /// use worker_registry::Shard;
    ///
    /// let host = HostName::parse("Lab-WS-01")?;
    /// assert_eq!(Shard::of(&host), Shard::of(&HostName::parse("LAB-ws-01")?));
    /// # Ok::<(), lab_model::IdError>(())
    /// ```
    #[must_use]
    pub fn of(host: &HostName) -> Self {
        Self((hash(&[host.key().as_bytes()]) % u64::from(SHARDS)) as u8)
    }

    /// From 0 to 63.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The name of its lease, such as `shard:poll:07`.
    pub(crate) fn lease(self, duty: Duty) -> String {
        format!("shard:{}:{:02}", duty.lease_word(), self.0)
    }

    /// Reads the name of a lease.
    pub(crate) fn of_lease(name: &str) -> Option<(Duty, Self)> {
        let (word, number) = name.strip_prefix("shard:")?.split_once(':')?;
        let duty = Duty::ALL.into_iter().find(|duty| duty.lease_word() == word)?;
        let number: u8 = number.parse().ok().filter(|number| *number < SHARDS)?;
        Some((duty, Self(number)))
    }

    /// How much a worker is the one to have this shard: whoever has the highest value is preferred (rendezvous
    /// hashing), so that few shards move when one comes or goes.
    pub(crate) fn affinity(self, worker: &str) -> u64 {
        hash(&[worker.as_bytes(), &[0, self.0]])
    }
}

/// FNV-1a alone leaves the low bits of short, similar names alike; the finalizer spreads them.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().copied().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Some of the shards of one duty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Every shard.
    pub const ALL: Self = Self(u64::MAX);

    /// Whether a shard is among them.
    #[must_use]
    pub fn contains(self, shard: Shard) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// How many they are.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Them, in order.
    pub fn iter(self) -> impl Iterator<Item = Shard> {
        Shard::all().filter(move |shard| self.contains(*shard))
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds one.
    pub fn insert(&mut self, shard: Shard) {
        self.0 |= 1 << shard.0;
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        let mut set = Self::default();
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> u8 {
        Shard::of(&HostName::parse(name).unwrap()).number()
    }

    #[test]
    fn the_shard_of_a_host_never_changes() {
        let golden = [
            ("lab-ws-01", 21),
            ("LAB-WS-02", 5),
            ("bench 7", 60),
            ("prüfstand-9", 37),
            ("unmapped", 9),
        ];
        let got: Vec<_> = golden.iter().map(|(name, _)| (*name, of(name))).collect();
        assert_eq!(got, golden);
    }

    #[test]
    fn hosts_named_alike_spread_evenly() {
        let mut counts = [0_u32; SHARDS as usize];
        for n in 0..6400 {
            counts[usize::from(of(&format!("lab-ws-{n:04}")))] += 1;
        }
        // 100 each on average; four standard deviations either way.
        assert!(
            counts.iter().all(|count| (60..=140).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn names_of_leases_are_read_back_and_others_are_not_ours() {
        for duty in Duty::ALL {
            for shard in Shard::all() {
                assert_eq!(Shard::of_lease(&shard.lease(duty)), Some((duty, shard)));
            }
        }
        for other in [
            "host:a",
            "shard:poll:64",
            "shard:poll:x",
            "shard:other:01",
            "sweep:workers",
            "shard:",
        ] {
            assert_eq!(Shard::of_lease(other), None, "{other}");
        }
    }

    #[test]
    fn sets_count_and_list_what_they_hold() {
        let set: ShardSet = Shard::all().filter(|shard| shard.number() % 21 == 0).collect();
        assert_eq!(set.iter().map(Shard::number).collect::<Vec<_>>(), [0, 21, 42, 63]);
        assert_eq!((set.len(), ShardSet::ALL.without(set).len()), (4, 60));
        assert!(ShardSet::default().is_empty());
    }
}
