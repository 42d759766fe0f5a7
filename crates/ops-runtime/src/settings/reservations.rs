//! The running of reservations: what the engine is told.

use std::num::NonZeroU32;

use lab_model::is_false_word;
use reservation_engine::{IdlePower, LocalModePolicy, PowerMode};

use super::source::Source;
use super::{ReservationSettings, seconds, small};

pub(super) fn read(source: &mut Source) -> ReservationSettings {
    let enabled = source
        .text("OPS_RESERVATION_AUTOMATION")
        .is_none_or(|word| !is_false_word(&word));
    let scan_interval = seconds(source, "OPS_RESERVATION_SCAN_INTERVAL", 1..=3600, 30);
    let mut engine = reservation_engine::Settings::default();
    lead(source, &mut engine);
    engine.end_delay = seconds(source, "OPS_RESERVATION_END_DELAY", 0..=86_400, 60);
    engine.release_window = seconds(source, "OPS_RESERVATION_LOOKBACK", 1..=31_536_000, 21_600);
    engine.retry_first = seconds(source, "OPS_RESERVATION_RETRY_COOLDOWN", 1..=86_400, 60);
    engine.retry_max = seconds(source, "OPS_RESERVATION_RETRY_MAX", 1..=86_400, 900).max(engine.retry_first);
    engine.max_batch = small(source.number("OPS_RESERVATION_MAX_BATCH", 1..=10_000, 200));
    engine.guard_grace = seconds(source, "OPS_RESERVATION_GUARD_GRACE", 0..=3600, 90);
    engine.reboot_margin = seconds(source, "OPS_RESERVATION_REBOOT_MARGIN", 0..=86_400, 120);
    engine.deadlines.wake = seconds(source, "OPS_WAKE_TIMEOUT", 5..=3600, 180);
    engine.wake_rate_per_minute =
        NonZeroU32::new(small(source.number("OPS_WAKE_RATE_PER_MINUTE", 0..=1_000_000, 0)));
    engine.host_pooling = source
        .non_empty("OPS_HOST_POOLING")
        .is_some_and(|word| !is_false_word(&word));
    engine.idle_power = idle_power(source);
    engine.local_mode = source.choice(
        "OPS_LOCAL_MODE_POLICY",
        &[
            ("block", LocalModePolicy::Block),
            ("warn", LocalModePolicy::Warn),
            ("ignore", LocalModePolicy::Ignore),
        ],
        LocalModePolicy::Block,
    );
    ReservationSettings {
        enabled,
        scan_interval,
        engine,
    }
}

/// The configured lead, and how far a host's own history may raise it.
fn lead(source: &mut Source, engine: &mut reservation_engine::Settings) {
    engine.lead = seconds(source, "OPS_RESERVATION_START_LEAD", 0..=86_400, 120);
    engine.lead_margin = seconds(source, "OPS_RESERVATION_START_LEAD_MARGIN", 0..=3600, 30);
    let named = source.non_empty("OPS_RESERVATION_START_LEAD_MAX").is_some();
    engine.lead_max = seconds(source, "OPS_RESERVATION_START_LEAD_MAX", 0..=86_400, 900);
    if engine.lead_max >= engine.lead {
        return;
    }
    if named {
        let message = "must not be less than OPS_RESERVATION_START_LEAD";
        source.problem("OPS_RESERVATION_START_LEAD_MAX", message);
    }
    engine.lead_max = engine.lead;
}

fn idle_power(source: &mut Source) -> Option<IdlePower> {
    let mode = source.choice(
        "OPS_IDLE_POWER_ACTION",
        &[
            ("none", None),
            ("shutdown", Some(PowerMode::Shutdown)),
            ("hibernate", Some(PowerMode::Hibernate)),
        ],
        None,
    );
    let default = IdlePower::DEFAULT_AFTER.as_secs();
    let after = seconds(source, "OPS_IDLE_POWER_AFTER", 0..=604_800, default);
    let force = source.non_empty("OPS_IDLE_POWER_FORCE");
    let force = force.is_some_and(|word| word.eq_ignore_ascii_case("true"));
    mode.map(|mode| IdlePower {
        after,
        force,
        ..IdlePower::new(mode)
    })
}
