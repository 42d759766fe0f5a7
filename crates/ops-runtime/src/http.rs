//! Serving HTTP/1.1 to callers who may be slow, silent or many: an accept loop over hyper that bounds connections and
//! how long each may keep us waiting, and ends gracefully.
//!
//! It serves any [`hyper::service::Service`]; each request carries its [`Peer`] as an extension.
//!
//! ```no_run
//! # use std::{convert::Infallible, time::Duration};
//! # use hyper::{Request, Response, body::Incoming, service::service_fn};
//! # use tokio::net::TcpListener;
//! # use tokio_util::sync::CancellationToken;
//! # async fn example(stop: CancellationToken) -> std::io::Result<()> {
//! let hello = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new("hello".to_owned())) });
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! ops_runtime::http::Server::default().serve(listener, hello, stop).await;
//! # Ok(())
//! # }
//! ```

mod connection;
mod phase;
mod server;
mod stream;

pub use connection::Peer;
pub use phase::HttpLimits;
pub use server::Server;
