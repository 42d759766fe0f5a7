//! SPNEGO around NTLM: which mechanism, and a signature that nobody changed the offer.
//!
//! Source: RFC 4178 section 4.2; MS-SPNG 3.3.5.1 for the key stream after the signatures.

use super::NtlmError;
use super::der::{Reader, wrap};

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const SPNEGO_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
const NTLM_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];

/// The DER of the offered mechanisms, NTLM alone: what both signatures are made over.
pub(crate) fn mech_types() -> Vec<u8> {
    wrap(SEQUENCE, &wrap(OID, NTLM_OID))
}

/// The first token.
pub(crate) fn init(ntlm: &[u8]) -> Vec<u8> {
    let mut fields = wrap(0xa0, &mech_types());
    fields.extend(wrap(0xa2, &wrap(OCTETS, ntlm)));
    let mut token = wrap(OID, SPNEGO_OID);
    token.extend(wrap(0xa0, &wrap(SEQUENCE, &fields)));
    wrap(0x60, &token)
}

/// The second token of the client.
pub(crate) fn response(ntlm: &[u8], mic: &[u8]) -> Vec<u8> {
    let mut fields = wrap(0xa2, &wrap(OCTETS, ntlm));
    fields.extend(wrap(0xa3, &wrap(OCTETS, mic)));
    wrap(0xa1, &wrap(SEQUENCE, &fields))
}

/// What a server's token says.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Answer<'a> {
    /// 0 completed, 1 incomplete, 2 rejected, 3 signature wanted.
    pub(crate) state: Option<u8>,
    pub(crate) token: Option<&'a [u8]>,
    pub(crate) mic: Option<&'a [u8]>,
}

/// Reads a NegTokenResp. Another mechanism than NTLM is refused.
pub(crate) fn parse(bytes: &[u8]) -> Result<Answer<'_>, NtlmError> {
    let malformed = NtlmError::Malformed("spnego token is malformed");
    let body = Reader::new(bytes).expect(0xa1).ok_or(malformed)?;
    let mut fields = Reader::new(Reader::new(body).expect(SEQUENCE).ok_or(malformed)?);
    let mut answer = Answer::default();
    while let Some((tag, content)) = fields.next() {
        let mut value = Reader::new(content);
        match tag {
            0xa0 => answer.state = value.expect(0x0a).and_then(|state| state.first().copied()),
            0xa1 if value.expect(OID) != Some(NTLM_OID) => {
                return Err(NtlmError::Downgrade(
                    "spnego peer chose another mechanism than ntlm",
                ));
            }
            0xa2 => answer.token = value.expect(OCTETS),
            0xa3 => answer.mic = value.expect(OCTETS),
            _ => {}
        }
    }
    Ok(answer)
}
