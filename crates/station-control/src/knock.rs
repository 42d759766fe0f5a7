//! Whether a host's port takes connections, and no more: three packets, no credential, no log-on.

use std::time::Duration;

use lab_model::HostName;

use crate::control::StationControl;
use crate::error::{Refusal, StationError};
use crate::network::{NoAddress, probe, resolve};

impl StationControl {
    /// Looks whether the WinRM port of a host takes a connection, each of its addresses for at most `within`. A name that
    /// leads nowhere is a closed port.
    ///
    /// # Errors
    /// [`StationError`]: the host is not in the catalog, or its address is not in an allowed network.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn knock(&self, host: &HostName, within: Duration) -> Result<bool, StationError> {
        let catalog = self.inner.catalog.current();
        let Some(entry) = catalog.find(host.as_str()) else {
            return Err(StationError::UnknownHost { host: host.clone() });
        };
        let allowed = &self.inner.settings.allowed_networks;
        match resolve(&entry.address, entry.winrm.port, allowed).await {
            Ok(addresses) => Ok(probe(&addresses, within).await.is_open()),
            Err(NoAddress::NotAllowed(address)) => Err(StationError::refused(
                host,
                Refusal::AddressNotAllowed { address },
            )),
            Err(NoAddress::Unresolved(_)) => Ok(false),
        }
    }
}
