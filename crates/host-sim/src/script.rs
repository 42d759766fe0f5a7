//! Programs that a test makes up.

use std::time::Duration;

/// A program that can be started over WinRM, found by its file name; it comes before what the host has anyway.
///
/// ```
/// use std::time::Duration;
/// use host_sim::{Program, Step};
///
/// let slow = Program::new("report.exe", [Step::Out(b"half ".into()), Step::Pause(Duration::from_secs(1)),
///                                        Step::Out(b"done".into()), Step::Exit(3)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(crate) file: String,
    pub(crate) steps: Vec<Step>,
}

impl Program {
    /// A program of this file name, whatever the folder; without [`Step::Exit`] it ends with 0.
    pub fn new(file: impl Into<String>, steps: impl Into<Vec<Step>>) -> Self {
        Self {
            file: file.into(),
            steps: steps.into(),
        }
    }
}

/// One thing a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes to standard output.
    Out(Vec<u8>),
    /// Writes to standard error.
    Err(Vec<u8>),
    /// Writes so many bytes to standard output: the letters a to z over and over.
    Fill(usize),
    /// Works for so long.
    Pause(Duration),
    /// Copies standard input to standard output until it is closed.
    CopyInput,
    /// Writes the value of an environment variable to standard output.
    ShowVariable(String),
    /// Writes the working directory to standard output.
    ShowDirectory,
    /// Ends, with this exit code.
    Exit(i32),
    /// Never ends of its own accord.
    Forever,
}
