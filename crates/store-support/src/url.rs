//! Database addresses, in the spellings of SQLAlchemy that existing sites have in their environment.

mod query;

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use sea_orm::sqlx::mysql::MySqlConnectOptions;
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use query::Tls;

/// The file of the embedded database, in the data folder.
const EMBEDDED_FILE: &str = "lab-ops.sqlite";

/// Why a text is not a database address. Names the part, never the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `scheme:` in front.
    #[error("the database address does not begin with a scheme such as mysql:// or sqlite:")]
    NoScheme,
    /// The scheme is not one of MySQL, MariaDB or SQLite.
    #[error("the database scheme {scheme} is not supported: use mysql, mariadb or sqlite")]
    UnknownScheme {
        /// As written.
        scheme: String,
    },
    /// A needed part is absent.
    #[error("the database address has no {part}")]
    Missing {
        /// Which part.
        part: &'static str,
    },
    /// A part is there but cannot be understood.
    #[error("the {part} of the database address {problem}")]
    BadPart {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Where a database is. Shown without its password by `Debug` and [`shown`](Self::shown).
///
/// ```
/// use store_support::DatabaseUrl;
///
/// let url = DatabaseUrl::parse("mysql+pymysql://ops:p%40ss@db.lab/gateway?charset=utf8mb4")?;
/// assert_eq!(url.shown(), "mysql://ops:***@db.lab:3306/gateway");
/// # Ok::<(), store_support::UrlError>(())
/// ```
#[derive(Clone)]
pub struct DatabaseUrl {
    place: Place,
    warnings: Vec<String>,
}

#[derive(Clone)]
pub(crate) enum Place {
    MySql(Server),
    SqliteFile(PathBuf),
    SqliteMemory,
}

/// A database on a MySQL or MariaDB server.
#[derive(Clone)]
pub(crate) struct Server {
    user: Option<String>,
    password: Option<SecretString>,
    host: String,
    port: u16,
    database: String,
    socket: Option<PathBuf>,
    tls: Tls,
}

/// What an address of a server says; a socket and TLS aside.
#[derive(Debug, Clone, Copy)]
pub struct ServerParts<'a> {
    /// Name or IP address.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// The database; empty when the address has none.
    pub database: &'a str,
    /// Whom to log on as.
    pub user: Option<&'a str>,
    /// With which password.
    pub password: Option<&'a SecretString>,
}

impl DatabaseUrl {
    /// Reads an address: `mysql://`, `mariadb://`, either with a SQLAlchemy driver (`mysql+pymysql://`), or
    /// `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite:path`, `sqlite::memory:`.
    ///
    /// User, password and database are percent-decoded. Query keys that mean nothing here are dropped and
    /// named in [`warnings`](Self::warnings).
    ///
    /// # Errors
    /// [`UrlError`] names the part that is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Self::parse_server(text)?;
        match &url.place {
            Place::MySql(server) if server.database.is_empty() => Err(UrlError::Missing {
                part: "database name",
            }),
            _ => Ok(url),
        }
    }

    /// As [`parse`](Self::parse), but a MySQL address may lack the database.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_server(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').ok_or(UrlError::NoScheme)?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        if scheme.is_empty() || !scheme.chars().all(is_scheme) {
            return Err(UrlError::NoScheme);
        }
        let (database, _driver) = scheme.split_once('+').unwrap_or((scheme, ""));
        match database.to_ascii_lowercase().as_str() {
            "mysql" | "mariadb" => parse_mysql(rest.strip_prefix("//").ok_or(UrlError::NoScheme)?),
            "sqlite" => parse_sqlite(rest),
            _ if rest.starts_with("//") => Err(UrlError::UnknownScheme {
                scheme: scheme.to_owned(),
            }),
            // Not an address at all, perhaps `user:password@host`: nothing of it is repeated.
            _ => Err(UrlError::NoScheme),
        }
    }

    /// The embedded database: the SQLite file `lab-ops.sqlite` in `data_dir`.
    #[must_use]
    pub fn embedded(data_dir: &Path) -> Self {
        Self {
            place: Place::SqliteFile(data_dir.join(EMBEDDED_FILE)),
            warnings: Vec::new(),
        }
    }

    /// A database in memory that lives as long as its connection.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            place: Place::SqliteMemory,
            warnings: Vec::new(),
        }
    }

    /// What in the address was not used, one line each, for the log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The address for people: without the password.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.place {
            Place::SqliteMemory => "sqlite::memory:".to_owned(),
            Place::SqliteFile(path) => format!("sqlite:{}", path.display()),
            Place::MySql(server) => {
                let user = match (&server.user, &server.password) {
                    (Some(user), Some(_)) => format!("{user}:***@"),
                    (Some(user), None) => format!("{user}@"),
                    (None, _) => String::new(),
                };
                let host = if server.host.contains(':') {
                    format!("[{}]", server.host)
                } else {
                    server.host.clone()
                };
                format!("mysql://{user}{host}:{}/{}", server.port, server.database)
            }
        }
    }

    /// The parts of an address of a server; `None` for SQLite.
    #[must_use]
    pub fn server(&self) -> Option<ServerParts<'_>> {
        let Place::MySql(server) = &self.place else {
            return None;
        };
        Some(ServerParts {
            host: &server.host,
            port: server.port,
            database: &server.database,
            user: server.user.as_deref(),
            password: server.password.as_ref(),
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The same server, but this database; a file stays what it is.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub fn with_database(mut self, name: &str) -> Self {
        if let Place::MySql(server) = &mut self.place {
            name.clone_into(&mut server.database);
        }
        self
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.shown())
    }
}

