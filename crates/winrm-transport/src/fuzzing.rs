//! What must hold for any bytes a peer may send: one function per decoder, each of which panics when it does not.
//!
//! Not part of the interface. The fuzz targets under `fuzz/` call these functions, and so do the ordinary tests, with
//! every file of the corpora.

mod challenge;
mod clixml;
mod ntlm;
mod quoting;
mod sealed;
mod soap;

#[cfg(feature = "kerberos")]
pub use crate::kerberos::fuzzing::kerberos;
pub use challenge::www_authenticate;
pub use clixml::clixml;
pub use ntlm::{ntlm, spnego};
pub use quoting::quoting;
pub use sealed::sealed;
pub use soap::soap;

/// Whether `part` lies within `whole`: nothing was copied, nothing was made up.
pub(crate) fn within(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr_range().start <= part.as_ptr_range().start
        && part.as_ptr_range().end <= whole.as_ptr_range().end
}

#[cfg(all(test, feature = "kerberos"))]
pub(crate) use tests::replay;
#[cfg(test)]
mod tests;
