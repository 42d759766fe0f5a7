//! WS-Management: SOAP envelopes, shells, and the few resources of the simulated host.

mod cim;
mod dispatch;
mod envelope;
mod fault;
mod shell;
mod xml;

pub(crate) use dispatch::{answer, huge, identify, malformed, place_of};
pub(crate) use envelope::Request;
pub(crate) use shell::Shells;

/// XML namespaces.
pub(crate) mod ns {
    pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
    pub(crate) const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
    pub(crate) const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
    pub(crate) const WSMAN_MS: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd";
    pub(crate) const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
    pub(crate) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
    pub(crate) const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
    pub(crate) const FAULT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault";
    pub(crate) const IDENTITY: &str = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd";
}
