//! An https address has to convince us.

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::program::run;
use crate::script::{Reply, serve};

#[test]
fn only_a_certificate_that_is_trusted_gets_the_token() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(made.cert.der().to_vec())], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = seen.clone();
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let stream = rustls::StreamOwned::new(connection, stream);
            let reply = |_: &_, _| Reply::json(200, &json!({"hosts": []}));
            serve(stream, &all, &reply, &AtomicBool::new(true));
        }
    });
    let variables = [("OPSCTL_URL", url.as_str()), ("OPSCTL_TOKEN", "t0ken")];
    let stranger = run(&variables, &["hosts"]);
    stranger.expect(5);
    assert_eq!(seen.lock().unwrap().len(), 0);
    run(&variables, &["hosts", "--ca-file", &ca.display().to_string()]).expect(0);
    serving.join().unwrap();
    assert_eq!(seen.lock().unwrap()[0].header("x-ops-token"), Some("t0ken"));
}
