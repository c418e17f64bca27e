//! Buffers that are used again.
//!
//! A page that the kernel has just handed out costs several times a copy of the same size, so memory that has been
//! used once is kept, within bounds.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::wire::{BodyMemory, Received};

/// Shared by all connections of a broker or a process.
#[derive(Clone, Debug)]
pub struct Pool {
    shelf: Arc<Mutex<Shelf>>,
    /// Bytes kept at most.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shelf {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// One that is larger than all that is kept together: streams of such payloads need no more.
    large: Option<Vec<u8>>,
    /// Nobody has taken that one or given it back since the last look.
    is_large_idle: bool,
}

/// Buffers kept at most: looking for one that fits stays cheap.
const MAX_BUFFERS: usize = 64;
/// Smaller memory is cheaper from the allocator.
const SMALLEST: usize = 4 << 10;

impl Default for Pool {
    fn default() -> Self {
        Self::new(32 << 20)
    }
}

impl Pool {
    /// A pool that keeps at most `capacity` bytes (32 MiB by default), and one larger buffer between two looks of
    /// [`tidy`](Pool::tidy).
    pub fn new(capacity: usize) -> Self {
        Self { shelf: Arc::default(), capacity }
    }

    /// Empty memory with room for at least `capacity` bytes.
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        if capacity >= SMALLEST {
            let mut shelf = self.shelf.lock();
            let fits = |buffer: &Vec<u8>| buffer.capacity() >= capacity && buffer.capacity() / 2 <= capacity;
            if let Some(large) = shelf.large.take_if(|large| fits(large)) {
                return large;
            }
            if let Some(position) = shelf.buffers.iter().rposition(fits) {
                let buffer = shelf.buffers.remove(position);
                shelf.bytes -= buffer.capacity();
                return buffer;
            }
        }
        Vec::with_capacity(capacity)
    }

    /// Takes memory back. What came back longest ago is freed for it when enough is kept.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < SMALLEST {
            return;
        }
        buffer.clear();
        let mut shelf = self.shelf.lock();
        if buffer.capacity() > self.capacity {
            shelf.is_large_idle = false;
            let other = shelf.large.replace(buffer);
            drop(shelf);
            drop(other);
            return;
        }
        shelf.bytes += buffer.capacity();
        shelf.buffers.push(buffer);
        let mut surplus = 0;
        while shelf.bytes > self.capacity || shelf.buffers.len() - surplus > MAX_BUFFERS {
            shelf.bytes -= shelf.buffers[surplus].capacity();
            surplus += 1;
        }
        let surplus: Vec<_> = shelf.buffers.drain(..surplus).collect();
        drop(shelf);
        // Freeing can be slow: not under the lock.
        drop(surplus);
    }

    /// Frees the large buffer if nobody has used it since the last call; to be called now and then.
    pub fn tidy(&self) {
        let mut shelf = self.shelf.lock();
        let is_idle = std::mem::replace(&mut shelf.is_large_idle, true);
        let idle = if is_idle { shelf.large.take() } else { None };
        drop(shelf);
        drop(idle);
    }

    /// Shares a buffer; its memory comes back to the pool when the last share is dropped.
    pub fn share(&self, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < SMALLEST {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Pooled { buffer, pool: self.clone() })
    }

    /// A shared copy of `bytes`.
    pub fn share_copy(&self, bytes: &[u8]) -> Bytes {
        if bytes.len() < SMALLEST {
            return Bytes::copy_from_slice(bytes);
        }
        let mut buffer = self.take(bytes.len());
        buffer.extend_from_slice(bytes);
        self.share(buffer)
    }
}

impl<M> BodyMemory<M> for Pool {
    fn take(&mut self, _frame: &Received<'_, M>, capacity: usize) -> Vec<u8> {
        Self::take(self, capacity)
    }

    fn take_buffer(&mut self, capacity: usize) -> Vec<u8> {
        Self::take(self, capacity)
    }

    fn give_back(&mut self, memory: Vec<u8>) {
        Self::give_back(self, memory);
    }
}

struct Pooled {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_share_is_dropped() {
        let pool = Pool::default();
        let mut buffer = pool.take(8192);
        buffer.extend_from_slice(b"abc");
        let address = buffer.as_ptr();
        let shared = pool.share(buffer);
        let other = shared.clone();
        drop(shared);
        let meanwhile = pool.take(8192);
        assert_ne!(meanwhile.as_ptr(), address, "a share is still out");
        drop(other);
        let again = pool.take(8192);
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn a_full_pool_keeps_no_more() {
        let pool = Pool::new(8192);
        pool.give_back(Vec::with_capacity(8192));
        pool.give_back(Vec::with_capacity(8192));
        let shelf = pool.shelf.lock();
        assert_eq!(shelf.buffers.len(), 1);
        assert_eq!(shelf.bytes, shelf.buffers[0].capacity());
    }

    #[test]
    fn what_nobody_asks_for_makes_room_for_what_is_used_now() {
        let pool = Pool::default();
        (0..200).for_each(|_| pool.give_back(Vec::with_capacity(8192)));
        assert_eq!(pool.shelf.lock().buffers.len(), MAX_BUFFERS);
        let large: Vec<u8> = Vec::with_capacity(1 << 20);
        let address = large.as_ptr();
        pool.give_back(large);
        let again = pool.take(1 << 20);
        assert_eq!(again.as_ptr(), address);
        let shelf = pool.shelf.lock();
        assert_eq!(shelf.bytes, shelf.buffers.iter().map(Vec::capacity).sum());
    }

    #[test]
    fn one_larger_buffer_is_kept_while_it_is_used() {
        let pool = Pool::new(8192);
        let buffer = |pool: &Pool| pool.shelf.lock().large.as_ref().map(Vec::capacity);
        pool.give_back(Vec::with_capacity(1 << 20));
        pool.give_back(Vec::with_capacity(2 << 20));
        assert_eq!(buffer(&pool), Some(2 << 20), "the one that was used last");
        pool.give_back(Vec::with_capacity(8192));
        for _ in 0..10 {
            pool.tidy();
            let large = pool.take(2 << 20);
            assert_eq!(buffer(&pool), None);
            pool.give_back(large);
        }
        pool.tidy();
        assert_eq!(buffer(&pool), Some(2 << 20), "it was used since the last look");
        pool.tidy();
        assert_eq!(buffer(&pool), None);
        assert_eq!(pool.shelf.lock().bytes, 8192, "what is kept for long is not touched");
    }

    #[test]
    fn a_small_request_does_not_take_a_large_buffer() {
        let pool = Pool::default();
        pool.give_back(Vec::with_capacity(1 << 20));
        assert!(pool.take(8192).capacity() < 1 << 20);
    }
}
