//! Frames from the broker, on their way to the application.

#[cfg(feature = "shm")]
use std::collections::VecDeque;
use std::io;
#[cfg(feature = "shm")]
use std::os::fd::OwnedFd;
use std::sync::Arc;

use busway_net::Pool;
use busway_net::link::{Chunk, Readiness};
use busway_net::wire::{BrokerFrame, BrokerTag, FrameKind, ReceivedPayload, ResultCode, Violation};

use super::frame_batch::FrameBatch;
use super::handshake::Reader;
use super::name_cache::NameCache;
#[cfg(feature = "rpc")]
use super::questions::Questions;
use crate::frame::Frame;
use crate::frame_names::FrameNames;
#[cfg(feature = "shm")]
use crate::lane::{Arrival, DownIntake, LaneOff, SEGMENT_KIND, SegmentFrame};
use crate::payload::{Payload, SHORT};

/// Decodes what a connection brings.
#[derive(Debug)]
pub(super) struct Receiver {
    reader: Reader,
    pool: Pool,
    names: NameCache,
    pub(super) inbox: Inbox,
    /// What the broker said of the lane in the read at hand.
    #[cfg(feature = "shm")]
    pub(super) news: Vec<LaneNews>,
    #[cfg(feature = "shm")]
    descriptors: VecDeque<OwnedFd>,
}

/// What the read at hand has brought for the application.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) frames: FrameBatch,
    /// Confirmations.
    pub(super) codes: Vec<Acknowledgement>,
    /// Frames that the broker has dropped since the last one.
    gap: u64,
    /// What this client has asked the broker itself.
    #[cfg(feature = "rpc")]
    questions: Arc<Questions>,
}

/// A confirmation, and how many frames of the same read came before it, dropped ones included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) op_id: u32,
    pub(super) code: ResultCode,
    pub(super) frames_before: u64,
}

/// What a broker says of the lane over the socket.
#[cfg(feature = "shm")]
#[derive(Debug)]
pub(super) enum LaneNews {
    /// A lane, with the descriptors that have come.
    Offer(Vec<OwnedFd>),
    /// From now on frames come by the lane.
    Switch,
    /// There is no lane.
    Refusal(LaneOff),
    /// A segment, with its descriptor if that has come.
    Segment(SegmentFrame, Option<OwnedFd>),
}

/// Descriptors that an offer of a lane brings.
#[cfg(feature = "shm")]
const OFFERED: usize = 4;
/// Records of a lane that are decoded at once.
#[cfg(feature = "shm")]
const TURN_RECORDS: usize = 1024;

impl Receiver {
    pub(super) fn new(reader: Reader, #[cfg(feature = "rpc")] questions: &Arc<Questions>) -> Self {
        let pool = reader.pool().clone();
        Self {
            reader,
            pool,
            names: NameCache::default(),
            inbox: Inbox {
                frames: FrameBatch::default(),
                codes: Vec::new(),
                gap: 0,
                #[cfg(feature = "rpc")]
                questions: Arc::clone(questions),
            },
            #[cfg(feature = "shm")]
            news: Vec::new(),
            #[cfg(feature = "shm")]
            descriptors: VecDeque::new(),
        }
    }

    /// Reads once; the frames are then decoded by [`decode`](Receiver::decode).
    pub(super) fn read(&mut self, readiness: &mut Readiness<'_>) -> io::Result<Chunk> {
        self.reader.read(readiness)
    }

    /// Decodes every whole frame that has arrived.
    pub(super) fn decode(&mut self) -> Result<(), Violation> {
        #[cfg(feature = "shm")]
        self.descriptors.extend(self.reader.take_descriptors());
        while let Some(received) = self.reader.next_frame()? {
            match received.meta {
                BrokerFrame::Acknowledgement { op_id, code } => {
                    self.inbox.confirm(op_id, code);
                }
                BrokerFrame::Delivery { kind, realtime } => {
                    let topic = (kind == FrameKind::Publication).then_some(received.second);
                    let head = (kind, realtime, self.names.get(received.first, topic)?);
                    match received.payload {
                        ReceivedPayload::Borrowed(bytes) if bytes.len() <= SHORT => self.inbox.take_short(head, bytes),
                        ReceivedPayload::Borrowed(bytes) => self.inbox.take(head, self.pool.share_copy(bytes).into()),
                        ReceivedPayload::Owned(memory) => self.inbox.take(head, self.pool.share(memory).into()),
                        // Frames that are all there are not announced, and a client passes nothing.
                        ReceivedPayload::Announced(_) | ReceivedPayload::Front(..) => {}
                    }
                }
                BrokerFrame::Ping { raw } => match BrokerTag::parse(&raw) {
                    None => {}
                    Some(BrokerTag::Gap(frames)) => self.inbox.gap += u64::from(frames),
                    #[cfg(not(feature = "shm"))]
                    Some(_) => {}
                    #[cfg(feature = "shm")]
                    Some(BrokerTag::Offer) => {
                        let count = OFFERED.min(self.descriptors.len());
                        self.news.push(LaneNews::Offer(self.descriptors.drain(..count).collect()));
                    }
                    #[cfg(feature = "shm")]
                    Some(BrokerTag::Switch) => self.news.push(LaneNews::Switch),
                    #[cfg(feature = "shm")]
                    Some(BrokerTag::Refusal(reason)) => {
                        self.news.push(LaneNews::Refusal(LaneOff::from_number(reason)));
                    }
                },
                #[cfg(feature = "shm")]
                BrokerFrame::Extra { kind: SEGMENT_KIND, .. } => {
                    // One that cannot be read gets no answer, which only concerns who sent it.
                    if let Some(frame) = SegmentFrame::parse(received.payload.as_slice()) {
                        self.news.push(LaneNews::Segment(frame, self.descriptors.pop_front()));
                    }
                }
                BrokerFrame::Extra { .. } => {}
            }
        }
        Ok(())
    }

