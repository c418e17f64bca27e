//! The bytes that users exchange.

use std::fmt;
use std::io::{Cursor, Read};
use std::ops::Deref;

#[cfg(feature = "ipc")]
use busway_net::link::Body;
use bytes::Bytes;

/// Bytes that are cheap to clone, wherever they live.
///
/// Today they live on the heap. Payloads that lie in another process's memory will look the same; code that wants
/// bytes which nobody else can touch uses [`to_vec`](Payload::to_vec).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload {
    bytes: Bytes,
}

impl Payload {
    /// An empty payload.
    pub const fn new() -> Self {
        Self { bytes: Bytes::new() }
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, in place.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Copies the first bytes into `destination`, as many as fit; returns how many.
    pub fn copy_to(&self, destination: &mut [u8]) -> usize {
        let count = destination.len().min(self.len());
        destination[..count].copy_from_slice(&self.bytes[..count]);
        count
    }

    /// Reads the bytes from the beginning.
    pub fn reader(&self) -> impl Read + '_ {
        Cursor::new(self.as_slice())
    }

    /// What follows the first `start` bytes, without a copy.
    #[cfg(any(feature = "broker", feature = "rpc"))]
    pub(crate) fn tail(&self, start: usize) -> Self {
        Self { bytes: self.bytes.slice(start..) }
    }

    /// As a body that a socket's writer takes.
    #[cfg(feature = "ipc")]
    pub(crate) fn body(&self) -> Body {
        Body::Bytes(self.bytes.clone())
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Payload({} bytes)", self.len())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into() }
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes) }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

/// What to send: bytes that are borrowed for the duration of the call, or a payload.
///
/// Small borrowed bytes are copied straight into the connection's queue, without an allocation of their own.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Copied by the call.
    Borrowed(&'a [u8]),
    /// Sent from where it is.
    Owned(Payload),
}

impl Content<'_> {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(payload) => payload,
        }
    }

    /// What follows the first `start` bytes, without a copy.
    #[cfg(feature = "broker")]
    pub(crate) fn tail(&self, start: usize) -> Content<'_> {
        match self {
            Self::Borrowed(bytes) => Content::Borrowed(&bytes[start..]),
            Self::Owned(payload) => Content::Owned(payload.tail(start)),
        }
    }

    /// As a payload; borrowed bytes are copied.
    pub fn into_payload(self) -> Payload {
        match self {
            Self::Borrowed(bytes) => bytes.into(),
            Self::Owned(payload) => payload,
        }
    }
}

impl<'a> From<&'a [u8]> for Content<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Content<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Content<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Content<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl<'a> From<&'a String> for Content<'a> {
    fn from(text: &'a String) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

impl From<Payload> for Content<'_> {
    fn from(payload: Payload) -> Self {
        Self::Owned(payload)
    }
}

impl From<&Payload> for Content<'_> {
    fn from(payload: &Payload) -> Self {
        Self::Owned(payload.clone())
    }
}

impl From<Bytes> for Content<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Owned(bytes.into())
    }
}

impl From<Vec<u8>> for Content<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes.into())
    }
}

impl From<String> for Content<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text.into())
    }
}
