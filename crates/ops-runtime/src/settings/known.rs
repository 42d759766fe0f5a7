//! Which variables are known, which one was meant by another, and the page about them.

use super::variables::{VARIABLES, Variable};

/// Whether `name` is read: one of [`VARIABLES`], or the `_FILE` form of a secret one.
#[must_use]
pub fn is_known(name: &str) -> bool {
    let of_file = name.strip_suffix("_FILE");
    VARIABLES
        .iter()
        .any(|known| known.name == name || (known.secret && of_file == Some(known.name)))
}

/// The known variable most like `name`, if any is near enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let scored = VARIABLES.iter().map(|known| {
        (
            strsim::normalized_damerau_levenshtein(name, known.name),
            known.name,
        )
    });
    scored
        .filter(|(score, _)| *score > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The page `docs/settings.md`.
#[must_use]
pub fn settings_guide() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Every setting is an environment variable, or a key of the TOML file that `--settings` or `OPS_SETTINGS` names, \
         in lower case\n(`ops_port = 8081`). The environment overrides the file. Both services read the same settings; \
         `--check-config` prints every\nproblem. An unknown `OPS_` variable is warned of with the nearest known one, an \
         unknown key of the file stops the start.\nSecrets of `hosts.json` are named there as `env:NAME`.\n\n\
         | variable | default | meaning |\n|---|---|---|\n",
    );
    for Variable {
        name,
        default,
        meaning,
        secret,
    } in VARIABLES
    {
        let default = if default.is_empty() {
            "-".to_owned()
        } else {
            format!("`{default}`")
        };
        let secret = if *secret { "*secret*; " } else { "" };
        page.push_str(&format!("| `{name}` | {default} | {secret}{meaning} |\n"));
    }
    page
}
