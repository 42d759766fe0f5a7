//! How answers are shown: tables and lines for people, documents for programs.

mod clean;
mod progress;
pub(crate) mod show;
mod table;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::cli::Colour;
use crate::exit::Failure;
use crate::when::Moment;

pub(crate) use clean::{clean, clean_lines};
pub(crate) use progress::Progress;
pub(crate) use table::{Cell, Table, Tone};

/// How to write on a certain output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Borders, and lines no longer than the window.
    pub(crate) terminal: bool,
    pub(crate) colour: bool,
    pub(crate) moment: Moment,
}

/// Standard output, and what goes beside it.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) json: bool,
    pub(crate) style: Style,
}

impl Out {
    pub(crate) fn new(json: bool, colour: Colour, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !no_color,
        };
        Self {
            json,
            style: Style {
                terminal,
                colour,
                moment: Moment::now(),
            },
        }
    }

    /// The same at this moment; for what goes on for a while.
    pub(crate) fn now(&self) -> Style {
        Style {
            moment: Moment::now(),
            ..self.style
        }
    }

    /// An answer: the document as it came, or what `show` makes of it.
    pub(crate) fn answer(
        &self,
        document: &Value,
        show: impl FnOnce(&Style) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return self.document(document);
        }
        self.text(&show(&self.now()))
    }

    /// One document, over several lines where somebody reads it.
    pub(crate) fn document(&self, document: &Value) -> Result<(), Failure> {
        let text = match self.style.terminal {
            true => serde_json::to_string_pretty(document),
            false => serde_json::to_string(document),
        };
        write(&clean::json(&text.map_err(io::Error::other)?))
    }

    /// One document of many, on a line of its own.
    pub(crate) fn json_line(&self, document: &Value) -> Result<(), Failure> {
        write(&clean::json(
            &serde_json::to_string(document).map_err(io::Error::other)?,
        ))
    }

    /// Lines.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        write(text)
    }

    /// Begins the window anew, where there is one.
    pub(crate) fn wipe(&self) -> Result<(), Failure> {
        if self.style.terminal {
            let mut out = io::stdout().lock();
            out.write_all(b"\x1b[2J\x1b[H")?;
            out.flush()?;
        }
        Ok(())
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// One line beside the answer, on standard error.
pub(crate) fn complain(text: &str) {
    // Nobody is left to tell when this cannot be written.
    let _ = writeln!(io::stderr(), "opsctl: {}", clean(text));
}
