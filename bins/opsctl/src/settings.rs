//! Where the service is, and how we show who we are: from the command line, else from the environment.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::cli::Global;

/// Where `ops-api` listens when nothing is said.
const DEFAULT_URL: &str = "http://127.0.0.1:8081";
/// A token is a line, not a book.
const LONGEST_TOKEN: usize = 4096;

/// What the client has to know.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) url: Url,
    pub(crate) token: Option<SecretString>,
    /// Certificates to trust besides the system's, as PEM.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
}

impl Connection {
    /// Puts together what was given.
    ///
    /// # Errors
    /// A sentence that names the option or variable.
    pub(crate) fn read(global: &Global, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let (name, text) = match (&global.url, variable("OPSCTL_URL")) {
            (Some(url), _) => ("--url", url.clone()),
            (None, Some(url)) => ("OPSCTL_URL", url),
            (None, None) => ("--url", DEFAULT_URL.to_owned()),
        };
        let url = address(&text).map_err(|problem| format!("{name}: {problem}"))?;
        let token = match (
            &global.token_file,
            variable("OPSCTL_TOKEN"),
            variable("OPSCTL_TOKEN_FILE"),
        ) {
            (Some(file), _, _) => Some(token_of("--token-file", file)?),
            (None, Some(token), _) => Some(checked_token("OPSCTL_TOKEN", &token)?),
            (None, None, Some(file)) => Some(token_of("OPSCTL_TOKEN_FILE", Path::new(&file))?),
            (None, None, None) => None,
        };
        let ca = match &global.ca_file {
            None => None,
            Some(file) => Some(read_file("--ca-file", file)?),
        };
        Ok(Self {
            url,
            token,
            ca,
            timeout: global.timeout,
            retries: global.retries,
        })
    }

    /// A token that would cross a network in clear text.
    pub(crate) fn sends_token_in_clear(&self) -> bool {
        let loopback = match self.url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        self.token.is_some() && self.url.scheme() == "http" && !loopback
    }
}

/// One variable of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this program looks at its environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|problem| format!("{text:?} is no address: {problem}"))?;
    match url.scheme() {
        "http" | "https" => {}
        other => return Err(format!("must begin with http:// or https://, not {other}:")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".to_owned());
    }
    Ok(url)
}

fn read_file(name: &str, file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|problem| format!("{name}: cannot read {}: {problem}", file.display()))
}

fn token_of(name: &str, file: &Path) -> Result<SecretString, String> {
    let bytes = read_file(name, file)?;
    let text = String::from_utf8_lossy(&bytes);
    checked_token(name, text.lines().next().unwrap_or_default())
}

fn checked_token(name: &str, text: &str) -> Result<SecretString, String> {
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("{name}: holds no token"));
    }
    if token.len() > LONGEST_TOKEN || !token.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(format!(
            "{name}: is no token: at most {LONGEST_TOKEN} printable characters of ASCII, no blanks"
        ));
    }
    Ok(SecretString::from(token))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::cli::Cli;

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Connection, String> {
        let cli = Cli::parse_from([&["opsctl", "health"], arguments].concat());
        Connection::read(&cli.global, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_command_line_comes_before_the_environment_and_both_before_the_default() {
        assert_eq!(read(&[], &[]).unwrap().url.as_str(), "http://127.0.0.1:8081/");
        let both = [("OPSCTL_URL", "https://b.example/ops")];
        assert_eq!(read(&[], &both).unwrap().url.as_str(), "https://b.example/ops");
        assert_eq!(
            read(&["--url", "http://a:1"], &both).unwrap().url.as_str(),
            "http://a:1/"
        );
    }

    #[test]
    fn a_token_comes_from_a_file_or_variable_and_debug_does_not_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "s3cret\r\nmore\n").unwrap();
        let path = file.display().to_string();
        for read in [
            read(&["--token-file", &path], &[("OPSCTL_TOKEN", "other")]),
            read(&[], &[("OPSCTL_TOKEN", " s3cret ")]),
            read(&[], &[("OPSCTL_TOKEN_FILE", &path)]),
        ] {
            let connection = read.unwrap();
            assert_eq!(connection.token.as_ref().unwrap().expose_secret(), "s3cret");
            assert!(!format!("{connection:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (arguments, variables, word) in [
            (&["--url", "ftp://a"][..], &[][..], "--url"),
            (&["--url", "http://u:p@a"], &[], "user or password"),
            (&["--token-file", "/nowhere/x"], &[], "--token-file"),
            (&["--ca-file", "/nowhere/x"], &[], "--ca-file"),
            (&[], &[("OPSCTL_TOKEN", "q z")], "OPSCTL_TOKEN"),
            (&[], &[("OPSCTL_URL", "nonsense")], "OPSCTL_URL"),
        ] {
            let problem = read(arguments, variables).unwrap_err();
            assert!(problem.contains(word), "{problem}");
            assert!(!problem.contains("q z"), "{problem}");
        }
    }

    #[test]
    fn a_token_over_plain_http_is_noticed_off_loopback_only() {
        let token = [("OPSCTL_TOKEN", "t")];
        let clear = |url: &str| read(&["--url", url], &token).unwrap().sends_token_in_clear();
        assert!(clear("http://gateway.example"));
        assert!(!clear("https://gateway.example"));
        assert!(!clear("http://127.0.0.1:1"));
        assert!(!clear("http://[::1]:1"));
        assert!(!read(&["--url", "http://a"], &[]).unwrap().sends_token_in_clear());
    }
}
