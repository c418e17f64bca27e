//! A client's lane beside its socket: how it comes about, and what goes by it.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use busway_net::link::{BusyPoll, Endpoint, Refused, Socket, Watch};
use busway_net::wire::ClientTag;
use busway_shm::DownWaiter;
use busway_shm::layout::VERSION;
use parking_lot::RwLock;

use super::error::SendError;
use super::operation::{Accepted, Confirmation, Filters, Operation};
use super::receiver::{LaneNews, Receiver};
use super::remote::Remote;
use crate::lane::{DownIntake, LaneOff, Offered, TakenOver, UpLane};

/// The version of the lane that this client asks for: that of the memory, in a byte.
const LANE_VERSION: u8 = VERSION.to_le_bytes()[0];
/// Who waits for room in the ring for longer than this uses the queue: the broker does not read.
const PATIENCE: Duration = Duration::from_millis(20);

/// Looks at a ring that is never empty, after which others have their turn.
const TURN_LOOKS: u32 = 16;

/// The lane of a connection, if it has one.
pub(super) struct LaneLink {
    lane: Place,
    /// Frames go by the lane.
    is_on: AtomicBool,
    /// Frames come by it, too.
    is_switched: AtomicBool,
    reason: AtomicU8,
}

/// Where the lane is.
enum Place {
    /// Of a client with one connection in its life: to find the lane takes no lock, which cost its sender a tenth
    /// of the time of a small frame. Afterwards it stays, closed, as long as the client.
    Once(OnceLock<Arc<UpLane>>),
    /// Of a client that connects again.
    Changing(RwLock<Option<Arc<UpLane>>>),
}

impl Place {
    #[inline]
    fn with<T>(&self, work: impl FnOnce(&Arc<UpLane>) -> T) -> Option<T> {
        match self {
            Self::Once(lane) => lane.get().map(work),
            Self::Changing(lane) => lane.read().as_ref().map(work),
        }
    }

    fn set(&self, lane: Arc<UpLane>) {
        match self {
            Self::Once(place) => drop(place.set(lane)),
            Self::Changing(place) => *place.write() = Some(lane),
        }
    }

    fn take(&self) -> Option<Arc<UpLane>> {
        match self {
            Self::Once(lane) => lane.get().cloned(),
            Self::Changing(lane) => lane.write().take(),
        }
    }
}

/// What the connection's task has of a lane.
struct Side {
    lane: Arc<UpLane>,
    intake: DownIntake,
    bell: Watch,
    is_switched: bool,
    /// The broker's end of the bell is closed; the socket tells of the rest.
    is_mute: bool,
    /// Looks at the ring since others had their turn.
    looks: u32,
}

impl Side {
    /// The bell has rung.
    fn hush(&mut self, rung: std::io::Result<()>) -> Result<(), String> {
        rung.map_err(|error| error.to_string())?;
        self.is_mute = !DownWaiter::hush(&self.bell);
        Ok(())
    }

    /// Now and then: a broker that writes whenever the ring is empty must not keep the application from running.
    async fn give_others_a_turn(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(TURN_LOOKS) {
            tokio::task::yield_now().await;
        }
    }
}

impl LaneLink {
    /// That of a client which `connects_again` when its connection is lost, or does not.
    pub(super) fn new(connects_again: bool) -> Self {
        Self {
            lane: if connects_again { Place::Changing(RwLock::default()) } else { Place::Once(OnceLock::new()) },
            is_on: AtomicBool::new(false),
            is_switched: AtomicBool::new(false),
            reason: AtomicU8::new(0),
        }
    }

    /// The lane by which frames go, if they do.
    pub(super) fn current(&self) -> Option<Arc<UpLane>> {
        self.with(Arc::clone)
    }

