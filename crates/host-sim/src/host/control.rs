//! The handle by which a test watches and moves one host.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{IdentityKind, Inner, Order, PowerState, packet};
use crate::effects::{Cause, Counts, Effect, EffectKind};
use crate::faults::Fault;
use crate::spec::HostSpec;

/// One host of a running [`crate::Farm`]. Cheap to clone; all clones mean the same host.
#[derive(Clone)]
pub struct SimHost {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for SimHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimHost")
            .field("name", &self.name())
            .field("power", &self.power())
            .finish_non_exhaustive()
    }
}

impl SimHost {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Its name in the farm.
    pub fn name(&self) -> &str {
        &self.inner.spec.name
    }

    /// What it was started as.
    pub fn spec(&self) -> &HostSpec {
        &self.inner.spec
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.inner.ipv4()
    }

    /// Port of its HTTP listener; closed while the host is off.
    pub fn http_port(&self) -> u16 {
        self.inner.http.port()
    }

    /// Port of its HTTPS listener, if it has one; closed while the host is off.
    pub fn https_port(&self) -> Option<u16> {
        self.inner.https.map(|a| a.port())
    }

    /// UDP port on which it sees magic packets.
    pub fn wol_port(&self) -> u16 {
        self.inner.wol.port()
    }

    /// MAC address of its card.
    pub fn mac(&self) -> [u8; 6] {
        self.inner.spec.mac
    }

    /// Name of the computer that answers at its address now.
    pub fn computer_name(&self) -> String {
        self.inner.lock().computer.clone()
    }

    /// SHA-256 of its own certificate in DER form (also while a fault shows another one). All zero if the certificate
    /// could not be made, which the farm checks at its start.
    pub fn certificate_sha256(&self) -> [u8; 32] {
        self.inner
            .identity_of(IdentityKind::Own)
            .map_or([0; 32], |identity| identity.sha256)
    }

    /// Its own certificate in DER form; empty if it could not be made.
    pub fn certificate_der(&self) -> Vec<u8> {
        self.inner
            .identity_of(IdentityKind::Own)
            .map_or_else(|_| Vec::new(), |i| i.certificate.to_vec())
    }

    /// Its power state now.
    pub fn power(&self) -> PowerState {
        *self.inner.power.borrow()
    }

    /// Waits until it is in this state; false if that does not happen within `limit`. A state that is passed quickly
    /// may be missed.
    pub async fn wait_for(&self, state: PowerState, limit: Duration) -> bool {
        let mut power = self.inner.power.subscribe();
        let reached = tokio::time::timeout(limit, power.wait_for(|now| *now == state)).await;
        matches!(reached, Ok(Ok(_)))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) async fn wait_until_started(&self) {
        if self.inner.spec.awake_at_start {
            // The power task binds the ports right after its spawn; the limit only ends a hopeless wait.
            self.wait_for(PowerState::Ready, Duration::from_secs(30)).await;
        }
    }

    /// How often it has booted; a resume from hibernation is no boot.
    pub fn boots(&self) -> u32 {
        self.inner.lock().boots
    }

    /// When its running system booted, by the farm's clock; kept while it is off.
    pub fn booted_at(&self) -> Option<DateTime<Utc>> {
        self.inner.lock().booted_at
    }

    /// Whether it is off because it hibernates.
    pub fn is_hibernated(&self) -> bool {
        self.inner.lock().hibernated
    }

    /// Switches a fault on until [`Self::clear_faults`].
    pub fn set_fault(&self, fault: Fault) {
        self.inner.faults.set(fault, None);
    }

    /// Switches a fault on for its next `times` strikes. Faults that describe a condition rather than a message (wrong
    /// certificate, clock skew, heartbeat) stay until they are cleared.
    pub fn set_fault_times(&self, fault: Fault, times: u32) {
        if times > 0 {
            self.inner.faults.set(fault, Some(times));
        }
    }

    /// Switches all faults off. What already hangs goes on hanging; a machine that never booted waits for
    /// [`Self::power_off`].
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// Somebody presses the power button of a machine that is off.
    pub fn power_on(&self) {
        self.inner.order(Order::PowerOn { cause: Cause::Button });
    }

    /// Somebody pulls the plug: off at once, whatever it was doing.
    pub fn power_off(&self) {
        self.inner.order(Order::PowerCut { cause: Cause::Button });
    }

    /// Local mode is switched on or off at the machine (`local-mode.flag`).
    pub fn local_mode(&self, on: bool) {
        let moment = self.inner.moment();
        self.inner.lock().station.set_local_mode(on, moment);
    }

    /// A user logs on at the machine.
    pub fn log_on(&self, user: &str) {
        let moment = self.inner.moment();
        if self.inner.lock().station.log_on(user, moment) {
            self.inner.log(EffectKind::LoggedOn {
                user: user.to_owned(),
            });
        }
    }

    /// A user logs off at the machine.
    pub fn log_off(&self, user: &str) {
        let moment = self.inner.moment();
        if self.inner.lock().station.log_off(user, moment) {
            self.inner.log(EffectKind::LoggedOff {
                user: user.to_owned(),
            });
        }
    }

    /// The session guard sends a user off against his will, which is a line in the event file.
    pub fn send_off(&self, user: &str) {
        let moment = self.inner.moment();
        if self.inner.lock().station.send_off(user, moment) {
            self.inner.log(EffectKind::ForcedLogoff {
                user: user.to_owned(),
            });
        }
    }

    /// Users logged on now.
    pub fn users(&self) -> Vec<String> {
        self.inner.lock().station.users()
    }

    /// Sets what the station finds when it checks itself: `summary.ready` and `summary.issues`.
    pub fn set_ready(&self, ready: bool, issues: &[&str]) {
        let moment = self.inner.moment();
        self.inner.lock().station.set_ready(ready, issues, moment);
    }

    /// The station's timer strikes now: the heartbeat file is rewritten, unless its service is stopped.
    pub fn write_heartbeat(&self) {
        let moment = self.inner.moment();
        self.inner.lock().station.write_heartbeat(moment);
    }

    /// Puts a file on the host, or replaces it. The station's own files have their own content and are not replaced.
    pub fn write_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let moment = self.inner.moment();
        let mut state = self.inner.lock();
        state.station.put_file(path, Some(bytes.into()), moment.station);
    }

    /// Takes a file away that was put there.
    pub fn remove_file(&self, path: &str) {
        let moment = self.inner.moment();
        self.inner.lock().station.put_file(path, None, moment.station);
    }

    /// Everything that happened since the farm started, oldest first; at most the last 20,000 entries.
    pub fn effects(&self) -> Vec<Effect> {
        self.inner.effects.all()
    }

    /// Its counters.
    pub fn counts(&self) -> Counts {
        let open_shells = self.inner.lock().shells.open_count();
        self.inner.counts.read(open_shells)
    }

    pub(crate) fn is_meant_by(&self, payload: &[u8]) -> bool {
        packet::wakes(payload, self.inner.spec.mac, None)
    }

    pub(crate) fn hand_packet(&self, payload: &[u8], from: SocketAddr) {
        let valid = packet::wakes(payload, self.inner.spec.mac, self.inner.spec.secure_on);
        self.inner.order(Order::Packet { valid, from });
    }
}
