//! From user name and password to the token for the host.

use secrecy::ExposeSecret;
use sspi::generator::GeneratorState;
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, Credentials, DataRepresentation, Kerberos,
    KerberosConfig, SecurityBuffer, Sspi, SspiImpl, Username,
};
use tracing::subscriber::{NoSubscriber, with_default};

use crate::error::{Error, Stage};
use crate::settings::Settings;

use super::kdc;
use super::refusal::KerberosRefusal;
use super::settings::Login;
use super::witness::Witness;

/// Rounds of question and answer in one login: three in one realm, one more for each realm on the way to the host.
const MAX_ROUNDS: usize = 12;
/// Length in front of every message to and from a KDC.
const PREFIX: usize = 4;

/// Gets the tickets and makes the token. The witness has seen every answer when this returns.
pub(super) async fn token(
    settings: &Settings,
    login: &Login,
    service: &str,
    witness: &mut Witness<'_>,
) -> Result<Vec<u8>, Error> {
    let home = home(login, service)?;
    let mut kerberos = quietly(|| {
        let name = String::new();
        Kerberos::new_client_from_config(KerberosConfig::new_with_kdc_url(&url(&home[0]), name))
    })?;
    let identity = AuthIdentity {
        username: Username::new_down_level_logon_name(&login.user, &login.realm)
            .map_err(|_| failed("account name fits no kerberos principal"))?,
        password: settings.account.password.expose_secret().to_owned().into(),
    };
    let mut acquired = quietly(|| {
        kerberos
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&Credentials::from(identity))
            .execute(&mut kerberos)
    })?;
    let mut input = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
    {
        let mut builder = kerberos
            .initialize_security_context()
            .with_credentials_handle(&mut acquired.credentials_handle)
            .with_context_requirements(
                ClientRequestFlags::MUTUAL_AUTH
                    | ClientRequestFlags::REPLAY_DETECT
                    | ClientRequestFlags::SEQUENCE_DETECT
                    | ClientRequestFlags::CONFIDENTIALITY
                    | ClientRequestFlags::INTEGRITY,
            )
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(service)
            .with_input(&mut input)
            .with_output(&mut output);
        let mut steps = quietly(|| kerberos.initialize_security_context_impl(&mut builder))?;
        let mut state = without_log(|| steps.start());
        for round in 0.. {
            let asked = match state {
                GeneratorState::Completed(result) => {
                    result.map_err(|error| library(&error))?;
                    break;
                }
                GeneratorState::Suspended(_) if round == MAX_ROUNDS => {
                    return Err(failed("kdc leads from realm to realm without end"));
                }
                GeneratorState::Suspended(request) => request,
            };
            let there = (
                asked
                    .url
                    .host_str()
                    .unwrap_or_default()
                    .trim_matches(['[', ']'])
                    .to_owned(),
                asked.url.port().unwrap_or(88),
            );
            // Another than the first of our own realm is that of the next realm, as krb5.conf says.
            let kdcs = if there == home[0] {
                home.as_slice()
            } else {
                std::slice::from_ref(&there)
            };
            let answer = kdc::ask(kdcs, &asked.data, settings.kerberos.timeout).await;
            let answer = answer.map_err(|silent| Error::Kerberos {
                service: service.to_owned(),
                source: KerberosRefusal::KdcSilent {
                    realm: login.realm.clone(),
                    kdc: silent.kdc,
                    why: silent.why,
                },
            })?;
            let question = asked.data.get(PREFIX..).unwrap_or_default();
            witness.judge(question, answer.get(PREFIX..).unwrap_or_default())?;
            state = without_log(|| steps.resume(Ok(answer)));
        }
    }
    let [token] = output;
    Ok(token.buffer)
}

/// The KDCs of the account's realm; at least one.
fn home(login: &Login, service: &str) -> Result<Vec<(String, u16)>, Error> {
    if !login.kdcs.is_empty() {
        return Ok(login.kdcs.clone());
    }
    let found = without_log(|| sspi::detect_kdc_url(&login.realm));
    let found = found.and_then(|url| {
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port().unwrap_or(88)))
    });
    found.map(|kdc| vec![kdc]).ok_or_else(|| Error::Kerberos {
        service: service.to_owned(),
        source: KerberosRefusal::NoKdc {
            realm: login.realm.clone(),
        },
    })
}

fn url((host, port): &(String, u16)) -> String {
    if host.contains(':') {
        format!("tcp://[{host}]:{port}")
    } else {
        format!("tcp://{host}:{port}")
    }
}

/// Runs a step of the library with its log off: at the finest level it writes session keys.
fn without_log<T>(step: impl FnOnce() -> T) -> T {
    with_default(NoSubscriber::default(), step)
}

fn quietly<T>(step: impl FnOnce() -> sspi::Result<T>) -> Result<T, Error> {
    without_log(step).map_err(|error| library(&error))
}

fn library(error: &sspi::Error) -> Error {
    tracing::debug!(error.kind = ?error.error_type, error.description, "kerberos library gave up");
    failed("kerberos library gave up on the kdc's answers")
}

fn failed(what: &'static str) -> Error {
    Error::Protocol {
        what,
        during: Stage::Handshake,
    }
}
