//! Results that are read record by record, with a handle that says where the reader is.
//!
//! A convention between BUS/RT services: a method opens a cursor and returns its handle; `N` with the handle returns
//! the next record, and no bytes at the end; `NB` with the handle and a count returns an array of the next records, and
//! fewer than that at the end. A service forgets a cursor some time after its last use.
//!
//! ```no_run
//! # async fn customers(service: busway::Client, client: busway::Client) -> Result<(), busway::rpc::CallError> {
//! use std::time::Duration;
//! use busway::rpc::{CursorHandle, Cursors, Methods, Rpc};
//!
//! let cursors = Cursors::new(Duration::from_secs(30));
//! let opened = cursors.clone();
//! let methods = Methods::new().cursors(&cursors).typed_method("list", move |(): (), _| {
//!     let handle = opened.open_packed(["anna", "bert"]);
//!     async move { handle }
//! });
//! let _service = Rpc::new(service, methods);
//!
//! let rpc = Rpc::new(client, ());
//! let handle: CursorHandle = rpc.call_typed("service", "list", &()).await?;
//! let mut names = rpc.cursor::<String>("service", handle).bulk(100);
//! while let Some(name) = names.next().await {
//!     println!("{}", name?);
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod server;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use client::Cursor;
pub use server::{Cursors, Records};

/// The method that returns the next record, unless a service has another.
pub(crate) const NEXT: &str = "N";
/// The method that returns the next records.
pub(crate) const NEXT_BULK: &str = "NB";

/// What stands for an open cursor: it travels as `{u: 16 bytes, n: COUNT?}`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CursorHandle {
    #[serde(rename = "u", with = "id")]
    id: Id,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

type Id = [u8; 16];

impl CursorHandle {
    /// The handle with that UUID.
    pub fn new(uuid: [u8; 16]) -> Self {
        Self { id: uuid, count: None }
    }

    /// The same cursor, to be asked for so many records at once.
    #[must_use]
    pub fn with_count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// The UUID.
    pub fn uuid(&self) -> [u8; 16] {
        self.id
    }

    /// How many records are asked for: one, unless it says otherwise.
    pub fn count(&self) -> u64 {
        self.count.unwrap_or(1)
    }
}

impl fmt::Debug for CursorHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CursorHandle({:032x}, {:?})", u128::from_be_bytes(self.id), self.count)
    }
}

/// A UUID as raw bytes.
mod id {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    use super::Id;

    pub(super) fn serialize<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Id;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("16 bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Id, E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::{pack, unpack};
    use super::*;

    #[test]
    fn a_handle_is_a_map_of_raw_bytes_and_perhaps_a_count() {
        let handle = CursorHandle::new([7; 16]);
        let bytes = [&b"\x81\xA1u\xC4\x10"[..], &[7; 16]].concat();
        assert_eq!(pack(&handle).unwrap(), bytes);
        assert_eq!(unpack::<CursorHandle>(&bytes).unwrap(), handle);
        let bytes = [&b"\x82\xA1u\xC4\x10"[..], &[7; 16], b"\xA1n\x64"].concat();
        assert_eq!(pack(&handle.with_count(100)).unwrap(), bytes);
        assert_eq!(unpack::<CursorHandle>(&bytes).unwrap().count(), 100);
        assert_eq!(handle.count(), 1);
        for length in [15_u8, 17] {
            let bytes = [&b"\x81\xA1u\xC4"[..], &[length], &vec![7; length.into()]].concat();
            assert!(unpack::<CursorHandle>(&bytes).is_err());
        }
    }
}
