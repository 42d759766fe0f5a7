//! What an operator's monitoring sees of a service: the table of all metrics ([`CATALOG`]), where they are counted, and
//! the text that Prometheus reads.
//!
//! A metric is counted through its entry of the table only, so that nothing is exported which the table does not name.

pub mod catalog;
mod export;
mod listen;
mod metric;
mod sample;

pub use catalog::{CATALOG, metrics_guide};
pub use export::{CONTENT_TYPE, install, render};
pub(crate) use listen::Counting;
pub use metric::{Kind, Label, Metric};
pub use sample::Sampler;
