//! Frames of a client that share a record.

use std::ops::Range;

use busway_net::wire::{Operation, Payloads, QoS};
use busway_shm::{Record, Run, Violation};

use super::{Intake, LaneFrame, check_names};
use crate::lane::Routed;

/// What is left of a record that was read.
pub(super) enum Rest {
    Frames(Frames),
    /// It was wrong, and frames before it were not.
    Fault(Violation),
}

/// Frames that have been copied, and not handed on: their names and payloads are in the intake's body.
pub(super) struct Frames {
    op_id: u32,
    operation: Operation,
    qos: QoS,
    address: Range<usize>,
    receiver: Range<usize>,
    /// Which of the places is next.
    next: usize,
}

impl Intake {
    /// Looks for the payloads of a record in the copy of them that begins at `start`.
    ///
    /// # Errors
    /// When they are none, or too long.
    #[inline]
    pub(super) fn find_places(&mut self, record: &Record, start: usize) -> Result<(), Violation> {
        let mut run = Run::of(record, start)?;
        while let Some(place) = run.next_place(&self.body)? {
            if place.len() > self.limits.max_payload {
                return Err(Violation::Length);
            }
            self.places.push(place);
        }
        Ok(())
    }

    /// As [`find_places`](Self::find_places), where other frames may be in the run already: they were sent before it, and
    /// are handed on before its fault is.
    #[inline]
    pub(super) fn find_places_behind_others(&mut self, record: &Record, start: usize) -> Result<(), Violation> {
        let others = self.places.len();
        let found = self.find_places(record, start);
        if let (Err(fault), true) = (found, others > 0) {
            self.places.truncate(others);
            self.rest = Some(Rest::Fault(fault));
            return Ok(());
        }
        found
    }

    /// Copies a record that holds several frames, and hands on the first of them.
    pub(super) fn first_of_run(
        &mut self,
        record: &Record,
        (operation, qos): (Operation, QoS),
    ) -> Result<Option<LaneFrame<'_>>, Violation> {
        // Nobody could tell which of them is confirmed; and a frame between
        // the fragments of another would have overtaken it.
        if qos != QoS::No || self.fragments.is_amid() {
            return Err(Violation::Descriptor);
        }
        self.consumer.copy_body(record, &mut self.body);
        let (address, receiver) = (record.name_place(), record.second_place());
        check_names(operation, &self.body[address.clone()], &self.body[receiver.clone()])?;
        self.places.clear();
        self.find_places(record, record.payload_place().start)?;
        let op_id = record.descriptor.op_id.get();
        self.rest = Some(Rest::Frames(Frames { op_id, operation, qos, address, receiver, next: 0 }));
        // It has been counted already.
        self.turn += 1;
        self.next_of_rest()
    }

    /// The next frame of a record that was copied, if one may be handed on within the turn.
    ///
    /// # Errors
    /// When the record was wrong.
    pub(super) fn next_of_rest(&mut self) -> Result<Option<LaneFrame<'_>>, Violation> {
        let Some(turn) = self.turn.checked_sub(1) else { return Ok(None) };
        let frames = match &mut self.rest {
            Some(Rest::Frames(frames)) => frames,
            Some(Rest::Fault(fault)) => return Err(*fault),
            None => return Ok(None),
        };
        let (op_id, operation, qos) = (frames.op_id, frames.operation, frames.qos);
        let (address, receiver) = (&self.body[frames.address.clone()], &self.body[frames.receiver.clone()]);
        let content = Routed::Borrowed(&self.body[self.places[frames.next].clone()]);
        frames.next += 1;
        if frames.next == self.places.len() {
            self.rest = None;
        }
        self.turn = turn;
        Ok(Some(LaneFrame { op_id, operation, qos, address, receiver, content }))
    }

    /// Those of a record that was copied which are of this operation and address, at most `most` of them.
    ///
    /// # Errors
    /// When the record was wrong.
    pub(super) fn rest_as_run(
        &mut self,
        (operation, address): (Operation, &[u8]),
        most: usize,
    ) -> Result<Payloads<'_>, Violation> {
        let frames = match &mut self.rest {
            Some(Rest::Frames(frames)) => frames,
            Some(Rest::Fault(fault)) => return Err(*fault),
            None => return Ok(Payloads::new(&[], &[])),
        };
        let has_address = self.body[frames.address.clone()] == *address && frames.receiver.is_empty();
        let most = if frames.operation == operation && has_address { most } else { 0 };
        let start = frames.next;
        let end = self.places.len().min(start + most);
        frames.next = end;
        if end == self.places.len() {
            self.rest = None;
        }
        self.turn -= end - start;
        Ok(Payloads::new(&self.body, &self.places[start..end]))
    }
}