    /// As [`current`](LaneLink::current), for a short call: taking part in the count of its owners would cost each frame
    /// more than the rest of its way.
    #[inline]
    fn with<T>(&self, work: impl FnOnce(&Arc<UpLane>) -> T) -> Option<T> {
        if self.is_on() { self.lane.with(work) } else { None }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Why there is none; `None` when there is one.
    pub(super) fn off_reason(&self) -> Option<LaneOff> {
        let is_on = self.is_switched.load(Ordering::Acquire);
        (!is_on).then(|| LaneOff::from_number(self.reason.load(Ordering::Relaxed)))
    }

    fn set_off(&self, reason: LaneOff) {
        self.reason.store(reason as u8, Ordering::Relaxed);
    }

    /// The connection is gone.
    pub(super) fn lose(&self) {
        self.is_on.store(false, Ordering::Release);
        self.is_switched.store(false, Ordering::Release);
        if let Some(lane) = self.lane.take() {
            lane.close();
        }
    }
}

impl std::fmt::Debug for LaneLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LaneLink({:?})", self.off_reason())
    }
}

/// Sending.
impl Remote {
    /// Sends by the lane; `None` when there is none.
    #[inline(always)]
    pub(super) fn poll_send_by_lane(
        &self,
        context: &mut Context<'_>,
        operation: &mut Operation<'_>,
    ) -> Option<Poll<Accepted>> {
        if self.lane.is_on() { self.poll_send_by(context, operation) } else { None }
    }

    /// Sends by the lane after the socket has refused it: the connection's task is about to say that it is on.
    #[cold]
    pub(super) fn poll_send_switched(
        &self,
        context: &mut Context<'_>,
        operation: &mut Operation<'_>,
    ) -> Option<Poll<Accepted>> {
        self.poll_send_by(context, operation)
    }

    #[inline(always)]
    fn poll_send_by(&self, context: &mut Context<'_>, operation: &mut Operation<'_>) -> Option<Poll<Accepted>> {
        let mut answer = None;
        let qos = operation.qos;
        let offered = self.lane.lane.with(|lane| {
            lane.poll_send(
                context,
                (operation.operation, qos),
                (operation.address, operation.receiver),
                (&mut operation.content, &self.pool),
                || self.op_id(qos, &mut answer),
            )
        })?;
        Some(self.sent_by_lane(offered, answer.map(Confirmation::coming)))
    }

    /// Changes filters by the lane; `None` when there is none.
    pub(super) fn poll_change_by_lane(
        &self,
        context: &mut Context<'_>,
        filters: &mut Filters<'_>,
    ) -> Option<Poll<Accepted>> {
        self.poll_change_by(&*self.lane.current()?, context, filters)
    }

    /// Changes filters by the lane after the socket has refused it; as [`poll_send_switched`](Self::poll_send_switched).
    pub(super) fn poll_change_switched(
        &self,
        context: &mut Context<'_>,
        filters: &mut Filters<'_>,
    ) -> Option<Poll<Accepted>> {
        self.poll_change_by(&*self.lane.lane.with(Arc::clone)?, context, filters)
    }

    fn poll_change_by(
        &self,
        lane: &UpLane,
        context: &mut Context<'_>,
        filters: &mut Filters<'_>,
    ) -> Option<Poll<Accepted>> {
        let mut answer = None;
        let list = filters.filters.join("\0");
        let kind = (filters.operation, filters.qos);
        let offered = lane.poll_change(context, kind, list.as_bytes(), || {
            self.remember(filters);
            self.op_id(filters.qos, &mut answer)
        });
        Some(self.sent_by_lane(offered, answer.map(Confirmation::coming)))
    }

    #[inline(always)]
    fn sent_by_lane(
        &self,
        offered: Poll<Result<Offered, Refused>>,
        confirmation: Option<Confirmation>,
    ) -> Poll<Accepted> {
        match offered {
            Poll::Pending => {
                // Somebody has to see to it that this does not last.
                self.queued.notify_one();
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(SendError::Disconnected.into())),
            Poll::Ready(Ok(offered)) => {
                if offered == Offered::First {
                    self.queued.notify_one();
                }
                Poll::Ready(Ok(confirmation.unwrap_or(Confirmation::done())))
            }
        }
    }
}

