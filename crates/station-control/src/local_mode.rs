//! Local mode: a file on the host by which its station knows that the machine is for those who sit at it.

use std::time::Duration;

use lab_model::{Host, HostName};
use labstation_commands::{PathError, check_path};
use tokio::time::Instant;
use winrm_transport::{Client, Command};

use crate::control::StationControl;
use crate::error::{StationError, without_effect};

/// Windows' own, by its full path.
const CMD: &str = r"C:\Windows\System32\cmd.exe";
/// The file's name, unless the entry says otherwise.
const FLAG: &str = "local-mode.flag";
/// The key of the entry that says otherwise.
const KEY: &str = "local_mode_flag_path";
/// What the look ends with where the file exists; chosen so that no failure of `cmd.exe` looks like it.
const EXISTS: i32 = 10;

/// Why an entry names no flag file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagPathError {
    /// The value is no text.
    #[error("must be text")]
    NotText,
    /// The path cannot be put on a command line.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Whatever it names would be deleted: the name has to say that this is meant.
    #[error("{path:?} does not end in .flag")]
    NotAFlag {
        /// As given.
        path: String,
    },
}

/// What became of a wish for local mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalModeReport {
    /// Whether the host had to be changed; false when it was so already.
    pub changed: bool,
    /// Whether the host was seen to be as wished afterwards; false when it could not be asked any more.
    pub verified: bool,
}

/// Why a host is not in the mode that was wished for.
#[derive(Debug, thiserror::Error)]
pub enum LocalModeError {
    /// The host could not be asked or told; [`StationError::effect`] says whether it may have taken effect.
    #[error(transparent)]
    Station(#[from] StationError),
    /// The entry names no usable file.
    #[error("host {host} has no usable path for local mode")]
    Path {
        /// Which host.
        host: HostName,
        /// Why not.
        #[source]
        source: FlagPathError,
    },
    /// The host was told, and is not as wished.
    #[error("host {host} did not take the change: {said:?}")]
    NotTaken {
        /// Which host.
        host: HostName,
        /// The host's own words, in its language, shortened.
        said: String,
    },
}

/// Where a host keeps the file: `local_mode_flag_path` of its entry, else in the data folder of its station, which is
/// the one above the folder of the heartbeat.
///
/// Source: the station calls local mode on while `data\local-mode.flag` exists, whatever it holds; the later release of
/// the older worker reads the same key.
///
/// # Errors
/// [`FlagPathError`].
pub fn local_mode_flag(host: &Host) -> Result<String, FlagPathError> {
    let named = match host.extra.get(KEY).filter(|value| !value.is_null()) {
        None => None,
        Some(value) => Some(value.as_str().ok_or(FlagPathError::NotText)?),
    };
    let path = match named {
        Some(path) => check_path(path)?,
        None => check_path(&beside_the_heartbeat(&check_path(&host.heartbeat_path)?))?,
    };
    if path.to_ascii_lowercase().ends_with(".flag") {
        Ok(path)
    } else {
        Err(FlagPathError::NotAFlag { path })
    }
}

fn beside_the_heartbeat(heartbeat: &str) -> String {
    let folder = |path: &str| path.rsplit_once('\\').map(|(folder, _)| folder.to_owned());
    let telemetry = folder(heartbeat).unwrap_or_default();
    let data = match telemetry.rsplit_once('\\') {
        Some((data, name)) if name.eq_ignore_ascii_case("telemetry") => data,
        _ => telemetry.as_str(),
    };
    format!(r"{data}\{FLAG}")
}

impl StationControl {
    /// Puts a host into local mode, or takes it out: writes or removes the file, and looks whether that is so. One small
    /// process when it is so already, else three; no PowerShell. May be repeated.
    ///
    /// # Errors
    /// [`LocalModeError`].
    ///
    /// # Cancel safety
    /// A dropped future may leave the host in either mode.
    pub async fn set_local_mode(
        &self,
        host: &HostName,
        enabled: bool,
        deadline: Duration,
    ) -> Result<LocalModeReport, LocalModeError> {
        let (entry, link) = self.inner.host(host).await?;
        let path = local_mode_flag(&entry).map_err(|source| LocalModeError::Path {
            host: entry.name.clone(),
            source,
        })?;
        let hand = Hand {
            host: &entry.name,
            path: &path,
            until: Instant::now() + deadline,
        };
        if hand.exists(link.looks()).await.map_err(without_effect)? == enabled {
            return Ok(LocalModeReport {
                changed: false,
                verified: true,
            });
        }
        let words: &[&str] = if enabled {
            &["copy", "/y", "nul"]
        } else {
            &["del", "/f", "/q"]
        };
        let said = hand.order(&link.commands, words).await?;
        match hand.exists(link.looks()).await {
            Ok(exists) if exists == enabled => Ok(LocalModeReport {
                changed: true,
                verified: true,
            }),
            Ok(_) => Err(LocalModeError::NotTaken {
                host: entry.name.clone(),
                said,
            }),
            Err(error) => {
                tracing::info!(host.name = %entry.name, error = error.sentence(), "local mode could not be read back");
                Ok(LocalModeReport {
                    changed: true,
                    verified: false,
                })
            }
        }
    }
}

/// One host and its file, until a deadline.
struct Hand<'a> {
    host: &'a HostName,
    path: &'a str,
    until: Instant,
}

