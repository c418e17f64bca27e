//! Payloads by which a receiver knows which one has come.

/// Bytes that carry the number, where there is room.
const NUMBER: usize = size_of::<u64>();

/// The payloads of one sender to one address, in their order.
pub(crate) struct Numbered {
    bytes: Vec<u8>,
    next: u64,
}

impl Numbered {
    pub(crate) fn new(size: usize) -> Self {
        Self { bytes: vec![0xEE; size], next: 0 }
    }

    /// The next one.
    pub(crate) fn advance(&mut self) -> &[u8] {
        if let Some(number) = self.bytes.first_chunk_mut::<NUMBER>() {
            *number = self.next.to_le_bytes();
        }
        self.next += 1;
        &self.bytes
    }
}

/// What follows the last of them: it has another length than they.
pub(crate) fn end(size: usize) -> &'static [u8] {
    if size == 0 { b"." } else { b"" }
}

/// What a receiver makes of what comes.
#[derive(Debug)]
pub(crate) struct Expected {
    size: usize,
    next: u64,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// One that counts; others before it may be missing.
    Counts,
    /// Nothing follows.
    End,
    /// One that was never sent, came before, or comes too late.
    Strange,
}

impl Expected {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, next: 0 }
    }

    pub(crate) fn see(&mut self, payload: &[u8]) -> Arrival {
        if payload.len() != self.size {
            return if payload == end(self.size) { Arrival::End } else { Arrival::Strange };
        }
        let number = payload.first_chunk::<NUMBER>().map_or(self.next, |bytes| u64::from_le_bytes(*bytes));
        if number < self.next {
            return Arrival::Strange;
        }
        self.next = number + 1;
        Arrival::Counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_count_in_their_order_alone() {
        for size in [0, 1, 7, 8, 100] {
            let (mut numbered, mut expected) = (Numbered::new(size), Expected::new(size));
            let payloads: Vec<Vec<u8>> = (0..4).map(|_| numbered.advance().to_vec()).collect();
            assert_eq!(expected.see(&payloads[0]), Arrival::Counts);
            assert_eq!(expected.see(&payloads[2]), Arrival::Counts, "one may be missing");
            let late = if size < NUMBER { Arrival::Counts } else { Arrival::Strange };
            assert_eq!(expected.see(&payloads[1]), late);
            assert_eq!(expected.see(&vec![0; size + 2]), Arrival::Strange);
            assert_eq!(expected.see(end(size)), Arrival::End);
        }
    }
}
