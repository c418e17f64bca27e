//! Frames that came by a lane in one record, as the client hands them on.

use std::ops::Range;
use std::sync::Arc;

use busway_net::wire::FrameKind;
use busway_shm::layout::flag;
use busway_shm::{Consumer, OwnSegment, PeerSegment, Record, Run, Sample, Violation};

use super::arrival::Arrival;
use crate::frame_names::FrameNames;

/// Frames that differ only in their payloads. All that their record holds is copied at once, so that its room can be
/// given back meanwhile.
#[derive(Default)]
pub(super) struct RunAtHand {
    body: Vec<u8>,
    sender: Range<usize>,
    topic: Range<usize>,
    /// The payload of the frame at hand.
    payload: Range<usize>,
    /// Those of the frames to come.
    rest: Run,
    kind: Option<FrameKind>,
    realtime: bool,
    /// The frame at hand is the first, or others had their turn since the one before it.
    is_first: bool,
    is_next_first: bool,
}

impl RunAtHand {
    /// Copies a record with several payloads. What was at hand is gone.
    ///
    /// # Errors
    /// When the record has no payloads.
    #[inline]
    pub(super) fn begin(
        &mut self,
        consumer: &Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
        record: &Record,
        kind: FrameKind,
    ) -> Result<(), Violation> {
        self.rest = Run::of(record, record.payload_place().start)?;
        consumer.copy_body(record, &mut self.body);
        self.begin_frames(record, kind);
        Ok(())
    }

    /// As [`begin`](Self::begin), for payloads that lie elsewhere.
    ///
    /// # Errors
    /// When there are none.
    #[inline]
    pub(super) fn begin_in_place(
        &mut self,
        consumer: &Consumer<Arc<OwnSegment>, Arc<PeerSegment>>,
        record: &Record,
        kind: FrameKind,
        sample: &Sample,
    ) -> Result<(), Violation> {
        let start = record.payload_place().start;
        let rest = Run::in_place(record, start)?;
        let end = start + sample.len();
        if self.body.len() < end {
            self.body.resize(end, 0);
        }
        consumer.copy_body(record, &mut self.body);
        sample.copy_to(0, &mut self.body[start..end]);
        self.rest = rest;
        self.begin_frames(record, kind);
        Ok(())
    }

    fn begin_frames(&mut self, record: &Record, kind: FrameKind) {
        (self.sender, self.topic) = (record.name_place(), record.second_place());
        (self.kind, self.realtime) = (Some(kind), record.descriptor.flags & flag::REALTIME != 0);
        self.is_next_first = true;
    }

    /// Whether there are more frames.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        !self.rest.is_over()
    }

    /// The next frame.
    ///
    /// # Errors
    /// When its payload does not end within the record.
    #[inline]
    pub(super) fn next_arrival(&mut self) -> Result<Option<Arrival>, Violation> {
        let (Some(place), Some(kind)) = (self.rest.next_place(&self.body)?, self.kind) else { return Ok(None) };
        self.payload = place;
        self.is_first = std::mem::take(&mut self.is_next_first);
        Ok(Some(Arrival::Delivery { kind, realtime: self.realtime }))
    }

    /// Others have their turn: they may ask for the names of other frames.
    pub(super) fn pause(&mut self) {
        self.is_next_first = true;
    }

    /// Whether the frame at hand has these names; those that the frame before it had are not looked at again.
    #[inline]
    pub(super) fn has_names(&self, names: &FrameNames) -> bool {
        let (sender, topic) = self.names();
        !self.is_first
            || names.sender.as_bytes() == sender && names.topic.as_deref().is_none_or(|its| its.as_bytes() == topic)
    }

    /// Sender and topic of the frame at hand.
    #[inline]
    pub(super) fn names(&self) -> (&[u8], &[u8]) {
        (&self.body[self.sender.clone()], &self.body[self.topic.clone()])
    }

    /// The payload of the frame at hand.
    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        &self.body[self.payload.clone()]
    }
}