impl Server {
    /// UTC for the session and utf8mb4: both are what the tables of the contract hold, whatever the server's
    /// default.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        let mut options = MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .charset("utf8mb4")
            .timezone(Some("+00:00".to_owned()));
        if !self.database.is_empty() {
            options = options.database(&self.database);
        }
        if let Some(user) = &self.user {
            options = options.username(user);
        }
        if let Some(password) = &self.password {
            options = options.password(password.expose_secret());
        }
        if let Some(socket) = &self.socket {
            options = options.socket(socket);
        }
        self.tls.apply(options)
    }
}

fn decoded(part: &'static str, text: &str) -> Result<String, UrlError> {
    let text = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| UrlError::BadPart {
            part,
            problem: "is not UTF-8 after percent-decoding",
        })?;
    if text.chars().any(char::is_control) {
        return Err(UrlError::BadPart {
            part,
            problem: "contains a control character",
        });
    }
    Ok(text.into_owned())
}

/// `[user[:password]@]host[:port]/database[?query]`, split as SQLAlchemy does: a password may contain `/` and
/// `?`, but not `@`.
fn parse_mysql(rest: &str) -> Result<DatabaseUrl, UrlError> {
    let (user, password, rest) = split_credentials(rest)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(UrlError::BadPart {
            part: "password",
            problem: "contains '@', which must be written %40",
        });
    }
    let (host, port) = split_port(authority)?;
    let query = query::read(query)?;
    let host = match decoded("host", host)? {
        host if host.is_empty() && query.socket.is_some() => "localhost".to_owned(),
        host if host.is_empty() => return Err(UrlError::Missing { part: "host" }),
        host if host.contains(char::is_whitespace) => {
            return Err(UrlError::BadPart {
                part: "host",
                problem: "contains a blank",
            });
        }
        host => host,
    };
    let database = decoded("database name", database)?;
    if database.contains('/') {
        return Err(UrlError::BadPart {
            part: "database name",
            problem: "contains '/'",
        });
    }
    let server = Server {
        user,
        password,
        host,
        port,
        database,
        socket: query.socket,
        tls: query.tls,
    };
    Ok(DatabaseUrl {
        place: Place::MySql(server),
        warnings: query.warnings,
    })
}

type Credentials<'a> = (Option<String>, Option<SecretString>, &'a str);

fn split_credentials(rest: &str) -> Result<Credentials<'_>, UrlError> {
    let Some((credentials, after)) = rest.split_once('@') else {
        return Ok((None, None, rest));
    };
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if user.contains(['/', '?']) {
        // The '@' belongs to something behind the host.
        return Ok((None, None, rest));
    }
    let user = decoded("user", user)?;
    let password = password
        .map(|password| decoded("password", password))
        .transpose()?;
    Ok((
        Some(user).filter(|user| !user.is_empty()),
        password.map(SecretString::from),
        after,
    ))
}

fn split_port(authority: &str) -> Result<(&str, u16), UrlError> {
    let bad = |part, problem| UrlError::BadPart { part, problem };
    let (host, port) = if let Some(v6) = authority.strip_prefix('[') {
        let (host, after) = v6
            .split_once(']')
            .ok_or_else(|| bad("host", "has '[' without ']'"))?;
        match after {
            "" => (host, ""),
            _ => (
                host,
                after
                    .strip_prefix(':')
                    .ok_or_else(|| bad("host", "has text after ']'"))?,
            ),
        }
    } else {
        authority.split_once(':').unwrap_or((authority, ""))
    };
    match port {
        "" => Ok((host, 3306)),
        text => match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok((host, port)),
            _ => Err(bad("port", "is not a number from 1 to 65535")),
        },
    }
}

/// Three slashes are a relative path and four an absolute one, as in SQLAlchemy; without slashes the path is
/// as is.
fn parse_sqlite(rest: &str) -> Result<DatabaseUrl, UrlError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match rest.strip_prefix("//") {
        Some(path) => path.strip_prefix('/').unwrap_or(path),
        None => rest,
    };
    let warnings = query::keys(query).map(|key| query::unused(&key)).collect();
    let place = match decoded("path", path)? {
        path if path == ":memory:" || (path.is_empty() && rest.starts_with("//")) => Place::SqliteMemory,
        path if path.is_empty() => return Err(UrlError::Missing { part: "path" }),
        path if path.ends_with('/') => {
            return Err(UrlError::BadPart {
                part: "path",
                problem: "names a folder",
            });
        }
        path => Place::SqliteFile(PathBuf::from(path)),
    };
    Ok(DatabaseUrl { place, warnings })
}

#[cfg(test)]
mod tests;
