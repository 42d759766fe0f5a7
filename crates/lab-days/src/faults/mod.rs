//! What can go wrong, and which of it goes wrong on a day.

mod chaos;
mod swarm;

use std::fmt;
use std::str::FromStr;

pub(crate) use chaos::Chaos;
pub use swarm::Swarm;

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A process dies without a word; another is started in its place after a while.
    Crash,
    /// A process gets no time for three leases or more, and then goes on where it was.
    Pause,
    /// A process is stopped as an operator does it, and started again.
    Restart,
    /// A process does not reach the store, while others do.
    StorePartition,
    /// A process does not reach the hosts, while others do.
    HostPartition,
    /// The store answers nobody for a while.
    StoreDown,
    /// Each call to the store takes seconds for a while.
    StoreSlow,
    /// A single call to the store fails; nothing was written.
    StoreFailure,
    /// A single call to the store fails; it was written.
    UnknownCommit,
    /// A write reaches the store long after its sender gave it up.
    LateWrite,
    /// A process gets no time for three leases or more, right after an intent was committed as often as not, and its
    /// wall clock stood still meanwhile, as that of a machine that was moved.
    StandingClock,
    /// The wall clock of a process jumps by up to five minutes, and back later.
    ClockJump,
    /// A host accepts connections and answers nothing.
    HostHangs,
    /// A host refuses our credentials for a while.
    HostRefuses,
    /// A host goes down by itself.
    HostCrash,
    /// A host boots slowly.
    SlowBoot,
    /// A host does not come up at all from one wake.
    NoBoot,
    /// Something answers for a host before it has booted, with an old boot time.
    Impostor,
    /// A host reports a heartbeat that is minutes old.
    StaleHeartbeat,
    /// A host says that it is ready and shows no stamp of what was done to it.
    LyingHeartbeat,
    /// Somebody puts a station into local mode for a while.
    LocalMode,
    /// `prepare-session` takes nearly as long as it may, or longer.
    SlowPrepare,
    /// A command reports failure.
    StepFails,
    /// A command is lost on its way.
    LostBefore,
    /// A command takes effect and its answer is lost.
    LostAfter,
    /// A caller orders something on a host.
    ManualOrder,
    /// A caller's order is sent twice, to two processes at once.
    DuplicateOrder,
    /// A reservation is cancelled.
    Cancel,
    /// A reservation is moved.
    Move,
    /// A reservation is made longer or shorter.
    Resize,
    /// A reservation is made minutes before it begins, or after.
    LateBooking,
    /// A lab that no host serves is reserved.
    Unmapped,
    /// An engineer works at a host for a while.
    Maintenance,
}

impl FaultKind {
    /// Every kind there is.
    pub const ALL: [Self; 33] = [
        Self::Crash,
        Self::Pause,
        Self::Restart,
        Self::StorePartition,
        Self::HostPartition,
        Self::StoreDown,
        Self::StoreSlow,
        Self::StoreFailure,
        Self::UnknownCommit,
        Self::LateWrite,
        Self::StandingClock,
        Self::ClockJump,
        Self::HostHangs,
        Self::HostRefuses,
        Self::HostCrash,
        Self::SlowBoot,
        Self::NoBoot,
        Self::Impostor,
        Self::StaleHeartbeat,
        Self::LyingHeartbeat,
        Self::LocalMode,
        Self::SlowPrepare,
        Self::StepFails,
        Self::LostBefore,
        Self::LostAfter,
        Self::ManualOrder,
        Self::DuplicateOrder,
        Self::Cancel,
        Self::Move,
        Self::Resize,
        Self::LateBooking,
        Self::Unmapped,
        Self::Maintenance,
    ];
}

/// A name that is no kind of fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFault(String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = FaultKind::ALL.map(|kind| kind.to_string()).join(", ");
        write!(f, "{:?} is no kind of fault; there are {known}", self.0)
    }
}

impl std::error::Error for UnknownFault {}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