    /// Descriptors are expected: the broker is asked for a lane.
    #[cfg(feature = "shm")]
    pub(super) fn expect_lane(&mut self) {
        self.reader.accept_descriptors();
        self.reader.assembler_mut().grammar_mut().extra_kinds = 1 << SEGMENT_KIND;
    }

    /// There will be no lane.
    #[cfg(feature = "shm")]
    pub(super) fn expect_no_lane(&mut self) {
        self.reader.accept_bytes_alone();
        self.reader.assembler_mut().grammar_mut().extra_kinds = 0;
        self.descriptors.clear();
    }

    /// Decodes what has come by the lane, at most `turn` records; says how many that were, and whether there may be more.
    #[cfg(feature = "shm")]
    pub(super) fn decode_lane(&mut self, intake: &mut DownIntake, turn: usize) -> Result<(usize, bool), LaneFault> {
        let turn = turn.min(TURN_RECORDS);
        let mut records = turn;
        for count in 0..turn {
            match intake.next_arrival(&self.pool)? {
                None => {
                    records = count;
                    break;
                }
                Some(Arrival::Confirmation { op_id, code }) => {
                    self.inbox.confirm(op_id, code);
                }
                Some(Arrival::Gap { frames }) => self.inbox.gap += u64::from(frames),
                Some(Arrival::Delivery { kind, realtime }) => {
                    let has_topic = kind == FrameKind::Publication;
                    let is_same = |last: &FrameNames| last.topic.is_some() == has_topic && intake.has_names(last);
                    let names = match self.names.last_if(is_same) {
                        Some(last) => last,
                        None => {
                            let (sender, topic) = intake.names();
                            self.names.get(sender, has_topic.then_some(topic))?
                        }
                    };
                    let head = (kind, realtime, names);
                    match intake.take_payload() {
                        None => self.inbox.take(head, intake.short_payload()),
                        Some(payload) => self.inbox.take(head, payload),
                    }
                }
            }
        }
        intake.release();
        Ok((records, records == turn))
    }

    /// Gives the read buffer back when nothing is in it.
    pub(super) fn release(&mut self) {
        self.reader.release();
    }
}

impl Inbox {
    /// Frames and confirmations.
    pub(super) fn len(&self) -> usize {
        self.frames.frames.len() + self.codes.len()
    }

    /// Whether nothing has come, and nothing was dropped.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.frames.gaps == 0 && self.gap == 0
    }

    fn confirm(&mut self, op_id: u32, code: ResultCode) {
        let frames_before = self.frames.arrived() + self.gap;
        self.codes.push(Acknowledgement { op_id, code, frames_before });
    }

    /// Takes a frame whose payload is copied. Inlined, so that the copy is made where it stays.
    #[inline(always)]
    fn take_short(&mut self, head: Head, bytes: &[u8]) {
        self.take(head, Payload::short(bytes));
    }

    #[inline(always)]
    fn take(&mut self, (kind, realtime, names): Head, payload: Payload) {
        #[cfg(feature = "rpc")]
        if self.questions.is_answer(kind, &names, &payload) {
            return;
        }
        let mut frame = Frame::new(kind, realtime, names, payload);
        if self.gap > 0 {
            frame.lose_before(std::mem::take(&mut self.gap));
        }
        self.frames.push(frame);
    }

    /// Frames that the broker has dropped since the last one of the read at hand, which is over.
    pub(super) fn end_read(&mut self) -> u64 {
        std::mem::take(&mut self.gap)
    }
}

/// Kind, whether it is urgent, and names of a frame.
type Head = (FrameKind, bool, Arc<FrameNames>);

/// What a broker may not send by a lane.
#[cfg(feature = "shm")]
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneFault {
    #[error(transparent)]
    Lane(#[from] busway_shm::Violation),
    #[error(transparent)]
    Name(#[from] Violation),
}
