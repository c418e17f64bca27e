//! A frame as it goes into a ring: whole, in place, or in pieces.

use busway_shm::layout::flag;
use busway_shm::{Descriptor, Parts, Violation, record_length};
use bytes::Bytes;

use super::backlog::{Body, Large};
use super::placing::{Place, Placed, Placing};
use super::queue::LaneProducer;

/// Bytes that are copied from one segment to another at once.
const COPY_STEP: usize = 4 << 10;

/// How far a large payload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it is gone.
    Done,
    /// There has to be room for so many bytes.
    Needs(usize),
    /// It waits for something else.
    Later,
}

/// As much of a large payload as there is room for. `may_wait`: it may wait until it can be handed over in place.
pub(super) fn push_large<P: Placing>(
    producer: &mut LaneProducer,
    placing: &mut P,
    (descriptor, parts): (&Descriptor, Parts<'_>),
    body: &mut Body<P::Held>,
    (fragment, next_stream, may_wait): (usize, &mut u32, bool),
) -> Result<Progress, Violation> {
    if let Large::Held(_) = body.load
        && body.sent == 0
    {
        let length = record_length(parts.name.len(), parts.second.len(), 0);
        let Some(mut reservation) = producer.reserve(length)? else { return Ok(Progress::Needs(length)) };
        let Large::Held(held) = std::mem::replace(&mut body.load, Large::Shared(Bytes::new())) else {
            return Ok(Progress::Done);
        };
        let payload = P::length(&held);
        match placing.place(held, may_wait)? {
            Placed::There(place) => {
                let descriptor = place.descriptor(*descriptor, parts, payload);
                reservation.write_parts(parts);
                reservation.commit(&descriptor);
                return Ok(Progress::Done);
            }
            Placed::Copy(held) => body.load = Large::Held(held),
            Placed::Later(held) => {
                body.load = Large::Held(held);
                return Ok(Progress::Later);
            }
        }
    }
    let total = match &body.load {
        Large::Shared(bytes) => bytes.len(),
        Large::Held(held) => P::length(held),
    };
    let is_whole = record_length(parts.name.len(), parts.second.len(), total) <= fragment;
    if body.stream == 0 && !is_whole {
        *next_stream = next_stream.wrapping_add(1).max(1);
        body.stream = *next_stream;
    }
    loop {
        // Only the first fragment carries the names.
        let parts = if body.sent == 0 { parts } else { Parts::default() };
        let names = record_length(parts.name.len(), parts.second.len(), 0);
        let step =
            if is_whole { total } else { (fragment.saturating_sub(names)).max(COPY_STEP).min(total - body.sent) };
        let length = record_length(parts.name.len(), parts.second.len(), step);
        let Some(mut reservation) = producer.reserve(length)? else { return Ok(Progress::Needs(length)) };
        reservation.write_parts(parts);
        match &body.load {
            Large::Shared(bytes) => reservation.write_payload(parts, 0, &bytes[body.sent..body.sent + step]),
            Large::Held(held) => {
                let mut buffer = [0; COPY_STEP];
                for position in (0..step).step_by(COPY_STEP) {
                    let part = &mut buffer[..COPY_STEP.min(step - position)];
                    P::copy(held, body.sent + position, part);
                    reservation.write_payload(parts, position, part);
                }
            }
        }
        if body.sent == 0 && matches!(body.load, Large::Held(_)) {
            placing.count_copy();
        }
        body.sent += step;
        let is_done = body.sent == total;
        let mut descriptor = with_lengths(descriptor, parts, step);
        if !is_whole {
            let more = if is_done { 0 } else { flag::MORE };
            descriptor.flags |= flag::FRAGMENT | more;
            descriptor.stream = body.stream.into();
            descriptor.offset = (total as u64).into();
        }
        reservation.commit(&descriptor);
        if is_done {
            return Ok(Progress::Done);
        }
    }
}

impl Place {
    /// A descriptor of a frame whose payload, or payloads, of so many bytes lie here.
    pub(super) fn descriptor(self, descriptor: Descriptor, parts: Parts<'_>, payload: usize) -> Descriptor {
        Descriptor {
            flags: descriptor.flags | flag::IN_PLACE,
            segment: self.segment.into(),
            offset: self.offset.into(),
            slot: self.slot.into(),
            generation: self.generation.into(),
            ..with_lengths(&descriptor, parts, payload)
        }
    }
}

fn with_lengths(descriptor: &Descriptor, parts: Parts<'_>, payload: usize) -> Descriptor {
    // Checked before: names against their limits, payloads against 2 GiB.
    Descriptor {
        name: u16::try_from(parts.name.len()).unwrap_or(u16::MAX).into(),
        second: u16::try_from(parts.second.len()).unwrap_or(u16::MAX).into(),
        payload: u32::try_from(payload).unwrap_or(u32::MAX).into(),
        ..*descriptor
    }
}
