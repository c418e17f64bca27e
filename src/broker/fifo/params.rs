//! The parameters of a call, as they travel.

use std::collections::BTreeMap;

use busway_net::wire::fifo::Value;
use serde::{Serialize, Serializer};

/// Appends a MessagePack map.
pub(super) fn encode(out: &mut Vec<u8>, params: &BTreeMap<&str, Value<'_>>) {
    let words: BTreeMap<&str, Word<'_>> = params.iter().map(|(key, value)| (*key, Word(*value))).collect();
    let encoded = rmp_serde::encode::write(out, &words);
    debug_assert!(encoded.is_ok(), "text and numbers have a place in MessagePack, and memory takes any of it");
}

struct Word<'a>(Value<'a>);

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Truth(truth) => serializer.serialize_bool(truth),
            Value::Integer(number) => serializer.serialize_i64(number),
            Value::Unsigned(number) => serializer.serialize_u64(number),
            Value::Float(number) => serializer.serialize_f64(number),
            Value::Text(text) => serializer.serialize_str(text),
        }
    }
}
