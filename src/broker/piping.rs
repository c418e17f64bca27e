//! Large payloads that go from one UNIX socket to another without being copied.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use busway_net::link::{Chunk, Readiness, SHORTEST_PIPED};
use busway_net::wire::ClientFrame;

use super::connection::Connection;
use super::peer::Peer;

/// A receiver for which more waits than so many bytes, or so many payloads, is behind: ...
const MOST_WAITING: usize = 16 << 20;
const MOST_PAYLOADS: usize = 12;
/// ... so many pipes are left for others.
const LEFT_FOR_OTHERS: usize = 5;
/// For how long a sender waits for a receiver that is further behind, for each MiB of the payload ...
const WAIT_FOR_MIB: Duration = Duration::from_millis(2);
/// ... and in all.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

impl Connection {
    /// Looks whether the large payload that has begun to arrive can stay in the kernel: it is for one receiver, and both are
    /// on UNIX sockets. A receiver that is behind leaves some pipes for others; when it has the rest it is waited for for a
    /// moment, as long as it reads: memory would fill instead.
    pub(super) async fn begin_large(&mut self, readiness: &Readiness<'_>) {
        if self.reader.missing() == 0 {
            return;
        }
        let Some(frame) = self.reader.take_announced() else { return };
        let ClientFrame::Operation { operation, .. } = frame.meta else { return };
        let length = frame.payload.len();
        if length < SHORTEST_PIPED || !readiness.is_local() || !self.shared.pipes.has_room_for(length) {
            return;
        }
        let Some(receiver) = self.shared.router.receiver_by_pipe(&mut self.source, operation, frame.first) else {
            return;
        };
        let waiting = receiver.sink.level().bytes;
        let is_behind = waiting + length > MOST_WAITING.min(MOST_PAYLOADS * length);
        let left = if is_behind { LEFT_FOR_OTHERS } else { 0 };
        self.pipes = self.shared.pipes.promise(length, left);
        if self.pipes.is_none() && is_behind {
            let receiver = Arc::clone(receiver);
            // In memory of its own: every connection would have room for it, and few ever wait.
            let wait = Box::pin(self.wait_for_receiver(&receiver, waiting.saturating_sub(length), length));
            if wait.await {
                self.pipes = self.shared.pipes.promise(length, left);
            }
        }
        if self.pipes.is_some() {
            self.reader.slim();
        }
    }

    /// Waits until at most `most` bytes wait for a receiver, before a payload of `length`. Says whether that is so.
    async fn wait_for_receiver(&mut self, receiver: &Peer, most: usize, length: usize) -> bool {
        let now = (receiver.id, receiver.sink.level().progress);
        if self.stalled == Some(now) {
            return false;
        }
        let mebibytes = u32::try_from(length.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let patience = WAIT_FOR_MIB.saturating_mul(mebibytes).min(LONGEST_WAIT);
        let relief = poll_fn(|context| receiver.sink.poll_relief(context, most + 1));
        let is_relieved = tokio::time::timeout(patience, relief).await.is_ok();
        self.stalled = (!is_relieved && receiver.sink.level().progress == now.1).then_some(now);
        is_relieved
    }

    /// Reads once: into pipes what is to stay there, all else into memory.
    pub(super) fn read_once(&mut self, readiness: &mut Readiness<'_>) -> io::Result<Chunk> {
        if let Some(pipes) = &mut self.pipes
            && self.reader.missing() > 0
        {
            if let Some(chunk) = self.reader.read_into_pipes(readiness, pipes) {
                return Ok(chunk);
            }
            self.pipes = None;
        }
        self.reader.read(readiness)
    }
}
