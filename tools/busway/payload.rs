//! Payloads, for people and for programs.

use std::borrow::Cow;

use base64::Engine;
use serde_json::{Map, Value};

/// Bytes shown in hexadecimal at most.
const MAX_HEX: usize = 256;
/// MessagePack nested deeper than this is shown in hexadecimal.
const MAX_DEPTH: usize = 64;
/// What MessagePack never uses.
const NEVER_USED: u8 = 0xC1;

/// A payload in words: JSON, text, MessagePack as JSON, or hexadecimal.
pub(crate) fn describe(payload: &[u8]) -> String {
    if let Some(text) = as_text(payload) {
        return match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => pretty("JSON", &value),
            _ => text.to_owned(),
        };
    }
    if let Some(value) = from_messagepack(payload) {
        return pretty("MessagePack", &value);
    }
    let shown = &payload[..payload.len().min(MAX_HEX)];
    let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    let dots = if payload.len() > MAX_HEX { "..." } else { "" };
    format!("hex: {hex}{dots}")
}

/// The answer of a method in words: as a payload, but of typed methods it is a MessagePack value of any kind.
pub(crate) fn describe_result(result: &[u8]) -> String {
    match unpack(result) {
        Some(value) if value.is_map() || value.is_array() => pretty("MessagePack", &to_json(value)),
        Some(value) => without_controls(&to_json(value).to_string()).into_owned(),
        None => describe(result),
    }
}

fn pretty(format: &str, value: &Value) -> String {
    format!("{format}: {}", without_controls(&format!("{value:#}")))
}

/// JSON that brings no escape sequence to a terminal: DEL and what follows it are controls, too, that JSON need not
/// escape. All stand within strings, where the escape means the same; between them there are line breaks alone.
pub(crate) fn without_controls(json: &str) -> Cow<'_, str> {
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    if !json.contains(is_control) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + json.len() / 8);
    for letter in json.chars() {
        if is_control(letter) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            escaped.push(letter);
        }
    }
    escaped.into()
}

/// Text of another process on one line, without an escape sequence for the terminal. Quotes are what they are.
pub(crate) fn on_one_line(text: &str) -> String {
    // An escaped quote has a backslash of its own before it.
    text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// Puts a payload into an object: text as it is, anything else as base64, and beside that what it is as MessagePack.
pub(crate) fn insert(payload: &[u8], object: &mut Map<String, Value>) {
    match as_text(payload) {
        Some(text) => object.insert("payload".into(), text.into()),
        None => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(payload);
            object.insert("payload_base64".into(), encoded.into());
            from_messagepack(payload).and_then(|value| object.insert("value".into(), value))
        }
    };
}

/// The text, if it is text that a terminal can be trusted with.
fn as_text(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    let is_plain = text.chars().all(|letter| !letter.is_control() || matches!(letter, '\t' | '\n' | '\r'));
    is_plain.then_some(text)
}

/// A MessagePack map or array that fills the payload. (A single number would be one too, but so is every byte.)
pub(crate) fn from_messagepack(payload: &[u8]) -> Option<Value> {
    unpack(payload).filter(|value| value.is_map() || value.is_array()).map(to_json)
}

/// As [`from_messagepack`], for the answer of a method: a value of any kind.
pub(crate) fn value_of_result(result: &[u8]) -> Option<Value> {
    unpack(result).map(to_json)
}

/// The one value that fills the bytes.
fn unpack(bytes: &[u8]) -> Option<rmpv::Value> {
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH).ok()?;
    // The one byte that begins no value is read as nil.
    (rest.is_empty() && bytes != [NEVER_USED]).then_some(value)
}

