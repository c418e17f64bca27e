//! The bytes that users exchange.

mod content;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{Cursor, Read};
use std::ops::Deref;
#[cfg(all(feature = "shm", feature = "ipc"))]
use std::sync::Arc;

#[cfg(feature = "ipc")]
use busway_net::link::Body;
use bytes::Bytes;
#[cfg(feature = "ipc")]
use zerocopy::FromBytes;
use zerocopy::IntoBytes;

pub use self::content::Content;

/// Bytes that are cheap to clone, wherever they live: on the heap, or in memory that their sender has written and that
/// every local receiver reads in place.
///
/// Bytes in place are those of a process that this one trusts (see [`ShmTrust`](crate::ShmTrust)). Its library does not
/// change them while anybody holds them; a process that breaks the library's rules could. Code that wants bytes which
/// nobody else can touch takes [`to_vec`](Payload::to_vec).
///
/// Dropping the last clone of a payload in place gives its memory back to the sender, from any thread, also after the
/// connection has ended. Who holds very many gets copies instead. Such a payload belongs to the process that received
/// it: reading it in a forked child panics.
#[derive(Clone)]
pub struct Payload {
    home: Home,
}

// Its tag and its lengths are whole words, see `Frame`.
#[derive(Clone)]
#[repr(u64)]
enum Home {
    Bytes(Bytes),
    /// Short ones, without memory of their own.
    #[cfg_attr(not(feature = "ipc"), allow(dead_code, reason = "only clients receive any"))]
    Short {
        length: u64,
        words: [u64; SHORT / size_of::<u64>()],
    },
    /// Memory that somebody else has written.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    Place(Arc<dyn InPlace>),
    /// Memory of this client's arenas.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    Chunk(Arc<busway_shm::Chunk>),
}

#[expect(clippy::cast_possible_truncation, reason = "at most 64")]
#[inline]
fn short_length(length: u64) -> usize {
    length as usize
}

/// Bytes of the longest payload that takes no memory of its own.
pub(crate) const SHORT: usize = 64;

/// A payload that is read where it lies; dropping it gives it back.
#[cfg(all(feature = "shm", feature = "ipc"))]
pub(crate) trait InPlace: Send + Sync {
    /// The bytes.
    fn as_slice(&self) -> &[u8];
}

#[cfg(all(feature = "shm", feature = "ipc"))]
impl InPlace for busway_shm::Sample {
    fn as_slice(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Keeps a payload for as long as its bytes are shared.
#[cfg(all(feature = "shm", feature = "ipc"))]
struct Owner(Payload);

#[cfg(all(feature = "shm", feature = "ipc"))]
impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Payload {
    /// An empty payload.
    pub const fn new() -> Self {
        Self { home: Home::Bytes(Bytes::new()) }
    }

    /// A copy of at most [`SHORT`] bytes.
    ///
    /// # Panics
    /// When there are more.
    #[cfg(feature = "ipc")]
    #[inline(always)]
    pub(crate) fn short(bytes: &[u8]) -> Self {
        // The longest are copied without a call.
        let words = FromBytes::read_from_bytes(bytes).unwrap_or_else(|_| {
            let mut words = [0; SHORT / size_of::<u64>()];
            words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
            words
        });
        Self { home: Home::Short { length: bytes.len() as u64, words } }
    }

    /// The first `length` bytes of words, which are in the order of memory.
    ///
    /// # Panics
    /// When the words have fewer.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    #[inline(always)]
    pub(crate) fn of_words(length: usize, words: [u64; SHORT / size_of::<u64>()]) -> Self {
        assert!(length <= SHORT, "a short payload is in its words");
        Self { home: Home::Short { length: length as u64, words } }
    }

    #[cfg(all(feature = "shm", feature = "ipc"))]
    pub(crate) fn in_place(place: Arc<dyn InPlace>) -> Self {
        Self { home: Home::Place(place) }
    }

    #[cfg(all(feature = "shm", feature = "ipc"))]
    pub(crate) fn of_chunk(chunk: Arc<busway_shm::Chunk>) -> Self {
        Self { home: Home::Chunk(chunk) }
    }

    /// The chunk of an arena that it is, if it is one.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    pub(crate) fn chunk(&self) -> Option<&Arc<busway_shm::Chunk>> {
        match &self.home {
            Home::Chunk(chunk) => Some(chunk),
            _ => None,
        }
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of this process's memory that it takes, for queues that are bounded in bytes: what lies in shared memory
    /// is its sender's, who has limits of its own.
    #[cfg(feature = "ipc")]
    pub(crate) fn weight(&self) -> usize {
        match &self.home {
            Home::Bytes(bytes) => bytes.len(),
            Home::Short { length, .. } => short_length(*length),
            #[cfg(all(feature = "shm", feature = "ipc"))]
            _ => 0,
        }
    }

    /// Whether the bytes lie in shared memory, its sender's or this client's own.
    pub fn is_in_place(&self) -> bool {
        !matches!(self.home, Home::Bytes(_) | Home::Short { .. })
    }

    /// The bytes, in place.
    pub fn as_slice(&self) -> &[u8] {
        match &self.home {
            Home::Bytes(bytes) => bytes,
            Home::Short { length, words } => &words.as_bytes()[..short_length(*length)],
            #[cfg(all(feature = "shm", feature = "ipc"))]
            Home::Place(place) => place.as_slice(),
            #[cfg(all(feature = "shm", feature = "ipc"))]
            Home::Chunk(chunk) => chunk.as_slice(),
        }
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_slice().to_vec()
    }

    /// Copies the first bytes into `destination`, as many as fit; returns how many.
    pub fn copy_to(&self, destination: &mut [u8]) -> usize {
        let bytes = self.as_slice();
        let count = destination.len().min(bytes.len());
        destination[..count].copy_from_slice(&bytes[..count]);
        count
    }

    /// Reads the bytes from the beginning.
    pub fn reader(&self) -> impl Read + '_ {
        Cursor::new(self.as_slice())
    }

    /// The bytes, shared.
    #[cfg(feature = "ipc")]
    pub(crate) fn bytes(&self) -> Bytes {
        match &self.home {
            Home::Bytes(bytes) => bytes.clone(),
            Home::Short { .. } => Bytes::copy_from_slice(self.as_slice()),
            #[cfg(all(feature = "shm", feature = "ipc"))]
            _ => Bytes::from_owner(Owner(self.clone())),
        }
    }

    /// What follows the first `start` bytes, without a copy.
    #[cfg(any(feature = "broker", feature = "rpc"))]
    pub(crate) fn tail(&self, start: usize) -> Self {
        self.bytes().slice(start..).into()
    }

    /// As a body that a socket's writer takes.
    #[cfg(feature = "ipc")]
    pub(crate) fn body(&self) -> Body {
        Body::Bytes(self.bytes())
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Payload {}

impl Hash for Payload {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
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
        Self { home: Home::Bytes(bytes) }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        #[cfg(feature = "ipc")]
        if bytes.len() <= SHORT {
            return Self::short(bytes);
        }
        Bytes::copy_from_slice(bytes).into()
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}
