//! Paths of files on a host.

use crate::argument::is_forbidden;

/// Source: Windows, `MAX_PATH` is 260 with the closing zero.
const MAX_PATH: usize = 259;

/// Why a text is no path that can be put on a command line. Every kind names the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is no path.
    #[error("the path is empty")]
    Empty,
    /// The path is not absolute: neither `X:\...` nor `\\server\share\...`.
    #[error("{path:?} is not an absolute Windows path")]
    NotAbsolute {
        /// The path given.
        path: String,
    },
    /// The path contains a character that a command line or Windows takes for more than itself.
    #[error("{path:?} contains {character:?}, which is not allowed in a path here")]
    ForbiddenCharacter {
        /// The path given.
        path: String,
        /// The first such character.
        character: char,
    },
    /// The path is longer than Windows allows.
    #[error("the path that begins with {path:?} has {length} characters, more than {limit}")]
    TooLong {
        /// The beginning of the path.
        path: String,
        /// Length in characters.
        length: usize,
        /// Greatest length.
        limit: usize,
    },
    /// The path ends with a backslash or a drive: a folder, where a file is needed.
    #[error("{path:?} is a folder, not a file")]
    Folder {
        /// The path given.
        path: String,
    },
    /// The path is a good one, but has no URL that is safe on a command line.
    #[error("{path:?} cannot be written as a URL on a command line")]
    NoUrl {
        /// The path given.
        path: String,
    },
}

/// The URL of a file on a host. `%` begins a variable for `cmd.exe` wherever a second one follows, so a path may have
/// one blank and nothing else that a URL writes with `%`; a share of another host has no URL here.
pub(crate) fn file_url(path: &str) -> Result<String, PathError> {
    let path = check_path(path)?;
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '\\' | '.' | '-' | '_' | '~' | '$' | '@' | ' ');
    let is_plain = path.chars().skip(2).all(plain) && path.chars().filter(|c| *c == ' ').count() < 2;
    if path.starts_with('\\') || !is_plain {
        return Err(PathError::NoUrl { path });
    }
    Ok(format!("file:///{}", path.replace('\\', "/").replace(' ', "%20")))
}

/// Checks the path of a file on a host and gives it back in one spelling: single backslashes, no blanks
/// around it.
///
/// Refused is what `cmd.exe` or its `type` could take for more than a name, quoted or not: `" % ! ^ & | < >`,
/// the separators `, ; =`, wildcards, control characters, and a colon other than the drive's.
///
/// # Errors
/// [`PathError`], naming the path.
pub fn check_path(path: &str) -> Result<String, PathError> {
    let trimmed = path.trim();
    if trimmed.is_empty() {
        return Err(PathError::Empty);
    }
    let length = trimmed.encode_utf16().count();
    if length > 2 * MAX_PATH {
        return Err(too_long(trimmed, length));
    }
    let normal = single_backslashes(trimmed);
    let Some(inside) = after_root(&normal) else {
        return Err(PathError::NotAbsolute {
            path: trimmed.to_owned(),
        });
    };
    let refused = |&c: &char| is_forbidden(c) || matches!(c, ',' | ';' | '=' | '*' | '?' | ':');
    if let Some(character) = inside.chars().find(refused) {
        return Err(PathError::ForbiddenCharacter {
            path: trimmed.to_owned(),
            character,
        });
    }
    if inside.is_empty() || inside.ends_with('\\') {
        return Err(PathError::Folder {
            path: trimmed.to_owned(),
        });
    }
    // Counted after the doubled backslashes of a careless configuration are gone.
    let length = normal.encode_utf16().count();
    if length > MAX_PATH {
        return Err(too_long(&normal, length));
    }
    Ok(normal)
}

fn too_long(path: &str, length: usize) -> PathError {
    PathError::TooLong {
        path: path.chars().take(40).collect(),
        length,
        limit: MAX_PATH,
    }
}

