//! The NTLMv2 computation. Source: MS-NLMP 3.3.2.

use hmac::{Hmac, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use secrecy::zeroize::{Zeroize, Zeroizing};

use super::messages::utf16;

type Key = Zeroizing<[u8; 16]>;

pub(crate) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Hmac<Md5> as Mac>::new_from_slice(key).expect("hmac takes any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The key derived from the password. Only the user name is raised to upper case, never the domain.
pub(crate) fn ntowf_v2(user: &str, domain: &str, password: &str) -> Key {
    let mut wide = utf16(password);
    let v1: Key = Zeroizing::new(Md4::digest(&wide).into());
    wide.zeroize();
    Zeroizing::new(hmac_md5(&*v1, &[&utf16(&user.to_uppercase()), &utf16(domain)]))
}

pub(crate) struct NtResponse {
    pub(crate) proof: [u8; 16],
    pub(crate) response: Vec<u8>,
}

pub(crate) fn nt_response(
    key: &Key,
    server_challenge: [u8; 8],
    client_challenge: [u8; 8],
    time: u64,
    target_info: &[u8],
) -> NtResponse {
    let mut temp = vec![1, 1, 0, 0, 0, 0, 0, 0];
    temp.extend(time.to_le_bytes());
    temp.extend(client_challenge);
    temp.extend([0; 4]);
    temp.extend(target_info);
    temp.extend([0; 4]);
    let proof = hmac_md5(&**key, &[&server_challenge, &temp]);
    let mut response = proof.to_vec();
    response.extend(temp);
    NtResponse { proof, response }
}

pub(crate) fn lm_response(key: &Key, server_challenge: [u8; 8], client_challenge: [u8; 8]) -> [u8; 24] {
    let mut out = [0; 24];
    out[..16].copy_from_slice(&hmac_md5(&**key, &[&server_challenge, &client_challenge]));
    out[16..].copy_from_slice(&client_challenge);
    out
}

pub(crate) fn session_base_key(key: &Key, proof: &[u8; 16]) -> Key {
    Zeroizing::new(hmac_md5(&**key, &[proof]))
}
