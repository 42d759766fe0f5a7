//! Which texts are the absolute path of a file, and which of them `cmd.exe` reads as we do.

use super::FileError;

/// Windows takes no longer path, in UTF-16 units.
const LONGEST: usize = 32_000;
/// From this length on a path needs the prefix that switches off the old limit of 260.
const LONG: usize = 240;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `cmd /c type`.
    Type,
    /// A script.
    PowerShell,
}

/// An absolute path.
#[derive(Debug, Clone)]
pub(super) struct WindowsPath {
    given: String,
    path: String,
}

impl WindowsPath {
    pub(super) fn parse(given: &str) -> Result<Self, FileError> {
        let refuse = |why| FileError::Path {
            path: given.chars().take(512).collect(),
            why,
        };
        let path = given.replace('/', "\\");
        let rest = match path.strip_prefix(r"\\?\") {
            Some(rest) => rest,
            None => path.as_str(),
        };
        let names = below_root(rest).ok_or_else(|| refuse("it does not begin at a drive or a share"))?;
        // What `\\?\` permits and programs do not: names that end in a blank or a dot. They stay as they are.
        if names
            .chars()
            .any(|c| c.is_control() || matches!(c, '<' | '>' | '"' | '|' | '?' | '*' | ':'))
        {
            return Err(refuse("it has a character that no file name has"));
        }
        if names.split('\\').any(|name| matches!(name, "." | "..")) {
            return Err(refuse("it goes through . or .."));
        }
        if names.trim_end_matches('\\').is_empty() || names.ends_with('\\') {
            return Err(refuse("it names no file"));
        }
        if path.encode_utf16().count() > LONGEST {
            return Err(refuse("it is too long"));
        }
        Ok(Self {
            given: given.to_owned(),
            path,
        })
    }

    /// For messages.
    pub(super) fn given(&self) -> String {
        self.given.chars().take(512).collect()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.path
    }

    /// With the prefix for long paths where it is needed.
    pub(super) fn long(&self) -> String {
        if self.path.starts_with(r"\\?\") || self.path.encode_utf16().count() < LONG {
            return self.path.clone();
        }
        match self.path.strip_prefix(r"\\") {
            Some(share) => format!(r"\\?\UNC\{share}"),
            None => format!(r"\\?\{}", self.path),
        }
    }

    /// The cheap way only where no rule of `cmd.exe` can apply: letters, digits, blanks and a few marks. Blanks at the
    /// end of a name would be dropped.
    pub(super) fn route(&self) -> Route {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '\\' | ':' | '.' | '_' | '-' | ' ');
        let short = self.path.len() < LONG && !self.path.starts_with(r"\\?\");
        let odd_name = |name: &str| name.ends_with([' ', '.']) || name.starts_with(' ');
        if short && self.path.chars().all(plain) && !self.path.split('\\').any(odd_name) {
            Route::Type
        } else {
            Route::PowerShell
        }
    }
}

/// What comes after `X:\`, `\\server\share\` or `UNC\server\share\`.
fn below_root(path: &str) -> Option<&str> {
    let bytes = path.as_bytes();
    if bytes.len() > 3 && bytes[0].is_ascii_alphabetic() && &bytes[1..3] == b":\\" {
        return Some(&path[3..]);
    }
    let share = path.strip_prefix(r"\\").or_else(|| path.strip_prefix(r"UNC\"))?;
    let (server, rest) = share.split_once('\\')?;
    let (share, names) = rest.split_once('\\')?;
    let named = |part: &str| !part.is_empty() && !part.contains(['?', '.', ':', '"', '<', '>', '|', '*']);
    let server_named = !server.is_empty()
        && server
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (server_named && server != "." && named(share)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_of_files_are_taken() {
        for good in [
            r"C:\a.txt",
            "c:/dir/a.txt",
            r"\\server\share\a",
            r"\\lab.example\c$\a b",
            r"\\?\C:\a",
            r"\\?\UNC\s\h\a",
            "C:\\it's 100% & !\u{2019}^(1).txt",
            r"C:\name ",
        ] {
            assert!(WindowsPath::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.txt",
            r"C:a.txt",
            r"\a",
            r"C:\",
            r"C:\dir\",
            r"C:\a:stream",
            r"C:\a*",
            r"C:\..\a",
            r"\\server\share",
            r"\\.\PhysicalDrive0",
            r"\\?\GLOBALROOT\a",
            "C:\\a\"b",
            "C:\\a\nb",
            "C:\\a\0",
        ] {
            assert!(
                matches!(WindowsPath::parse(bad), Err(FileError::Path { .. })),
                "{bad}"
            );
        }
        assert!(WindowsPath::parse(&format!(r"C:\{}", "a".repeat(40_000))).is_err());
    }

    #[test]
    fn only_plain_paths_go_through_cmd() {
        for plain in [
            r"C:\a.txt",
            r"C:\Program Files\a-b_c.txt",
            r"\\server\share\a.txt",
        ] {
            assert_eq!(WindowsPath::parse(plain).unwrap().route(), Route::Type, "{plain}");
        }
        let long = format!(r"C:\{}", "a".repeat(240));
        for odd in [
            r"C:\it's",
            r"C:\100%",
            r"C:\a&b",
            r"C:\a!",
            "C:\\a\u{2019}",
            r"C:\a^b",
            r"C:\(1)",
            r"C:\a,b",
            r"C:\a=b",
            r"C:\a;b",
            r"C:\a ",
            r"C:\ a",
            r"C:\a.",
            r"\\?\C:\a",
            "C:\\\u{fc}",
            &long,
        ] {
            assert_eq!(
                WindowsPath::parse(odd).unwrap().route(),
                Route::PowerShell,
                "{odd}"
            );
        }
    }

    #[test]
    fn long_paths_get_their_prefix() {
        let name = "a".repeat(260);
        let long = |path: String| WindowsPath::parse(&path).unwrap().long();
        assert_eq!(long(format!(r"C:\{name}")), format!(r"\\?\C:\{name}"));
        assert_eq!(long(format!(r"\\s\h\{name}")), format!(r"\\?\UNC\s\h\{name}"));
        assert_eq!(long(r"C:\a".into()), r"C:\a");
    }
}
