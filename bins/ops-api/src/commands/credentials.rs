//! `ops-api credentials ...`: the stored credentials, for whoever has the key and the database.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use credential_store::{
    Credential, CredentialError, CredentialStore, MAX_LISTED, OlderEntry, Rotation, Written, read_older_file,
};
use lab_model::CredentialRef;
use ops_runtime::settings::{MAX_SECRET_FILE, read_secret_file};
use ops_runtime::{CommandLine, Settings};
use secrecy::SecretString;

use super::{print, refuse, say};

/// As whom credentials are written that nobody sent to the API.
const WRITER: &str = "command line";
/// The embedded database, in its folder.
const EMBEDDED_FILE: &str = "lab-ops.sqlite";
/// More than any file of credentials.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// What can be done about stored credentials.
#[derive(Debug, Clone, Subcommand)]
pub enum CredentialsCommand {
    /// Lists names, keys and dates; passwords are never shown
    List,
    /// Stores one; its password is read from standard input, where one line break at its end is cut
    Set(SetOne),
    /// Removes one
    Remove {
        /// Its name
        #[arg(value_name = "REF", value_parser = CredentialRef::parse)]
        name: CredentialRef,
    },
    /// Stores those of an older worker's file, whose entries are Fernet tokens
    Import(Import),
    /// Encrypts every credential under the first key of the ring; may be repeated, also while services run
    Rotate,
}

/// One credential.
#[derive(Debug, Clone, Args)]
pub struct SetOne {
    /// Its name, as hosts.json has it in winrm_credential_ref
    #[arg(value_name = "REF", value_parser = CredentialRef::parse)]
    pub name: CredentialRef,
    /// The account: DOMAIN\user, user@realm or user
    #[arg(long)]
    pub user: String,
    /// Replaces one of that name
    #[arg(long)]
    pub overwrite: bool,
}

/// An older worker's file.
#[derive(Debug, Clone, Args)]
pub struct Import {
    /// The older worker's winrm-credentials.json
    pub file: PathBuf,
    /// The file with its key, or with several keys, one a line
    #[arg(long, value_name = "FILE")]
    pub fernet_key_file: PathBuf,
    /// Replaces those of the same name
    #[arg(long)]
    pub overwrite: bool,
}

