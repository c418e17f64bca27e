//! A client's connection after its switch to the lane.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use busway_net::link::{BusyPoll, Socket, Watch};

use super::connection::{Connection, End, Never};
use super::negotiation::Switched;
use super::pace::{Pace, Turn};
use super::router::Request;
use crate::lane::{Adopted, Adoption, DownLane, Intake, LaneFrame};

/// The end of a socket, before which everything is routed that the ring holds: it was sent before. Other failures end
/// the connection at once.
fn ending(outcome: Result<(), End>) -> Result<Option<End>, End> {
    match outcome {
        Ok(()) => Ok(None),
        Err(end @ (End::Closed | End::Io(_))) => Ok(Some(end)),
        Err(end) => Err(end),
    }
}

/// Waits for an arena that is being taken over.
async fn done(adoption: &mut Option<Adoption>) -> Adopted {
    match adoption {
        Some(adoption) => adoption.done().await,
        None => std::future::pending().await,
    }
}

/// What one turn has brought.
#[derive(Clone, Copy, Default)]
struct Routed {
    /// When it began; nothing was done if it did not.
    began: Option<Instant>,
    /// Records.
    read: usize,
    bytes: u64,
    /// There may be more.
    more: bool,
    /// It took so long that others have to have their turn now.
    is_late: bool,
}

/// Turns in which what a client has left is read: a ring holds 32,768 frames at most, of 8 bytes each where they share
/// records, and somebody else may still write into it.
const LAST_TURNS: usize = 16;

impl Connection {
    /// Serves a client by its lane until the connection ends. The socket tells of the end, and carries pings.
    /// `outcome` is that of the read that brought the switch.
    pub(super) async fn run_lane(
        &mut self,
        socket: &Socket,
        switched: Switched,
        outcome: Result<(), End>,
    ) -> Result<Never, End> {
        let (lane, mut intake, bell) = switched;
        self.source.common = lane.common().cloned();
        tracing::info!(client = ?self.source.peer.name, transport = "lane", "on the lane");
        let mut ended = ending(outcome)?;
        let mut turn = Turn::default();
        let (mut gives_way, mut last_turns) = (false, 0);
        let mut busy = BusyPoll::new(self.shared.lane_host.busy_poll());
        let mut adoption: Option<Adoption> = None;
        loop {
            if gives_way {
                turn = Turn::default();
                tokio::task::yield_now().await;
                // The socket tells of the end only where the ring is empty now and then.
                if self.source.peer.is_ended() {
                    return Err(End::Closed);
                }
            }
            lane.pump()?;
            // What a client has left before it went is routed, however much waits for it.
            let is_last = ended.is_some();
            let is_held = !is_last && lane.is_half_full();
            self.hold_lane(is_held);
            if is_last {
                turn = Turn::default();
            }
            let mut routed = if is_held {
                Routed::default()
            } else {
                self.route_lane(&lane, &mut intake, (turn.records(), is_last))?
            };
            while self.touched.has_waits() {
                self.wait_for_room_and_pump(&lane, &bell).await?;
                if !is_last && lane.is_half_full() {
                    routed = Routed { more: true, ..Routed::default() };
                    break;
                }
                routed = self.route_lane(&lane, &mut intake, (turn.records(), is_last))?;
            }
            let Routed { began, read, bytes, more, is_late } = routed;
            if is_last {
                lane.pump()?;
                last_turns += 1;
                gives_way = more && last_turns < LAST_TURNS;
                if gives_way {
                    continue;
                }
            }
            if let Some(end) = ended {
                return Err(end);
            }
            adoption = adoption.or_else(|| intake.take_adoption());
            if let Some(adopted) = adoption.as_mut().and_then(Adoption::done_already) {
                adoption = None;
                intake.adopted(adopted);
            }
            busy.brought(read);
            turn.count(read, bytes, began);
            gives_way = is_late || turn.is_over();
            if gives_way || more {
                continue;
            }
            let looks = !is_held && busy.begin();
            if !is_held && !looks && !intake.arm()? {
                busy.end();
                continue;
            }
            tokio::select! {
                // The socket before a ring that may never be empty.
                biased;
                readiness = socket.readable() => {
                    ended = ending(self.read_all(&mut readiness?).await)?;
                    self.reader.release();
                    turn.pause();
                }
                rung = bell.rung() => {
                    rung?;
                    turn.pause();
                }
                adopted = done(&mut adoption), if adoption.is_some() => {
                    adoption = None;
                    intake.adopted(adopted);
                }
                found = busy.look(|| intake.poll()), if looks => {
                    if !found? {
                        turn.pause();
                        continue;
                    }
                    // It may have come at once, so that nobody had a turn.
                    gives_way = turn.is_over();
                }
            }
            busy.end();
        }
    }

