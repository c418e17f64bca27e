//! A client's end of a lane.

mod segments;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use busway_net::Pool;
use busway_net::link::{Outbox, OutboxLimits, Refused};
use busway_net::wire::{Limits, Operation, QoS};
use busway_shm::layout::{ControlLayout, HEADER, Head, Header, MAGIC, PAGE, VERSION, operation};
use busway_shm::{
    Arenas, Consumer, Descriptor, OwnSegment, Parts, PeerMemory, PeerSegment, Producer, ReturnReader, Returns, Slots,
    UpBell, Violation, record_length,
};
use parking_lot::Mutex;
use zerocopy::FromBytes;

use super::arena_question::{ArenaQuestion, Open};
use super::arrival::DownIntake;
use super::backlog::Large;
use super::giving_way::GivingWay;
use super::memory_limit::memory_of_this_process;
use super::options::ShmTrust;
use super::queue::{Item, LaneQueue, Load, Offered};
use super::submissions::Submissions;
use super::{COPY_MAX, WAIT_MIN};
use crate::payload::{Content, Payload};

/// What a client sends by its lane, and what it shares with the broker.
pub(crate) struct UpLane {
    /// This side's segment: it is not there in a forked child, which must not touch the lane.
    memory: Arc<OwnSegment>,
    queue: LaneQueue<Submissions, UpBell>,
    arenas: Arc<Arenas>,
    pub(super) releases: Arc<Returns<Arc<OwnSegment>>>,
    /// What the broker has introduced.
    pub(super) segments: Mutex<HashMap<u32, Arc<PeerSegment>>>,
    /// Arenas that were taken over, until the broker says that they may be used.
    taken_over: Mutex<HashMap<u32, OwnSegment>>,
    /// Set before the two above are cleared, and looked at under their locks: nothing is mapped for a lane that has ended.
    is_closed: AtomicBool,
    question: ArenaQuestion,
    giving_way: Mutex<GivingWay>,
    inline_max: usize,
    arena_bytes: usize,
    trust: ShmTrust,
    user: u32,
}

/// A lane that was taken over.
pub(crate) struct TakenOver {
    pub(crate) lane: Arc<UpLane>,
    pub(crate) intake: DownIntake,
    /// What the broker rings.
    pub(crate) bell: OwnedFd,
}

