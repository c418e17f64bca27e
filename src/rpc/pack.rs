//! Typed parameters and results: MessagePack, structures as maps of their fields, as BUS/RT services exchange them.

use std::io::Cursor;

use rmp_serde::Deserializer;
use rmp_serde::decode::Error;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::RpcError;

/// What stands for nothing at all: nil ...
const NIL: [u8; 1] = [0xC0];
/// ... or a map without entries.
const EMPTY_MAP: [u8; 1] = [0x80];
/// Values nested deeper than this are refused: each level costs stack.
const MAX_DEPTH: usize = 128;

/// Packs a value. Nil is no bytes at all: services that take no parameters refuse any, a nil too.
pub(crate) fn pack(value: &impl Serialize) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let packed = rmp_serde::to_vec_named(value)?;
    Ok(if packed == NIL { Vec::new() } else { packed })
}

/// Unpacks a value. No bytes at all are nil, or a structure whose fields may all be missing.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    if bytes.is_empty() {
        return whole(&NIL).or_else(|_| whole(&EMPTY_MAP));
    }
    whole(bytes)
}

/// Unpacks parameters; says whether they are no MessagePack, or do not fit.
pub(super) fn unpack_parameters<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RpcError> {
    unpack(bytes).map_err(|error| match whole::<IgnoredAny>(bytes) {
        Err(_) if !bytes.is_empty() => RpcError::parse(error),
        _ => RpcError::invalid_parameters(error),
    })
}

/// One value that fills the bytes.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut deserializer = Deserializer::new(Cursor::new(bytes));
    deserializer.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut deserializer)?;
    match bytes.len() as u64 - deserializer.position() {
        0 => Ok(value),
        left => Err(Error::Syntax(format!("{left} bytes follow the value"))),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::error::ErrorCode;
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Level {
        room: String,
        #[serde(default)]
        value: u8,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Options {
        limit: Option<u32>,
    }

    #[test]
    fn structures_travel_as_maps() {
        let level = Level { room: "hall".into(), value: 7 };
        let packed = pack(&level).unwrap();
        assert_eq!(packed[0], 0x82);
        assert_eq!(unpack::<Level>(&packed).unwrap(), level);
    }

    #[test]
    fn no_bytes_are_nothing_or_a_structure_without_fields() {
        unpack::<()>(&pack(&()).unwrap()).unwrap();
        assert_eq!(pack(&None::<u8>).unwrap(), []);
        assert_eq!(unpack::<Option<u8>>(&[]).unwrap(), None);
        assert_eq!(unpack::<Options>(&[]).unwrap(), Options { limit: None });
        assert_eq!(unpack_parameters::<Level>(&[]).unwrap_err().code(), ErrorCode::INVALID_PARAMETERS);
    }

    #[test]
    fn what_does_not_fit_and_what_is_no_messagepack_are_two_errors() {
        let code = |bytes: &[u8]| unpack_parameters::<Level>(bytes).unwrap_err().code();
        assert_eq!(code(&pack(&17).unwrap()), ErrorCode::INVALID_PARAMETERS);
        assert_eq!(code(&pack(&("hall", 300)).unwrap()), ErrorCode::INVALID_PARAMETERS);
        for bytes in [&b"\xC1"[..], b"\x81\xA4ro", b"\xDF\xFF\xFF\xFF\xFF", b"room=hall"] {
            assert_eq!(code(bytes), ErrorCode::PARSE, "{bytes:?}");
        }
        assert_eq!(code(&[0x91; 100_000]), ErrorCode::PARSE, "deep nesting does not exhaust the stack");
    }
}