/// Receiving.
impl Remote {
    /// Hands on what arrives, over the socket and by the lane, until the connection ends; says why it did.
    pub(super) async fn receive_all(&self, socket: &Socket, receiver: &mut Receiver) -> String {
        let mut asked = self.ask_for_lane(receiver);
        let mut side = None;
        let mut busy = BusyPoll::new(self.options.busy_poll);
        loop {
            let outcome = self.turn(socket, receiver, &mut side, &mut busy).await;
            let news = std::mem::take(&mut receiver.news);
            if let Err(reason) = outcome {
                return self.last_frames(receiver, side, &news).err().unwrap_or(reason);
            }
            for news in news {
                if let Err(reason) = self.heed(news, receiver, &mut side) {
                    return reason;
                }
            }
            if side.is_some() {
                asked = None;
            } else if asked.is_some_and(|since| since.elapsed() > self.options.timeout) {
                // Who is silent for so long knows nothing of lanes.
                asked = None;
                receiver.expect_no_lane();
            }
        }
    }

    /// Asks the broker for a lane, if there can be one; says when.
    fn ask_for_lane(&self, receiver: &mut Receiver) -> Option<Instant> {
        if !self.options.shm || !matches!(self.options.endpoint, Endpoint::Unix(_)) {
            self.lane.set_off(LaneOff::NotAsked);
            return None;
        }
        self.lane.set_off(LaneOff::Negotiating);
        receiver.expect_lane();
        let request = ClientTag::Request { version: LANE_VERSION, features: 0 }.encode();
        self.outbox.offer_control(|batch| batch.inline().extend_from_slice(&request));
        self.outbox.flush();
        Some(Instant::now())
    }

    /// What the lane has brought, and then whatever comes first: the broker's bell or the socket.
    async fn turn(
        &self,
        socket: &Socket,
        receiver: &mut Receiver,
        side: &mut Option<Side>,
        busy: &mut BusyPoll,
    ) -> Result<(), String> {
        let Some(side) = side else { return self.receive_some(socket, receiver, Some(busy)).await };
        let broken = |violation| format!("the broker broke the rules of the lane: {violation}");
        side.lane.pump().map_err(broken)?;
        let mut looks = false;
        if side.is_switched {
            tokio::select! {
                biased;
                () = self.room_to_read() => {}
                // The broker makes room for those who send, among them perhaps whoever is to make room here.
                rung = side.bell.rung(), if !side.is_mute => return side.hush(rung),
            }
            let (records, more) = self.hand_on_lane(receiver, &mut side.intake)?;
            busy.brought(records);
            if more {
                tokio::task::yield_now().await;
                return Ok(());
            }
            looks = busy.begin();
            if !looks && !side.intake.arm().map_err(broken)? {
                busy.end();
                side.give_others_a_turn().await;
                return Ok(());
            }
        }
        let outcome = tokio::select! {
            // The socket before a ring that may never be empty.
            biased;
            received = self.receive_some(socket, receiver, None) => received,
            rung = side.bell.rung(), if !side.is_mute => side.hush(rung),
            found = busy.look(|| side.intake.poll()), if looks => {
                if !found.map_err(broken)? {
                    return Ok(());
                }
                side.give_others_a_turn().await;
                Ok(())
            }
        };
        busy.end();
        outcome
    }

    /// The socket has ended: hands on what the broker has sent by the lane before that, also when the end has come
    /// with the switch.
    fn last_frames(&self, receiver: &mut Receiver, side: Option<Side>, news: &[LaneNews]) -> Result<(), String> {
        let Some(mut side) = side else { return Ok(()) };
        if side.is_switched || news.iter().any(|news| matches!(news, LaneNews::Switch)) {
            while self.hand_on_lane(receiver, &mut side.intake)?.1 {}
        }
        Ok(())
    }

