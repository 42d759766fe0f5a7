//! The few PowerShell scripts that clients send to read a file. Anything else fails, as an unknown program does.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::files;
use super::programs::Call;
use super::watch::Watch;

/// Byte order mark, which PowerShell strips when it reads text.
const MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// `powershell.exe`, as far as `-EncodedCommand` with a file read goes.
pub(super) async fn run(call: &Call<'_>, args: &[String]) -> i32 {
    let Some(mut script) = encoded_command(args) else {
        call.err(
            "Only -EncodedCommand with a base64 UTF-16LE script is understood by this simulated host.\r\n",
        );
        return 1;
    };
    if script.contains("[Console]::In.ReadLine()") {
        match from_input(call).await {
            Some(sent) => script = sent,
            None => return refuse(call, "standard input is no line of base64"),
        }
    }
    let variables = variables(&script);
    if let Some(watch) = Watch::of(&script, &variables) {
        return watch.run(call).await;
    }
    if let Some(code) = with_variables(call, &script, &variables) {
        return code;
    }
    let lower = script.to_ascii_lowercase();
    let Some(path) = quoted_path(&script) else {
        return refuse(call, "no quoted path in the script");
    };
    if lower.contains("test-path") && !lower.contains("get-content") && !lower.contains("[io.file]") {
        let found = files::read(call.host, &path).is_some();
        call.out(if found { "True\r\n" } else { "False\r\n" });
        return 0;
    }
    let reads_bytes = lower.contains("readallbytes");
    if !(reads_bytes || lower.contains("readalltext") || lower.contains("get-content")) {
        return refuse(
            call,
            "the script is none of the file reads this simulated host knows",
        );
    }
    let Some(bytes) = files::read(call.host, &path) else {
        if lower.contains("test-path") {
            return 0;
        }
        return refuse(
            call,
            &format!("Cannot find path '{path}' because it does not exist."),
        );
    };
    if reads_bytes {
        call.out(&format!("{}\r\n", BASE64.encode(&bytes)));
    } else {
        let text = String::from_utf8_lossy(bytes.strip_prefix(MARK).unwrap_or(&bytes)).into_owned();
        let shown = if lower.contains("-tail 1") {
            text.trim_end().rsplit("\r\n").next().unwrap_or_default()
        } else {
            &text
        };
        call.out_in_code_page(&format!("{shown}\r\n"));
    }
    0
}

/// A script that came on standard input as one line of base64.
async fn from_input(call: &Call<'_>) -> Option<String> {
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        match call.input().await {
            Some(bytes) => line.extend(bytes),
            None => break,
        }
    }
    let line = line.split(|byte| *byte == b'\n').next()?;
    String::from_utf8(BASE64.decode(line.trim_ascii()).ok()?).ok()
}

/// Variables that the script sets from base64, at its beginning or anywhere else.
fn variables(script: &str) -> HashMap<&str, String> {
    let mut found = HashMap::new();
    for statement in script.split([';', '\n']) {
        let Some((name, value)) = statement.trim().strip_prefix('$').and_then(|s| s.split_once('=')) else {
            continue;
        };
        let encoded = value
            .strip_prefix("[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('")
            .and_then(|rest| rest.strip_suffix("'))"));
        let decoded = encoded.and_then(|text| BASE64.decode(text).ok());
        if let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
            found.insert(name, text);
        }
    }
    found
}

/// The scripts that work on variables: reading a part of a file, showing a variable, throwing one, and `exit`.
fn with_variables(call: &Call<'_>, script: &str, variables: &HashMap<&str, String>) -> Option<i32> {
    if script.contains("IO.FileStream($path,") {
        let number = |name| variables.get(name)?.parse::<u64>().ok();
        let (offset, max) = (number("offset")?, number("max")?);
        call.out(&part_of_file(call, variables.get("path")?, offset, max));
        return Some(0);
    }
    for statement in script.split([';', '\n']).map(str::trim) {
        if let Some(name) = statement.strip_prefix("Write-Output $") {
            call.out(&format!("{}\r\n", variables.get(name)?));
        } else if let Some(name) = statement.strip_prefix("throw $") {
            return Some(refuse(call, variables.get(name)?));
        } else if let Some(code) = statement.strip_prefix("exit ").and_then(|code| code.parse().ok()) {
            return Some(code);
        }
    }
    None
}

