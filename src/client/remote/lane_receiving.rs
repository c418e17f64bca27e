//! How a connection comes to a lane, and what the lane brings.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use busway_net::link::{BusyPoll, Socket, Watch};
use busway_net::wire::ClientTag;
use busway_shm::DownWaiter;
use busway_shm::layout::VERSION;

use super::Remote;
use crate::client::receiver::{LaneNews, Receiver};
use crate::lane::{DownIntake, LaneOff, TakenOver, UpLane};

/// The version of the lane that this client asks for: that of the memory, in a byte.
const LANE_VERSION: u8 = VERSION.to_le_bytes()[0];
/// Looks at a ring that is never empty, after which others have their turn.
const TURN_LOOKS: u32 = 16;

/// What the connection's task has of a lane.
pub(super) struct Side {
    lane: Arc<UpLane>,
    intake: DownIntake,
    bell: Watch,
    waiter: DownWaiter,
    /// The broker's end of the bell is closed; the socket tells of the rest.
    is_mute: bool,
    is_switched: bool,
    /// Looks at the ring since others had their turn.
    looks: u32,
}

impl Side {
    /// The bell has rung.
    fn hush(&mut self, rung: std::io::Result<()>) -> Result<(), String> {
        rung.map_err(|error| error.to_string())?;
        self.is_mute = !self.waiter.hush(&self.bell);
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

impl Remote {
    /// Hands on what arrives, over the socket and by the lane, until the connection ends; says why it did.
    pub(super) async fn receive_all(
        &self,
        socket: &Socket,
        receiver: &mut Receiver,
        side: &mut Option<Side>,
    ) -> String {
        let mut asked = self.ask_for_lane(receiver);
        let mut busy = BusyPoll::new(self.options.busy_poll);
        loop {
            let outcome = self.turn(socket, receiver, side, &mut busy).await;
            let news = std::mem::take(&mut receiver.news);
            if let Err(reason) = outcome {
                return self.last_frames(receiver, side.take(), &news).await.err().unwrap_or(reason);
            }
            for news in news {
                if let Err(reason) = self.heed(news, receiver, side) {
                    *side = None;
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
        if self.options.first_lane_off() != LaneOff::Negotiating {
            return None;
        }
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
                // The socket brings segments, also while the ring is never empty.
                return tokio::select! {
                    biased;
                    received = self.receive_some(socket, receiver, None) => received,
                    () = tokio::task::yield_now() => Ok(()),
                };
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
    async fn last_frames(&self, receiver: &mut Receiver, side: Option<Side>, news: &[LaneNews]) -> Result<(), String> {
        let Some(mut side) = side else { return Ok(()) };
        if side.is_switched || news.iter().any(|news| matches!(news, LaneNews::Switch)) {
            while self.hand_on_lane(receiver, &mut side.intake)?.1 {
                // Whoever takes them has its turn: its queue may be shorter than the ring.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Hands on what has come by the lane; says how many records that were, and whether there may be more.
    fn hand_on_lane(&self, receiver: &mut Receiver, intake: &mut DownIntake) -> Result<(usize, bool), String> {
        let decoded = receiver.decode_lane(intake, self.queue.turn());
        self.deliver(receiver);
        decoded.map_err(|fault| format!("the broker broke the rules of the lane: {fault}"))
    }

    fn heed(&self, news: LaneNews, receiver: &mut Receiver, side: &mut Option<Side>) -> Result<(), String> {
        match news {
            LaneNews::Offer(descriptors) if side.is_none() => match self.take_over(descriptors) {
                Ok(taken) => *side = Some(taken),
                Err(error) => {
                    tracing::info!(client = ?self.name, "no lane, everything goes over the socket: {error}");
                    self.lane.set_off(LaneOff::ClientFailed);
                    receiver.expect_no_lane();
                    self.outbox.offer_control(|batch| {
                        batch.inline().extend_from_slice(&ClientTag::Failed.encode());
                    });
                    self.outbox.flush();
                }
            },
            LaneNews::Refusal(reason) if side.is_none() => {
                tracing::info!(client = ?self.name, "no lane, everything goes over the socket: {reason}");
                self.lane.set_off(reason);
                receiver.expect_no_lane();
            }
            LaneNews::Switch if side.as_ref().is_some_and(|side| !side.is_switched) => {
                if let Some(side) = side {
                    side.is_switched = true;
                    self.lane.set_switched();
                    tracing::debug!(client = ?self.name, transport = "lane", "on the lane");
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
        let waiter = DownWaiter::of(&bell)?;
        let bell = Watch::new(bell)?;
        self.lane.place(Arc::clone(&lane));
        self.outbox.switch(&ClientTag::Ready.encode());
        self.lane.turn_on();
        self.outbox.flush();
        // Somebody may have used the lane before it was on, and flushed the socket alone.
        lane.flush();
        Ok(Side { lane, intake, bell, waiter, is_mute: false, is_switched: false, looks: 0 })
    }
}
