//! The few words of `cmd.exe` that write, remove and look for files.

use super::files;
use super::programs::Call;

/// `copy [/y] nul <file>`: an empty file. Nothing else is ever copied to a station.
pub(super) fn copy(call: &Call<'_>, args: &[String]) -> i32 {
    let [from, to] = names(args)[..] else {
        call.err("The syntax of the command is incorrect.\r\n");
        return 1;
    };
    if !from.eq_ignore_ascii_case("nul") {
        call.err("The system cannot find the file specified.\r\n");
        return 1;
    }
    if !files::has_folder(to) {
        call.err("The system cannot find the path specified.\r\n");
        return 1;
    }
    if !files::set_empty(call.host, to, true) {
        call.err("Access is denied.\r\n");
        return 1;
    }
    call.out("        1 file(s) copied.\r\n");
    0
}

/// `del [/f] [/q] <file>`: ends with 0 also when there was no such file, or it could not be removed.
pub(super) fn del(call: &Call<'_>, args: &[String]) -> i32 {
    for name in names(args) {
        if files::read(call.host, name).is_none() {
            call.err(&format!("Could Not Find {name}\r\n"));
        } else if !files::set_empty(call.host, name, false) {
            call.err(&format!("{name}\r\nAccess is denied.\r\n"));
        }
    }
    0
}

/// `if exist <file> exit <code>`.
pub(super) fn if_exist(call: &Call<'_>, args: &[String]) -> i32 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        [exist, name, exit, code]
            if exist.eq_ignore_ascii_case("exist") && exit.eq_ignore_ascii_case("exit") =>
        {
            let there = files::read(call.host, name).is_some();
            code.parse().ok().filter(|_| there).unwrap_or(0)
        }
        _ => {
            call.err("The syntax of the command is incorrect.\r\n");
            255
        }
    }
}

/// What is no switch.
fn names(args: &[String]) -> Vec<&str> {
    let names = args.iter().map(String::as_str);
    names.filter(|arg| !arg.starts_with('/')).collect()
}
