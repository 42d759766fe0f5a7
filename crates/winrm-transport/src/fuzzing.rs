//! What must hold for any bytes a peer may send: one function per decoder, each of which panics when it does not.
//!
//! Not part of the interface. The fuzz targets under `fuzz/` call these functions, and so do the ordinary tests, with
//! every file of the corpora.

mod clixml;
mod ntlm;
mod quoting;
mod sealed;
mod soap;

pub use clixml::clixml;
pub use ntlm::{ntlm, spnego};
pub use quoting::quoting;
pub use sealed::sealed;
pub use soap::soap;

/// Whether `part` lies within `whole`: nothing was copied, nothing was made up.
fn within(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr_range().start <= part.as_ptr_range().start
        && part.as_ptr_range().end <= whole.as_ptr_range().end
}

#[cfg(test)]
mod tests;
