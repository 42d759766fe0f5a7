use lab_model::Catalog;

use super::*;

fn host(keys: &str) -> lab_model::Host {
    let text = format!(
        r#"{{"hosts": [{{"name": "lab-ws-01", "address": "10.0.0.1", "winrm_user": "u@LAB", "winrm_pass": "p"{keys}}}]}}"#
    );
    Catalog::parse(&text, &|_| None).unwrap().hosts()[0].clone()
}

/// What is said against a host, by its key.
fn refused(settings: &[(&str, &str)], keys: &str) -> Option<String> {
    let winrm = read(settings).unwrap().settings.winrm;
    transport_refusal(&host(keys), &winrm).map(|problem| {
        assert_eq!(problem.host, "lab-ws-01");
        assert!(!problem.message.is_empty());
        problem.key
    })
}

#[test]
fn only_the_words_of_the_list_are_allowed() {
    let kerberos = r#", "winrm_transport": "kerberos", "winrm_kerberos_host": "h""#;
    let negotiate = r#", "winrm_transport": "negotiate""#;
    let basic = r#", "winrm_transport": "basic""#;
    let ssl = r#", "winrm_transport": "ssl""#;
    for (list, keys, allowed) in [
        ("ntlm,kerberos", "", true),
        ("ntlm,kerberos", kerberos, true),
        (" NTLM , Kerberos ,", kerberos, true),
        ("ntlm,kerberos", negotiate, false),
        ("ntlm,kerberos", basic, false),
        ("ssl", basic, false),
        ("ssl", ssl, true),
        ("plaintext", basic, true),
        ("basic", ssl, true),
        ("kerberos", "", false),
    ] {
        let seen = refused(&[("WINRM_ALLOWED_TRANSPORTS", list)], keys);
        let expected = (!allowed).then(|| "winrm_transport".to_owned());
        assert_eq!(seen, expected, "{list} {keys}");
    }
    assert_eq!(refused(&[], basic), None, "no list means all");
}

#[test]
fn hosts_without_tls_are_refused_where_tls_is_asked_for() {
    let tls = r#", "winrm_use_ssl": true"#;
    for word in ["true", "1", "yes"] {
        let asked = [("OPS_WINRM_REQUIRE_TLS", word)];
        assert_eq!(refused(&asked, "").as_deref(), Some("winrm_use_ssl"));
        assert_eq!(refused(&asked, tls), None);
    }
    for word in ["false", "off", ""] {
        assert_eq!(refused(&[("OPS_WINRM_REQUIRE_TLS", word)], ""), None, "{word:?}");
    }
}

#[test]
fn a_word_that_no_host_can_have_is_refused_and_that_of_the_older_worker_warned_of() {
    let error = read(&[("WINRM_ALLOWED_TRANSPORTS", "ntlm,krb")]).unwrap_err();
    assert!(
        error.0[0].starts_with("WINRM_ALLOWED_TRANSPORTS: \"krb\" is none of"),
        "{error}"
    );
    let loaded = read(&[("WINRM_ALLOWED_TRANSPORTS", "ntlm,kerberos,credssp")]).unwrap();
    assert!(loaded.warnings[0].contains("credssp"), "{:?}", loaded.warnings);
}

#[test]
fn networks_are_compared_as_what_they_are() {
    let networks = read(&[(
        "WINRM_MANAGEMENT_CIDRS",
        "::ffff:10.1.0.0/112, fd00::/8, 192.168.7.7",
    )])
    .unwrap()
    .settings
    .winrm
    .management_networks
    .unwrap();
    let shown: Vec<_> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.1.0.0/16", "fd00::/8", "192.168.7.7/32"]);
    assert!(station_control::is_allowed(
        "::ffff:10.1.2.3".parse().unwrap(),
        &networks
    ));
}
