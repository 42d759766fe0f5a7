//! Log lines on standard error, as text or JSON, and beside them traces.

use std::io::IsTerminal;

use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::escaped::EscapedFields;
use crate::journal::{Prioritized, is_journal};
use crate::settings::{LogFormat, Settings};
use crate::traces;

/// Starts logging for the whole process, and traces if there is a collector for them. Called once, by a `main`; a second
/// call changes nothing.
pub fn init(settings: &Settings) {
    let writer = match is_journal(&std::io::stderr()) {
        true => BoxMakeWriter::new(Prioritized(std::io::stderr)),
        false => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = fmt::layer().with_writer(writer);
    let lines = match settings.log_format {
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal())
            .fmt_fields(EscapedFields)
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    let lines = Registry::default().with(lines.with_filter(filter(settings)));
    // An error of `try_init` only means that a test or an embedding program already logs.
    #[cfg(not(feature = "otlp"))]
    let _ = lines.try_init();
    #[cfg(feature = "otlp")]
    match traces::layer(&settings.traces) {
        Ok(traced) => drop(lines.with(traced).try_init()),
        Err(error) => {
            drop(lines.try_init());
            tracing::error!(error, "no traces are sent");
        }
    }
}

/// Spans that are for traces only stay out of the lines.
fn filter(settings: &Settings) -> EnvFilter {
    let filter = EnvFilter::try_new(&settings.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    match format!("{}=off", traces::TARGET).parse() {
        Ok(off) => filter.add_directive(off),
        Err(_) => filter,
    }
}

/// Shows an error with all that caused it, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
