//! What is sent.

use bytes::Bytes;

use super::Payload;

/// What to send: bytes that are borrowed for the duration of the call, or a payload.
///
/// Small borrowed bytes are copied straight into the connection's queue, without an allocation of their own. Large ones
/// (256 KiB and more) that are awaited go from where they lie into a UNIX socket, as long as the broker reads them: the
/// thread is kept for as long as that takes, but no longer than 4 ms and 2 ms for each MiB, and what is left then is
/// copied. What is owned is never waited for.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Copied by the call, or written by it from where they lie.
    Borrowed(&'a [u8]),
    /// Sent from where it is.
    Owned(Payload),
}

impl Content<'_> {
    /// Whether it is a loan of shared memory, which is sent without being copied.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self, Self::Owned(payload) if payload.chunk().is_some())
    }

    /// This build has no shared memory.
    #[cfg(all(not(feature = "shm"), feature = "ipc"))]
    pub(crate) fn is_lent(&self) -> bool {
        false
    }

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
