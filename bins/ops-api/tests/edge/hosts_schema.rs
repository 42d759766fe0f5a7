//! `hosts.schema.json`, by which editors complete `hosts.json`: the same keys as the parser knows, and a sample that both
//! accept.

use std::path::Path;

use lab_model::{CATALOG_KEYS, CatalogKey, KeyKind};
use serde_json::{Value, json};

use crate::DEPLOY;
use crate::python;

/// Checks each instance against its schema, both JSON; first the schemas themselves.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
answers = []
for schema, instance in json.load(sys.stdin):
    Validator.check_schema(schema)
    errors = Validator(schema).iter_errors(instance)
    answers.append([error.json_path + ': ' + error.message for error in errors])
json.dump(answers, sys.stdout)
";

/// What is wrong with each instance; `None` without a validator.
fn errors(pairs: &[(Value, Value)]) -> Option<Vec<Vec<String>>> {
    let answers = python::run(VALIDATE, &json!(pairs))?;
    let answers: Vec<Vec<String>> = serde_json::from_value(answers).unwrap();
    assert_eq!(answers.len(), pairs.len());
    Some(answers)
}

fn read(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(Path::new(DEPLOY).join(file)).unwrap()).unwrap()
}

fn schema() -> Value {
    read("hosts.schema.json")
}

fn entry(keys: &Value) -> Value {
    let mut entry =
        json!({"name": "lab-ws-01", "address": "10.0.0.11", "winrm_user": "u", "winrm_pass": "env:PW"});
    let object = entry.as_object_mut().unwrap();
    for (key, value) in keys.as_object().unwrap() {
        if value.is_null() {
            object.remove(key);
        } else {
            object.insert(key.clone(), value.clone());
        }
    }
    json!({"hosts": [entry]})
}

#[test]
fn it_has_the_keys_of_the_parser_each_with_its_kind_meaning_and_examples() {
    let schema = schema();
    let properties = schema["$defs"]["host"]["properties"].as_object().unwrap();
    let mut known: Vec<&str> = CATALOG_KEYS.iter().map(|key| key.name).collect();
    let mut written: Vec<&str> = properties.keys().map(String::as_str).collect();
    known.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, known);
    let mut pairs = Vec::new();
    let mut wanted = Vec::new();
    for CatalogKey { name, kind, .. } in CATALOG_KEYS {
        let property = &properties[*name];
        let says = property["description"].as_str();
        assert!(
            says.is_some_and(|text| text.ends_with('.')),
            "{name}: description"
        );
        let examples = property["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name}: examples");
        let (mut good, bad) = values(kind);
        good.extend(examples.iter().cloned());
        good.extend(property.get("default").cloned());
        for (values, right) in [(good, true), (bad, false)] {
            for value in values {
                wanted.push((*name, value.clone(), right));
                pairs.push((property.clone(), value));
            }
        }
    }
    let Some(errors) = errors(&pairs) else { return };
    for ((name, value, right), errors) in wanted.iter().zip(errors) {
        assert_eq!(errors.is_empty(), *right, "{name}: {value}: {errors:?}");
    }
}

/// Values that are right and wrong for a kind.
fn values(kind: &KeyKind) -> (Vec<Value>, Vec<Value>) {
    match kind {
        KeyKind::Text | KeyKind::Secret => (vec![], vec![json!(1), json!([])]),
        KeyKind::Word(words) => (
            words.iter().map(|word| json!(word)).collect(),
            vec![json!("nothing-like-it")],
        ),
        KeyKind::Number(low, high) => {
            let (under, over) = (i64::from(*low) - 1, u64::from(*high) + 1);
            (
                vec![json!(low), json!(high), json!(high.to_string())],
                vec![json!(under), json!(over), json!(1.5), json!("many")],
            )
        }
        KeyKind::Switch => (vec![json!(true), json!("no"), json!(0)], vec![json!([])]),
        KeyKind::Ids => (vec![json!([]), json!(["a", 1])], vec![json!("1"), json!([true])]),
        KeyKind::Texts => (vec![json!("a"), json!(["a"])], vec![json!(1), json!([1])]),
    }
}

#[test]
fn the_sample_is_right_and_shows_what_an_editor_would_complete() {
    let sample = read("hosts.sample.json");
    assert_eq!(sample["$schema"], "./hosts.schema.json");
    assert_eq!(
        schema()["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let text = std::fs::read_to_string(Path::new(DEPLOY).join("hosts.sample.json")).unwrap();
    assert!(text.contains("\"//"), "it explains itself");
    let Some(errors) = errors(&[(schema(), sample)]) else {
        return;
    };
    assert_eq!(errors, [Vec::<String>::new()]);
}

#[test]
fn schema_and_parser_refuse_the_same_files() {
    let cases = [
        (json!({}), true),
        (json!({"// why": "a comment", "own_key": {"kept": true}}), true),
        (json!({"winrm_port": "5986"}), true),
        (json!({"mac": "00-1a-2b-3c-4d-02", "wol_port": 7}), true),
        (
            json!({"winrm_transport": "kerberos", "winrm_user": "svc@LAB.EXAMPLE", "winrm_kerberos_host": "ws.lab.example"}),
            true,
        ),
        (
            json!({"winrm_transport": "certificate", "winrm_client_cert": "/a.pem", "winrm_client_key": "/a.key", "winrm_pass": null, "winrm_user": null}),
            true,
        ),
        (json!({"name": null}), false),
        (json!({"address": null}), false),
        (json!({"winrm_pass": null}), false),
        (json!({"winrm_port": 70000}), false),
        (json!({"wake_attempts": 0}), false),
        (json!({"mac": "00:11:22"}), false),
        (json!({"labs": "12"}), false),
        (json!({"winrm_transport": "credssp"}), false),
        (
            json!({"winrm_transport": "certificate", "winrm_client_cert": "/a.pem"}),
            false,
        ),
        (json!({"winrm_realm": "LAB.EXAMPLE"}), false),
        (
            json!({"winrm_ca_file": "/a.pem", "winrm_cert_sha256": "00".repeat(32)}),
            false,
        ),
    ];
    let pairs: Vec<(Value, Value)> = cases.iter().map(|(keys, _)| (schema(), entry(keys))).collect();
    let Some(errors) = errors(&pairs) else { return };
    for (((keys, right), (_, file)), errors) in cases.iter().zip(&pairs).zip(errors) {
        assert_eq!(errors.is_empty(), *right, "the schema on {keys}: {errors:?}");
        let parsed = lab_model::Catalog::parse(&file.to_string(), &|_| Some("secret".to_owned()));
        assert_eq!(parsed.is_ok(), *right, "the parser on {keys}: {parsed:?}");
    }
}
