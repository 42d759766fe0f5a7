//! A Kerberos realm we did not write: MIT's KDC with a few accounts, and an acceptor for its one service whose tickets
//! and sealing are MIT's too.
//!
//! For tests, so what cannot be set up panics. Needs Debian's `krb5-kdc`, `krb5-admin-server` and `python3-gssapi`, and
//! `faketime` for clocks that are wrong; without them [`Realm::start`] says so and gives `None`, unless the
//! environment says `REQUIRE_REAL=1`.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be set up fails the test that asked for it"
)]

mod acceptor;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command as Process};
use tokio::time::{sleep, timeout};

pub use acceptor::{Acceptor, Scheme};

/// Of the accounts `alice` and `locked`. Not ASCII, as some are.
pub const PASSWORD: &str = "S3cret!p\u{e4}ss";
const LIMIT: Duration = Duration::from_secs(30);
const KDC: &str = "/usr/sbin/krb5kdc";
const DATABASE: &str = "/usr/sbin/kdb5_util";
const ADMIN: &str = "/usr/sbin/kadmin.local";
const PYTHON: &str = "/usr/bin/python3";
/// Where the distribution puts what the acceptor needs.
const GSSAPI: &str = "/usr/lib/python3/dist-packages/gssapi/__init__.py";

/// Says what is missing, unless nothing may be.
#[expect(
    clippy::disallowed_methods,
    reason = "the test run says whether a missing program is a failure"
)]
#[expect(
    clippy::print_stderr,
    reason = "a skipped test must not look like a passed one"
)]
fn available(needed: &[&str]) -> bool {
    let Some(missing) = needed.iter().find(|path| !Path::new(path).exists()) else {
        return true;
    };
    let required = std::env::var("REQUIRE_REAL").as_deref() == Ok("1");
    assert!(!required, "{missing} is not installed, but REQUIRE_REAL=1");
    eprintln!("skipped: {missing} is not installed");
    false
}

/// The realm `LAB.TEST`, served by a KDC on loopback until this is dropped. Its accounts are `alice` and, locked by the
/// administrator, `locked`; its service is `HTTP/localhost`.
#[derive(Debug)]
pub struct Realm {
    kdc: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Realm {
    /// Starts it; `None` when something needed for it is not installed.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// With a KDC whose clock is wrong by so much, such as `+1h`.
    pub async fn start_at(offset: &str) -> Option<Self> {
        let library = faketime().to_string_lossy().into_owned();
        available(&[&library]).then_some(())?;
        Self::start_with(Some(offset)).await
    }

    async fn start_with(offset: Option<&str>) -> Option<Self> {
        available(&[KDC, DATABASE, ADMIN, PYTHON, GSSAPI]).then_some(())?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().await;
        configure(folder.path(), port);
        let mut kdc = at(offset, KDC);
        kdc.args(["-n"]);
        environment(&mut kdc, folder.path());
        run(
            folder.path(),
            DATABASE,
            &["create", "-s", "-P", "master", "-r", "LAB.TEST"],
        )
        .await;
        let keytab = folder.path().join("http.keytab");
        for order in [
            format!("add_principal +requires_preauth -pw {PASSWORD} alice"),
            format!("add_principal +requires_preauth -allow_tix -pw {PASSWORD} locked"),
            "add_principal -randkey HTTP/localhost".to_owned(),
            format!("ktadd -k {} HTTP/localhost", keytab.display()),
        ] {
            run(folder.path(), ADMIN, &["-r", "LAB.TEST", "-q", &order]).await;
        }
        let kdc = kdc
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let kdc = kdc.kill_on_drop(true).spawn().unwrap();
        let ready = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, ready).await.unwrap();
        Some(Self { kdc, port, folder })
    }

    /// Where the KDC listens, as `address:port`.
    pub fn kdc(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A `krb5.conf` that names the KDC.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("krb5.conf")
    }

    /// Gives one order to `kadmin.local`, such as `change_password -randkey HTTP/localhost`.
    pub async fn administer(&self, order: &str) {
        run(self.folder.path(), ADMIN, &["-r", "LAB.TEST", "-q", order]).await;
    }

    /// Gives the service another key and lets it forget the one of before, of which every ticket so far was made.
    pub async fn renew_service_key(&self) {
        let keytab = self.folder.path().join("http.keytab").display().to_string();
        self.administer(&format!("ktadd -k {keytab} HTTP/localhost"))
            .await;
        self.administer(&format!("ktremove -k {keytab} HTTP/localhost old"))
            .await;
    }

    /// What the KDC has logged so far, a line for each request.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("kdc.log")).unwrap()
    }

    /// Ends the KDC and gives its log.
    pub async fn stop(mut self) -> String {
        self.kdc.kill().await.unwrap();
        self.log()
    }
}

/// Bound and given back: the KDC takes no port 0.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn configure(folder: &Path, port: u16) {
    let at = folder.display();
    let client = format!(
        "[libdefaults]\n default_realm = LAB.TEST\n dns_lookup_kdc = false\n rdns = false\n \
         dns_canonicalize_hostname = false\n udp_preference_limit = 1\n default_ccache_name = FILE:{at}/cc\n\
         [realms]\n LAB.TEST = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
         [domain_realm]\n localhost = LAB.TEST\n\
         [logging]\n kdc = FILE:{at}/kdc.log\n"
    );
    let server = format!(
        "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
         [realms]\n LAB.TEST = {{\n  database_name = {at}/principal\n  key_stash_file = {at}/stash\n \
          acl_file = {at}/acl\n }}\n"
    );
    std::fs::write(folder.join("krb5.conf"), client).unwrap();
    std::fs::write(folder.join("kdc.conf"), server).unwrap();
}

fn environment(process: &mut Process, folder: &Path) {
    process.env("KRB5_CONFIG", folder.join("krb5.conf"));
    process.env("KRB5_KDC_PROFILE", folder.join("kdc.conf"));
    process.env("KRB5_KTNAME", folder.join("http.keytab"));
    process.env("KRB5RCACHENAME", format!("file2:{}/replays", folder.display()));
}

/// The program, with its clock wrong by so much. Not by the wrapper of the same name, whose child would live on when
/// the wrapper is ended.
fn at(offset: Option<&str>, program: &str) -> Process {
    let mut process = Process::new(program);
    if let Some(offset) = offset {
        process.env("LD_PRELOAD", faketime()).env("FAKETIME", offset);
    }
    process
}

/// Where the distribution puts the library, below a folder named after the processor.
fn faketime() -> PathBuf {
    let name = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    PathBuf::from(name)
}

async fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let mut process = Process::new(program);
    environment(&mut process, folder);
    let process = process.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let done = timeout(LIMIT, process.output()).await.unwrap().unwrap();
    assert!(
        done.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
