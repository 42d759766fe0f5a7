//! What a host offers for authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::within;
use crate::challenge::{challenges, offered};
use crate::exchange::Answer;
use crate::handshake::token_of;

/// Reads `data` as headers, one to a line, and as what stands within a quoted value and within a token.
///
/// # Panics
/// When a challenge is made up, cannot be shown to a person, or comes out of a quoted value.
pub fn www_authenticate(data: &[u8]) {
    let headers = headers(data.split(|byte| *byte == b'\n'));
    let values: Vec<&HeaderValue> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
    for (scheme, rest) in challenges(&headers) {
        assert!(!scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!scheme.contains(['"', ',', '=']));
        let of_one = |part: &str| {
            values
                .iter()
                .any(|value| within(part.as_bytes(), value.as_bytes()))
        };
        assert!(
            of_one(scheme) && (rest.is_empty() || of_one(rest)),
            "text out of nothing"
        );
        assert_eq!(rest.trim(), rest);
    }
    let shown = offered(&headers);
    assert!(shown.len() <= 16 && shown.iter().all(|scheme| scheme.len() <= 64));
    for scheme in ["Negotiate", "ntlm", "Kerberos"] {
        if let Ok(Some(token)) = token(&headers, scheme) {
            assert!(!token.is_empty() && token.len() < data.len());
        }
    }
    quoted(data);
}

/// However a quoted value is written, the token beside it is the one that counts.
fn quoted(data: &[u8]) {
    let mut realm = String::new();
    for byte in data.iter().filter(|byte| matches!(byte, b' '..=b'~')) {
        if matches!(byte, b'"' | b'\\') {
            realm.push('\\');
        }
        realm.push(char::from(*byte));
    }
    let basic = format!("Basic realm=\"{realm}\", charset = \"{realm}\"");
    let negotiate = format!("nEGOTIATE {}", STANDARD.encode(data));
    let list = format!("{basic} ,{negotiate},, NTLM");
    for values in [vec![list.as_str()], vec![&basic, &negotiate, "NTLM"]] {
        let headers = headers(values.iter().map(|value| value.as_bytes()));
        assert_eq!(offered(&headers), ["Basic", "nEGOTIATE", "NTLM"]);
        let expected = (!data.is_empty()).then(|| data.to_vec());
        assert_eq!(token(&headers, "Negotiate").ok(), Some(expected));
        assert_eq!(token(&headers, "NTLM").ok(), Some(None));
    }
}

/// As hyper gives them: what no header can hold does not come this far.
fn headers<'a>(values: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values
        .take(64)
        .filter_map(|value| HeaderValue::from_bytes(value).ok())
    {
        headers.append(WWW_AUTHENTICATE, value);
    }
    headers
}

fn token(headers: &HeaderMap, scheme: &str) -> Result<Option<Vec<u8>>, ()> {
    let answer = Answer {
        status: 401,
        headers: headers.clone(),
        body: Default::default(),
    };
    token_of(&answer, scheme).map_err(drop)
}
