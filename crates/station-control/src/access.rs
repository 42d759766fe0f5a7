//! From an entry of the catalog to the settings of a client, with what of it lies in files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lab_model::{CertificateFiles, Host, Problem, Transport, WinrmTrust};
use secrecy::{ExposeSecret, SecretString};
use winrm_transport::{
    Account, AllowedNetworks, AuthMethod, ClientCertificate, Endpoint, KerberosSettings, Limits,
    SettingsError, Timeouts, Trust,
};

use crate::error::{Chain, Refusal};
use crate::settings::Settings;

const CERTIFICATE: &str = "winrm_client_cert";
const KEY: &str = "winrm_client_key";
/// More than any chain of certificates has.
const MAX_PEM: u64 = 64 * 1024;

/// Says whether an entry makes a usable connection, as far as that shows without a network: files of a client
/// certificate are read, and a word that this build does not speak is refused.
///
/// # Errors
/// The first problem, by the key of the entry.
pub fn check_entry(host: &Host) -> Result<(), Problem> {
    let made = match &host.winrm.credential {
        // Who that is shows when it is used; until then anybody stands in.
        Some(_) => {
            let mut host = host.clone();
            host.winrm.user = "user@REALM".into();
            host.winrm.password = "password".into();
            client_settings(&host, &Settings::default())
        }
        None => client_settings(host, &Settings::default()),
    };
    let checked = made.and_then(|settings| settings.validate().map_err(Refusal::from));
    checked.map_err(|why| Problem {
        host: host.name.to_string(),
        key: key_of(&why).to_owned(),
        message: Chain(&why).to_string(),
    })
}

fn key_of(why: &Refusal) -> &'static str {
    match why {
        Refusal::KeyFile { key, .. } => key,
        Refusal::KeyPair { .. } => CERTIFICATE,
        Refusal::Settings(SettingsError::KerberosMissing) => "winrm_transport",
        Refusal::Settings(SettingsError::KerberosRealm { .. }) => "winrm_realm",
        Refusal::Settings(SettingsError::Kdc { .. }) => "winrm_kdc",
        Refusal::Settings(SettingsError::Account { .. }) => "winrm_user",
        _ => "",
    }
}

pub(crate) fn client_settings(
    host: &Host,
    settings: &Settings,
) -> Result<winrm_transport::Settings, Refusal> {
    let access = &host.winrm;
    let endpoint = match access.use_tls {
        true => Endpoint::https(&host.address, access.port),
        false => Endpoint::http(&host.address, access.port),
    };
    let second = Duration::from_secs(1);
    let operation = settings.operation_timeout.clamp(second, 60 * second);
    Ok(winrm_transport::Settings {
        trust: match &access.trust {
            WinrmTrust::SystemRoots => Trust::SystemRoots,
            WinrmTrust::CaFile(path) => Trust::CaFile(path.clone()),
            WinrmTrust::PinnedSha256(pin) => Trust::PinnedSha256(*pin),
        },
        server_name: access.tls_server_name.clone(),
        allow_insecure_basic: settings.allow_insecure_basic,
        allowed_networks: AllowedNetworks::Only(settings.allowed_networks.clone()),
        timeouts: Timeouts {
            connect: settings.connect_timeout,
            operation,
            answer_grace: settings.read_timeout.saturating_sub(operation).max(second),
            ..Timeouts::default()
        },
        limits: Limits {
            output_bytes: settings.max_output,
            ..Limits::default()
        },
        ..identified(host, endpoint)?
    })
}

/// Settings with who we are, and how that is proved.
fn identified(host: &Host, endpoint: Endpoint) -> Result<winrm_transport::Settings, Refusal> {
    let access = &host.winrm;
    let (auth, kerberos) = match &access.transport {
        Transport::Ntlm => (AuthMethod::Ntlm, KerberosSettings::default()),
        Transport::Negotiate => (AuthMethod::Negotiate, KerberosSettings::default()),
        Transport::Basic => (AuthMethod::Basic, KerberosSettings::default()),
        Transport::Kerberos(access) => {
            let kerberos = KerberosSettings {
                realm: access.realm.clone(),
                kdcs: access.kdcs.clone(),
                service_host: access.service_host.clone(),
                ..KerberosSettings::default()
            };
            (AuthMethod::Kerberos, kerberos)
        }
        Transport::Certificate(files) => {
            let certificate = load(files)?;
            return Ok(winrm_transport::Settings::with_certificate(endpoint, certificate));
        }
    };
    let account = Account::parse(&access.user, access.password.clone())?;
    Ok(winrm_transport::Settings {
        auth,
        kerberos,
        ..winrm_transport::Settings::new(endpoint, account)
    })
}

fn load(files: &CertificateFiles) -> Result<ClientCertificate, Refusal> {
    let certificate = read(CERTIFICATE, &files.certificate)?;
    let key = read(KEY, &files.key)?;
    ClientCertificate::from_pem(certificate.expose_secret(), &key).map_err(|source| Refusal::KeyPair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source: Box::new(source),
    })
}

/// Certificate and key may be one file, so both are read as secrets.
fn read(key: &'static str, file: &Path) -> Result<SecretString, Refusal> {
    let text = || {
        // A pipe would be waited for.
        if !fs::metadata(file)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
        }
        let mut text = String::new();
        if File::open(file)?.take(MAX_PEM + 1).read_to_string(&mut text)? as u64 > MAX_PEM {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "is larger than 64 KiB",
            ));
        }
        Ok(SecretString::from(text))
    };
    text().map_err(|source| Refusal::KeyFile {
        key,
        file: file.to_owned(),
        source,
    })
}

/// By what the files of an entry are known not to have changed: length and time of certificate and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileStamps([Option<(u64, SystemTime)>; 2]);

impl FileStamps {
    /// As they are now; nothing for an entry without such files.
    pub(crate) fn of(host: &Host) -> Self {
        let Transport::Certificate(files) = &host.winrm.transport else {
            return Self::default();
        };
        Self([&files.certificate, &files.key].map(|file| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        }))
    }
}