impl UpLane {
    /// Takes over the lane whose descriptors the broker has sent.
    ///
    /// # Errors
    /// When they are not what they should be, or the system refuses.
    pub(crate) fn take_over(
        descriptors: Vec<OwnedFd>,
        outbox: &Arc<Outbox>,
        (queue_limits, limits, trust): (OutboxLimits, &Limits, ShmTrust),
    ) -> io::Result<TakenOver> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let descriptors: [OwnedFd; 4] =
            descriptors.try_into().map_err(|_| invalid("the descriptors of the lane did not arrive"))?;
        let [up, down, up_bell, down_bell] = descriptors;
        let header = read_header(&down)?;
        let layout_of = |ring: u32, slots: u32| ControlLayout::new(ring as usize, slots as usize);
        let up_layout = layout_of(header.up_ring.get(), header.leases.get());
        let down_layout = layout_of(header.down_ring.get(), header.submissions.get());
        let (Some(up_layout), Some(down_layout)) = (up_layout, down_layout) else {
            return Err(invalid("the broker's lane has impossible sizes"));
        };
        // The longest record that is written without asking whether a ring takes it.
        let longest = record_length(limits.max_path, limits.max_name, COPY_MAX);
        if up_layout.max_record() < longest {
            return Err(invalid("the broker's lane has a ring that is too small for its records"));
        }
        let down = Arc::new(PeerSegment::map(&down, down_layout.total())?);
        let up = Arc::new(OwnSegment::take_over(&up, up_layout.total())?);
        let arenas = Arenas::new();
        let placing = Submissions {
            slots: Slots::new(header.submissions.get()),
            returned: ReturnReader::new(Arc::clone(&down), down_layout),
            arenas: Arc::clone(&arenas),
        };
        let producer = Producer::new(Arc::clone(&up), Arc::clone(&down), up_layout);
        let up_bell = UpBell::received(up_bell);
        let queue = LaneQueue::new(producer, placing, queue_limits, up_bell, Arc::clone(outbox));
        // The broker knows its own memory; what is written into arenas counts for this process.
        let own_share = memory_of_this_process().map_or(u64::MAX, |memory| memory / 4);
        let arena_bytes = header.arena_bytes.get().min(own_share);
        let as_size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let lane = Arc::new(Self {
            memory: Arc::clone(&up),
            queue,
            arenas,
            releases: Arc::new(Returns::new(Arc::clone(&up), up_layout)),
            segments: Mutex::default(),
            taken_over: Mutex::default(),
            is_closed: AtomicBool::new(false),
            question: ArenaQuestion::default(),
            giving_way: Mutex::default(),
            inline_max: (header.inline_max.get() as usize).min(COPY_MAX),
            arena_bytes: as_size(arena_bytes),
            trust,
            user: rustix::process::geteuid().as_raw(),
        });
        let intake = DownIntake::new(Consumer::new(up, down, down_layout), &lane, limits.max_payload);
        Ok(TakenOver { lane, intake, bell: down_bell })
    }

    /// Accepts a message, broadcast or publication. A large payload moves into an arena, if there is room or will soon
    /// be; it stays there when the call has to be repeated. `op_id` is called under the queue's lock.
    pub(crate) fn poll_send(
        self: &Arc<Self>,
        context: &mut Context<'_>,
        (operation, qos): (Operation, QoS),
        (address, receiver): (&str, Option<&str>),
        (content, pool): (&mut Content<'_>, &Pool),
        op_id: impl FnOnce() -> u32,
    ) -> Poll<Result<Offered, Refused>> {
        if !self.memory.is_here() {
            return Poll::Ready(Err(Refused::Closed));
        }
        ready!(self.poll_move(context, content, pool));
        let load = match &*content {
            Content::Borrowed(bytes) => Load::Borrowed(bytes),
            Content::Owned(payload) => match payload.chunk() {
                Some(chunk) if chunk.is_of(&self.arenas) => {
                    if payload.len() >= WAIT_MIN {
                        self.giving_way.lock().sent(payload.len(), Instant::now());
                    }
                    Load::Large(Large::Held(Arc::clone(chunk)))
                }
                _ if payload.len() <= COPY_MAX => Load::Borrowed(payload),
                _ => payload.bytes().into(),
            },
        };
        let item = Item {
            head: Head::new(operation as u8, 0, qos as u8, 0),
            parts: Parts { name: address.as_bytes(), second: receiver.unwrap_or_default().as_bytes() },
        };
        self.queue.poll_offer(context, &item, load, (qos != QoS::No, op_id))
    }

    /// Accepts a change of subscriptions or exclusions; `list` is what a socket would carry.
    pub(crate) fn poll_change(
        &self,
        context: &mut Context<'_>,
        (operation, qos): (Operation, QoS),
        list: &[u8],
        op_id: impl FnOnce() -> u32,
    ) -> Poll<Result<Offered, Refused>> {
        if !self.memory.is_here() {
            return Poll::Ready(Err(Refused::Closed));
        }
        let load =
            if list.len() <= COPY_MAX { Load::Borrowed(list) } else { bytes::Bytes::copy_from_slice(list).into() };
        let item = Item { head: Head::new(operation as u8, 0, qos as u8, 0), parts: Parts::default() };
        self.queue.poll_offer(context, &item, load, (qos != QoS::No, op_id))
    }

    /// What is longer than the ring should carry is written where everybody can read it; without room it goes as it
    /// is.
    fn poll_move(self: &Arc<Self>, context: &mut Context<'_>, content: &mut Content<'_>, pool: &Pool) -> Poll<()> {
        let bytes = match &*content {
            Content::Borrowed(bytes) => *bytes,
            Content::Owned(payload) if payload.chunk().is_none_or(|chunk| !chunk.is_of(&self.arenas)) => payload,
            Content::Owned(_) => return Poll::Ready(()),
        };
        if let Some(mut loan) = ready!(self.poll_loan(context, bytes.len())) {
            loan.copy_from_slice(bytes);
            *content = Content::Owned(Payload::of_chunk(loan.freeze()));
        } else if bytes.len() > COPY_MAX && matches!(content, Content::Borrowed(_)) {
            *content = Content::Owned(pool.share_copy(bytes).into());
        }
        Poll::Ready(())
    }

    /// As [`loan`](UpLane::loan), but a large payload waits for an arena that the broker was asked for, unless nobody
    /// would wake the caller.
    fn poll_loan(&self, context: &mut Context<'_>, length: usize) -> Poll<Option<busway_shm::Loan>> {
        let loan = self.loan(length);
        if loan.is_some() || length < WAIT_MIN || context.waker().will_wake(Waker::noop()) {
            return Poll::Ready(loan);
        }
        let left = self.arena_bytes_left();
        // An arena for other payloads is worth waiting for if the one for this can be asked for after it.
        let helps = |open: &Open| {
            let rest = left.saturating_sub(open.length);
            open.kind.suits(open.length, length) || self.arenas.wanted(length, rest).0 <= rest
        };
        ready!(self.question.poll_answer(context, helps));
        // The answer may have come after the look.
        Poll::Ready(self.loan(length))
    }

    /// Memory for a payload in an arena; `None` when it is to travel in the ring, or there is no room, and then the
    /// broker is asked for more.
    pub(crate) fn loan(&self, length: usize) -> Option<busway_shm::Loan> {
        if length <= self.inline_max || !self.memory.is_here() {
            return None;
        }
        // First what has come back: memory that was used last is the warmest, and the rest stays free.
        self.queue.placing(Submissions::take_back)?;
        if length >= WAIT_MIN {
            self.give_way()?;
        }
        let loan = self.arenas.loan(length);
        // One ahead: making a segment takes longer than a fast sender's next payload.
        if self.arenas.is_short_of(length) {
            self.want_arena(length, loan.is_none());
        }
        loan
    }

    /// Leaves the processor to readers that are behind; `None` when the lane is closed.
    fn give_way(&self) -> Option<()> {
        let (began, returned) = (Instant::now(), self.arenas.returned());
        let way = self.giving_way.lock().ask(self.arenas.used(), began);
        if let Some(way) = way {
            way.go();
            self.queue.placing(Submissions::take_back)?;
            // Other threads may have got memory meanwhile: less in use is not to be expected.
            let is_read = self.arenas.returned() > returned;
            self.giving_way.lock().gave(way, (began, Instant::now()), is_read);
        }
        Some(())
    }

    /// Bytes of arenas that the broker may still grant.
    fn arena_bytes_left(&self) -> usize {
        self.arena_bytes.saturating_sub(self.arenas.bytes())
    }

    /// `is_urgent`: the payload has found no room.
    fn want_arena(&self, payload: usize, is_urgent: bool) {
        let (mut length, mut kind) = self.arenas.wanted(payload, self.arena_bytes_left());
        if length > self.arena_bytes_left() {
            if !is_urgent || payload > self.arena_bytes || !self.question.may_ask() {
                return;
            }
            // What payloads of another size have left behind makes room.
            self.give_up(self.arenas.unsuitable(payload));
            (length, kind) = self.arenas.wanted(payload, self.arena_bytes_left());
        }
        if length <= self.arena_bytes_left() && self.question.ask(length, kind) {
            self.queue.control(Descriptor {
                operation: operation::ARENA_WANTED,
                offset: (length as u64).into(),
                ..Descriptor::default()
            });
        }
    }

    /// Whether the lane's memory is there, which it is not in a forked child.
    pub(super) fn is_here(&self) -> bool {
        self.memory.is_here()
    }

    /// Until when payloads wait for an arena, if some do.
    pub(crate) fn arena_deadline(&self) -> Option<Instant> {
        self.question.deadline()
    }

    /// Payloads that wait for an arena are copied.
    pub(crate) fn give_up_arena(&self) {
        self.question.give_up();
    }

    /// The queue, unless this is a forked child: there the ring is not mapped, and a lock may have been held by a thread
    /// of the parent.
    fn queue(&self) -> Option<&LaneQueue<Submissions, UpBell>> {
        self.memory.is_here().then_some(&self.queue)
    }

    /// Rings the broker if it sleeps and something came for it.
    pub(crate) fn flush(&self) {
        if let Some(queue) = self.queue() {
            queue.flush();
        }
    }

    /// Wakes the broker: it waits for room.
    pub(super) fn ring(&self) {
        self.queue.ring_anyway();
    }

    /// For the connection's task, whenever the broker has rung.
    ///
    /// # Errors
    /// When the broker has broken the rules.
    pub(crate) fn pump(&self) -> Result<(), Violation> {
        self.queue().map_or(Ok(()), LaneQueue::pump)
    }

    /// Since when somebody has waited for room in the ring.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.queue()?.waiting_since()
    }

    /// Frames that were taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.queue().map_or(0, LaneQueue::taken)
    }

    /// The broker does not read at the moment: who waits may use the queue.
    pub(crate) fn spill(&self) {
        if let Some(queue) = self.queue() {
            queue.spill();
        }
    }

    /// As [`taken`](Self::taken); no more is taken.
    pub(crate) fn finish(&self) -> u64 {
        self.queue().map_or(0, LaneQueue::finish)
    }

    /// Ready with `true` when the first `frames` that were taken are in the ring, with `false` when the lane has ended.
    pub(crate) fn poll_written(&self, context: &mut Context<'_>, frames: u64) -> Poll<bool> {
        self.queue().map_or(Poll::Ready(false), |queue| queue.poll_written_to(context, frames))
    }

    /// Moves what waits into the ring, blocking the thread for at most `patience`.
    pub(crate) fn flush_blocking(&self, patience: Duration) {
        if !self.is_here() {
            return;
        }
        let deadline = Instant::now() + patience;
        while self.queue.pump().is_ok() && self.queue.level().bytes > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(100));
        }
        self.queue.flush();
    }

    /// Gives up arenas that have not been used for a while. Called now and then.
    pub(crate) fn tidy(&self) {
        if !self.is_here() {
            return;
        }
        self.queue.placing(Submissions::take_back);
        self.give_up(self.arenas.idle());
    }

    fn give_up(&self, arenas: Vec<u32>) {
        for number in arenas {
            self.queue.control(Descriptor {
                operation: operation::ARENA_DROPPED,
                segment: number.into(),
                ..Descriptor::default()
            });
        }
    }

    /// Ends the lane. Payloads that were received stay readable; memory that is out is never used again, because
    /// nobody can say any longer who reads it.
    pub(crate) fn close(&self) {
        if !self.is_here() {
            return;
        }
        self.arenas.abandon();
        let (_, out) = self.queue.close(|submissions| submissions.slots.drain());
        drop(out);
        self.question.close();
        self.is_closed.store(true, Ordering::Relaxed);
        self.segments.lock().clear();
        self.taken_over.lock().clear();
    }
}

fn read_header(segment: &OwnedFd) -> io::Result<Header> {
    let page = PeerSegment::map(segment, PAGE)?;
    let mut bytes = [0; size_of::<Header>()];
    page.read(HEADER, &mut bytes);
    Header::read_from_bytes(&bytes)
        .ok()
        .filter(|header| header.magic.get() == MAGIC && header.version.get() == VERSION)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the broker speaks another version of the lane"))
}

#[cfg(all(test, feature = "broker"))]
mod tests;
