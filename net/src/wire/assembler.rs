//! Frames out of bytes that arrive in any split.

mod filling;

use std::ops::Range;

use filling::{Filling, announcement};

use super::words::find_nul;
use super::{Limits, Payloads, Violation};

/// Memory for reading starts with this much ...
const SMALL_BUFFER: usize = 64 << 10;
/// ... and grows to this while reads fill it.
const LARGE_BUFFER: usize = 256 << 10;
/// A frame longer than this is not gathered in the read buffer but gets memory of its own.
const INLINE: usize = SMALL_BUFFER / 2;
/// The first memory for a large payload of a peer that has not sent one before.
const FIRST_STAGE: usize = 256 << 10;
/// Memory for a payload is at most this many times what has arrived of it, or what this peer has sent before.
const STAGE_FACTOR: usize = 16;

/// One direction of the protocol: how its frames are told apart.
pub trait Grammar {
    /// The fixed part of a frame.
    type Meta: Copy + std::fmt::Debug;

    /// Looks at the start of `input`. A frame longer than `inline` bytes that is not all there yet is announced as
    /// [`Parsed::Large`] as soon as its names are there.
    ///
    /// # Errors
    /// When the bytes are not the protocol.
    fn parse(&self, input: &[u8], inline: usize) -> Result<Parsed<Self::Meta>, Violation>;
}

/// What stands at the start of the input. Ranges are positions in it.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<M> {
    /// Not enough to tell, or a short frame that is not all there.
    Incomplete,
    /// A whole frame.
    Whole {
        /// The fixed part.
        meta: M,
        /// Its names.
        names: [Range<usize>; 2],
        /// Its payload; the frame ends where this ends.
        payload: Range<usize>,
    },
    /// The head of a large frame; its payload begins where the last name ends and is still arriving.
    Large {
        /// The fixed part.
        meta: M,
        /// Its names.
        names: [Range<usize>; 2],
        /// Where the payload begins.
        start: usize,
        /// Bytes of the payload.
        length: usize,
    },
}

impl<M> Parsed<M> {
    pub(super) fn short(size: usize, meta: M) -> Self {
        Self::Whole { meta, names: [0..0, 0..0], payload: size..size }
    }
}

/// Where large payloads go. The caller decides once it knows what is coming and for whom.
pub trait BodyMemory<M> {
    /// Empty memory with room for at least `capacity` bytes, for (part of) the payload of the announced frame.
    fn take(&mut self, frame: &Received<'_, M>, capacity: usize) -> Vec<u8>;

    /// Memory for the read buffer: empty, with room for at least `capacity` bytes.
    fn take_buffer(&mut self, capacity: usize) -> Vec<u8>;

    /// Memory that is no longer needed.
    fn give_back(&mut self, memory: Vec<u8>);
}

/// A frame, or (for [`BodyMemory::take`]) the announcement of one.
#[derive(Debug)]
pub struct Received<'a, M> {
    /// The fixed part.
    pub meta: M,
    /// Topic, target or mask; sender in a frame from a broker.
    pub first: &'a [u8],
    /// Receiver of a publish-for; topic in a publication from a broker.
    pub second: &'a [u8],
    /// The rest.
    pub payload: ReceivedPayload<'a>,
}

/// A frame, as [`Assembler::next`] returns it.
pub type Event<'a, G> = Received<'a, <G as Grammar>::Meta>;

/// A payload as it stands after decoding.
#[derive(Debug)]
pub enum ReceivedPayload<'a> {
    /// Still in the read buffer.
    Borrowed(&'a [u8]),
    /// In memory of its own, from [`BodyMemory::take`].
    Owned(Vec<u8>),
    /// Its beginning, in such memory; this many bytes after it have been passed over, see [`Assembler::pass`].
    Front(Vec<u8>, usize),
    /// Not there yet (announcements only): this many bytes.
    Announced(usize),
}

impl ReceivedPayload<'_> {
    /// Bytes of the payload.
    pub fn len(&self) -> usize {
        match self {
            Self::Borrowed(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
            Self::Front(bytes, passed) => bytes.len() + passed,
            Self::Announced(length) => *length,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that are there.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) | Self::Front(bytes, _) => bytes,
            Self::Announced(_) => &[],
        }
    }
}

/// Takes bytes in any split and gives frames.
///
/// Read into [`room`](Assembler::room), then call [`next`](Assembler::next) until it returns `None`.
#[derive(Debug)]
pub struct Assembler<G: Grammar> {
    grammar: G,
    buffer: Vec<u8>,
    start: usize,
    wanted: usize,
    largest: usize,
    filling: Option<Filling<G::Meta>>,
    names: Vec<u8>,
}

