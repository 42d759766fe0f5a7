//! Basic authentication.

use subtle::ConstantTimeEq as _;

/// Whether `user:password` names this account. A domain in front of the user is ignored, as a workgroup host does.
pub(super) fn matches(pair: &[u8], user: &str, password: &str) -> bool {
    let Some(colon) = pair.iter().position(|b| *b == b':') else {
        return false;
    };
    let (given, after) = pair.split_at(colon);
    let Ok(given) = std::str::from_utf8(given) else {
        return false;
    };
    let bare = given.rsplit('\\').next().unwrap_or_default();
    bare.eq_ignore_ascii_case(user) && bool::from(after[1..].ct_eq(password.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pair_matches() {
        assert!(matches(b"svc:a:b", "Svc", "a:b"));
        assert!(matches(b".\\svc:pw", "svc", "pw"));
        for wrong in [&b"svc:PW"[..], b"svc", b"other:pw", b"svc:", b"\xFF:pw"] {
            assert!(!matches(wrong, "svc", "pw"));
        }
    }
}
