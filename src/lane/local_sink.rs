//! The sink of a client on a UNIX socket: the socket, and the lane once there is one.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use busway_net::link::{Level, Outbox, OutboxLimits, Refused, Touch, Watch};
use busway_net::wire::{BrokerTag, ResultCode};
use parking_lot::Mutex;

use super::down::DownLane;
use super::errands::Entrusted;
use super::host::{Accepted, LaneHost, Leavings};
use super::intake::Intake;
use super::reason::LaneOff;
use super::{Declined, FrameRun, LaneStatus, Outgoing, RemoteSink, Sink, SocketSink};

/// A UNIX client's sink. Frames go to the socket until the switch, and to the lane after it.
pub(crate) struct LocalSink {
    socket: SocketSink,
    host: Arc<LaneHost>,
    lane: OnceLock<Arc<DownLane>>,
    leavings: Mutex<Option<Leavings>>,
    is_on: AtomicBool,
    reason: AtomicU8,
}

impl LocalSink {
    pub(crate) fn new(outbox: Arc<Outbox>, host: Arc<LaneHost>, receiver: u64) -> Self {
        let reason = if host.options.is_on { LaneOff::NotAsked } else { LaneOff::Disabled };
        Self {
            socket: SocketSink { outbox, receiver },
            host,
            lane: OnceLock::new(),
            leavings: Mutex::new(None),
            is_on: AtomicBool::new(false),
            reason: AtomicU8::new(reason as u8),
        }
    }

    /// Remembers why there is no lane.
    pub(crate) fn set_off(&self, reason: LaneOff) {
        self.reason.store(reason as u8, Ordering::Relaxed);
    }

    /// Moves the client to its lane: the switch is the last that it gets over the socket. `None` when the connection
    /// has ended.
    pub(crate) fn switch(&self, accepted: Accepted) -> Option<(Arc<DownLane>, Intake, Entrusted<Watch>)> {
        let Accepted { lane, intake, bell, leavings } = accepted;
        *self.leavings.lock() = Some(leavings);
        self.lane.set(Arc::clone(&lane)).ok()?;
        if !self.socket.outbox.switch(&BrokerTag::Switch.encode()) {
            self.close_lane();
            return None;
        }
        self.is_on.store(true, Ordering::Release);
        self.socket.outbox.flush();
        // Somebody may have used the lane before it was on, and flushed the socket alone.
        lane.begin();
        Some((lane, intake, bell))
    }

    fn lane(&self) -> Option<&Arc<DownLane>> {
        if self.is_on.load(Ordering::Acquire) { self.lane.get() } else { None }
    }

    fn close_lane(&self) -> Level {
        let Some(lane) = self.lane.get() else { return Level::default() };
        let (level, zombie) = lane.close();
        if let Some(leavings) = self.leavings.lock().take() {
            self.host.keep_zombie(zombie, leavings);
        }
        level
    }
}

impl Sink for Arc<LocalSink> {
    fn offer(&self, token: u64, frame: &Outgoing<'_>) -> Result<Touch, Declined> {
        if let Some(lane) = self.lane() {
            return Ok(lane.offer(token, frame)?);
        }
        match (self.socket.try_offer(token, frame), self.lane.get()) {
            (Err(Refused::Switched), Some(lane)) => Ok(lane.offer(token, frame)?),
            (offered, _) => Ok(offered?),
        }
    }

    fn offer_run(&self, token: u64, frame: &Outgoing<'_>, run: &FrameRun<'_>) -> (usize, Touch) {
        let refused = (0, Touch::Again);
        match self.lane() {
            Some(lane) => lane.offer_run(token, frame, run).unwrap_or(refused),
            // What it does not take is offered again, and goes the way that is then the right one.
            None => self.socket.try_offer_run(token, frame, run.payloads()).unwrap_or(refused),
        }
    }

    fn acknowledge(&self, token: u64, op_id: u32, code: ResultCode) -> Result<Touch, Declined> {
        if let Some(lane) = self.lane() {
            return Ok(lane.acknowledge(token, op_id, code)?);
        }
        match (self.socket.try_acknowledge(token, op_id, code), self.lane.get()) {
            (Err(Refused::Switched), Some(lane)) => Ok(lane.acknowledge(token, op_id, code)?),
            (offered, _) => Ok(offered?),
        }
    }

    fn ping(&self) {
        self.socket.ping();
    }

    fn flush(&self) {
        // The switch itself flushes what went to the socket before it.
        match self.lane() {
            Some(lane) => lane.flush(),
            None => self.socket.flush(),
        }
    }

    fn tidy(&self) {
        if let Some(lane) = self.lane() {
            lane.tidy();
        }
    }

    fn close(&self) -> Level {
        // The lane first: what is written into it after the client has seen the end of the socket nobody gives back.
        let (lane, socket) = match self.lane.get() {
            Some(_) => (self.close_lane(), self.socket.close()),
            // It may be about to switch to one, and notices from here on that it cannot.
            None => {
                let socket = self.socket.close();
                (self.close_lane(), socket)
            }
        };
        Level { frames: socket.frames + lane.frames, bytes: socket.bytes + lane.bytes, ..socket }
    }

    fn has_left(&self) -> bool {
        self.socket.has_left()
    }

    fn takes_pipes(&self) -> bool {
        self.lane.get().is_none() && self.socket.takes_pipes()
    }

    fn poll_relief(&self, context: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.socket.poll_relief(context, bytes)
    }

    fn level(&self) -> Level {
        let socket = self.socket.level();
        let Some(lane) = self.lane.get() else { return socket };
        let lane = lane.level();
        Level {
            frames: socket.frames + lane.frames,
            bytes: socket.bytes + lane.bytes,
            taken_frames: socket.taken_frames + lane.taken_frames,
            taken_bytes: socket.taken_bytes + lane.taken_bytes,
            progress: socket.progress + lane.progress,
        }
    }

    fn lane_status(&self) -> LaneStatus {
        match self.lane() {
            Some(lane) => {
                let counters = lane.counters();
                LaneStatus::On {
                    in_place: counters.in_place.load(Ordering::Relaxed),
                    copied: counters.copied.load(Ordering::Relaxed),
                }
            }
            None => LaneStatus::Off(LaneOff::from_number(self.reason.load(Ordering::Relaxed))),
        }
    }
}

impl RemoteSink for Arc<LocalSink> {
    fn poll_below(&self, context: &mut Context<'_>, window: OutboxLimits) -> Poll<bool> {
        let Some(lane) = self.lane() else { return self.socket.poll_below(context, window) };
        // What went to the socket before the switch comes before what waits before the lane.
        match ready!(self.socket.outbox.poll_written(context)) {
            true => lane.poll_below(context, window),
            false => Poll::Ready(false),
        }
    }

    fn move_on(&self) {
        match self.lane() {
            Some(lane) => lane.resume(),
            None => self.socket.move_on(),
        }
    }

    fn narrow(&self) {
        self.socket.narrow();
    }

    fn tell_gap(&self, frames: u32) {
        match self.lane() {
            Some(lane) => lane.tell_gap(frames),
            None => self.socket.tell_gap(frames),
        }
    }
}
