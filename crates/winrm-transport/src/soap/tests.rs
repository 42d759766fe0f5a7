use proptest::prelude::*;

use super::request::{self, Addressing, SignalCode};
use super::scope::Ns;
use super::*;
use crate::Command;
use crate::command::Surroundings;
use crate::settings::Limits;

fn read(text: &str) -> Document {
    parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn in_envelope(body: &str) -> Document {
    read(&format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
             xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
             xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer"
             xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
             xmlns:r="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
             xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault">
             <s:Header><a:RelatesTo> uuid:1 </a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"#
    ))
}

fn addressing() -> Addressing {
    Addressing::new(
        "http://h:5985/wsman",
        std::time::Duration::from_millis(20_500),
        &Limits::default(),
    )
}

#[test]
fn a_request_reads_back_as_what_was_put_in() {
    let command = Command::new("x.exe")
        .args(["a b", "<&>\r\n'\"", ""])
        .allow_cmd_metacharacters(true);
    let words = command.quoted().unwrap();
    let request = request::command(&addressing(), "SHELL", "CMD", &command, &words);
    let envelope = read(&request.xml);
    let header = envelope.root().child(Ns::Soap, "Header").unwrap();
    assert_eq!(
        header.child(Ns::Addressing, "MessageID").unwrap().text(),
        request.message_id
    );
    assert_eq!(
        header.child(Ns::Wsman, "OperationTimeout").unwrap().text(),
        "PT20.500S"
    );
    let line = envelope
        .root()
        .child(Ns::Soap, "Body")
        .unwrap()
        .child(Ns::Shell, "CommandLine")
        .unwrap();
    assert_eq!(line.attribute("CommandId"), Some("CMD"));
    let found: Vec<_> = line.children().map(|child| child.text()).collect();
    assert_eq!(found, ["x.exe", "\"a b\"", "\"<&>\r\n'\\\"\"", "\"\""]);
    let selector = header
        .child(Ns::Wsman, "SelectorSet")
        .unwrap()
        .child(Ns::Wsman, "Selector")
        .unwrap();
    assert_eq!(
        (selector.attribute("Name"), selector.text()),
        (Some("ShellId"), "SHELL")
    );
}

#[test]
fn every_request_is_well_formed() {
    let a = addressing();
    let all = [
        request::create(
            &a,
            "S",
            "N",
            std::time::Duration::from_secs(900),
            &Surroundings::default(),
        )
        .xml,
        request::receive(&a, "S", "C").xml,
        request::signal(&a, "S", "C", SignalCode::CtrlC).xml,
        request::delete(&a, "S").xml,
        request::get(&a, "http://x/y?a=1&b=2").xml,
        request::identify(),
    ];
    for xml in all {
        assert!(read(&xml).root().is(Ns::Soap, "Envelope"));
    }
}

#[test]
fn streams_are_appended_and_only_the_done_state_counts() {
    let envelope = in_envelope(
        r#"<r:ReceiveResponse>
            <r:Stream Name="stdout" CommandId="c">w4</r:Stream></r:ReceiveResponse>"#,
    );
    assert!(
        decode_receive(&envelope, "C").is_err(),
        "padding is part of base64"
    );
    let envelope = in_envelope(
        r#"<r:ReceiveResponse>
            <r:Stream Name="stdout" CommandId="c">ww==</r:Stream>
            <r:Stream Name="stderr" CommandId="c">ZQ==</r:Stream>
            <r:Stream Name="stdout" CommandId="c">
              vA==
            </r:Stream><r:Stream Name="stdout" CommandId="c" End="true"/>
            <r:Stream Name="stdout" CommandId="other">eHg=</r:Stream>
            <r:CommandState CommandId="c" State="http://x/CommandState/Running"/>
            <r:CommandState CommandId="c" State="http://x/CommandState/Done"><r:ExitCode>3221225786</r:ExitCode>
            </r:CommandState></r:ReceiveResponse>"#,
    );
    let answer = decode_receive(&envelope, "C").unwrap();
    assert_eq!(
        (answer.stdout.as_slice(), answer.stderr.as_slice()),
        ("ü".as_bytes(), &b"e"[..])
    );
    assert_eq!((answer.done, answer.exit_code), (true, Some(-1_073_741_510)));
    let silent = decode_receive(
        &in_envelope(
            r#"<r:ReceiveResponse><r:CommandState CommandId="C" State="x/Done"/></r:ReceiveResponse>"#,
        ),
        "C",
    )
    .unwrap();
    assert_eq!((silent.done, silent.exit_code), (true, None));
}

