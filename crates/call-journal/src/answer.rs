//! Answers as they are kept: whole where they are short, with long texts cut where they are not.

use serde_json::Value;

/// The longest answer that is kept whole, in bytes of JSON.
pub const MAX_ANSWER: usize = 256 * 1024;
/// The shortest a text is cut to before its neighbours are looked at.
const SHORTEST: usize = 64;

/// The JSON of `body`, at most [`MAX_ANSWER`] bytes. Long texts in it lose their ends and say so; what is too long
/// even then is replaced as a whole.
pub(crate) fn bounded(body: &Value) -> String {
    let whole = body.to_string();
    if whole.len() <= MAX_ANSWER {
        return whole;
    }
    let mut limit = MAX_ANSWER / 4;
    while limit >= SHORTEST {
        let text = shortened(body, limit).to_string();
        if text.len() <= MAX_ANSWER {
            return text;
        }
        limit /= 4;
    }
    serde_json::json!({"cut": true, "bytes": whole.len()}).to_string()
}

fn shortened(value: &Value, limit: usize) -> Value {
    match value {
        Value::String(text) if text.len() > limit => {
            let mut end = limit;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let left = text.len() - end;
            Value::String(format!("{}... [{left} bytes cut]", &text[..end]))
        }
        Value::Array(items) => items.iter().map(|item| shortened(item, limit)).collect(),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), shortened(value, limit)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_short_answer_is_kept_as_it_is() {
        let body = json!({"stdout": "x".repeat(1000), "exit_code": 0});
        assert_eq!(bounded(&body), body.to_string());
    }

    #[test]
    fn a_long_output_loses_its_end_and_says_so() {
        let body = json!({"stdout": "ä".repeat(MAX_ANSWER), "exit_code": 3});
        let kept: Value = serde_json::from_str(&bounded(&body)).unwrap();
        assert_eq!(kept["exit_code"], 3);
        let stdout = kept["stdout"].as_str().unwrap();
        assert!(stdout.starts_with("ää") && stdout.ends_with("bytes cut]"));
        assert!(stdout.len() < MAX_ANSWER);
    }

    #[test]
    fn what_cannot_be_shortened_is_replaced() {
        let body = Value::from(vec![1_234_567; MAX_ANSWER]);
        assert_eq!(
            serde_json::from_str::<Value>(&bounded(&body)).unwrap()["cut"],
            true
        );
        let texts = Value::from(vec!["x".repeat(300); 2000]);
        assert!(bounded(&texts).len() <= MAX_ANSWER);
    }
}
