//! Segments that come to a client: arenas of its own, and what it is to read in place.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_shm::layout::operation;
use busway_shm::{Descriptor, OwnSegment, PeerSegment};
use parking_lot::Mutex;

use super::UpLane;
use crate::lane::control_frame::SegmentFrame;
use crate::lane::options::ShmTrust;

impl UpLane {
    /// Maps a segment that has come, which may take a while, and answers.
    pub(crate) fn map(&self, frame: SegmentFrame, descriptor: Option<OwnedFd>) {
        let number = frame.number.get();
        let is_done = match descriptor {
            None => false,
            Some(descriptor) if frame.is_arena() => self.take_arena(&frame, &descriptor).is_ok(),
            Some(descriptor) => self.map_introduced(&frame, &descriptor).is_ok(),
        };
        let operation = if is_done { operation::SEGMENT_OK } else { operation::SEGMENT_FAILED };
        self.queue.control(Descriptor {
            operation,
            segment: number.into(),
            offset: frame.token,
            ..Descriptor::default()
        });
    }

    fn take_arena(&self, frame: &SegmentFrame, descriptor: &OwnedFd) -> io::Result<()> {
        let length = usize::try_from(frame.length.get()).map_err(io::Error::other)?;
        let segment = OwnSegment::take_over(descriptor.as_fd(), length)?;
        self.keep(&self.taken_over, frame, segment)
    }

    fn map_introduced(&self, frame: &SegmentFrame, descriptor: &OwnedFd) -> io::Result<()> {
        let is_trusted = match self.trust {
            ShmTrust::SameUser => frame.owner.get() == self.user,
            ShmTrust::All => true,
            ShmTrust::None => false,
        };
        if !is_trusted {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let length = usize::try_from(frame.length.get()).map_err(io::Error::other)?;
        let segment = PeerSegment::map_whole(descriptor.as_fd(), length)?;
        self.keep(&self.segments, frame, Arc::new(segment))
    }

    /// Mapping takes a while, in which the lane may have ended.
    fn keep<S>(&self, segments: &Mutex<HashMap<u32, S>>, frame: &SegmentFrame, segment: S) -> io::Result<()> {
        let mut segments = segments.lock();
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        segments.insert(frame.number.get(), segment);
        Ok(())
    }

    /// The broker has answered the question for an arena.
    pub(in crate::lane) fn arena_answer(&self, number: u32, is_ready: bool) {
        let segment = self.taken_over.lock().remove(&number).filter(|_| is_ready);
        let granted = segment.zip(self.question.open());
        let is_granted = granted.is_some();
        if let Some((segment, open)) = granted {
            self.arenas.add(number, segment, open.kind);
        }
        self.question.answered(is_granted);
    }
}