#[test]
fn shell_and_command_ids_are_found_in_either_place() {
    let old = in_envelope(
        r#"<x:ResourceCreated><a:ReferenceParameters><w:SelectorSet><w:Selector Name="ShellId">S-1</w:Selector>
           </w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>"#,
    );
    assert_eq!(shell_id(&old).unwrap(), "S-1");
    assert_eq!(
        shell_id(&in_envelope("<r:Shell><r:ShellId>S-2</r:ShellId></r:Shell>")).unwrap(),
        "S-2"
    );
    assert!(shell_id(&in_envelope("<r:Shell/>")).is_err());
    let command = "<r:CommandResponse><r:CommandId>C</r:CommandId></r:CommandResponse>";
    assert_eq!(command_id(&in_envelope(command)).unwrap(), "C");
    assert_eq!(relates_to(&old), Some("uuid:1"));
}

#[test]
fn the_innermost_fault_code_counts_in_any_spelling() {
    for (outer, inner, code) in [
        ("2150858793", "-2144108503", 2_150_858_793),
        ("5", "0x8033805B", 2_150_858_843),
        ("1", "1460", 1_460),
    ] {
        let envelope = in_envelope(&format!(
            r#"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:TimedOut</s:Value></s:Subcode>
               </s:Code><s:Reason><s:Text>words</s:Text></s:Reason><s:Detail><f:WSManFault Code="{outer}">
               <f:Message><f:ProviderFault><f:WSManFault Code="{inner}"><f:Message>why &amp; how</f:Message>
               </f:WSManFault></f:ProviderFault></f:Message></f:WSManFault></s:Detail></s:Fault>"#
        ));
        let fault = Fault::find(&envelope).unwrap();
        assert_eq!((fault.code, fault.subcode.as_deref()), (code, Some("TimedOut")));
        assert_eq!(fault.message, "why & how");
    }
    assert!(Fault::find(&in_envelope("<r:Shell/>")).is_none());
}

#[test]
fn a_wrapped_date_is_the_value_of_its_property() {
    let instance = decode_instance(&in_envelope(
        r#"<c:Win32_OperatingSystem xmlns:c="urn:c" xmlns:cim="urn:cim"><c:CSName>LAB-1</c:CSName>
           <c:LastBootUpTime><cim:Datetime>2026-03-01T09:00:00Z</cim:Datetime></c:LastBootUpTime>
           </c:Win32_OperatingSystem>"#,
    ))
    .unwrap();
    assert_eq!(instance.class(), "Win32_OperatingSystem");
    assert_eq!(instance.value("LastBootUpTime"), Some("2026-03-01T09:00:00Z"));
    assert_eq!(instance.value("CSName"), Some("LAB-1"));
    assert_eq!(instance.value("Missing"), None);
}

