//! Bytes in any split through an assembler.

use std::ops::ControlFlow;

use busway_net::wire::{Assembler, BodyMemory, Event, Grammar, ReceivedPayload, Violation};

/// A frame that outlives the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame<M> {
    pub(crate) meta: M,
    pub(crate) first: Vec<u8>,
    pub(crate) second: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl<M> Frame<M> {
    pub(crate) fn new(meta: M, first: &[u8], second: &[u8], payload: &[u8]) -> Self {
        Self { meta, first: first.to_vec(), second: second.to_vec(), payload: payload.to_vec() }
    }
}

/// Everything that came out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded<M> {
    pub(crate) frames: Vec<Frame<M>>,
    /// Whether the stream ended amid a frame, or what was wrong with it.
    pub(crate) end: Result<bool, Violation>,
}

impl<M> Decoded<M> {
    /// A stream that ended with its last frame.
    pub(crate) fn all(frames: Vec<Frame<M>>) -> Self {
        Self { frames, end: Ok(false) }
    }
}

/// Appends `chunk` as a socket would, as far as there is room, and calls `look` after each read with its length.
pub(crate) fn feed<G: Grammar, B: BodyMemory<G::Meta>>(
    assembler: &mut Assembler<G>,
    mut chunk: &[u8],
    memory: &mut B,
    mut look: impl FnMut(&mut Assembler<G>, &mut B, usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while !chunk.is_empty() {
        let room = assembler.room(memory);
        let count = chunk.len().min(room.capacity() - room.len());
        assert!(count > 0, "there is always room to read");
        room.extend_from_slice(&chunk[..count]);
        chunk = &chunk[count..];
        look(assembler, memory, count)?;
    }
    ControlFlow::Continue(())
}

/// Takes every frame that is there.
pub(crate) fn take_all<G: Grammar, B: BodyMemory<G::Meta>>(
    assembler: &mut Assembler<G>,
    memory: &mut B,
    frames: &mut Vec<Frame<G::Meta>>,
) -> Result<(), Violation> {
    loop {
        let (frame, owned) = match assembler.next(memory)? {
            None => return Ok(()),
            Some(event) => own::<G>(event),
        };
        frames.push(frame);
        if let Some(owned) = owned {
            memory.give_back(owned);
        }
    }
}

fn own<G: Grammar>(event: Event<'_, G>) -> (Frame<G::Meta>, Option<Vec<u8>>) {
    let frame = Frame::new(event.meta, event.first, event.second, event.payload.as_slice());
    assert_eq!(event.payload.len(), frame.payload.len(), "a frame is all there");
    match event.payload {
        ReceivedPayload::Owned(memory) => (frame, Some(memory)),
        ReceivedPayload::Borrowed(_) => (frame, None),
        ReceivedPayload::Front(..) => panic!("nobody has taken any of it elsewhere"),
        ReceivedPayload::Announced(_) => panic!("a frame that is returned has its payload"),
    }
}

/// Decodes a stream that arrives in these pieces.
pub(crate) fn decode<'a, G: Grammar, B: BodyMemory<G::Meta>>(
    grammar: G,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    memory: &mut B,
) -> Decoded<G::Meta> {
    let mut assembler = Assembler::new(grammar);
    let mut frames = Vec::new();
    let mut outcome = Ok(());
    for chunk in chunks {
        let _ = feed(&mut assembler, chunk, memory, |assembler, memory, _| {
            outcome = take_all(assembler, memory, &mut frames);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if outcome.is_err() {
            break;
        }
    }
    let end = outcome.map(|()| assembler.is_amid());
    assembler.release(memory);
    Decoded { frames, end }
}