impl<G: Grammar> Assembler<G> {
    /// An assembler without memory.
    pub fn new(grammar: G) -> Self {
        Self {
            grammar,
            buffer: Vec::new(),
            start: 0,
            wanted: SMALL_BUFFER,
            largest: 0,
            filling: None,
            names: Vec::new(),
        }
    }

    /// What the frames are read by; a connection may enable more of it on its way.
    pub fn grammar_mut(&mut self) -> &mut G {
        &mut self.grammar
    }

    /// Where the next bytes belong: append to it, at most to its capacity.
    pub fn room(&mut self, memory: &mut impl BodyMemory<G::Meta>) -> &mut Vec<u8> {
        if let Some(filling) = &mut self.filling {
            if filling.body.len() == filling.body.capacity() {
                let stage = stage_after(filling.body.len(), filling.length);
                let mut larger = memory.take(&announcement(filling, &self.names), stage);
                larger.extend_from_slice(&filling.body);
                memory.give_back(std::mem::replace(&mut filling.body, larger));
            }
            return &mut filling.body;
        }
        if self.buffer.capacity() == 0 {
            self.buffer = memory.take_buffer(self.wanted);
        } else if self.buffer.len() == self.buffer.capacity() {
            // The last read took all there was room for.
            self.wanted = (self.wanted * 2).min(LARGE_BUFFER);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(self.buffer.len() - self.start);
            self.start = 0;
        }
        // All of it is the head of one frame: its names are long, and there are limits to that too.
        let head = if self.buffer.len() == self.buffer.capacity() { self.buffer.len() * 2 } else { 0 };
        let wanted = self.wanted.max(head);
        if self.buffer.capacity() < wanted {
            let mut larger = memory.take_buffer(wanted);
            larger.extend_from_slice(&self.buffer);
            memory.give_back(std::mem::replace(&mut self.buffer, larger));
        }
        &mut self.buffer
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// When the peer's bytes are not the protocol; the assembler is of no use after that.
    // Inlined, as all that it calls for a whole frame: handed on in memory, a frame's parts are waited for.
    #[inline(always)]
    pub fn next(&mut self, memory: &mut impl BodyMemory<G::Meta>) -> Result<Option<Event<'_, G>>, Violation> {
        if self.filling.is_some() {
            return Ok(self.take_filled(memory));
        }
        match self.grammar.parse(&self.buffer[self.start..], INLINE)? {
            Parsed::Incomplete => Ok(None),
            Parsed::Whole { meta, names: [first, second], payload } => {
                let frame = &self.buffer[self.start..];
                self.start += payload.end;
                let payload = ReceivedPayload::Borrowed(&frame[payload]);
                Ok(Some(Received { meta, first: &frame[first], second: &frame[second], payload }))
            }
            Parsed::Large { meta, names, start, length } => {
                self.begin(meta, names, start..start + length, memory);
                Ok(None)
            }
        }
    }

    /// The payload of the frame that begins here gets memory of its own.
    #[cold]
    fn begin(
        &mut self,
        meta: G::Meta,
        [first, second]: [Range<usize>; 2],
        payload: Range<usize>,
        memory: &mut impl BodyMemory<G::Meta>,
    ) {
        let frame = &self.buffer[self.start..];
        self.names.clear();
        self.names.extend_from_slice(&frame[first.clone()]);
        self.names.extend_from_slice(&frame[second]);
        let mut filling =
            Filling { meta, first: first.len(), length: payload.len(), body: Vec::new(), passed: 0, is_new: true };
        let arrived = &frame[payload.start..];
        let stage = payload.len().min(self.largest.max(FIRST_STAGE)).max(arrived.len());
        filling.body = memory.take(&announcement(&filling, &self.names), stage);
        filling.body.extend_from_slice(arrived);
        self.buffer.clear();
        self.start = 0;
        self.filling = Some(filling);
    }