    /// As [`wait_for_room`](Connection::wait_for_room); what waits for this client itself moves on meanwhile.
    async fn wait_for_room_and_pump(&mut self, lane: &DownLane, bell: &Watch) -> Result<(), End> {
        let mut settled = pin!(self.wait_for_room());
        let end = loop {
            let rung = tokio::select! {
                biased;
                () = &mut settled => return Ok(lane.pump()?),
                rung = bell.rung() => rung,
            };
            match rung.map_err(End::from).and_then(|()| Ok(lane.pump()?)) {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        // What it had sent before it broke the rules is delivered, or counted as lost.
        settled.await;
        Err(end)
    }

    /// A client that floods itself is not read from until it has taken half of what waits for it.
    fn hold_lane(&self, is_held: bool) {
        let activity = &self.source.peer.activity;
        if activity.held.swap(is_held, Ordering::Relaxed) && !is_held {
            activity.heard.store(true, Ordering::Relaxed);
        }
    }

    /// Routes what is in the ring, at most `turn` records of it, as one batch. The last turn of a client that has gone
    /// does not end early.
    fn route_lane(
        &mut self,
        lane: &Arc<DownLane>,
        intake: &mut Intake,
        (turn, is_last): (usize, bool),
    ) -> Result<Routed, End> {
        let mut pace = Pace::new(self.shared.look_interval);
        intake.begin_turn(turn);
        let mut is_late = false;
        let outcome = loop {
            match self.route_next_of(intake, &mut pace) {
                Ok(true) => {}
                Ok(false) => break Ok(intake.is_turn_over()),
                Err(violation) => break Err(violation),
            }
            if self.touched.has_waits() {
                break Ok(true);
            }
            if pace.is_flush_due() {
                self.touched.flush();
            }
            if pace.is_look_due() && !is_last && lane.is_half_full() {
                break Ok(true);
            }
            if pace.is_turn_over() && !is_last {
                is_late = true;
                break Ok(true);
            }
        };
        let read = intake.end_turn(turn);
        if read > 0 {
            // Also of records that made no frame: their room goes back, and they were a sign of life.
            intake.release();
            let peer = &self.source.peer;
            let (frames, bytes) = pace.total();
            peer.received.add(frames, bytes);
            peer.activity.heard.store(true, Ordering::Relaxed);
            peer.activity.amid.store(intake.is_amid(), Ordering::Relaxed);
            self.shared.router.finish(&mut self.touched);
        }
        let bytes = pace.total().1;
        outcome.map(|more| Routed { began: Some(pace.began()), read, bytes, more, is_late })
    }

    /// Routes the next frame, or several that are the same but for their payloads; says whether there was one within
    /// the turn.
    #[inline]
    fn route_next_of(&mut self, intake: &mut Intake, pace: &mut Pace) -> Result<bool, End> {
        if let Some((operation, address)) = self.shared.router.repeated(&self.source) {
            let run = intake.next_run((operation, address), pace.run_frames())?;
            if !run.is_empty() {
                pace.count(run.len(), address.len() * run.len() + run.bytes(), false);
                let address = Arc::clone(address);
                self.shared.router.route_run(&mut self.source, (operation, &address), run, &mut self.touched)?;
                return Ok(true);
            }
        }
        let Some(frame) = intake.next_frame(&self.shared.router.pool)? else { return Ok(false) };
        let LaneFrame { op_id, operation, qos, address, receiver, content } = frame;
        pace.count(1, address.len() + receiver.len() + content.len(), qos.is_realtime());
        if let crate::lane::Routed::Lane(place) = &content {
            pace.count_in_place(place.payload().len());
        }
        let request = Request { op_id, operation, qos, address, receiver };
        if request.may_take_long() {
            pace.count_long();
        }
        self.shared.router.route(&mut self.source, request, content, &mut self.touched)?;
        if self.source.cache.take_missed() {
            pace.count_long();
        }
        Ok(true)
    }
}
