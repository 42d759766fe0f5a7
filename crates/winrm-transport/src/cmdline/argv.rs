//! The rules of `CommandLineToArgvW`, written down a second time and from the other side. Only tests and fuzz targets
//! have a use for it; `tests/data/quoting.json` holds what the real parser makes of the same lines.

/// Cuts a line into its arguments, the program first.
pub(crate) fn argv(line: &str) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    let mut args = Vec::new();
    let (program, mut i) = program(&chars);
    args.push(program);
    loop {
        while chars.get(i).is_some_and(|c| blank(*c)) {
            i += 1;
        }
        if i >= chars.len() {
            return args;
        }
        args.push(argument(&chars, &mut i));
    }
}

/// Where `cmd.exe` would see an operator: outside quotes, with every quote toggling.
pub(crate) fn operators_seen_by_cmd(line: &str) -> usize {
    let mut quoted = false;
    line.chars()
        .filter(|c| {
            quoted ^= *c == '"';
            !quoted && "&|<>^()".contains(*c)
        })
        .count()
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// The program knows no backslash: it ends at the next quote when it begins with one, else at a blank.
fn program(chars: &[char]) -> (String, usize) {
    if chars.first() == Some(&'"') {
        let inner = chars.iter().skip(1).position(|c| *c == '"');
        let end = inner.map_or(chars.len(), |at| at + 1);
        return (chars[1..end].iter().collect(), end + 1);
    }
    let end = chars.iter().position(|c| blank(*c)).unwrap_or(chars.len());
    (chars[..end].iter().collect(), end)
}

fn argument(chars: &[char], i: &mut usize) -> String {
    let (mut arg, mut quoted) = (String::new(), false);
    while *i < chars.len() && (quoted || !blank(chars[*i])) {
        let slashes = chars[*i..].iter().take_while(|c| **c == '\\').count();
        *i += slashes;
        if chars.get(*i) == Some(&'"') {
            arg.extend(std::iter::repeat_n('\\', slashes / 2));
            if slashes % 2 == 1 {
                arg.push('"');
            } else if quoted && chars.get(*i + 1) == Some(&'"') {
                arg.push('"');
                *i += 1;
            } else {
                quoted = !quoted;
            }
            *i += 1;
        } else {
            arg.extend(std::iter::repeat_n('\\', slashes));
            if slashes == 0 {
                arg.push(chars[*i]);
                *i += 1;
            }
        }
    }
    arg
}
