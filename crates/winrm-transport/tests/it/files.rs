//! Files by any legal path, and PowerShell.

use std::time::{Duration, SystemTime};

use host_sim::paths;
use winrm_transport::{Client, FileError, PowerShell};

use crate::lab::{LIMIT, Lab};

/// Every character that some parser on the way has a use for.
fn odd_paths() -> Vec<String> {
    let mut odd: Vec<String> = [
        r"C:\it's.txt",
        r"C:\100%PATH%.txt",
        r"C:\a&calc&.txt",
        r"C:\wow!.txt",
        "C:\\O\u{2019}Brien\u{2018}\u{201a}\u{201b}.txt",
        r"C:\two words\and  three!.txt",
        r"C:\^caret(1),;=[]{}@#$`~+.txt",
        r"\\server\share$\a b.txt",
        "C:\\\u{fc}bung\\\u{65e5}\u{672c}.txt",
        r"C:\$(calc)\`n.txt",
    ]
    .map(str::to_owned)
    .to_vec();
    odd.push(format!(
        r"C:\{}\long.txt",
        ["d".repeat(100), "e".repeat(100), "f".repeat(100)].join(r"\")
    ));
    odd.push(format!(r"\\server\share\{}\long.txt", "g".repeat(250)));
    odd
}

#[tokio::test]
async fn a_plain_path_is_read_without_powershell() {
    let (lab, client) = Lab::sealed().await;
    let bytes = client.read_file(paths::HEARTBEAT, LIMIT).await.unwrap();
    assert!(bytes.starts_with("\u{feff}{".as_bytes()));
    lab.host()
        .write_file(r"C:\Program Files\my tool\raw.bin", [0, 255, 13, 10, 26]);
    let raw = client
        .read_file("C:/Program Files/my tool/raw.bin", LIMIT)
        .await
        .unwrap();
    assert_eq!(raw, [0, 255, 13, 10, 26]);
    assert!(
        lab.argvs().iter().all(|argv| !argv[0].contains("powershell")),
        "{:?}",
        lab.argvs()
    );
    lab.end(client).await;
}

#[tokio::test]
async fn any_legal_path_is_read_and_nothing_of_it_is_interpreted() {
    let (lab, client) = Lab::sealed().await;
    for (number, path) in odd_paths().into_iter().enumerate() {
        let content = format!("file {number}");
        lab.host().write_file(&path, content.clone());
        assert_eq!(
            client.read_file(&path, LIMIT).await.unwrap(),
            content.as_bytes(),
            "{path}"
        );
        assert_eq!(
            client.stat(&path, LIMIT).await.unwrap().length,
            content.len() as u64,
            "{path}"
        );
        assert_eq!(
            client.tail(&path, 5, 10, LIMIT).await.unwrap().bytes,
            content.as_bytes()[5..],
            "{path}"
        );
    }
    for argv in lab.argvs() {
        assert_eq!(argv[0], "powershell.exe", "{argv:?}");
        assert!(argv.iter().all(|arg| {
            arg.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-+/=.".contains(&b))
        }));
    }
    lab.end(client).await;
}

#[tokio::test]
async fn a_growing_file_is_followed_by_its_offset() {
    let (lab, client) = Lab::sealed().await;
    let path = r"C:\Logs\today.log";
    lab.host().write_file(path, "one\ntwo\n");
    let first = client.tail(path, 4, 2, LIMIT).await.unwrap();
    assert_eq!(
        (first.bytes.as_slice(), first.offset, first.length),
        (&b"tw"[..], 4, 8)
    );
    let rest = client.tail(path, first.next_offset(), 100, LIMIT).await.unwrap();
    assert_eq!((rest.bytes.as_slice(), rest.next_offset()), (&b"o\n"[..], 8));
    let none = client.tail(path, 8, 100, LIMIT).await.unwrap();
    assert_eq!((none.bytes.len(), none.offset, none.length), (0, 8, 8));
    lab.host().write_file(path, "new\n");
    let shorter = client.tail(path, 8, 100, LIMIT).await.unwrap();
    assert_eq!((shorter.bytes.len(), shorter.offset, shorter.length), (0, 4, 4));
    assert!(shorter.modified > SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    assert!(shorter.modified >= first.modified);
    lab.end(client).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_apart() {
    let lab = Lab::start(|_| ()).await;
    let mut settings = lab.http();
    settings.limits.output_bytes = 1_000;
    let client = Client::new(settings).unwrap();
    let missing = client.stat(r"C:\none.txt", LIMIT).await.unwrap_err();
    assert!(matches!(missing, FileError::NotFound { .. }), "{missing:?}");
    let missing = client.read_file(r"C:\none.txt", LIMIT).await.unwrap_err();
    assert!(
        matches!(missing, FileError::NotReadable { ref said, .. } if !said.is_empty()),
        "{missing:?}"
    );
    let missing = client.read_file(r"C:\none!.txt", LIMIT).await.unwrap_err();
    assert!(matches!(missing, FileError::NotFound { .. }), "{missing:?}");
    for path in [r"C:\large.txt", r"C:\large!.txt"] {
        lab.host().write_file(path, vec![b'x'; 2_000]);
        let large = client.read_file(path, LIMIT).await.unwrap_err();
        assert!(matches!(large, FileError::TooLarge { .. }), "{large:?}");
    }
    let before = lab.argvs().len();
    let refused = client.read_file("C:\\a\" & calc & \"", LIMIT).await.unwrap_err();
    assert!(matches!(refused, FileError::Path { .. }), "{refused:?}");
    assert_eq!(lab.argvs().len(), before);
    lab.end(client).await;
}

#[tokio::test]
async fn a_script_gets_its_values_and_its_error_is_readable() {
    let (lab, client) = Lab::sealed().await;
    let nasty = "'\u{2019}; exit 9 # $(calc) \"100%\" \r\n\u{1f600}";
    let script = PowerShell::script("Write-Output $v").value("v", nasty);
    let output = client.run(&script.command(), LIMIT).await.unwrap();
    assert_eq!(
        (output.stdout_text().as_ref(), output.exit_code),
        (format!("{nasty}\r\n").as_str(), Some(0))
    );
    let script = PowerShell::script("throw $v").value("v", "no <such> thing");
    let output = client.run(&script.command(), LIMIT).await.unwrap();
    assert!(output.stderr_text().starts_with("#< CLIXML"), "{output:?}");
    assert_eq!(
        (output.error_text().as_str(), output.exit_code),
        ("no <such> thing\r\n", Some(1))
    );
    lab.end(client).await;
}

#[tokio::test]
async fn a_script_longer_than_a_command_line_runs_from_standard_input() {
    let (lab, client) = Lab::sealed().await;
    let long = "x".repeat(100_000);
    let script = PowerShell::script("Write-Output $v").value("v", &long);
    let output = client.run(&script.command(), LIMIT).await.unwrap();
    assert_eq!((output.stdout.len(), output.exit_code), (long.len() + 2, Some(0)));
    assert!(lab.argvs()[0].iter().map(String::len).sum::<usize>() < 8_000);
    lab.end(client).await;
}
