//! What a host offers for authentication: the header `WWW-Authenticate`.
//!
//! One header for each challenge or a comma list, with a token, with parameters, or bare. A comma within a quoted
//! value separates nothing, so that no value can pass for a challenge. Everything is a slice of the header.
//!
//! Source: RFC 9110 sections 5.6.4 and 11.6.1; DSP0226 annex C, where a scheme is a URI.

use hyper::header::{HeaderMap, WWW_AUTHENTICATE};

/// Schemes and characters of each that are worth showing to a person.
const SHOWN: (usize, usize) = (16, 64);
/// Challenges that are looked at; no host has more than a handful.
const AT_MOST: usize = 64;

/// The schemes on offer, without their tokens.
pub(crate) fn offered(headers: &HeaderMap) -> Vec<String> {
    challenges(headers)
        .map(|(scheme, _)| scheme.chars().take(SHOWN.1).collect())
        .take(SHOWN.0)
        .collect()
}

/// Scheme and token of each challenge; the token is empty where there is none. A first parameter looks like a token
/// and is left to the one who knows the scheme.
pub(crate) fn challenges(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| Elements { rest: value })
        .filter_map(challenge)
        .take(AT_MOST)
}

/// Nothing for the further parameters of the challenge before.
fn challenge(element: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = element.split_once(BLANK).unwrap_or((element, ""));
    let rest = rest.trim_matches(BLANK);
    let is_parameter = scheme.contains(['=', '"']) || is_value(rest);
    (!is_parameter && !scheme.is_empty()).then_some((scheme, rest))
}

/// With blanks around its equals sign a parameter looks like a scheme, but no token begins with that sign.
fn is_value(rest: &str) -> bool {
    rest.starts_with('=')
}

const BLANK: [char; 2] = [' ', '\t'];

/// The elements of a list, commas within quotes left alone.
struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.bytes().position(|byte| {
            let ends = byte == b',' && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = quoted && byte == b'\\' && !escaped;
            ends
        });
        let (element, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, ""),
        };
        self.rest = rest;
        Some(element.trim_matches(BLANK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn read(values: &[&str]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        challenges(&headers)
            .map(|(scheme, rest)| (scheme.to_owned(), rest.to_owned()))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn one_header_for_each_and_a_list_are_the_same() {
        let expected = pairs(&[
            ("Negotiate", "TlRM=="),
            ("Kerberos", ""),
            ("Basic", "realm=\"WSMAN\""),
        ]);
        assert_eq!(
            read(&["Negotiate TlRM==", "Kerberos", "Basic realm=\"WSMAN\""]),
            expected
        );
        assert_eq!(
            read(&["Negotiate  TlRM== ,Kerberos,, Basic realm=\"WSMAN\","]),
            expected
        );
        assert_eq!(
            read(&["Negotiate\tTlRM==", "\tKerberos , Basic realm=\"WSMAN\""]),
            expected
        );
    }

    #[test]
    fn parameters_and_what_is_quoted_are_no_challenges() {
        for value in [
            "Digest realm=\"a, Negotiate evil\", nonce=\"b\", stale = true, qop=auth",
            "Digest realm=\"a\\\", Negotiate evil\", nonce=\"b\"",
            "Digest realm=\"a, Negotiate evil, nonce=b",
        ] {
            let schemes: Vec<_> = read(&[value]).into_iter().map(|(scheme, _)| scheme).collect();
            assert_eq!(schemes, ["Digest"], "{value}");
        }
        let quoted_backslash = read(&["Digest realm=\"a\\\\\", Negotiate TlRM"]);
        assert_eq!(quoted_backslash[1..], pairs(&[("Negotiate", "TlRM")]));
    }

    #[test]
    fn a_scheme_may_be_a_uri() {
        let mutual = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual";
        assert_eq!(read(&[mutual]), pairs(&[(mutual, "")]));
    }

    #[test]
    fn what_a_person_is_shown_is_short() {
        let mut headers = HeaderMap::new();
        for n in 0..100 {
            let scheme = format!("{n}{}", "x".repeat(1_000));
            headers.append(WWW_AUTHENTICATE, HeaderValue::try_from(scheme).unwrap());
        }
        let offered = offered(&headers);
        assert_eq!(offered.len(), 16);
        assert!(offered.iter().all(|scheme| scheme.len() == 64));
    }
}
