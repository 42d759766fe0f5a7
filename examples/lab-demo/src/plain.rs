//! Plain lines: one for each change, readable in a log.

use std::collections::HashMap;
use std::io::{Write, stdout};

use host_sim::PowerState;

use crate::watch::{ReservedRow, Row, Snapshot};

/// What was last told of each line of the table.
pub(crate) struct Plain {
    told: HashMap<(String, Option<&'static str>), Row>,
}

impl Plain {
    /// Prints the heading.
    pub(crate) fn open(heading: &[String]) -> anyhow::Result<Self> {
        let mut out = stdout().lock();
        for line in heading {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
        Ok(Self { told: HashMap::new() })
    }

    /// Prints what changed since the last time.
    pub(crate) fn tell(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let mut out = stdout().lock();
        for change in self.changes(snapshot) {
            writeln!(out, "{:6.1} s  {change}", snapshot.elapsed)?;
        }
        // A log that is read while it grows should not lag behind.
        out.flush()?;
        Ok(())
    }

    fn changes(&mut self, snapshot: &Snapshot) -> Vec<String> {
        let mut changes = Vec::new();
        for row in &snapshot.rows {
            let (host, is_first) = &row.host;
            let key = (
                host.clone(),
                row.reservation.as_ref().map(|reservation| reservation.id),
            );
            let before = self.told.insert(key, row.clone());
            let power = before.as_ref().map_or(PowerState::Off, |before| before.power);
            if *is_first && power != row.power {
                changes.push(format!(
                    "{host}  power: {} -> {}",
                    power_word(power),
                    power_word(row.power)
                ));
            }
            if let Some(reservation) = &row.reservation {
                changes.extend(reservation_change(
                    host,
                    before.and_then(|before| before.reservation),
                    reservation,
                ));
            }
        }
        changes
    }
}

fn reservation_change(host: &str, before: Option<ReservedRow>, now: &ReservedRow) -> Option<String> {
    let Some(before) = before else {
        return Some(format!(
            "{host}  {:<10}  {}, from second {}",
            now.id, now.status, now.window
        ));
    };
    if (before.status, &before.step) == (now.status, &now.step) {
        return None;
    }
    let mut line = format!("{host}  {:<10}  {}", now.id, now.step);
    if before.status != now.status {
        line += &format!("; {} -> {}", before.status, now.status);
    }
    if !before.ready && now.ready {
        line += &format!("; ready {}", now.punctuality);
    }
    if let Some(trouble) = &now.trouble {
        line += &format!("; {trouble}");
    }
    Some(line)
}

/// The state of power in one short word.
pub(crate) fn power_word(power: PowerState) -> &'static str {
    match power {
        PowerState::Off => "off",
        PowerState::Booting => "booting",
        PowerState::Opening => "opening",
        PowerState::Ready => "on",
        PowerState::ShuttingDown => "stopping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_row(power: PowerState, status: &'static str, step: &str, punctuality: &str) -> Row {
        let reservation = ReservedRow {
            id: "class-1",
            window: "26-50".to_owned(),
            status,
            step: step.to_owned(),
            punctuality: punctuality.to_owned(),
            ready: status == "ACTIVE",
            on_time: None,
            trouble: None,
        };
        Row {
            host: ("lab-ws-01".to_owned(), true),
            power,
            heartbeat: "1 s".to_owned(),
            reservation: Some(reservation),
        }
    }

    fn told(plain: &mut Plain, row: Row) -> Vec<String> {
        plain.changes(&Snapshot {
            elapsed: 1.0,
            settled: (0, 1),
            rows: vec![row],
        })
    }

    #[test]
    fn each_change_is_told_once_and_a_countdown_is_none() {
        let mut plain = Plain { told: HashMap::new() };
        let row = |power, status, step, punctuality| a_row(power, status, step, punctuality);
        let first = told(
            &mut plain,
            row(PowerState::Off, "CONFIRMED", "planned", "in 26 s"),
        );
        assert_eq!(first, ["lab-ws-01  class-1     CONFIRMED, from second 26-50"]);
        assert!(
            told(
                &mut plain,
                row(PowerState::Off, "CONFIRMED", "planned", "in 25 s")
            )
            .is_empty()
        );
        let woken = told(
            &mut plain,
            row(PowerState::Booting, "CONFIRMED", "wake", "in 20 s"),
        );
        assert_eq!(
            woken,
            ["lab-ws-01  power: off -> booting", "lab-ws-01  class-1     wake"]
        );
        let ready = told(
            &mut plain,
            row(PowerState::Booting, "ACTIVE", "in use", "14.0 s early"),
        );
        assert_eq!(
            ready,
            ["lab-ws-01  class-1     in use; CONFIRMED -> ACTIVE; ready 14.0 s early"]
        );
    }
}
