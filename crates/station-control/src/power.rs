//! Taking a host down, and knowing that it went.

use std::time::Duration;

use lab_model::Host;
use tokio::time::{Instant, sleep};
use winrm_transport::Effect;
use wol::TcpProbe;

use crate::command::{CommandReport, FAREWELL};
use crate::control::Inner;
use crate::error::StationError;
use crate::links::Link;
use crate::network::{probe, resolve};

/// Pause between two looks at the port.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one look waits.
const LOOK: Duration = Duration::from_millis(800);
/// The port must be seen closed this many times in a row: one closed look may be a hiccup.
const CLOSED_LOOKS: u32 = 2;

/// What came of a power order.
#[derive(Debug)]
pub(crate) struct PowerReport {
    /// How the command ended; `None` when the host was gone before it could say.
    pub(crate) command: Option<Result<CommandReport, StationError>>,
    /// Whether the WinRM port was seen to close afterwards.
    pub(crate) went_down: bool,
}

impl Inner {
    /// Orders `power` and watches the port: a host that goes down often takes the answer with it.
    pub(crate) async fn power(
        &self,
        host: &Host,
        link: &Link,
        args: &[String],
        deadline: Duration,
    ) -> PowerReport {
        let until = Instant::now() + deadline;
        // While the host can still be asked: one that hibernates keeps its shells.
        link.looks.close(FAREWELL.min(deadline)).await;
        let left = until.saturating_duration_since(Instant::now());
        let mut order = std::pin::pin!(self.run_command(host, link, "power", args, left));
        let ordered = tokio::select! {
            biased;
            ordered = &mut order => ordered,
            true = self.watch_port_close(host, false, until) => {
                link.disconnect();
                return PowerReport { command: None, went_down: true };
            }
        };
        let may_go_down = match &ordered {
            Ok(report) => report.meaning.is_success(),
            Err(error) => error.effect() == Effect::Unknown,
        };
        let went_down = may_go_down && self.watch_port_close(host, true, until).await;
        PowerReport {
            command: Some(ordered),
            went_down,
        }
    }

    /// Whether nothing takes a connection at the host's port, looked at more than once. A host that hangs still does.
    pub(crate) async fn is_off(&self, host: &Host) -> bool {
        let addresses = resolve(&host.address, host.winrm.port, &self.settings.allowed_networks).await;
        let Ok(addresses) = addresses else {
            return false;
        };
        for look in 0..CLOSED_LOOKS {
            if look > 0 {
                sleep(PAUSE).await;
            }
            match probe(&addresses, LOOK).await {
                TcpProbe::Refused { .. } | TcpProbe::Silent | TcpProbe::Unreachable(_) => {}
                TcpProbe::Open { .. } | TcpProbe::NotTried { .. } => return false,
            }
        }
        true
    }

    /// Waits until a port that `was_open`, or is seen open, is closed. `false`: it was not, by `until`.
    async fn watch_port_close(&self, host: &Host, mut was_open: bool, until: Instant) -> bool {
        let mut closed = 0;
        while Instant::now() < until {
            let addresses = resolve(&host.address, host.winrm.port, &self.settings.allowed_networks).await;
            let seen = match &addresses {
                Ok(addresses) => probe(addresses, LOOK).await,
                // Not a word about the host.
                Err(_) => return false,
            };
            match seen {
                TcpProbe::Open { .. } => (was_open, closed) = (true, 0),
                TcpProbe::Refused { .. } | TcpProbe::Silent | TcpProbe::Unreachable(_) => closed += 1,
                TcpProbe::NotTried { .. } => {}
            }
            if was_open && closed >= CLOSED_LOOKS {
                return true;
            }
            sleep(PAUSE.min(until.saturating_duration_since(Instant::now()))).await;
        }
        false
    }
}