    /// Frames that are there, whole, and the same but for their payloads: as `is_next` says, which is told the fixed
    /// part, the first name, and bytes of the payload; at most `most` of them. Their payloads are noted in `places`.
    /// What is no such frame is left to [`next`](Assembler::next), whatever it is.
    pub fn next_run<'a>(
        &'a mut self,
        (most, places): (usize, &'a mut Vec<Range<usize>>),
        is_next: impl Fn(&G::Meta, &[u8], usize) -> bool,
    ) -> Payloads<'a> {
        places.clear();
        while places.len() < most && self.filling.is_none() {
            let frame = &self.buffer[self.start..];
            let Ok(Parsed::Whole { meta, names: [first, second], payload }) = self.grammar.parse(frame, INLINE) else {
                break;
            };
            if !second.is_empty() || !is_next(&meta, &frame[first], payload.len()) {
                break;
            }
            let start = self.start;
            self.start += payload.end;
            places.push(start + payload.start..start + payload.end);
        }
        Payloads::new(&self.buffer, places)
    }

    #[cold]
    fn take_filled(&mut self, memory: &mut impl BodyMemory<G::Meta>) -> Option<Event<'_, G>> {
        if self.missing() > 0 {
            return None;
        }
        let mut filling = self.filling.take()?;
        // The memory may have had room for more than the payload: what follows it is the next frame.
        if filling.body.len() > filling.length {
            if self.buffer.capacity() == 0 {
                self.buffer = memory.take_buffer(self.wanted);
            }
            self.buffer.extend_from_slice(&filling.body[filling.length..]);
            filling.body.truncate(filling.length);
        }
        let (first, second) = self.names.split_at(filling.first);
        let payload = match filling.passed {
            0 => {
                self.largest = self.largest.max(filling.length);
                ReceivedPayload::Owned(filling.body)
            }
            passed => ReceivedPayload::Front(filling.body, passed),
        };
        Some(Received { meta: filling.meta, first, second, payload })
    }

    /// Whether a frame has begun to arrive and is not complete.
    pub fn is_amid(&self) -> bool {
        self.filling.is_some() || self.start < self.buffer.len()
    }

    /// Bytes that have arrived and belong to no frame yet, for a handshake that ends amid a read.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Drops the first `count` bytes of [`pending`](Assembler::pending).
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
    }

    /// Gives the read buffer back when nothing is in it: an idle connection holds none.
    pub fn release(&mut self, memory: &mut impl BodyMemory<G::Meta>) {
        if self.start == self.buffer.len() && self.buffer.capacity() > 0 {
            if self.buffer.len() < self.wanted / 4 && self.wanted > SMALL_BUFFER {
                self.wanted /= 2;
            }
            self.start = 0;
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            memory.give_back(buffer);
        }
    }
}

/// Memory for a payload of which so much has arrived.
fn stage_after(arrived: usize, length: usize) -> usize {
    arrived.saturating_mul(STAGE_FACTOR).max(FIRST_STAGE).min(length)
}

/// What a header tells of the frame that it opens.
pub(super) struct Announced<M> {
    pub(super) meta: M,
    /// Bytes of the header.
    pub(super) header: usize,
    /// Bytes that follow it.
    pub(super) length: usize,
    /// Names (0 to 2) at the start of these, each ended by a NUL.
    pub(super) names: usize,
}

impl<M> Announced<M> {
    /// Finds the names in `body`, the part of the frame behind the header that has arrived. In a frame of more than
    /// `inline` bytes a name longer than any limit is cut one byte over it, so that whoever checks it refuses it:
    /// however much has arrived, so that no split changes the outcome.
    #[inline(always)]
    pub(super) fn parse(self, body: &[u8], inline: usize, limits: &Limits) -> Result<Parsed<M>, Violation> {
        let Self { meta, header, length, names: count } = self;
        let body = &body[..body.len().min(length)];
        let is_whole = body.len() == length;
        let is_short = header + length <= inline;
        if is_short && !is_whole {
            return Ok(Parsed::Incomplete);
        }
        let longest = if is_short { length } else { limits.max_path.max(limits.max_name) + 1 };
        let mut names: [Range<usize>; 2] = [0..0, 0..0];
        let mut at = 0;
        for name in names.iter_mut().take(count) {
            let rest = &body[at..];
            let (end, next) = match find_nul(&rest[..rest.len().min(longest)]) {
                Some(end) => (end, end + 1),
                None if rest.len() >= longest && !is_short => (longest, longest),
                None if is_whole => return Err(Violation::MissingNul),
                None => return Ok(Parsed::Incomplete),
            };
            *name = header + at..header + at + end;
            at += next;
        }
        let limit = limits.max_payload;
        if length - at > limit {
            return Err(Violation::PayloadTooLong { length: length - at, limit });
        }
        if is_whole {
            Ok(Parsed::Whole { meta, names, payload: header + at..header + length })
        } else {
            Ok(Parsed::Large { meta, names, start: header + at, length: length - at })
        }
    }
}
