//! SPNEGO tokens. Source: RFC 4178 section 4.2, MS-SPNG.

/// NTLMSSP, 1.3.6.1.4.1.311.2.2.10, as DER content.
const NTLM: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];
/// SPNEGO itself, 1.3.6.1.5.5.2.
const SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;

/// State of the negotiation in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Completed = 0,
    Incomplete = 1,
    RequestMic = 3,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientToken<'a> {
    Init {
        /// The list of mechanisms, DER-encoded as received: the list MIC is made over it.
        mechanisms: &'a [u8],
        ntlm_offered: bool,
        ntlm_first: bool,
        token: Option<&'a [u8]>,
    },
    Response {
        token: Option<&'a [u8]>,
        mic: Option<&'a [u8]>,
    },
}

/// Reads a token; `None` if it is not SPNEGO.
pub(super) fn parse(token: &[u8]) -> Option<ClientToken<'_>> {
    let (tag, content, _) = element(token)?;
    match tag {
        0x60 => {
            let (OID, SPNEGO, rest) = element(content)? else {
                return None;
            };
            let (0xa0, init, _) = element(rest)? else {
                return None;
            };
            let (SEQUENCE, fields, _) = element(init)? else {
                return None;
            };
            let mechanisms = explicit(fields, 0xa0)?;
            let (SEQUENCE, list, _) = element(mechanisms)? else {
                return None;
            };
            let mut offered = Vec::new();
            let mut rest = list;
            while let Some((OID, id, after)) = element(rest) {
                offered.push(id);
                rest = after;
            }
            Some(ClientToken::Init {
                mechanisms,
                ntlm_offered: offered.contains(&NTLM),
                ntlm_first: offered.first() == Some(&NTLM),
                token: explicit(fields, 0xa2).and_then(octets),
            })
        }
        0xa1 => {
            let (SEQUENCE, fields, _) = element(content)? else {
                return None;
            };
            Some(ClientToken::Response {
                token: explicit(fields, 0xa2).and_then(octets),
                mic: explicit(fields, 0xa3).and_then(octets),
            })
        }
        _ => None,
    }
}

/// Writes a NegTokenResp.
pub(super) fn answer(
    state: State,
    names_mechanism: bool,
    token: Option<&[u8]>,
    mic: Option<&[u8]>,
) -> Vec<u8> {
    let mut fields = wrap(0xa0, &wrap(ENUMERATED, &[state as u8]));
    if names_mechanism {
        fields.extend(wrap(0xa1, &wrap(OID, NTLM)));
    }
    if let Some(token) = token {
        fields.extend(wrap(0xa2, &wrap(OCTETS, token)));
    }
    if let Some(mic) = mic {
        fields.extend(wrap(0xa3, &wrap(OCTETS, mic)));
    }
    wrap(0xa1, &wrap(SEQUENCE, &fields))
}

/// One DER element: tag, content, what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        (
            digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
            rest,
        )
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Content of the field with this context tag.
fn explicit(mut fields: &[u8], wanted: u8) -> Option<&[u8]> {
    while let Some((tag, content, rest)) = element(fields) {
        if tag == wanted {
            return Some(content);
        }
        fields = rest;
    }
    None
}

fn octets(bytes: &[u8]) -> Option<&[u8]> {
    let (OCTETS, content, _) = element(bytes)? else {
        return None;
    };
    Some(content)
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        Ok(one) => bytes.extend([0x81, one]),
        // Tokens here are a few hundred bytes; two length bytes carry 64 KiB.
        Err(_) => {
            let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
            bytes.push(0x82);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(oids: &[&[u8]], token: &[u8]) -> Vec<u8> {
        let list: Vec<u8> = oids.iter().flat_map(|oid| wrap(OID, oid)).collect();
        let mut fields = wrap(0xa0, &wrap(SEQUENCE, &list));
        fields.extend(wrap(0xa2, &wrap(OCTETS, token)));
        let mut content = wrap(OID, SPNEGO);
        content.extend(wrap(0xa0, &wrap(SEQUENCE, &fields)));
        wrap(0x60, &content)
    }

    #[test]
    fn a_first_token_names_its_mechanisms() {
        let token = init(&[NTLM], &[7; 300]);
        let Some(ClientToken::Init {
            mechanisms,
            ntlm_offered,
            ntlm_first,
            token,
        }) = parse(&token)
        else {
            panic!()
        };
        assert_eq!(mechanisms.len(), 14);
        assert!(ntlm_offered && ntlm_first);
        assert_eq!(token, Some(&[7; 300][..]));
        let kerberos: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
        let token = init(&[kerberos, NTLM], b"x");
        assert!(matches!(
            parse(&token),
            Some(ClientToken::Init {
                ntlm_offered: true,
                ntlm_first: false,
                ..
            })
        ));
    }

    #[test]
    fn an_answer_reads_as_it_was_written() {
        let bytes = answer(State::Incomplete, true, Some(&[1; 200]), Some(b"mic"));
        assert_eq!(
            parse(&bytes),
            Some(ClientToken::Response {
                token: Some(&[1; 200][..]),
                mic: Some(&b"mic"[..])
            })
        );
    }

    #[test]
    fn broken_tokens_are_nothing() {
        let whole = init(&[NTLM], b"token");
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(&[0x60, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
