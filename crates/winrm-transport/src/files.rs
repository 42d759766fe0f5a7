//! Files of the host, without scripts made of strings.

mod path;
mod script;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::client::{Client, LONGEST};
use crate::command::Command;
use crate::error::Error;
use crate::output::Output;

use self::path::{Route, WindowsPath};
use self::script::{Answer, Wish};

/// Bytes of the script's answer beside the content.
const HEAD: usize = 128;

/// What a file is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub length: u64,
    /// Last written, by the host's clock.
    pub modified: SystemTime,
}

/// The end of a file, or the part of it that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Byte for byte; empty when there is nothing after the offset.
    pub bytes: Vec<u8>,
    /// Where the bytes begin: the offset asked for, or the end of a file that is shorter than that. Such a file is not
    /// the one it was: begin again at 0.
    pub offset: u64,
    /// Of the whole file, when it was opened.
    pub length: u64,
    /// Last written, by the host's clock.
    pub modified: SystemTime,
}

impl Tail {
    /// Where to go on reading.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not the absolute path of a file: nothing was sent.
    #[error("path {path:?} cannot be a file: {why}")]
    Path {
        /// As given.
        path: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// There is no such file.
    #[error("file {path:?} does not exist")]
    NotFound {
        /// As given.
        path: String,
    },
    /// It exists, and the account may not read it, or it is a directory.
    #[error("file {path:?} may not be read")]
    Denied {
        /// As given.
        path: String,
    },
    /// Another program keeps others out of it. Try again.
    #[error("file {path:?} is in use")]
    InUse {
        /// As given.
        path: String,
    },
    /// The cheap way to read it failed, twice: missing, in use or denied. [`Client::stat`] tells which.
    #[error("file {path:?} cannot be read: {said:?}")]
    NotReadable {
        /// As given.
        path: String,
        /// The host's words, in its language, shortened.
        said: String,
    },
    /// It has more bytes than allowed.
    #[error("file {path:?} is larger than {limit} bytes")]
    TooLarge {
        /// As given.
        path: String,
        /// `Limits::output_bytes`.
        limit: usize,
    },
    /// Part of an answer was lost on the way, or the host's answer makes no sense. Try again: reading has no effect.
    #[error("the content of {path:?} did not arrive whole")]
    Incomplete {
        /// As given.
        path: String,
    },
    /// The command that reads it failed. Reading may be repeated whatever [`Error::effect`] says.
    #[error(transparent)]
    Run(#[from] Error),
}

impl Client {
    /// Reads a whole small file, at most [`Limits::output_bytes`](crate::Limits::output_bytes): with `cmd /c type` where
    /// the path is plain enough for that, which is one small process, otherwise with PowerShell.
    ///
    /// The path must be absolute and may hold whatever Windows permits: no character of it is ever interpreted.
    ///
    /// ```no_run
    /// # async fn example(client: winrm_transport::Client) -> Result<(), winrm_transport::FileError> {
    /// use std::time::Duration;
    ///
    /// let hosts = client.read_file(r"C:\Windows\System32\drivers\etc\hosts", Duration::from_secs(30)).await?;
    /// println!("{}", String::from_utf8_lossy(&hosts));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`FileError`].
    ///
    /// # Cancel safety
    /// As for [`Client::run`]; reading has no effect on the host.
    pub async fn read_file(&self, path: &str, deadline: Duration) -> Result<Vec<u8>, FileError> {
        let path = WindowsPath::parse(path)?;
        let until = end(deadline);
        match path.route() {
            Route::Type => self.read_by_type(&path, until).await,
            Route::PowerShell => self.read_by_script(&path, until).await,
        }
    }

    /// Reads at most `max` bytes from `offset` to the end of a file that may still grow, and says how long the file is.
    /// Other programs may write, rename and delete it meanwhile. Takes a PowerShell process on the host.
    ///
    /// ```no_run
    /// # async fn example(client: winrm_transport::Client) -> Result<(), winrm_transport::FileError> {
    /// use std::time::Duration;
    ///
    /// let (log, limit) = (r"C:\Logs\today.log", Duration::from_secs(30));
    /// let first = client.tail(log, 0, 64 * 1024, limit).await?;
    /// let later = client.tail(log, first.next_offset(), 64 * 1024, limit).await?;
    /// println!("{} new bytes", later.bytes.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`FileError`].
    ///
    /// # Cancel safety
    /// As for [`Client::run`]; reading has no effect on the host.
    pub async fn tail(
        &self,
        path: &str,
        offset: u64,
        max: usize,
        deadline: Duration,
    ) -> Result<Tail, FileError> {
        let path = WindowsPath::parse(path)?;
        let until = end(deadline);
        // The answer is base64, which has to fit too.
        let max = max.min((self.output_limit() / 4 * 3).saturating_sub(HEAD));
        let wish = Wish { offset, max };
        let (stat, at, bytes) = self.ask(&path, &wish, until).await?;
        Ok(Tail {
            bytes,
            offset: at,
            length: stat.length,
            modified: stat.modified,
        })
    }

    /// Length and time of a file. Takes a PowerShell process on the host.
    ///
    /// ```no_run
    /// # async fn example(client: winrm_transport::Client) -> Result<(), winrm_transport::FileError> {
    /// use std::time::Duration;
    ///
    /// let stat = client.stat(r"\\server\share\it's 100% fine.txt", Duration::from_secs(30)).await?;
    /// println!("{} bytes, written {:?}", stat.length, stat.modified);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`FileError`].
    ///
    /// # Cancel safety
    /// As for [`Client::run`]; reading has no effect on the host.
    pub async fn stat(&self, path: &str, deadline: Duration) -> Result<FileStat, FileError> {
        let path = WindowsPath::parse(path)?;
        let wish = Wish { offset: 0, max: 0 };
        let (stat, _, _) = self.ask(&path, &wish, end(deadline)).await?;
        Ok(stat)
    }

    async fn read_by_type(&self, path: &WindowsPath, until: Instant) -> Result<Vec<u8>, FileError> {
        let command = Command::new("cmd").args(["/d", "/c", "type", path.as_str()]);
        let mut again = true;
        loop {
            let output = self.run(&command, left(until)).await?;
            if output.exit_code == Some(0) {
                return self.whole(path, output);
            }
            if !again {
                let said = output.stderr_text().trim().chars().take(256).collect();
                let path = path.given();
                return Err(FileError::NotReadable { path, said });
            }
            // A file that is being replaced is missing or locked for a moment.
            again = false;
        }
    }

    fn whole(&self, path: &WindowsPath, output: Output) -> Result<Vec<u8>, FileError> {
        let limit = self.output_limit();
        match output.truncated {
            false => Ok(output.stdout),
            true if output.stdout.len() >= limit => Err(FileError::TooLarge {
                path: path.given(),
                limit,
            }),
            true => Err(FileError::Incomplete { path: path.given() }),
        }
    }

    async fn read_by_script(&self, path: &WindowsPath, until: Instant) -> Result<Vec<u8>, FileError> {
        let limit = (self.output_limit() / 4 * 3).saturating_sub(HEAD);
        let wish = Wish {
            offset: 0,
            max: limit,
        };
        let (stat, _, bytes) = self.ask(path, &wish, until).await?;
        match usize::try_from(stat.length) {
            Ok(length) if length <= limit => Ok(bytes),
            _ => Err(FileError::TooLarge {
                path: path.given(),
                limit,
            }),
        }
    }

    async fn ask(
        &self,
        path: &WindowsPath,
        wish: &Wish,
        until: Instant,
    ) -> Result<(FileStat, u64, Vec<u8>), FileError> {
        let command = script::read(path, wish).command();
        let output = self.run(&command, left(until)).await?;
        let answer = (!output.truncated)
            .then(|| script::answer(&output, wish))
            .flatten();
        let path = path.given();
        match answer {
            Some(Answer::Read { stat, offset, bytes }) => Ok((stat, offset, bytes)),
            Some(Answer::Missing) => Err(FileError::NotFound { path }),
            Some(Answer::Denied) => Err(FileError::Denied { path }),
            Some(Answer::InUse) => Err(FileError::InUse { path }),
            None if output.exit_code != Some(0) && !output.truncated => {
                let said = output.error_text().trim().chars().take(256).collect();
                Err(FileError::NotReadable { path, said })
            }
            None => Err(FileError::Incomplete { path }),
        }
    }
}

fn end(deadline: Duration) -> Instant {
    Instant::now() + deadline.min(LONGEST)
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
