//! The wall clock of one process, which may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::Clock;

use super::World;

/// The true time plus an offset that faults move.
#[derive(Debug, Clone)]
pub(crate) struct ProcessClock {
    world: World,
    offset_ms: Arc<AtomicI64>,
}

impl ProcessClock {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world,
            offset_ms: Arc::default(),
        }
    }

    /// How far it is ahead of the true time.
    pub(crate) fn offset(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Jumps, to be so far ahead of the true time from now on.
    pub(crate) fn set_offset(&self, offset: TimeDelta) {
        self.offset_ms.store(offset.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> DateTime<Utc> {
        self.world.now() + self.offset()
    }
}
