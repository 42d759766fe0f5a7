//! What really happened on a host, from the simulator's own log: nothing here comes from the services.

use chrono::{DateTime, Utc};
use host_sim::{Effect, EffectKind, SimHost};

/// What changed a host or its user's session, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HostLog(pub(crate) Vec<(DateTime<Utc>, Deed)>);

/// One thing that cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `prepare-session`: whoever was logged on is not any more.
    Prepare,
    /// `release-session`: the student is logged off.
    Release {
        /// With `--reboot`.
        reboot: bool,
    },
    /// Any other command that changes power or sessions.
    Other(String),
    /// The machine went down, to boot again or to stay off.
    WentDown,
}

impl HostLog {
    /// Reads a host's log.
    pub(crate) fn of(host: &SimHost) -> Self {
        Self::from_effects(&host.effects())
    }

    fn from_effects(effects: &[Effect]) -> Self {
        Self(
            effects
                .iter()
                .filter_map(|effect| Some((effect.at, deed(&effect.what)?)))
                .collect(),
        )
    }

    /// The commands among the deeds.
    pub(crate) fn commands(&self) -> Vec<&Deed> {
        self.0
            .iter()
            .map(|(_, deed)| deed)
            .filter(|deed| **deed != Deed::WentDown)
            .collect()
    }

    /// How often a reboot was ordered.
    pub(crate) fn reboots_ordered(&self) -> usize {
        self.0
            .iter()
            .filter(|(_, deed)| *deed == Deed::Release { reboot: true })
            .count()
    }

    /// How often the machine went down.
    pub(crate) fn went_down(&self) -> usize {
        self.0.iter().filter(|(_, deed)| *deed == Deed::WentDown).count()
    }

    /// Whether the machine went down after its first prepare and before its last one.
    pub(crate) fn went_down_between_prepares(&self) -> bool {
        let is_prepare = |(_, deed): &(DateTime<Utc>, Deed)| *deed == Deed::Prepare;
        let (Some(first), Some(last)) = (
            self.0.iter().position(is_prepare),
            self.0.iter().rposition(is_prepare),
        ) else {
            return false;
        };
        self.0[first..=last]
            .iter()
            .any(|(_, deed)| *deed == Deed::WentDown)
    }
}

/// When the first magic packet for this host arrived.
pub(crate) fn first_packet_at(host: &SimHost) -> Option<DateTime<Utc>> {
    let is_packet = |effect: &Effect| matches!(effect.what, EffectKind::MagicPacket { valid: true, .. });
    host.effects().into_iter().find(is_packet).map(|effect| effect.at)
}

fn deed(what: &EffectKind) -> Option<Deed> {
    match what {
        EffectKind::Rebooted { .. } | EffectKind::PoweredOff { .. } => Some(Deed::WentDown),
        EffectKind::Command { program, argv, .. }
            if program.to_ascii_lowercase().ends_with("labstation.exe") =>
        {
            let words: Vec<&str> = argv.iter().skip(1).map(String::as_str).collect();
            match words.first().copied() {
                Some("prepare-session") => Some(Deed::Prepare),
                Some("release-session") => Some(Deed::Release {
                    reboot: words.contains(&"--reboot"),
                }),
                Some("power" | "recovery" | "session" | "service") => Some(Deed::Other(words.join(" "))),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use host_sim::Cause;

    fn command(line: &str) -> EffectKind {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        EffectKind::Command {
            program: argv[0].clone(),
            command_line: line.to_owned(),
            argv,
            shell_id: String::new(),
            exit_code: Some(0),
        }
    }

    fn log(whats: Vec<EffectKind>) -> HostLog {
        let at = Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap();
        HostLog::from_effects(
            &whats
                .into_iter()
                .map(|what| Effect { at, what })
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn only_what_cannot_be_taken_back_is_a_deed() {
        let log = log(vec![
            EffectKind::PoweredOn {
                cause: Cause::MagicPacket,
            },
            command(r"C:\LabStation\LabStation.exe prepare-session --guard-grace=0"),
            command(r"C:\Windows\System32\cmd.exe /d /c type heartbeat.json"),
            command(r"C:\LabStation\LabStation.exe release-session --reboot"),
            EffectKind::Rebooted {
                cause: Cause::Command,
            },
        ]);
        assert_eq!(log.commands(), [&Deed::Prepare, &Deed::Release { reboot: true }]);
        assert_eq!((log.reboots_ordered(), log.went_down()), (1, 1));
        assert!(!log.went_down_between_prepares());
    }

    #[test]
    fn a_reboot_under_the_next_student_is_seen() {
        let prepare = || command(r"C:\LabStation\LabStation.exe prepare-session");
        let log = log(vec![
            prepare(),
            EffectKind::Rebooted {
                cause: Cause::Command,
            },
            prepare(),
        ]);
        assert!(log.went_down_between_prepares());
    }
}
