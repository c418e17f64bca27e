//! The parameters of a call, as they stand on the command line.

use busway_net::wire::fifo::Value as Word;
use clap::CommandFactory;
use clap::error::ErrorKind;
use rmpv::Value;

use crate::failure::Failure;
use crate::options::{Options, RpcCall};
use crate::send;

/// One of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Param {
    /// A key and its value.
    Pair(String, Value),
    /// All of them come from standard input.
    StandardInput,
}

/// What makes the shell wait for standard input.
const STANDARD_INPUT: &str = "-";

/// Takes `KEY=VALUE` apart: `true`, `false`, integers and floats are what they look like, anything else is text. The value
/// of `KEY:=JSON` is JSON.
pub(crate) fn parse(text: &str) -> Result<Param, String> {
    if text == STANDARD_INPUT {
        return Ok(Param::StandardInput);
    }
    let (key, value) = text.split_once('=').ok_or("neither KEY=VALUE nor KEY:=JSON")?;
    Ok(match key.strip_suffix(':') {
        Some(key) => Param::Pair(key.to_owned(), from_json(value.as_bytes())?),
        None => Param::Pair(key.to_owned(), value_of(value)),
    })
}

fn from_json(json: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(json).map_err(|error| format!("not JSON: {error}"))
}

/// A number that would be written otherwise is text: a serial number, a telephone number, one that is too long.
fn value_of(text: &str) -> Value {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    match Word::of(text) {
        Word::Integer(_) | Word::Unsigned(_) | Word::Float(_) if is_padded || text.starts_with(['+', '.']) => {
            text.into()
        }
        Word::Float(_) if is_whole => text.into(),
        Word::Truth(truth) => truth.into(),
        Word::Integer(number) => number.into(),
        Word::Unsigned(number) => number.into(),
        Word::Float(number) => number.into(),
        Word::Text(text) => text.into(),
    }
}

/// A value of any kind; what stands on the command line has to be right for anything to begin.
fn whole_json(text: &str) -> Result<Value, Failure> {
    if text == STANDARD_INPUT {
        return from_json(&send::read(None)?).map_err(|reason| Failure::Failed(format!("standard input: {reason}")));
    }
    Ok(from_json(text.as_bytes()).unwrap_or_else(|reason| {
        let words = format!("invalid value '{text}' for '--json-params <JSON>': {reason}");
        Options::command().error(ErrorKind::ValueValidation, words).exit()
    }))
}

fn packed(value: &Value) -> Result<Vec<u8>, Failure> {
    let mut packed = Vec::new();
    rmpv::encode::write_value(&mut packed, value)
        .map_err(|error| Failure::Failed(format!("the parameters cannot be packed: {error}")))?;
    Ok(packed)
}

/// The parameters as they travel: nothing, a MessagePack value, or bytes as they are.
pub(crate) fn pack(command: &RpcCall) -> Result<Vec<u8>, Failure> {
    if let Some(raw) = &command.raw {
        return send::read(Some(raw));
    }
    if let Some(json) = &command.json_params {
        return packed(&whole_json(json)?);
    }
    match &command.params[..] {
        [] => Ok(Vec::new()),
        [Param::StandardInput] => send::read(None),
        params => {
            let mut map: Vec<(Value, Value)> = Vec::new();
            for param in params {
                let Param::Pair(key, value) = param else {
                    let words = "standard input (-) stands for all parameters, or for none";
                    Options::command().error(ErrorKind::ArgumentConflict, words).exit()
                };
                let key = Value::from(key.as_str());
                // The last of the same name counts.
                map.retain(|(other, _)| *other != key);
                map.push((key, value.clone()));
            }
            packed(&Value::Map(map))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_look_like() {
        for (text, value) in [
            ("true", Value::from(true)),
            ("false", false.into()),
            ("True", "True".into()),
            ("17", 17.into()),
            ("-17", (-17).into()),
            ("18446744073709551615", u64::MAX.into()),
            ("1.5", 1.5.into()),
            ("1e3", 1000.0.into()),
            ("nan", "nan".into()),
            ("0", 0.into()),
            ("-0.5", (-0.5).into()),
            ("007", "007".into()),
            ("-01", "-01".into()),
            ("+49", "+49".into()),
            (".5", ".5".into()),
            ("18446744073709551616", "18446744073709551616".into()),
            ("inf", "inf".into()),
            ("", "".into()),
            ("a=b", "a=b".into()),
            ("-", "-".into()),
        ] {
            assert_eq!(parse(&format!("key={text}")), Ok(Param::Pair("key".to_owned(), value)), "{text}");
        }
        assert_eq!(parse("-"), Ok(Param::StandardInput));
        assert!(parse("key").is_err() && parse("").is_err());
    }

    #[test]
    fn json_stands_behind_a_colon() {
        let array = Value::Array(vec![1.into(), (-1.5).into(), "x".into(), Value::Nil]);
        let nested = Value::Map(vec![("b".into(), Value::Map(vec![("c".into(), true.into())]))]);
        for (text, value) in [("[1, -1.5, \"x\", null]", array), (r#"{"b":{"c":true}}"#, nested), ("\"1\"", "1".into())]
        {
            assert_eq!(parse(&format!("a:={text}")), Ok(Param::Pair("a".to_owned(), value)), "{text}");
        }
        assert_eq!(parse("a=:=1"), Ok(Param::Pair("a".to_owned(), ":=1".into())));
        for wrong in ["a:=", "a:=x", "a:={", "a:=1 2"] {
            assert!(parse(wrong).is_err_and(|reason| reason.contains("not JSON")), "{wrong}");
        }
    }
}
