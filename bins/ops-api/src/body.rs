//! Request bodies as the contract reads them: JSON whatever the content type, lenient about how a value is
//! written, strict about what it means. Every refusal names the field, before anything is sent to a host.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use lab_model::is_false_word;
use labstation_commands::{ArgumentError, LineError, raw_command_line};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// A JSON object whose fields are read one by one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    map: Map<String, Value>,
    /// Put before the field in refusals, for nested objects.
    within: String,
}

impl Body {
    /// An absent, broken or falsy body counts as an empty object; any other that is no object is refused.
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, ApiError> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match serde_json::from_slice::<Value>(text) {
            Ok(Value::Object(map)) => Ok(Self {
                map,
                within: String::new(),
            }),
            Ok(other) if is_truthy(&other) => Err(ApiError::field(
                "body",
                format_args!("must be a JSON object, is {}", type_of(&other)),
            )),
            Ok(_) | Err(_) => Ok(Self::default()),
        }
    }

    /// The whole body in one spelling, behind a word for what it asks: keys in order, whatever order they were sent in.
    pub(crate) fn canonical(&self, what: &str) -> String {
        let mut text = String::from(what);
        for (key, value) in sorted(&self.map) {
            text.push_str(&format!("\n{}:", Value::from(key.as_str())));
            write_sorted(value, &mut text);
        }
        text
    }

    fn path(&self, field: &str) -> String {
        if self.within.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.within)
        }
    }

    fn refuse(&self, field: &str, problem: impl std::fmt::Display) -> ApiError {
        ApiError::field(&self.path(field), problem)
    }

    /// The value under `field`; null counts as absent.
    pub(crate) fn value(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// The first of several spellings that holds a non-empty value.
    pub(crate) fn first<'a>(&'a self, fields: &[&'a str]) -> Option<(&'a str, &'a Value)> {
        let found = fields
            .iter()
            .find_map(|&field| Some((field, self.value(field)?)).filter(|(_, v)| is_truthy(v)));
        found.or_else(|| {
            fields
                .iter()
                .find_map(|&field| Some((field, self.value(field)?)).filter(|(_, v)| v.is_number()))
        })
    }

    /// Text, trimmed; absent, null and blank are `None`.
    pub(crate) fn text(&self, field: &str) -> Result<Option<&str>, ApiError> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.refuse(field, format_args!("must be text, is {}", type_of(other)))),
        }
    }

    /// Text read by `parse`, whose error becomes the refusal.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        parse(text)
            .map(Some)
            .map_err(|problem| self.refuse(field, problem))
    }

    /// A number in `range`, written as a number or as text.
    pub(crate) fn number(&self, field: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let shown: String = value.to_string().chars().take(60).collect();
            self.refuse(
                field,
                format_args!(
                    "must be a number from {} to {}, is {shown}",
                    range.start(),
                    range.end()
                ),
            )
        })
    }

    /// A whole number in `range`.
    pub(crate) fn whole(&self, field: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, ApiError> {
        let limits = f64::from(*range.start())..=f64::from(*range.end());
        let Some(number) = self.number(field, limits)? else {
            return Ok(None);
        };
        // The range check keeps this exact; a fraction is cut, as the contract's `int()` does.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to lie within u32"
        )]
        Ok(Some(number as u32))
    }

    /// A switch: the false words, null as the default, everything else by its truth.
    pub(crate) fn switch(&self, field: &str, default: bool) -> bool {
        match self.value(field) {
            None => default,
            Some(Value::String(text)) => !is_false_word(text),
            Some(other) => is_truthy(other),
        }
    }

    /// A nested object; absent, null and falsy are an empty one.
    pub(crate) fn object(&self, field: &str) -> Result<Self, ApiError> {
        match self.value(field) {
            Some(Value::Object(map)) => Ok(Self {
                map: map.clone(),
                within: self.path(field),
            }),
            Some(other) if is_truthy(other) => {
                Err(self.refuse(field, format_args!("must be an object, is {}", type_of(other))))
            }
            _ => Ok(Self::default()),
        }
    }

    /// Whether the object has no field at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// A list of arguments, each made text; a single value is a list of one; absent is `None`.
    pub(crate) fn arguments(&self, field: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(value) = self.value(field) else {
            return Ok(None);
        };
        let items = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        if items.len() > 64 {
            return Err(self.refuse(field, "holds more than 64 arguments"));
        }
        let texts = items.iter().enumerate().map(|(at, item)| match item {
            Value::String(text) => {
                checked_argument(text).map_err(|problem| self.refuse(&format!("{field}[{at}]"), problem))
            }
            Value::Number(_) | Value::Bool(_) => Ok(item.to_string()),
            other => Err(self.refuse(
                &format!("{field}[{at}]"),
                format_args!("must be text, is {}", type_of(other)),
            )),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }
}

/// Read by a handler as its last parameter; the framework's own limits hold while it is read.
impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        Self::parse(&bytes).map_err(IntoResponse::into_response)
    }
}

