//! What an assembler asks for on the strength of what has arrived.

use std::ops::ControlFlow;

use busway_net::wire::{Assembler, ClientFrames, Limits};

use super::support::decode::{Frame, feed, take_all};
use super::support::memory::{Announcement, CountingMemory};

/// One connection of which every byte is counted.
struct Connection {
    assembler: Assembler<ClientFrames>,
    memory: CountingMemory,
    frames: Vec<Frame<busway_net::wire::ClientFrame>>,
}

impl Connection {
    fn new() -> Self {
        let memory = CountingMemory::new(Limits::default(), 0);
        Self { assembler: Assembler::new(ClientFrames::default()), memory, frames: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let frames = &mut self.frames;
        let _ = feed(&mut self.assembler, bytes, &mut self.memory, |assembler, memory, count| {
            memory.fed += count;
            take_all(assembler, memory, frames).expect("the stream is the protocol");
            ControlFlow::Continue(())
        });
    }
}

/// A message to `p` that claims `length` bytes of payload.
fn head(length: u32) -> Vec<u8> {
    [&[1, 0, 0, 0, 0x12], (length + 2).to_le_bytes().as_slice(), b"p\0"].concat()
}

#[test]
fn ten_bytes_of_250_mebibytes_take_256_kibibytes() {
    let mut connection = Connection::new();
    connection.receive(&head(250 << 20));
    connection.receive(&[0; 10]);
    let taken: usize = connection.memory.announcements.iter().map(|announcement| announcement.capacity).sum();
    assert_eq!(taken, 256 << 10);
    assert!(connection.memory.outstanding <= (256 << 10) + (64 << 10), "with the read buffer");
    connection.assembler.release(&mut connection.memory);
    assert_eq!(connection.memory.pieces, 1, "the read buffer goes back while a payload is awaited");
}

#[test]
fn memory_grows_in_stages_with_what_has_arrived() {
    let mut connection = Connection::new();
    let length = 20 << 20;
    connection.receive(&head(length));
    let piece = vec![7; 64 << 10];
    for _ in 0..(length as usize) / piece.len() {
        // The memory itself asserts that each stage is justified.
        connection.receive(&piece);
    }
    let stages: Vec<_> = connection.memory.announcements.iter().map(|announcement| announcement.capacity).collect();
    assert_eq!(stages, [256 << 10, 4 << 20, 20 << 20]);
    assert_eq!(connection.frames.len(), 1);
    assert!(connection.frames[0].payload.iter().all(|byte| *byte == 7));
    assert!(!connection.assembler.is_amid());
}

#[test]
fn a_peer_that_has_sent_a_megabyte_gets_a_megabyte_at_once() {
    let mut connection = Connection::new();
    for _ in 0..2 {
        connection.receive(&head(1 << 20));
        connection.receive(&vec![1; 1 << 20]);
    }
    connection.receive(&head(250 << 20));
    let stages: Vec<_> = connection.memory.announcements.iter().map(|announcement| announcement.capacity).collect();
    assert_eq!(stages, [256 << 10, 1 << 20, 1 << 20, 1 << 20]);
}

#[test]
fn names_and_length_are_known_before_memory_is_asked_for() {
    let mut connection = Connection::new();
    let names = b"topic/t\0receiver\0";
    let length = 100_000_u32;
    let total = (length + 17).to_le_bytes();
    let head = [&[1, 0, 0, 0, 0x06], total.as_slice(), names].concat();
    for at in 0..head.len() {
        connection.receive(&head[at..=at]);
        assert_eq!(connection.memory.announcements.is_empty(), at + 1 < head.len(), "byte {at}");
    }
    let announcement = Announcement {
        first: b"topic/t".to_vec(),
        second: b"receiver".to_vec(),
        length: length as usize,
        capacity: length as usize,
    };
    assert_eq!(connection.memory.announcements, [announcement]);
    assert!(connection.assembler.is_amid());
}

#[test]
fn the_read_buffer_grows_while_reads_fill_it_and_shrinks_again() {
    let mut connection = Connection::new();
    let pings = vec![0; 9 * 500_000];
    connection.receive(&pings);
    assert_eq!(connection.frames.len(), 500_000);
    assert!(connection.memory.outstanding <= 256 << 10);
    connection.assembler.release(&mut connection.memory);
    assert_eq!(connection.memory.pieces, 0);
    for _ in 0..4 {
        connection.receive(&[0; 9]);
        connection.assembler.release(&mut connection.memory);
    }
    connection.receive(&[0; 9]);
    assert_eq!(connection.memory.outstanding, 64 << 10);
}
