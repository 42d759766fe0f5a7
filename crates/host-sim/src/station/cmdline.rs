//! Command lines: how Windows programs split them, and what `cmd.exe` does before.

/// Splits a command line by the rules of `CommandLineToArgvW`; the program's name comes first.
///
/// Source: Microsoft, "Parsing C command-line arguments": blanks separate; `2n` backslashes and a quote are `n`
/// backslashes and a toggle, `2n+1` are `n` backslashes and a literal quote; `""` inside quotes is one quote. In the
/// program's name backslashes escape nothing.
pub fn argv(line: &str) -> Vec<String> {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() {
        return Vec::new();
    }
    let (program, mut rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => line.split_at(line.find([' ', '\t']).unwrap_or(line.len())),
    };
    let mut all = vec![program.to_owned()];
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return all;
        }
        let (argument, after) = next_argument(rest);
        all.push(argument);
        rest = after;
    }
}

fn next_argument(text: &str) -> (String, &str) {
    let mut argument = String::new();
    let mut quoted = false;
    let mut backslashes = 0_usize;
    let mut chars = text.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                argument.extend(std::iter::repeat_n('\\', backslashes / 2));
                let literal = backslashes % 2 == 1;
                backslashes = 0;
                if literal || (quoted && chars.next_if(|&(_, next)| next == '"').is_some()) {
                    argument.push('"');
                } else {
                    quoted = !quoted;
                }
            }
            ' ' | '\t' if !quoted => {
                argument.extend(std::iter::repeat_n('\\', backslashes));
                return (argument, &text[index..]);
            }
            other => {
                argument.extend(std::iter::repeat_n('\\', backslashes));
                backslashes = 0;
                argument.push(other);
            }
        }
    }
    argument.extend(std::iter::repeat_n('\\', backslashes));
    (argument, "")
}

/// When a piece of a command line runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// After `&&`.
    IfDone,
    /// After `||`.
    IfFailed,
}

/// One command of a `cmd.exe` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) when: When,
    pub(super) line: String,
    /// Its standard output goes to a file or device instead of the console.
    pub(super) silent: bool,
}

/// What `cmd.exe /C <line>` makes of a line: the quote rule, `%NAME%` expansion, `^` escapes, `&`, `&&`, `||` and `|`
/// (run one after the other here), and redirections, of which only the silencing of the output is kept.
pub(super) fn cmd_pieces(line: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<Piece> {
    let first_line = line.split(['\r', '\n']).next().unwrap_or_default();
    let expanded = expand(strip_outer_quotes(first_line), variable);
    let mut pieces = Vec::new();
    let mut piece = Piece {
        when: When::Always,
        line: String::new(),
        silent: false,
    };
    let mut quoted = false;
    let mut chars = expanded.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                piece.line.push(c);
            }
            '^' if !quoted => piece.line.extend(chars.next()),
            '&' | '|' if !quoted => {
                let double = chars.next_if_eq(&c).is_some();
                let when = match (c, double) {
                    ('&', true) => When::IfDone,
                    ('|', true) => When::IfFailed,
                    _ => When::Always,
                };
                let next = Piece {
                    when,
                    line: String::new(),
                    silent: false,
                };
                pieces.push(std::mem::replace(&mut piece, next));
            }
            '>' if !quoted => {
                let of_errors = piece.line.ends_with('2');
                if of_errors || piece.line.ends_with('1') {
                    piece.line.pop();
                }
                piece.silent |= !of_errors;
                chars.next_if_eq(&'>');
                while chars.next_if_eq(&' ').is_some() {}
                // `2>&1` names no file; everything up to the next separator is the target.
                chars.next_if_eq(&'&');
                while chars.next_if(|&next| !matches!(next, ' ' | '&' | '|')).is_some() {}
            }
            other => piece.line.push(other),
        }
    }
    pieces.push(piece);
    for piece in &mut pieces {
        piece.line = piece.line.trim().to_owned();
    }
    pieces.retain(|piece| !piece.line.is_empty());
    pieces
}

/// A line that begins with a quote loses its first and last quote, unless it is just one quoted word.
fn strip_outer_quotes(line: &str) -> &str {
    let trimmed = line.trim();
    let Some(inner) = trimmed.strip_prefix('"') else {
        return trimmed;
    };
    let is_one_word = inner
        .strip_suffix('"')
        .is_some_and(|word| !word.contains(['"', '&', '<', '>', '(', ')', '^', '|']));
    if is_one_word {
        return trimmed;
    }
    // Text after the last quote would be kept by Windows; no sensible client sends any.
    inner.strip_suffix('"').unwrap_or(trimmed)
}

fn expand(line: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        match after
            .split_once('%')
            .and_then(|(name, tail)| variable(name).map(|value| (value, tail)))
        {
            Some((value, tail)) => {
                text.push_str(&value);
                rest = tail;
            }
            None => {
                text.push('%');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests;
