use std::path::{Path, PathBuf};
use std::{fs, panic};

use proptest::prelude::*;

type Property = fn(&[u8]);

/// Every property with the name of its corpus, but for Kerberos, which has its tests beside it.
const PROPERTIES: [(&str, Property); 7] = [
    ("clixml", super::clixml),
    ("ntlm", super::ntlm),
    ("quoting", super::quoting),
    ("sealed", super::sealed),
    ("soap", super::soap),
    ("spnego", super::spnego),
    ("www_authenticate", super::www_authenticate),
];
const KERBEROS: &str = "kerberos";

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs one property with every file of its corpus.
pub(crate) fn replay(name: &str, property: Property) {
    let files = files(&corpora().join(name));
    assert!(
        files.len() >= 5,
        "the corpus {name} has {} files only",
        files.len()
    );
    for file in files {
        let data = fs::read(&file).unwrap();
        let kept = panic::catch_unwind(|| property(&data));
        assert!(kept.is_ok(), "{} breaks {name}", file.display());
    }
}

#[test]
fn every_file_of_the_corpora_keeps_the_promises_of_its_decoder() {
    for (name, property) in PROPERTIES {
        replay(name, property);
    }
}

#[test]
fn the_corpora_are_small_and_all_of_them_are_run() {
    let folders = files(&corpora());
    let names: Vec<_> = folders
        .iter()
        .map(|f| f.file_name().unwrap().to_str().unwrap())
        .collect();
    let mut known: Vec<_> = PROPERTIES
        .iter()
        .map(|(name, _)| *name)
        .chain([KERBEROS])
        .collect();
    known.sort_unstable();
    assert_eq!(names, known);
    let files: Vec<_> = folders.iter().flat_map(|folder| files(folder)).collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(
        files.len() < 400 && bytes < 1024 * 1024,
        "{} files, {bytes} bytes",
        files.len()
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_keep_every_promise(data in prop::collection::vec(any::<u8>(), 0..400)) {
        for (_, property) in PROPERTIES {
            property(&data);
        }
    }
}

/// Large answers that are as costly as can be thought of. Not timed: each would take hours, or more
/// memory than there is, if its cost grew faster than its size.
#[test]
fn the_most_costly_answers_cost_no_more_than_their_size() {
    const SIZE: usize = 256 * 1024;
    let fill = |before: &str, piece: &str, after: &str| {
        let count = (SIZE - before.len() - after.len()) / piece.len();
        format!("{before}{}{after}", piece.repeat(count))
    };
    let bindings: String = (0..60).map(|n| format!(" xmlns:n{n}='u{n}'")).collect();
    let attributes: String = (0..60).map(|n| format!(" a{n}=''")).collect();
    let documents = [
        fill("<a>", "<b/>", "</a>"),
        fill("<a>", "&lt;", "</a>"),
        fill("<a>", "&#x41;", "</a>"),
        fill("<a>", "<![CDATA[]]>", "</a>"),
        fill("<a>", "<!---->", "</a>"),
        fill("<a>", "<?a?>", "</a>"),
        fill("<a>", "\r\n", "</a>"),
        fill("<a b='", "&amp;", "'/>"),
        fill("<a", " b='c'", "/>"),
        fill("<a", " xmlns:b='c'", "/>"),
        fill(&format!("<a{bindings}>"), "<n0:a/>", "</a>"),
        fill("<a>", &format!("<b{attributes}/>"), "</a>"),
        fill("<a>", &format!("<b{bindings}/>"), "</a>"),
        fill("<a>", "<!--", "</a>"),
        fill("<a>", "<![CDATA[", "</a>"),
        fill("<a>", "&", "</a>"),
        fill("", "<", ""),
        fill("", "<a>", ""),
        fill("<", "a", "/>"),
    ];
    for document in documents {
        super::soap(document.as_bytes());
    }
    let errors = [
        fill("#< CLIXML\n<Objs><S", &attributes, "/></Objs>"),
        fill("#< CLIXML\n<Objs>", "<S S='Error'>_x000D_</S>", "</Objs>"),
        fill("", "#< CLIXML\n<Objs/>", ""),
        fill("", "#< CLIXML\n<Objs", ""),
        fill("#< CLIXML\n", "<Objs>", ""),
        fill("#< CLIXML\n<Objs><S S='Error'>", "_x", "</S></Objs>"),
    ];
    for text in errors {
        super::clixml(text.as_bytes());
    }
    let names: String = (0..30_000).map(|n| format!(" a{n}=''")).collect();
    super::clixml(format!("#< CLIXML\n<Objs><S{names}>x</S></Objs>").as_bytes());
}