/// What a station's command line cannot hold is refused here, before the first step of an order has an effect.
fn checked_argument(text: &str) -> Result<String, String> {
    const ANY_PROGRAM: &str = r"C:\LabStation\LabStation.exe";
    let argument = text.to_owned();
    if text.len() > 2000 {
        return Err("is longer than 2000 bytes".to_owned());
    }
    match raw_command_line(ANY_PROGRAM, "status", std::slice::from_ref(&argument)) {
        Ok(_) => Ok(argument),
        Err(LineError::Argument(ArgumentError::Empty { .. })) => Err("is blank".to_owned()),
        Err(LineError::Argument(ArgumentError::ForbiddenCharacter { character, .. })) => Err(format!(
            "contains {character:?}, which is not allowed on a command line"
        )),
        Err(other) => Err(format!("cannot be sent: {other}")),
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = map.iter().collect();
    fields.sort_by_key(|(key, _)| *key);
    fields
}

/// The depth is bounded by the reader's own limit.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            text.push('{');
            for (key, value) in sorted(map) {
                text.push_str(&format!("{}:", Value::from(key.as_str())));
                write_sorted(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_sorted(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Python's idea of truth, on which the contract rests.
pub(crate) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// How a reader of the refusal would call the value's type.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: &Value) -> Body {
        Body::parse(&Bytes::from(value.to_string())).unwrap()
    }

    fn refusal(error: ApiError) -> (u16, Value) {
        (error.status().as_u16(), Value::Object(error.body()))
    }

    #[test]
    fn absent_broken_and_falsy_bodies_count_as_an_empty_object() {
        for text in ["", "{", "null", "[]", "0", "\"\"", "false", "\u{feff}{}"] {
            assert!(Body::parse(&Bytes::from(text)).unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_refused_by_name() {
        for text in ["[1]", "\"x\"", "7", "true"] {
            let (status, answer) = refusal(Body::parse(&Bytes::from(text)).unwrap_err());
            assert_eq!((status, answer["field"].as_str()), (400, Some("body")), "{text}");
        }
    }

    #[test]
    fn numbers_may_be_text_and_wrong_ones_name_their_field() {
        let body = body(&json!({"a": "3", "b": 3, "c": "three", "d": 1e9, "wakeOptions": {"port": "x"}}));
        assert_eq!(body.whole("a", 1..=10).unwrap(), Some(3));
        assert_eq!(body.whole("b", 1..=10).unwrap(), Some(3));
        assert_eq!(body.whole("absent", 1..=10).unwrap(), None);
        assert_eq!(refusal(body.whole("c", 1..=10).unwrap_err()).1["field"], "c");
        assert!(body.whole("d", 1..=10).is_err());
        let nested = body
            .object("wakeOptions")
            .unwrap()
            .whole("port", 1..=10)
            .unwrap_err();
        assert_eq!(refusal(nested).1["field"], "wakeOptions.port");
    }

    #[test]
    fn one_request_has_one_spelling_whatever_the_order_of_its_fields() {
        let read = |text: &str| {
            Body::parse(&Bytes::copy_from_slice(text.as_bytes()))
                .unwrap()
                .canonical("wol")
        };
        assert_eq!(
            read(r#"{"b": {"d": [1, {}], "c": null}, "a": "x"}"#),
            read(r#"{"a":"x","b":{"c":null,"d":[1,{}]}}"#)
        );
        assert_ne!(read(r#"{"a": 1}"#), read(r#"{"a": "1"}"#));
        assert_ne!(read(r#"{"a": ["x", "y"]}"#), read(r#"{"a": ["y", "x"]}"#));
    }

    #[test]
    fn switches_follow_the_false_words() {
        let body = body(&json!({"a": "false", "b": "yes", "c": 0, "d": null, "e": "", "f": []}));
        let seen: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
            .map(|field| body.switch(field, true))
            .to_vec();
        assert_eq!(seen, [false, true, false, true, true, false, true]);
    }

    #[test]
    fn arguments_are_a_list_of_texts_or_one_value() {
        let body = body(
            &json!({"list": ["--a=b c", 3, true], "single": "--x", "none": [], "bad": [{}], "line": ["a\nb"]}),
        );
        assert_eq!(body.arguments("list").unwrap().unwrap(), ["--a=b c", "3", "true"]);
        assert_eq!(body.arguments("single").unwrap().unwrap(), ["--x"]);
        assert_eq!(body.arguments("none").unwrap().unwrap(), [""; 0]);
        assert_eq!(body.arguments("absent").unwrap(), None);
        assert_eq!(refusal(body.arguments("bad").unwrap_err()).1["field"], "bad[0]");
        assert!(body.arguments("line").is_err());
    }
}
