use super::*;

fn server(text: &str) -> Server {
    match DatabaseUrl::parse(text).unwrap().place {
        Place::MySql(server) => server,
        _ => panic!("{text} is no MySQL address"),
    }
}

fn file(text: &str) -> PathBuf {
    match DatabaseUrl::parse(text).unwrap().place {
        Place::SqliteFile(path) => path,
        _ => panic!("{text} is no SQLite file"),
    }
}

#[test]
fn every_sqlalchemy_spelling_of_mysql_is_read() {
    for scheme in [
        "mysql",
        "mariadb",
        "mysql+pymysql",
        "mysql+mysqldb",
        "mysql+mysqlconnector",
        "mariadb+pymysql",
    ] {
        let server = server(&format!(
            "{scheme}://ops:p%40s%2Fs@db.lab:3307/gate%20way?charset=utf8mb4"
        ));
        assert_eq!((server.host.as_str(), server.port), ("db.lab", 3307), "{scheme}");
        assert_eq!(server.user.as_deref(), Some("ops"));
        assert_eq!(server.password.unwrap().expose_secret(), "p@s/s");
        assert_eq!(server.database, "gate way");
    }
}

#[test]
fn a_password_may_hold_what_sqlalchemy_lets_it_hold() {
    for (written, meant) in [
        ("a/b", "a/b"),
        ("a?b", "a?b"),
        ("a:b", "a:b"),
        ("a#b", "a#b"),
        ("a+b", "a+b"),
        ("%25", "%"),
    ] {
        let server = server(&format!("mysql://u:{written}@h/d"));
        assert_eq!(server.password.unwrap().expose_secret(), meant);
        assert_eq!(
            (server.host.as_str(), server.database.as_str()),
            ("h", "d"),
            "{written}"
        );
    }
}

#[test]
fn parts_may_be_absent_where_they_have_a_default() {
    let plain = server("mysql://h/d");
    assert!(plain.user.is_none() && plain.password.is_none());
    assert_eq!(plain.port, 3306);
    assert_eq!(server("mysql://u@[::1]:3310/d").host, "::1");
    assert_eq!(
        server("mysql://u@/d?unix_socket=/run/mysqld/s.sock")
            .socket
            .unwrap(),
        Path::new("/run/mysqld/s.sock")
    );
}

#[test]
fn sqlite_paths_are_relative_with_three_slashes_and_absolute_with_four() {
    assert_eq!(file("sqlite:///ops.db"), Path::new("ops.db"));
    assert_eq!(file("sqlite:////var/lib/ops.db"), Path::new("/var/lib/ops.db"));
    assert_eq!(file("sqlite:ops.db"), Path::new("ops.db"));
    assert_eq!(file("sqlite:/var/ops.db"), Path::new("/var/ops.db"));
    assert_eq!(file("sqlite+pysqlite:///a%20b.db"), Path::new("a b.db"));
    for memory in ["sqlite::memory:", "sqlite://", "sqlite:///:memory:"] {
        assert!(
            matches!(DatabaseUrl::parse(memory).unwrap().place, Place::SqliteMemory),
            "{memory}"
        );
    }
    assert_eq!(
        DatabaseUrl::embedded(Path::new("/data")).shown(),
        "sqlite:/data/lab-ops.sqlite"
    );
}

#[test]
fn unknown_query_keys_are_named_without_their_value() {
    let url =
        DatabaseUrl::parse("mysql://u:pw@h/d?charset=utf8mb4&read_timeout=s3cret&local_infile=1").unwrap();
    assert_eq!(url.warnings().len(), 2);
    assert!(url.warnings()[0].contains("read_timeout") && !url.warnings()[0].contains("s3cret"));
    assert_eq!(
        DatabaseUrl::parse("sqlite:///a.db?mode=ro")
            .unwrap()
            .warnings()
            .len(),
        1
    );
    assert_eq!(
        DatabaseUrl::parse("mysql://u@h/d?charset=latin1")
            .unwrap()
            .warnings()
            .len(),
        1
    );
}

#[test]
fn a_named_authority_is_checked() {
    let options = format!("{:?}", server("mysql://u@h/d?ssl_ca=/etc/ca.pem").options());
    assert!(options.contains("VerifyCa"), "{options}");
    let options = format!(
        "{:?}",
        server("mysql://u@h/d?ssl_ca=/etc/ca.pem&ssl_verify_identity=true").options()
    );
    assert!(options.contains("VerifyIdentity"), "{options}");
    assert!(DatabaseUrl::parse("mysql://u@h/d?ssl_mode=maybe").is_err());
}

#[test]
fn errors_name_the_part_and_no_output_shows_the_password() {
    let cases = [
        ("", "scheme"),
        ("ops:s3cret@h/d", "scheme"),
        ("ops+s3cret:s3cret@h/d", "scheme"),
        ("postgresql://u:s3cret@h/d", "postgresql"),
        ("mysql:u:s3cret@h/d", "scheme"),
        ("mysql://u:s3cret@h", "database name"),
        ("mysql://u:s3cret@h/", "database name"),
        ("mysql://u:s3cret@/d", "host"),
        ("mysql://u:s3cret@h:99999/d", "port"),
        ("mysql://u:s3cret@h:x/d", "port"),
        ("mysql://u:s3@cret@h/d", "%40"),
        ("mysql://u:s3cret%ff@h/d", "password"),
        ("mysql://u%0a:s3cret@h/d", "user"),
        ("mysql://u:s3cret@[::1/d", "host"),
        ("sqlite:", "path"),
        ("sqlite:////data/", "path"),
    ];
    for (text, named) in cases {
        let error = DatabaseUrl::parse(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(named), "{text}: {shown}");
        assert!(!shown.contains("cret"), "{text}: {shown}");
    }
    let url = DatabaseUrl::parse("mysql://u:s3cret@h/d").unwrap();
    assert!(!format!("{url:?} {}", url.shown()).contains("s3cret"));
}