/// Windows takes `/` and doubled backslashes for single ones; `type` would take `/` for an option. The two
/// backslashes that begin a network path stay.
fn single_backslashes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    for c in path.chars().map(|c| if c == '/' { '\\' } else { c }) {
        let doubled = c == '\\' && normal.ends_with('\\') && normal.len() > 1;
        if !doubled {
            normal.push(c);
        }
    }
    normal
}

/// What follows `X:\` or `\\server\`; `None` for anything else, devices (`\\.\`, `\\?\`) included.
fn after_root(path: &str) -> Option<&str> {
    if let Some(network) = path.strip_prefix(r"\\") {
        let (server, rest) = network.split_once('\\')?;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let named = server.chars().all(plain) && server.chars().any(char::is_alphanumeric);
        return (named && rest.contains('\\')).then_some(rest);
    }
    let mut chars = path.chars();
    let drive =
        chars.next()?.is_ascii_alphabetic() && chars.next() == Some(':') && chars.next() == Some('\\');
    drive.then_some(chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_paths_come_back_in_one_spelling() {
        let expected = r"C:\LabStation\labstation\data\telemetry\heartbeat.json";
        for path in [
            expected,
            r"C:\\LabStation\\labstation\\data\\telemetry\\heartbeat.json",
            "C:/LabStation/labstation/data/telemetry/heartbeat.json",
            " C:\\LabStation\\labstation/data\\telemetry\\heartbeat.json ",
        ] {
            assert_eq!(check_path(path).as_deref(), Ok(expected));
        }
        let blank = r"D:\Program Files (x86)\Lab Stätion\a'b.json";
        assert_eq!(check_path(blank).as_deref(), Ok(blank));
        assert_eq!(
            check_path(r"\\\\server\\share\\a.json").as_deref(),
            Ok(r"\\server\share\a.json")
        );
    }

    #[test]
    fn a_path_that_could_mean_more_than_a_file_is_refused() {
        let forbidden = "\"%!^&|<>,;=*?:\n\r\t\0\u{7f}";
        for character in forbidden.chars() {
            let path = format!(r"C:\Lab{character}Station\a.json");
            assert_eq!(
                check_path(&path),
                Err(PathError::ForbiddenCharacter { path, character })
            );
        }
    }

    #[test]
    fn a_path_that_is_not_absolute_is_refused() {
        for path in [
            "a.json",
            r"data\a.json",
            r"\data\a.json",
            "C:a.json",
            r".\a",
            r"\\.\pipe\x",
            r"\\?\C:\a",
            r"\\a\b",
            "Ä:\\x",
        ] {
            assert!(
                matches!(check_path(path), Err(PathError::NotAbsolute { .. })),
                "{path}: {:?}",
                check_path(path)
            );
        }
        assert_eq!(check_path("  "), Err(PathError::Empty));
    }

    #[test]
    fn a_folder_or_an_endless_path_is_refused() {
        assert!(matches!(check_path(r"C:\"), Err(PathError::Folder { .. })));
        assert!(matches!(check_path(r"C:\Lab\"), Err(PathError::Folder { .. })));
        let error = check_path(&format!(r"C:\{}", "x".repeat(300))).unwrap_err();
        assert!(
            matches!(
                error,
                PathError::TooLong {
                    length: 303,
                    limit: 259,
                    ..
                }
            ),
            "{error:?}"
        );
        let error = check_path(&"x".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
    }

    proptest! {
        #[test]
        fn an_accepted_path_is_accepted_again_unchanged(path in r#"[Cc]:[\\/ a-z%&."é:]{0,30}"#) {
            if let Ok(normal) = check_path(&path) {
                prop_assert_eq!(check_path(&normal), Ok(normal.clone()));
                prop_assert!(!normal.contains(['%', '&', '"', '/']), "{}", normal);
            }
        }

        #[test]
        fn arbitrary_paths_never_panic(path in any::<String>()) {
            let _ = check_path(&path);
        }
    }
}
