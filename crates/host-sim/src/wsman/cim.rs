//! The one CIM instance that is served: `Win32_OperatingSystem`.

use chrono::{DateTime, FixedOffset, Utc};

use super::fault::SoapFault;
use super::xml::Tag;
use crate::host::Inner;

/// Resource URI of the class.
const OPERATING_SYSTEM: &str =
    "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem";
/// Namespace of CIM's own value types.
const COMMON: &str = "http://schemas.dmtf.org/wbem/wscim/1/common";
/// Time zone of the simulated hosts, in seconds east of Greenwich: not UTC, so that nobody forgets the offset.
const ZONE_SECONDS: i32 = 3600;

/// Whether a resource URI is a CIM class at all.
pub(super) fn is_class(resource: &str) -> bool {
    resource.contains("/wbem/wsman/1/wmi/")
}

/// The instance as the body of an answer to Get.
pub(super) fn get(host: &Inner, resource: &str) -> Result<Tag, SoapFault> {
    if !resource.eq_ignore_ascii_case(OPERATING_SYSTEM) {
        return Err(SoapFault::no_such_resource(resource));
    }
    let moment = host.moment();
    let skew = moment.station - moment.farm;
    let state = host.lock();
    let booted = state.booted_at.unwrap_or(moment.farm) + skew;
    Ok(Tag::new("p:Win32_OperatingSystem")
        .attr("xmlns:p", OPERATING_SYSTEM)
        .attr("xmlns:cim", COMMON)
        .attr("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
        .attr("xsi:type", "p:Win32_OperatingSystem_Type")
        .child(Tag::with_text("p:Caption", "Microsoft Windows 11 Enterprise"))
        .child(Tag::with_text("p:CSName", &*state.computer))
        .child(instant("p:LastBootUpTime", booted))
        .child(instant("p:LocalDateTime", moment.station))
        .child(Tag::with_text("p:Version", "10.0.22631")))
}

fn instant(name: &'static str, at: DateTime<Utc>) -> Tag {
    let text = match FixedOffset::east_opt(ZONE_SECONDS) {
        Some(zone) => at
            .with_timezone(&zone)
            .format("%Y-%m-%dT%H:%M:%S%.6f%:z")
            .to_string(),
        None => at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
    };
    Tag::new(name).child(Tag::with_text("cim:Datetime", text))
}
