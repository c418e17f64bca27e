//! Payloads that come in pieces.

use std::collections::HashMap;

use busway_net::Pool;
use busway_shm::layout::flag;
use busway_shm::{Descriptor, Violation};

/// Memory for a payload that begins to arrive.
const FIRST_STAGE: usize = 256 << 10;
/// Memory is at most this many times what has arrived, or the first stage.
const STAGE_FACTOR: usize = 16;

/// Unfinished payloads of one peer, by stream.
#[derive(Debug)]
pub(super) struct Fragments<M> {
    open: HashMap<u32, Open<M>>,
    most: usize,
    max_payload: usize,
}

#[derive(Debug)]
struct Open<M> {
    head: M,
    total: usize,
    memory: Vec<u8>,
}

/// A piece as its descriptor says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) stream: u32,
    /// Bytes of this piece.
    pub(super) length: usize,
    /// Bytes of the whole payload.
    pub(super) total: u64,
    pub(super) more: bool,
}

impl Piece {
    /// The piece that a descriptor announces.
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        Self {
            stream: descriptor.stream.get(),
            length: descriptor.payload.get() as usize,
            total: descriptor.offset.get(),
            more: descriptor.flags & flag::MORE != 0,
        }
    }
}

impl<M> Fragments<M> {
    /// At most `most` payloads may be unfinished at a time.
    pub(super) fn new(most: usize, max_payload: usize) -> Self {
        Self { open: HashMap::new(), most, max_payload }
    }

    pub(super) fn is_amid(&self) -> bool {
        !self.open.is_empty()
    }

    /// Adds a piece, which `copy` appends; `head` is what the first piece says of the whole. Returns the payload when
    /// it is complete.
    ///
    /// # Errors
    /// When the pieces do not fit together.
    pub(super) fn add(
        &mut self,
        piece: Piece,
        pool: &Pool,
        head: impl FnOnce() -> Result<M, Violation>,
        copy: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Option<(M, Vec<u8>)>, Violation> {
        let Piece { stream, length, total, more } = piece;
        let total = usize::try_from(total).ok().filter(|total| *total <= self.max_payload).ok_or(Violation::Length)?;
        let mut open = match self.open.remove(&stream) {
            Some(open) => open,
            None if self.open.len() >= self.most => return Err(Violation::Descriptor),
            None => Open { head: head()?, total, memory: pool.take(total.min(FIRST_STAGE)) },
        };
        let arrived = open.memory.len() + length;
        if total != open.total || arrived > total || (arrived == total) == more || length == 0 {
            return Err(Violation::Length);
        }
        if arrived > open.memory.capacity() {
            let mut larger = pool.take(total.min(arrived.saturating_mul(STAGE_FACTOR)));
            larger.extend_from_slice(&open.memory);
            pool.give_back(std::mem::replace(&mut open.memory, larger));
        }
        copy(&mut open.memory);
        if more {
            self.open.insert(stream, open);
            return Ok(None);
        }
        Ok(Some((open.head, open.memory)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: u32, length: usize, total: u64, more: bool) -> Piece {
        Piece { stream, length, total, more }
    }

    fn add(fragments: &mut Fragments<u32>, piece: Piece) -> Result<Option<(u32, Vec<u8>)>, Violation> {
        let byte = u8::try_from(piece.stream).unwrap();
        fragments.add(
            piece,
            &Pool::default(),
            || Ok(piece.stream),
            |bytes| {
                bytes.resize(bytes.len() + piece.length, byte);
            },
        )
    }

    #[test]
    fn pieces_of_several_payloads_may_come_between_each_other() {
        let mut fragments = Fragments::new(2, 1 << 20);
        assert_eq!(add(&mut fragments, piece(1, 10, 25, true)), Ok(None));
        assert_eq!(add(&mut fragments, piece(2, 5, 10, true)), Ok(None));
        assert_eq!(add(&mut fragments, piece(3, 5, 10, true)), Err(Violation::Descriptor));
        assert_eq!(add(&mut fragments, piece(1, 10, 25, true)), Ok(None));
        assert_eq!(add(&mut fragments, piece(2, 5, 10, false)), Ok(Some((2, vec![2; 10]))));
        assert_eq!(add(&mut fragments, piece(1, 5, 25, false)), Ok(Some((1, vec![1; 25]))));
        assert!(!fragments.is_amid());
    }

    #[test]
    fn pieces_that_do_not_fit_together_are_refused() {
        for wrong in [
            piece(1, 16, 25, true),
            piece(1, 15, 25, true),
            piece(1, 14, 25, false),
            piece(1, 5, 26, true),
            piece(1, 0, 25, true),
        ] {
            let mut fragments = Fragments::new(2, 1 << 20);
            assert_eq!(add(&mut fragments, piece(1, 10, 25, true)), Ok(None));
            assert_eq!(add(&mut fragments, wrong), Err(Violation::Length), "{wrong:?}");
        }
        assert_eq!(add(&mut Fragments::new(1, 100), piece(1, 5, 101, true)), Err(Violation::Length));
        assert_eq!(add(&mut Fragments::new(1, 100), piece(1, 5, u64::MAX, true)), Err(Violation::Length));
    }

    #[test]
    fn a_length_alone_takes_little_memory() {
        let mut fragments: Fragments<()> = Fragments::new(1, 1 << 30);
        let copied = fragments.add(
            piece(1, 8, 1 << 30, true),
            &Pool::default(),
            || Ok(()),
            |bytes| {
                assert!(bytes.capacity() <= 2 * FIRST_STAGE);
                bytes.extend_from_slice(&[0; 8]);
            },
        );
        assert_eq!(copied, Ok(None));
    }
}