/// What is at this place of a file: the word `file`, its length, its time, the place, and the bytes in base64.
fn part_of_file(call: &Call<'_>, path: &str, offset: u64, max: u64) -> String {
    let usual = match (path.strip_prefix(r"\\?\UNC\"), path.strip_prefix(r"\\?\")) {
        (Some(share), _) => format!(r"\\{share}"),
        (None, Some(path)) => path.to_owned(),
        (None, None) => path.to_owned(),
    };
    let found = files::read(call.host, &usual).zip(files::modified(call.host, &usual));
    let Some((bytes, modified)) = found else {
        return "missing".into();
    };
    let length = bytes.len() as u64;
    let from = offset.min(length);
    let to = from + max.min(length - from);
    // Both are within the length of a vector.
    let part = &bytes[from as usize..to as usize];
    let ticks = (modified.timestamp() + 11_644_473_600) * 10_000_000
        + i64::from(modified.timestamp_subsec_nanos() / 100);
    format!("file {length} {ticks} {from} {}", BASE64.encode(part))
}

/// An error in the CLIXML form in which PowerShell writes it to a redirected standard error.
fn refuse(call: &Call<'_>, problem: &str) -> i32 {
    let problem = quick_xml::escape::escape(problem);
    call.err(&format!(
        "#< CLIXML\r\n<Objs Version=\"1.1.0.1\" xmlns=\"http://schemas.microsoft.com/powershell/2004/04\">\
         <S S=\"Error\">{problem}_x000D__x000A_</S></Objs>"
    ));
    1
}

fn encoded_command(args: &[String]) -> Option<String> {
    let at = args.iter().position(|arg| {
        let name = arg.trim_start_matches(['-', '/']).to_ascii_lowercase();
        // PowerShell takes any unambiguous beginning, and `ec` as well.
        name == "ec" || (!name.is_empty() && "encodedcommand".starts_with(&name))
    })?;
    let bytes = BASE64.decode(args.get(at + 1)?).ok()?;
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).ok()
}

/// The first quoted text of a script that looks like a path, doubled quotes undone.
fn quoted_path(script: &str) -> Option<String> {
    for quote in ['\'', '"'] {
        let mut rest = script;
        while let Some((_, after)) = rest.split_once(quote) {
            let (text, tail) = until_single(after, quote)?;
            if text.contains('\\') {
                return Some(text);
            }
            rest = tail;
        }
    }
    None
}

fn until_single(text: &str, quote: char) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        if c != quote {
            found.push(c);
        } else if chars.next_if(|&(_, next)| next == quote).is_some() {
            found.push(quote);
        } else {
            return Some((found, &text[index + quote.len_utf8()..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_first_quoted_text_with_a_backslash() {
        let script = r"$e='Stop'; Get-Content -Raw -LiteralPath 'C:\it''s\x.json'";
        assert_eq!(quoted_path(script).unwrap(), r"C:\it's\x.json");
        assert_eq!(quoted_path("Get-Date"), None);
        assert_eq!(quoted_path("'open"), None);
    }

    #[test]
    fn the_script_is_decoded_from_any_spelling_of_the_option() {
        let encoded = BASE64.encode("é".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        for name in ["-EncodedCommand", "-enc", "-e", "/EC"] {
            assert_eq!(
                encoded_command(&[name.to_owned(), encoded.clone()]).as_deref(),
                Some("é"),
                "{name}"
            );
        }
        assert_eq!(encoded_command(&["-enc".into(), "***".into()]), None);
    }
}