#[test]
fn hostile_documents_are_refused() {
    let refused = |text: &str| parse(text.as_bytes(), &Limits::default()).unwrap_err().0;
    let bomb = r#"<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>"#;
    assert_eq!(refused(bomb), "xml has a document type");
    assert_eq!(refused("<a>&x;</a>"), "xml has an entity of its own");
    assert_eq!(refused(r#"<a b="&x;"/>"#), "xml has an entity of its own");
    let deep = format!("{}{}", "<a>".repeat(65), "</a>".repeat(65));
    assert!(refused(&deep).contains("deeply"));
    assert!(
        parse(
            deep.as_bytes(),
            &Limits {
                xml_depth: 65,
                ..Limits::default()
            }
        )
        .is_ok()
    );
    let wide = format!("<a>{}</a>", "<b/>".repeat(70_000));
    assert!(refused(&wide).contains("too many elements"));
    let attributes: String = (0..65).map(|n| format!(" a{n}=''")).collect();
    assert!(refused(&format!("<a{attributes}/>")).contains("attributes"));
    for broken in [
        "", "<a>", "<a></b>", "</a>", "<p:a/>", "<a/>x", "<a/><b/>", "\u{0}",
    ] {
        assert!(
            parse(broken.as_bytes(), &Limits::default()).is_err(),
            "{broken:?}"
        );
    }
}

#[test]
fn text_in_pieces_and_around_children_is_one_text() {
    let document = read("<a> x<b>1</b>y&amp;&#x7a;<![CDATA[<]]><!-- no --><b/>\r\n</a>");
    assert_eq!(document.root().text(), " xy&z<\n");
    let children: Vec<_> = document.root().children().map(|child| child.text()).collect();
    assert_eq!(children, ["1", ""]);
    let attributes = read("<a b='1&lt;2' p:c='x' xmlns:p='u' d=''/>");
    let root = attributes.root();
    assert_eq!(root.attribute_count(), 3);
    assert_eq!(
        ["b", "c", "d", "e"].map(|name| root.attribute(name)),
        [Some("1<2"), Some("x"), Some(""), None]
    );
}

#[test]
fn walking_gives_every_element_once_in_document_order() {
    let document = read("<a><b><c/><d><e/></d></b><f/></a>");
    let names = |element: Element<'_>| element.walk().map(|e| e.local().to_owned()).collect::<String>();
    assert_eq!(names(document.root()), "abcdef");
    let inner: Vec<_> = document.root().children().map(names).collect();
    assert_eq!(inner, ["bcde", "f"]);
}

#[test]
fn a_declaration_holds_for_its_element_and_what_is_below() {
    let soap = "http://www.w3.org/2003/05/soap-envelope";
    let document = read(&format!(
        "<p:a xmlns:p='u'><p:b xmlns:p='{soap}'><p:c/><d xmlns='{soap}'><e/><f xmlns=''/></d></p:b><p:g/></p:a>"
    ));
    let found: String = document
        .root()
        .walk()
        .filter(|element| element.ns() == Ns::Soap)
        .map(|element| element.local())
        .collect();
    assert_eq!(found, "bcde");
    for broken in [
        "<a><b xmlns:p='u'/><p:c/></a>",
        "<a xmlns:p='u'><b xmlns:p=''><p:c/></b></a>",
        "<:a xmlns='u'/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='1' xmlns:p='2'/>",
    ] {
        assert!(parse(broken.as_bytes(), &Limits::default()).is_err(), "{broken}");
    }
    assert!(parse("<xml:a/>".as_bytes(), &Limits::default()).is_ok());
    let nested = |levels: usize| {
        let before: String = (0..levels)
            .map(|n| format!("<a xmlns:a{n}='u' xmlns:b{n}='u' xmlns:c{n}='u'>"))
            .collect();
        parse(
            [before, "</a>".repeat(levels)].concat().as_bytes(),
            &Limits::default(),
        )
        .is_ok()
    };
    assert_eq!((nested(42), nested(43)), (true, false), "at most 128 at once");
}

#[test]
fn utf16_and_byte_order_marks_are_understood() {
    let mut wide = vec![0xff, 0xfe];
    wide.extend("<a>ü</a>".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(parse(&wide[..], &Limits::default()).unwrap().root().text(), "ü");
    assert_eq!(
        parse("\u{feff}<a>ü</a>".as_bytes(), &Limits::default())
            .unwrap()
            .root()
            .text(),
        "ü"
    );
    assert!(parse(&wide[..wide.len() - 1], &Limits::default()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_the_reader(text in "[<>/a-c:=\"'&;#x0-9! \\[\\]?-]{0,200}") {
        if let Ok(root) = parse(text.as_bytes(), &Limits::default()) {
            let _ = (Fault::find(&root), shell_id(&root), decode_receive(&root, "x"), decode_instance(&root));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(bytes, &Limits::default());
    }
}
