//! RPC, as far as the broker's own client answers it: bytes in the payloads of messages.

use rmpv::Value;

use super::{Delivery, Kind, Request, WirePeer};

const REQUEST: u8 = 0x01;
const REPLY: u8 = 0x11;
const ERROR_REPLY: u8 = 0x12;

/// A call to the broker, `.broker`.
pub(crate) struct Call {
    id: u32,
    payload: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CallError {
    pub(crate) code: i16,
}

impl Call {
    pub(crate) fn new(id: u32, method: &str) -> Self {
        Self { id, payload: [&[REQUEST], &id.to_le_bytes()[..], method.as_bytes(), &[0]].concat() }
    }

    pub(crate) fn with(mut self, parameters: &[u8]) -> Self {
        self.payload.extend_from_slice(parameters);
        self
    }

    pub(crate) fn request(&self) -> Request {
        Request::message(".broker", &self.payload)
    }

    /// Reads a reply out of a message, which has to be the one to this call.
    pub(crate) fn reply(&self, delivery: &Delivery) -> Result<Vec<u8>, CallError> {
        assert_eq!((delivery.kind, delivery.sender.as_str()), (Kind::Message, ".broker"), "a reply: {delivery:?}");
        let payload = &delivery.payload;
        assert_eq!(payload[1..5], self.id.to_le_bytes(), "the reply names the call");
        match payload[0] {
            REPLY => Ok(payload[5..].to_vec()),
            ERROR_REPLY => Err(CallError { code: i16::from_le_bytes([payload[5], payload[6]]) }),
            other => panic!("{other:#04x} is neither a reply nor an error"),
        }
    }
}

impl WirePeer {
    /// Calls and waits for the reply, which has to be the next frame.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Vec<u8>, CallError> {
        self.send(&call.request());
        let delivery = self.receive_delivery();
        call.reply(&delivery)
    }

    /// Calls a method without parameters that answers with a MessagePack map.
    pub(crate) fn ask(&mut self, method: &str) -> Value {
        unpack(&self.call(&Call::new(1, method)).expect("the broker answers"))
    }

    /// The entries of `client.list`, with a filter or without.
    pub(crate) fn client_list(&mut self, filter: Option<&str>) -> Vec<Value> {
        let mut call = Call::new(1, "client.list");
        if let Some(filter) = filter {
            call = call.with(&parameters(&[("filter", filter.into())]));
        }
        let list = unpack(&self.call(&call).expect("the broker lists its clients"));
        list["clients"].as_array().expect("clients is an array").clone()
    }
}

/// A MessagePack map, as parameters travel.
pub(crate) fn parameters(entries: &[(&str, Value)]) -> Vec<u8> {
    let map = entries.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect();
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &Value::Map(map)).expect("a value can be packed");
    bytes
}

/// One MessagePack value and nothing after it.
pub(crate) fn unpack(mut bytes: &[u8]) -> Value {
    let value = rmpv::decode::read_value(&mut bytes).expect("the broker sends MessagePack");
    assert!(bytes.is_empty(), "{} bytes follow the value {value}", bytes.len());
    value
}

/// The keys of a map, sorted.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    let map = value.as_map().unwrap_or_else(|| panic!("{value} is not a map"));
    let mut keys: Vec<&str> = map.iter().map(|(key, _)| key.as_str().expect("keys are text")).collect();
    keys.sort_unstable();
    keys
}

/// A field that has to be text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value} is not text"))
}

/// A field that has to be a number.
pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} of {value} is not a number"))
}
