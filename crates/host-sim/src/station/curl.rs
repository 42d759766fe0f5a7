//! `curl.exe`, as far as it reads files of its own machine.
//!
//! Measured with curl 7.88 on real files: a range that begins at the end of the file gives nothing and 0, one that
//! begins beyond it 36; the last N bytes of a shorter file 36; a file that is not there 37, `-I` included; a range
//! turned round 33; any other protocol than `file` 1.

use super::files;
use super::programs::Call;

const UNSUPPORTED_PROTOCOL: i32 = 1;
const UNKNOWN_OPTION: i32 = 2;
const BAD_URL: i32 = 3;
const RANGE: i32 = 33;
const RESUME: i32 = 36;
const CANNOT_OPEN: i32 = 37;

enum Range {
    FromTo(u64, u64),
    From(u64),
    Last(u64),
}

#[derive(Default)]
struct Options {
    range: Option<String>,
    head: bool,
    url: Option<String>,
}

pub(super) fn run(call: &Call<'_>, args: &[String]) -> i32 {
    match transfer(call, args) {
        Ok(bytes) => {
            call.out_bytes(&bytes);
            0
        }
        Err((code, problem)) => {
            call.err(&format!("curl: ({code}) {problem}\r\n"));
            code
        }
    }
}

fn transfer(call: &Call<'_>, args: &[String]) -> Result<Vec<u8>, (i32, String)> {
    let options = options(args)?;
    let url = options
        .url
        .ok_or((UNKNOWN_OPTION, "no URL specified".to_owned()))?;
    let path = local_path(&url)?;
    let Some(bytes) = files::read(call.host, &path) else {
        return Err((CANNOT_OPEN, format!("Couldn't open file {path}")));
    };
    if options.head {
        let length = bytes.len();
        return Ok(format!("Content-Length: {length}\r\nAccept-ranges: bytes\r\n\r\n").into_bytes());
    }
    let Some(range) = options.range else {
        return Ok(bytes);
    };
    let length = bytes.len() as u64;
    let cannot_resume = || (RESUME, "Couldn't resume download".to_owned());
    let (from, to) = match parse_range(&range)? {
        Range::FromTo(from, to) => (from, to.saturating_add(1).min(length)),
        Range::From(from) => (from, length),
        Range::Last(count) => (length.checked_sub(count).ok_or_else(cannot_resume)?, length),
    };
    if from > length {
        return Err(cannot_resume());
    }
    // Both within the vector.
    Ok(bytes[from as usize..to as usize].to_vec())
}

fn options(args: &[String]) -> Result<Options, (i32, String)> {
    let mut options = Options::default();
    let mut args = args.iter();
    let missing = |option: &str| (UNKNOWN_OPTION, format!("option {option}: requires parameter"));
    while let Some(arg) = args.next() {
        if arg == "--proto" {
            let allowed = args.next().ok_or_else(|| missing(arg))?;
            if allowed != "=file" {
                return Err((UNSUPPORTED_PROTOCOL, format!("{allowed} is not simulated here")));
            }
        } else if let Some(letters) = arg.strip_prefix('-') {
            for letter in letters.chars() {
                match letter {
                    'q' | 's' | 'S' | 'g' => {}
                    'I' => options.head = true,
                    'r' => options.range = Some(args.next().ok_or_else(|| missing(arg))?.clone()),
                    _ => return Err((UNKNOWN_OPTION, format!("option {arg}: is unknown"))),
                }
            }
        } else {
            options.url = Some(arg.clone());
        }
    }
    Ok(options)
}

fn local_path(url: &str) -> Result<String, (i32, String)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err((BAD_URL, "URL using bad/illegal format or missing URL".to_owned()));
    };
    if !scheme.eq_ignore_ascii_case("file") {
        let problem = format!("Protocol \"{scheme}\" not supported or disabled in libcurl");
        return Err((UNSUPPORTED_PROTOCOL, problem));
    }
    let path = rest.strip_prefix('/').filter(|_| !rest.contains(' '));
    let path = path.ok_or((BAD_URL, "URL using bad/illegal format or missing URL".to_owned()))?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    Ok(String::from_utf8_lossy(&bytes).replace('/', "\\"))
}

fn parse_range(text: &str) -> Result<Range, (i32, String)> {
    let refused = || {
        (
            RANGE,
            "Requested range was not delivered by the server".to_owned(),
        )
    };
    let (from, to) = text.split_once('-').ok_or_else(refused)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| refused());
    match (from, to) {
        ("", count) => Ok(Range::Last(number(count)?)),
        (from, "") => Ok(Range::From(number(from)?)),
        (from, to) => match (number(from)?, number(to)?) {
            (from, to) if from > to => Err(refused()),
            (from, to) => Ok(Range::FromTo(from, to)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_files_become_paths_and_others_are_refused() {
        assert_eq!(
            local_path("file:///C:/Lab%20Station/a.txt").unwrap(),
            r"C:\Lab Station\a.txt"
        );
        assert_eq!(local_path("file:///C:/50%zz").unwrap(), r"C:\50%zz");
        for (url, code) in [
            ("http://h/", 1),
            ("file://share/x", 3),
            ("file:///a b", 3),
            ("C:/x", 3),
        ] {
            assert_eq!(local_path(url).unwrap_err().0, code, "{url}");
        }
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        assert!(matches!(parse_range("3-5"), Ok(Range::FromTo(3, 5))));
        assert!(matches!(parse_range("3-"), Ok(Range::From(3))));
        assert!(matches!(parse_range("-3"), Ok(Range::Last(3))));
        for range in ["5-3", "", "x-1", "-", "99999999999999999999-"] {
            assert!(matches!(parse_range(range), Err((RANGE, _))), "{range}");
        }
    }
}