pub(super) async fn run(order: CredentialsCommand, line: &CommandLine) -> ExitCode {
    let loaded = match Settings::from_environment(line.settings.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error.to_string()),
    };
    ops_runtime::init_logging(&loaded.settings);
    if loaded.settings.secrets_key.is_none() && needs_key(&order) {
        return refuse("OPS_SECRETS_KEY: must be set, or OPS_SECRETS_KEY_FILE");
    }
    if let Some(problem) = has_no_database(&order, &loaded.settings) {
        return refuse(&problem);
    }
    match carry_out(order, &loaded.settings).await {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn needs_key(order: &CredentialsCommand) -> bool {
    !matches!(
        order,
        CredentialsCommand::List | CredentialsCommand::Remove { .. }
    )
}

/// Why there is no database to work on, if there is none. A file is made only by what writes into it, and only where
/// somebody chose its folder: whoever forgot the service's settings would else have an empty one where he happens to be.
fn has_no_database(order: &CredentialsCommand, settings: &Settings) -> Option<String> {
    if settings.database_url.is_some() {
        return None;
    }
    let writes = matches!(order, CredentialsCommand::Set(_) | CredentialsCommand::Import(_));
    if writes && settings.data_dir_is_given {
        return None;
    }
    let file = settings.data_dir.join(EMBEDDED_FILE);
    // What cannot be looked at is told by whoever opens it.
    let absent = matches!(file.try_exists(), Ok(false));
    absent.then(|| {
        let file = file.display();
        format!(
            "there is no database {file}: set MYSQL_DSN, or OPS_DATA_DIR to the folder of the embedded one, as for \
             the services"
        )
    })
}

async fn carry_out(order: CredentialsCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    // What is asked for is read before anything is opened.
    let prepared = match order {
        CredentialsCommand::Set(one) => {
            let credential = Credential::new(&one.user, password_from_stdin()?)?;
            Prepared::Set(one, credential)
        }
        CredentialsCommand::Import(import) => {
            let entries = read_import(&import)?;
            Prepared::Import(import, entries)
        }
        CredentialsCommand::List => Prepared::List,
        CredentialsCommand::Remove { name } => Prepared::Remove(name),
        CredentialsCommand::Rotate => Prepared::Rotate,
    };
    let database = ops_runtime::connect_once(settings).await?;
    let store = CredentialStore::new(database.clone(), settings.secrets_key.clone());
    let done = prepared.carry_out(&store).await;
    database.close().await;
    done
}

enum Prepared {
    List,
    Set(SetOne, Credential),
    Remove(CredentialRef),
    Import(Import, Vec<OlderEntry>),
    Rotate,
}

impl Prepared {
    async fn carry_out(self, store: &CredentialStore) -> anyhow::Result<ExitCode> {
        match self {
            Self::List => list(store).await,
            Self::Set(one, credential) => {
                match store.put(&one.name, &credential, WRITER, one.overwrite).await {
                    Ok(Written::Created) => print(&format!("{}: stored", one.name)),
                    Ok(Written::Overwritten) => print(&format!("{}: overwritten", one.name)),
                    Err(error @ CredentialError::Exists { .. }) => bail!("{error}; --overwrite replaces it"),
                    Err(error) => return Err(error.into()),
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Remove(name) => {
                if !store.remove(&name).await? {
                    bail!("no credential is stored as {name}");
                }
                print(&format!("{name}: removed"));
                Ok(ExitCode::SUCCESS)
            }
            Self::Import(order, entries) => import(store, entries, order.overwrite).await,
            Self::Rotate => {
                let done = store.rotate().await?;
                print(&told(&done));
                Ok(exit_code(done.unreadable.is_empty()))
            }
        }
    }
}

fn exit_code(all_is_well: bool) -> ExitCode {
    if all_is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn list(store: &CredentialStore) -> anyhow::Result<ExitCode> {
    let mut text = format!("{:<32} {:<12} {:<20} {}\n", "NAME", "KEY", "UPDATED", "BY");
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), MAX_LISTED).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.reference.clone());
        for row in &page {
            let updated = row.updated_at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let (name, key) = (row.reference.as_str(), &row.key_id);
            writeln!(text, "{name:<32} {key:<12} {updated:<20} {}", row.updated_by)?;
        }
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

fn password_from_stdin() -> anyhow::Result<SecretString> {
    let mut stdin = std::io::stdin().lock();
    let mut text = String::new();
    if stdin.is_terminal() {
        say("the password, and a line break; it is shown while it is typed:");
        std::io::BufRead::read_line(&mut stdin, &mut text).context("standard input")?;
    } else {
        let read = stdin.take(MAX_SECRET_FILE + 1).read_to_string(&mut text);
        if read.context("standard input")? as u64 > MAX_SECRET_FILE {
            bail!("standard input is larger than 64 KiB");
        }
    }
    let cut = text.strip_suffix('\n').unwrap_or(&text);
    let cut = cut.strip_suffix('\r').unwrap_or(cut);
    if cut.is_empty() {
        bail!("standard input holds no password");
    }
    Ok(SecretString::from(cut))
}

fn read_import(order: &Import) -> anyhow::Result<Vec<OlderEntry>> {
    let shown = |file: &Path| file.display().to_string();
    let keys = read_secret_file(&order.fernet_key_file).with_context(|| shown(&order.fernet_key_file))?;
    let mut text = String::new();
    let file = std::fs::File::open(&order.file).with_context(|| shown(&order.file))?;
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    if read.with_context(|| shown(&order.file))? as u64 > MAX_FILE {
        bail!("{} is larger than 4 MiB", shown(&order.file));
    }
    read_older_file(&text, &keys).with_context(|| shown(&order.file))
}

async fn import(
    store: &CredentialStore,
    entries: Vec<OlderEntry>,
    overwrite: bool,
) -> anyhow::Result<ExitCode> {
    let (mut stored, mut overwritten, mut kept, mut failed) = (0, 0, 0, 0);
    for entry in entries {
        let written = entry.written;
        match entry.read {
            Ok((name, credential)) => match store.put(&name, &credential, WRITER, overwrite).await {
                Ok(Written::Created) => stored += 1,
                Ok(Written::Overwritten) => overwritten += 1,
                Err(CredentialError::Exists { .. }) => {
                    kept += 1;
                    say(&format!("{name}: is stored already; --overwrite replaces it"));
                }
                Err(error) => return Err(error.into()),
            },
            Err(problem) => {
                failed += 1;
                say(&format!("{written:?}: {problem}"));
            }
        }
    }
    print(&format!(
        "stored: {stored}, overwritten: {overwritten}, kept as they were: {kept}, not read: {failed}"
    ));
    Ok(exit_code(failed == 0))
}

fn told(done: &Rotation) -> String {
    let mut text = String::new();
    for (name, why) in &done.unreadable {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name}: {why}");
    }
    let (rotated, overtaken, unreadable) = (done.rotated, done.overtaken, done.unreadable.len());
    let _ = write!(
        text,
        "encrypted anew: {rotated}, written by others meanwhile: {overtaken}, not readable: {unreadable}"
    );
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn set() -> CredentialsCommand {
        CredentialsCommand::Set(SetOne {
            name: CredentialRef::parse("a").unwrap(),
            user: "svc".to_owned(),
            overwrite: false,
        })
    }

    fn remove() -> CredentialsCommand {
        let name = CredentialRef::parse("a").unwrap();
        CredentialsCommand::Remove { name }
    }

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: BTreeMap<String, String> = variables.collect();
        Settings::read(&variables, None).unwrap().settings
    }

    #[test]
    fn no_order_makes_a_database_where_nobody_chose_one() {
        let none = settings(&[]);
        for order in [
            set(),
            remove(),
            CredentialsCommand::List,
            CredentialsCommand::Rotate,
        ] {
            let problem = has_no_database(&order, &none).unwrap();
            for word in ["ops-data/lab-ops.sqlite", "MYSQL_DSN", "OPS_DATA_DIR"] {
                assert!(problem.contains(word), "{problem}");
            }
        }
        let server = settings(&[("MYSQL_DSN", "mysql://u:p@127.0.0.1/lab")]);
        for order in [
            set(),
            remove(),
            CredentialsCommand::List,
            CredentialsCommand::Rotate,
        ] {
            assert_eq!(has_no_database(&order, &server), None);
        }
    }

    #[test]
    fn a_database_that_was_chosen_is_made_by_what_writes_and_used_by_all_once_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let chosen = settings(&[("OPS_DATA_DIR", folder.path().to_str().unwrap())]);
        let reading = || [remove(), CredentialsCommand::List, CredentialsCommand::Rotate];
        assert_eq!(has_no_database(&set(), &chosen), None);
        for order in reading() {
            let problem = has_no_database(&order, &chosen).unwrap();
            assert!(problem.contains(folder.path().to_str().unwrap()), "{problem}");
        }
        std::fs::write(folder.path().join(EMBEDDED_FILE), "").unwrap();
        for order in reading() {
            assert_eq!(has_no_database(&order, &chosen), None);
        }
        // The default folder counts as well, once the services have made it.
        let default = Settings {
            data_dir_is_given: false,
            ..chosen
        };
        assert_eq!(has_no_database(&set(), &default), None);
    }
}
