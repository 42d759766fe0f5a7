//! Wakes machines: builds and sends Wake-on-LAN magic packets, and looks whether a machine can be reached.
//!
//! It knows hardware addresses and sockets; it knows nothing of hosts, labs or what a machine is for. A magic
//! packet is never answered, so nothing here can tell that a machine woke: look afterwards, with
//! [`tcp_reachable`] or a [`Pinger`], and remember that a machine that answers may be one that had not yet
//! gone to sleep.
//!
//! Without the feature `net` (on by default) only the bytes remain: [`MacAddr`], [`SecureOn`] and
//! [`MagicPacket`], with no dependency on sockets or a runtime.
//!
//! ```
//! use wol::{MacAddr, MagicPacket};
//!
//! let mac: MacAddr = "00-1A-2B-3C-4D-5E".parse()?;
//! assert_eq!(MagicPacket::new(mac).as_bytes().len(), 102);
//! # Ok::<(), wol::ParseMacError>(())
//! ```
#![cfg_attr(
    feature = "net",
    doc = r#"
```no_run
# async fn wake() -> Result<(), Box<dyn std::error::Error>> {
use std::net::Ipv4Addr;
use wol::{MagicPacket, Target, Via};

let packet = MagicPacket::new("00:1a:2b:3c:4d:5e".parse()?);
let target = Target { broadcast: Ipv4Addr::new(192, 168, 7, 255), via: Via::Interface("eth1".into()), ..Target::default() };
let sent = wol::send(&packet, &target).await?;
println!("{sent}");
# Ok(())
# }
```"#
)]

mod mac;
mod packet;
mod secure_on;

#[cfg(feature = "net")]
mod interfaces;
#[cfg(feature = "net")]
mod ping;
#[cfg(feature = "net")]
mod send;
#[cfg(feature = "net")]
mod tcp;

pub use mac::{MacAddr, ParseMacError};
pub use packet::MagicPacket;
pub use secure_on::{ParseSecureOnError, SecureOn};

#[cfg(feature = "net")]
pub use ping::{Echo, PingError, Pinger};
#[cfg(feature = "net")]
pub use send::{DEFAULT_PORT, Departure, SendError, Sent, Target, Via, send};
#[cfg(feature = "net")]
pub use tcp::{TcpProbe, tcp_reachable};