impl Hand<'_> {
    async fn exists(&self, client: &Client) -> Result<bool, StationError> {
        let (code, said) = self
            .run(client, &["if", "exist", self.path, "exit", &EXISTS.to_string()])
            .await?;
        match code {
            EXISTS => Ok(true),
            0 => Ok(false),
            other => {
                tracing::info!(host.name = %self.host, exit_code = other, said, "odd answer about the local mode file");
                Err(StationError::no_exit_code(self.host))
            }
        }
    }

    /// Gives what the host said to it. The exit code is not asked: `del` ends with 0 whatever became of it.
    async fn order(&self, client: &Client, words: &[&str]) -> Result<String, StationError> {
        let words: Vec<&str> = words.iter().copied().chain([self.path]).collect();
        Ok(self.run(client, &words).await?.1)
    }

    async fn run(&self, client: &Client, words: &[&str]) -> Result<(i32, String), StationError> {
        let command = Command::new(CMD).args(["/d", "/c"]).args(words.iter().copied());
        let left = self.until.saturating_duration_since(Instant::now());
        let output = client
            .run(&command, left)
            .await
            .map_err(|error| StationError::from_transport(self.host, error))?;
        let code = output
            .exit_code
            .ok_or_else(|| StationError::no_exit_code(self.host))?;
        let said = output.stderr_text().trim().chars().take(200).collect();
        Ok((code, said))
    }
}

#[cfg(test)]
mod tests {
    use lab_model::Catalog;
    use serde_json::json;

    use super::*;

    fn flag(key: &str, value: serde_json::Value) -> Result<String, FlagPathError> {
        let mut entry = json!({"name": "ws", "address": "10.0.0.1", "winrm_user": "u", "winrm_pass": "p"});
        entry[key] = value;
        let text = json!({ "hosts": [entry] }).to_string();
        local_mode_flag(&Catalog::parse(&text, &|_| None).unwrap().hosts()[0])
    }

    #[test]
    fn the_file_lies_in_the_data_folder_of_the_station() {
        let default = flag("labs", json!([])).unwrap();
        assert_eq!(default, r"C:\LabStation\labstation\data\local-mode.flag");
        let moved = r"D:\Lab Station\labstation\data\telemetry\heartbeat.json";
        let moved = flag("heartbeat_path", json!(moved)).unwrap();
        assert_eq!(moved, r"D:\Lab Station\labstation\data\local-mode.flag");
        let flat = flag("heartbeat_path", json!(r"D:\hb\heartbeat.json")).unwrap();
        assert_eq!(flat, r"D:\hb\local-mode.flag");
    }

    #[test]
    fn an_entry_may_name_it_but_nothing_else() {
        let named = |value| flag(KEY, value);
        assert_eq!(
            named(json!(r"C:\\flags\\local.flag")).unwrap(),
            r"C:\flags\local.flag"
        );
        assert_eq!(named(json!(7)), Err(FlagPathError::NotText));
        for path in [r"C:\Data", r"C:\LabStation\LabStation.exe"] {
            assert!(
                matches!(named(json!(path)), Err(FlagPathError::NotAFlag { .. })),
                "{path}"
            );
        }
        for path in [r"C:\*.flag", r"C:\a & b.flag", "local.flag"] {
            assert!(
                matches!(named(json!(path)), Err(FlagPathError::Path(_))),
                "{path}"
            );
        }
    }
}