fn to_json(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(truth) => truth.into(),
        rmpv::Value::Integer(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => Value::Null,
        },
        rmpv::Value::F32(number) => f64::from(number).into(),
        rmpv::Value::F64(number) => number.into(),
        rmpv::Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        rmpv::Value::Binary(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        rmpv::Value::Array(values) => values.into_iter().map(to_json).collect(),
        rmpv::Value::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = match to_json(key) {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                (key, to_json(value))
            });
            Value::Object(entries.collect())
        }
        rmpv::Value::Ext(kind, bytes) => {
            let bytes = base64::engine::general_purpose::STANDARD.encode(bytes);
            serde_json::json!({ "ext": kind, "base64": bytes })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messagepack(value: &rmpv::Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        bytes
    }

    #[test]
    fn text_stays_text_and_json_is_recognised() {
        assert_eq!(describe(b"87"), "87");
        assert_eq!(describe("grüße\n".as_bytes()), "grüße\n");
        assert_eq!(describe(b""), "");
        assert!(describe(br#"{"a": 1}"#).starts_with("JSON: {"));
    }

    #[test]
    fn messagepack_maps_are_shown_as_json() {
        let map = rmpv::Value::Map(vec![("ok".into(), true.into()), (1.into(), rmpv::Value::Nil)]);
        let shown = describe(&messagepack(&map));
        assert!(shown.starts_with("MessagePack: {") && shown.contains("\"ok\": true") && shown.contains("\"1\": null"));
    }

    #[test]
    fn results_are_any_messagepack_and_otherwise_text() {
        for (result, shown) in [
            (&b"\x2A"[..], "42"),
            (b"\xD0\xB0", "-80"),
            (b"\xC0", "null"),
            (b"\xC3", "true"),
            (b"\xA2\xC2\x9B", r#""\u009b""#),
            (b"", ""),
            (b"42", "42"),
            ("й, ü".as_bytes(), "й, ü"),
            (b"\xC1", "hex: c1"),
            (b"\xC3\xC3", "hex: c3c3"),
        ] {
            assert_eq!(describe_result(result), shown);
        }
        assert_eq!(describe_result(b"\x91\x01"), describe(b"\x91\x01"));
        assert_eq!((value_of_result(b"*"), from_messagepack(b"*")), (Some(42.into()), None));
    }

    #[test]
    fn no_control_reaches_the_terminal_and_programs_read_what_it_was() {
        let value = serde_json::json!({ "\u{9B}31m": ["\u{7F}", "\u{80}\u{9F}\u{A0}", "\x1B\n"] });
        for json in [format!("{value:#}"), value.to_string()] {
            let escaped = without_controls(&json);
            assert!(escaped.chars().all(|letter| !letter.is_control() || letter == '\n'), "{escaped:?}");
            assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
        }
        assert!(matches!(without_controls("[\"ü\"]\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn names_are_on_one_line_and_quotes_stay() {
        for (text, shown) in
            [("it's", "it's"), ("\"a\"", "\"a\""), ("a\nb", "a\\nb"), ("\\'", "\\\\'"), ("\u{1B}", "\\u{1b}")]
        {
            assert_eq!(on_one_line(text), shown);
        }
    }

    #[test]
    fn everything_else_is_hexadecimal_and_cut() {
        assert_eq!(describe(&[0, 255]), "hex: 00ff");
        assert_eq!(describe(&[0x1B, b'[', b'2', b'J']), "hex: 1b5b324a", "no escape sequence reaches the terminal");
        assert_eq!(describe(&[7; 1000]).len(), "hex: ".len() + 2 * MAX_HEX + "...".len());
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        assert!(describe(&[0x91; 100_000]).starts_with("hex: "));
    }

    #[test]
    fn programs_get_text_or_base64() {
        let mut object = Map::new();
        insert(b"text", &mut object);
        insert(&[0, 1], &mut object);
        assert_eq!(object["payload"], "text");
        assert_eq!(object["payload_base64"], "AAE=");
        assert!(!object.contains_key("value"));
        insert(b"\x81\xA1a\x07", &mut object);
        assert_eq!(object["value"], serde_json::json!({ "a": 7 }));
    }
}
