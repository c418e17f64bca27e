//! Memory to write a payload into.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::payload::{Content, Payload};

/// Memory for a payload, from [`Client::loan`](crate::Client::loan): write it, then publish or send it like any
/// payload.
///
/// On a client with a lane, one of more than 512 bytes lies in shared memory as long as there is room, and receivers of the
/// same user read it in place (others get copies, unless [`ShmTrust`](crate::ShmTrust) says otherwise); any other is heap
/// memory that is sent. Dropping it unsent gives it back.
///
/// It belongs to the process that took it: reading or writing one in shared memory in a forked child panics.
///
/// # Examples
/// ```no_run
/// # async fn camera(client: busway::Client, pixels: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let mut frame = client.loan(pixels.len());
/// frame.copy_from_slice(pixels);
/// client.publish("camera/front", frame).await?;
///
/// let picture = client.loan_zeroed(1 << 20).freeze(); // to send it more than once
/// client.send("viewer", picture.clone()).await?;
/// client.send("recorder", picture).await?;
/// # Ok(())
/// # }
/// ```
pub struct Loan {
    memory: Memory,
}

enum Memory {
    Heap(Vec<u8>),
    #[cfg(feature = "shm")]
    Chunk(busway_shm::Loan),
}

impl Loan {
    /// Zeroed memory on the heap.
    pub(crate) fn on_heap(length: usize) -> Self {
        Self { memory: Memory::Heap(vec![0; length]) }
    }

    #[cfg(feature = "shm")]
    pub(crate) fn in_arena(loan: busway_shm::Loan) -> Self {
        Self { memory: Memory::Chunk(loan) }
    }

    /// Whether it lies in shared memory, so that local receivers can read it in place.
    pub fn is_in_place(&self) -> bool {
        !matches!(self.memory, Memory::Heap(_))
    }

    /// As a payload, which can be cloned and sent several times, and no longer be written.
    pub fn freeze(self) -> Payload {
        match self.memory {
            Memory::Heap(bytes) => bytes.into(),
            #[cfg(feature = "shm")]
            Memory::Chunk(loan) => Payload::of_chunk(loan.freeze()),
        }
    }
}

impl Deref for Loan {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Heap(bytes) => bytes,
            #[cfg(feature = "shm")]
            Memory::Chunk(loan) => loan,
        }
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => bytes,
            #[cfg(feature = "shm")]
            Memory::Chunk(loan) => loan,
        }
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Loan({} bytes)", self.len())
    }
}

impl From<Loan> for Payload {
    fn from(loan: Loan) -> Self {
        loan.freeze()
    }
}

impl From<Loan> for Content<'_> {
    fn from(loan: Loan) -> Self {
        Self::Owned(loan.freeze())
    }
}
