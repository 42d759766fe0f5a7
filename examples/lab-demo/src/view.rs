//! Where the table is shown: a terminal, or plain lines for logs and pipes.

use std::io::{IsTerminal, stdin, stdout};

use crate::plain::Plain;
use crate::screen::Screen;
use crate::watch::Snapshot;

/// One of the two ways of watching.
pub(crate) enum View {
    /// A table that is drawn anew, on a terminal.
    Live(Screen),
    /// One line for each change.
    Plain(Plain),
}

impl View {
    /// Takes the terminal if there is one, and plain lines are not wished for. `heading` stays in sight.
    pub(crate) fn open(plain: bool, heading: Vec<String>) -> anyhow::Result<Self> {
        if plain || !stdout().is_terminal() || !stdin().is_terminal() {
            return Ok(Self::Plain(Plain::open(&heading)?));
        }
        Ok(Self::Live(Screen::open(heading)?))
    }

    /// Shows what there is to see.
    pub(crate) fn show(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        match self {
            Self::Live(screen) => screen.draw(snapshot),
            Self::Plain(plain) => plain.tell(snapshot),
        }
    }

    /// Whether somebody pressed a key to leave. A terminal that is drawn on sends no signal for Ctrl-C.
    pub(crate) fn wants_to_leave(&self) -> anyhow::Result<bool> {
        match self {
            Self::Live(screen) => screen.wants_to_leave(),
            Self::Plain(_) => Ok(false),
        }
    }
}
