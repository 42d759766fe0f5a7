//! `ops-api token new NAME ROLE`: makes a token, and the line for `OPS_TOKENS_FILE` that knows it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use crate::auth::{Role, TokenLine};

/// What can be done about tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and the entry of OPS_TOKENS_FILE that knows it; the token is shown this once
    New(NewToken),
}

/// A token to be made.
#[derive(Debug, Clone, Args)]
pub struct NewToken {
    /// Whose it is, in logs and in the audit trail
    pub name: String,
    /// viewer, operator or admin
    #[arg(value_parser = ["viewer", "operator", "admin"])]
    pub role: String,
    /// When it ends, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token that was made.
#[derive(Debug)]
pub struct MadeToken {
    /// The token, for the caller: 256 random bits. Nothing else knows it.
    pub token: String,
    /// The entry of the list in `OPS_TOKENS_FILE`.
    pub line: String,
}

impl NewToken {
    /// Makes the token.
    ///
    /// # Errors
    /// A sentence when the name cannot be used.
    pub fn make(&self) -> Result<MadeToken, String> {
        let random: [u8; 32] = rand::random();
        let token = BASE64_URL_SAFE_NO_PAD.encode(random);
        let role = Role::find(&self.role).ok_or("the role must be viewer, operator or admin")?;
        let line = TokenLine::new(&self.name, role, &token, self.expires_at);
        if let Some(problem) = line.problem() {
            return Err(problem);
        }
        let line = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        Ok(MadeToken { token, line })
    }
}

impl std::fmt::Display for MadeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "token: {}", self.token)?;
        writeln!(f, "entry for the list in OPS_TOKENS_FILE: {}", self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_another_and_only_its_digest_is_in_the_line() {
        let new = NewToken {
            name: "web".to_owned(),
            role: "operator".to_owned(),
            expires_at: None,
        };
        let (one, two) = (new.make().unwrap(), new.make().unwrap());
        assert_ne!(one.token, two.token);
        assert_eq!(one.token.len(), 43);
        assert!(!one.line.contains(&one.token) && one.line.contains("\"operator\""));
        let blank = NewToken {
            name: String::new(),
            ..new
        };
        assert!(blank.make().is_err());
    }
}