    /// Hands on what has come by the lane; says how many records that were, and whether there may be more.
    fn hand_on_lane(&self, receiver: &mut Receiver, intake: &mut DownIntake) -> Result<(usize, bool), String> {
        let decoded = receiver.decode_lane(intake);
        self.deliver(receiver);
        decoded.map_err(|fault| format!("the broker broke the rules of the lane: {fault}"))
    }

    fn heed(&self, news: LaneNews, receiver: &mut Receiver, side: &mut Option<Side>) -> Result<(), String> {
        match news {
            LaneNews::Offer(descriptors) if side.is_none() => match self.take_over(descriptors) {
                Ok(taken) => *side = Some(taken),
                Err(error) => {
                    tracing::info!(client = %self.name, "no lane, everything goes over the socket: {error}");
                    self.lane.set_off(LaneOff::ClientFailed);
                    receiver.expect_no_lane();
                    self.outbox.offer_control(|batch| {
                        batch.inline().extend_from_slice(&ClientTag::Failed.encode());
                    });
                    self.outbox.flush();
                }
            },
            LaneNews::Refusal(reason) if side.is_none() => {
                tracing::info!(client = %self.name, "no lane, everything goes over the socket: {reason}");
                self.lane.set_off(reason);
                receiver.expect_no_lane();
            }
            LaneNews::Switch if side.as_ref().is_some_and(|side| !side.is_switched) => {
                if let Some(side) = side {
                    side.is_switched = true;
                    self.lane.is_switched.store(true, Ordering::Release);
                    tracing::debug!(client = %self.name, transport = "lane", "on the lane");
                }
            }
            LaneNews::Segment(frame, descriptor) => {
                if let Some(side) = side {
                    let lane = Arc::clone(&side.lane);
                    // Allocating and mapping takes milliseconds for large segments.
                    self.runtime.spawn_blocking(move || lane.map(frame, descriptor));
                }
            }
            // Sent READY and refused after that: frames are on their way by a lane that does not exist.
            LaneNews::Refusal(reason) => return Err(format!("the broker took the lane back: {reason}")),
            LaneNews::Offer(_) | LaneNews::Switch => {
                return Err("the broker offered a lane twice, or switched to none".to_owned());
            }
        }
        Ok(())
    }

    /// Takes a lane over and moves to it: the answer is the last that goes over the socket.
    fn take_over(&self, descriptors: Vec<OwnedFd>) -> std::io::Result<Side> {
        let with = (self.options.outbox, &self.options.limits, self.options.shm_trust);
        let TakenOver { lane, intake, bell } = UpLane::take_over(descriptors, &self.outbox, with)?;
        let bell = Watch::new(bell)?;
        self.lane.lane.set(Arc::clone(&lane));
        self.outbox.switch(&ClientTag::Ready.encode());
        self.lane.is_on.store(true, Ordering::Release);
        self.outbox.flush();
        Ok(Side { lane, intake, bell, is_switched: false, is_mute: false, looks: 0 })
    }
}

impl Remote {
    /// Ends when somebody has waited for the broker for a while, and is to go on without it.
    pub(super) async fn end_patience(&self) {
        let Some(lane) = self.lane.current() else { return pending().await };
        tokio::select! {
            () = end_wait_for_room(&lane) => {}
            () = end_wait_for_arena(&lane) => {}
        }
    }
}

/// Who waits for room in the ring may use the queue after a while.
async fn end_wait_for_room(lane: &UpLane) {
    if !lane.has_waiting() {
        return pending().await;
    }
    tokio::time::sleep(PATIENCE).await;
    lane.spill();
}

/// Payloads that wait for an arena are copied after a while. Other frames go on meanwhile, so that it is until a moment
/// and not for a time.
async fn end_wait_for_arena(lane: &UpLane) {
    let Some(deadline) = lane.arena_deadline() else { return pending().await };
    tokio::time::sleep_until(deadline.into()).await;
    lane.give_up_arena();
}
