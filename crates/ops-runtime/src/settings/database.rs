//! Where the database is: one address, or its parts in variables of their own.

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use store_support::DatabaseUrl;

use super::source::Source;

const DSN: &str = "MYSQL_DSN";
const HOST: &str = "MYSQL_HOSTNAME";
const PORT: &str = "MYSQL_PORT";
const DATABASE: &str = "OPS_MYSQL_DATABASE";
const USER: &str = "OPS_BACKEND_MYSQL_USER";
const PASSWORD: &str = "OPS_BACKEND_MYSQL_PASSWORD";

/// The parts, as far as they were given.
struct Parts {
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
}

/// The address, from `MYSQL_DSN` or from all of its parts; `None` means the embedded database.
pub(super) fn read(source: &mut Source) -> Option<SecretString> {
    let problems = source.problems.len();
    let dsn = source.token(DSN);
    let parts = parts(source);
    match dsn {
        Some(dsn) => {
            agree(source, &dsn, &parts);
            Some(dsn)
        }
        // A wrong part is told by itself; that others are missing may follow from it.
        None if source.problems.len() > problems => None,
        None => joined(source, &parts),
    }
}

fn parts(source: &mut Source) -> Parts {
    let port = source.non_empty(PORT).is_some();
    Parts {
        host: checked(source, HOST, is_host),
        port: port.then(|| u16::try_from(source.number(PORT, 1..=65_535, 3306)).unwrap_or(3306)),
        database: checked(source, DATABASE, |name| {
            !name.contains('/') && !name.chars().any(char::is_control)
        }),
        user: checked(source, USER, |name| !name.chars().any(char::is_control)),
        password: password(source),
    }
}

fn checked(source: &mut Source, name: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
    let text = source.non_empty(name)?;
    if !fits(&text) {
        source.problem(name, format!("{text:?} cannot be used"));
        return None;
    }
    Some(text)
}

fn is_host(text: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.chars().all(name) || text.parse::<IpAddr>().is_ok()
}

fn password(source: &mut Source) -> Option<SecretString> {
    let password = source.secret(PASSWORD)?;
    if password.expose_secret().chars().any(char::is_control) {
        source.problem(PASSWORD, "contains a control character");
        return None;
    }
    Some(password)
}

/// Whoever sets both has to say the same twice, or which database is used would depend on who reads them.
fn agree(source: &mut Source, dsn: &SecretString, parts: &Parts) {
    let same = |given: bool, equal: bool| !given || equal;
    let url = DatabaseUrl::parse(dsn.expose_secret());
    let Ok(url) = url else {
        // That it cannot be read is told by whoever opens it.
        return;
    };
    let server = url.server();
    let checks = [
        (
            HOST,
            parts.host.is_some(),
            server
                .as_ref()
                .is_some_and(|s| Some(s.host) == parts.host.as_deref()),
        ),
        (
            PORT,
            parts.port.is_some(),
            server.as_ref().is_some_and(|s| Some(s.port) == parts.port),
        ),
        (
            DATABASE,
            parts.database.is_some(),
            server
                .as_ref()
                .is_some_and(|s| Some(s.database) == parts.database.as_deref()),
        ),
        (
            USER,
            parts.user.is_some(),
            server.as_ref().is_some_and(|s| s.user == parts.user.as_deref()),
        ),
        (
            PASSWORD,
            parts.password.is_some(),
            server.as_ref().is_some_and(|s| {
                let (theirs, ours) = (s.password, parts.password.as_ref());
                theirs.map(|p| p.expose_secret()) == ours.map(|p| p.expose_secret())
            }),
        ),
    ];
    for (name, given, equal) in checks {
        if !same(given, equal) {
            source.problem(name, format!("says otherwise than {DSN}; set one of them only"));
        }
    }
}

fn joined(source: &mut Source, parts: &Parts) -> Option<SecretString> {
    let given = [
        (HOST, parts.host.is_some()),
        (DATABASE, parts.database.is_some()),
        (USER, parts.user.is_some()),
        (PASSWORD, parts.password.is_some()),
    ];
    if parts.port.is_none() && given.iter().all(|(_, given)| !given) {
        return None;
    }
    let first = given
        .iter()
        .find(|(_, given)| *given)
        .map_or(PORT, |(name, _)| *name);
    for (name, _) in given.iter().filter(|(_, given)| !given) {
        source.problem(name, format!("is missing beside {first}"));
    }
    let (host, database) = (parts.host.as_deref()?, parts.database.as_deref()?);
    let (user, password) = (parts.user.as_deref()?, parts.password.as_ref()?);
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    Some(SecretString::from(format!(
        "mysql://{}:{}@{host}:{}/{}",
        escaped(user),
        escaped(password.expose_secret()),
        parts.port.unwrap_or(3306),
        escaped(database)
    )))
}
