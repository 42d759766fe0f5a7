//! The one script that reads files, and its answer.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::FileStat;
use super::path::WindowsPath;
use crate::output::Output;
use crate::powershell::PowerShell;

/// Opens the file so that others may go on writing, renaming and deleting it, and prints one line: `missing`,
/// `denied`, `busy`, or `file`, its length, its time as FILETIME, where the bytes begin, and the bytes in base64.
const SCRIPT: &str = r"
try{
if([IO.Directory]::Exists($path)){[Console]::Out.Write('denied');exit 0}
$f=New-Object IO.FileStream($path,[IO.FileMode]::Open,[IO.FileAccess]::Read,[IO.FileShare]'ReadWrite,Delete')
try{
$t=[IO.File]::GetLastWriteTimeUtc($path).ToFileTimeUtc()
$l=$f.Length
$o=[Math]::Min([long]$offset,$l)
$n=[Math]::Min([long]$max,$l-$o)
$b=New-Object byte[] $n
[void]$f.Seek($o,[IO.SeekOrigin]::Begin)
$g=0
while($g -lt $n){$r=$f.Read($b,$g,$n-$g);if($r -le 0){break};$g+=$r}
}finally{$f.Dispose()}
[Console]::Out.Write('file {0} {1} {2} {3}',$l,$t,$o,[Convert]::ToBase64String($b,0,$g))
}catch [IO.FileNotFoundException],[IO.DirectoryNotFoundException]{[Console]::Out.Write('missing')
}catch [UnauthorizedAccessException]{[Console]::Out.Write('denied')
}catch [IO.IOException]{[Console]::Out.Write('busy')}
exit 0";

/// Between 1601 and 1970, in units of 100 ns.
const FILETIME_1970: u64 = 116_444_736_000_000_000;

/// Which part of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) offset: u64,
    pub(super) max: usize,
}

/// What the script found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Read {
        stat: FileStat,
        offset: u64,
        bytes: Vec<u8>,
    },
    Missing,
    Denied,
    InUse,
}

/// The script for this path; the numbers are values like any other.
pub(super) fn read(path: &WindowsPath, wish: &Wish) -> PowerShell {
    let offset = i64::try_from(wish.offset).unwrap_or(i64::MAX);
    PowerShell::script(SCRIPT)
        .value("path", &path.long())
        .value("offset", &offset.to_string())
        .value("max", &wish.max.to_string())
}

/// Reads the line; nothing when it is none of ours.
pub(super) fn answer(output: &Output, wish: &Wish) -> Option<Answer> {
    let text = std::str::from_utf8(&output.stdout).ok()?;
    // With nothing to show the line ends in a blank.
    let mut words = text.trim().split(' ');
    let answer = match words.next()? {
        "missing" => Answer::Missing,
        "denied" => Answer::Denied,
        "busy" => Answer::InUse,
        "file" => {
            let mut number = || words.next()?.parse::<u64>().ok();
            let (length, time, offset) = (number()?, number()?, number()?);
            let bytes = STANDARD.decode(words.next().unwrap_or_default()).ok()?;
            let fits = bytes.len() <= wish.max && offset <= wish.offset && offset <= length;
            let stat = FileStat {
                length,
                modified: moment(time)?,
            };
            return (fits && words.next().is_none()).then_some(Answer::Read { stat, offset, bytes });
        }
        _ => return None,
    };
    words.next().is_none().then_some(answer)
}

fn moment(filetime: u64) -> Option<SystemTime> {
    let since = |units: u64| Duration::new(units / 10_000_000, (units % 10_000_000) as u32 * 100);
    match filetime.checked_sub(FILETIME_1970) {
        Some(after) => SystemTime::UNIX_EPOCH.checked_add(since(after)),
        None => SystemTime::UNIX_EPOCH.checked_sub(since(FILETIME_1970 - filetime)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish { offset: 10, max: 4 };

    fn said(text: &str) -> Option<Answer> {
        let output = Output {
            stdout: text.into(),
            ..Output::default()
        };
        answer(&output, &WISH)
    }

    #[test]
    fn an_answer_that_was_not_asked_for_is_not_taken() {
        for nonsense in [
            "",
            "file",
            "file 1 2",
            "file 20 116444736000000000 10 ****",
            // More than asked for, further than asked for, beyond the end.
            "file 20 116444736000000000 10 YWJjZGU=",
            "file 20 116444736000000000 11 YWJj",
            "file 5 116444736000000000 6 YWJj",
            "file 20 116444736000000000 10 YWJj more",
            "missing file",
            "file -1 116444736000000000 0",
            "file 99999999999999999999 0 0",
        ] {
            assert_eq!(said(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_answer_gives_bytes_length_and_time() {
        let stat = FileStat {
            length: 20,
            modified: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
        };
        let read = said("file 20 116444736015000000 10 YWJj\r\n").unwrap();
        let bytes = b"abc".to_vec();
        assert_eq!(
            read,
            Answer::Read {
                stat,
                offset: 10,
                bytes
            }
        );
        let shorter = said("file 5 116444736015000000 5 ").unwrap();
        assert!(
            matches!(shorter, Answer::Read { offset: 5, ref bytes, .. } if bytes.is_empty()),
            "{shorter:?}"
        );
        assert_eq!(
            (said("missing"), said("denied")),
            (Some(Answer::Missing), Some(Answer::Denied))
        );
        assert_eq!(said("busy"), Some(Answer::InUse));
    }
}
