//! Large payloads that go from one UNIX socket to another without being copied.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use busway_net::link::{Chunk, Readiness, SHORTEST_PIPED};
use busway_net::wire::ClientFrame;

use super::connection::Connection;

/// A receiver for which so many bytes wait is behind: its sender may wait for it when there are no pipes.
const BEHIND: usize = 8 << 20;
/// For how long, at most.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

impl Connection {
    /// Looks whether the large payload that has begun to arrive can stay in the kernel: it is for one receiver, and both are
    /// on UNIX sockets. When the pipes are in use and the receiver is behind, waits until it has taken some: memory would
    /// fill as well, and a sender that is faster than its receiver has nothing of it.
    pub(super) async fn begin_large(&mut self, readiness: &Readiness<'_>) {
        if self.reader.missing() == 0 {
            return;
        }
        let Some(frame) = self.reader.take_announced() else { return };
        let ClientFrame::Operation { operation, .. } = frame.meta else { return };
        let (shelf, length) = (&self.shared.pipes, frame.payload.len());
        if length < SHORTEST_PIPED || !readiness.is_local() || !shelf.has_room_for(length) {
            return;
        }
        let Some(receiver) = self.shared.router.receiver_by_pipe(&mut self.source, operation, frame.first) else {
            return;
        };
        self.pipes = shelf.promise(length);
        let waiting = receiver.sink.level().bytes;
        if self.pipes.is_none() && waiting > BEHIND {
            let receiver = Arc::clone(receiver);
            self.shared.router.finish(&mut self.touched);
            let below = BEHIND.max(waiting.saturating_sub(length));
            let relief = poll_fn(|context| receiver.sink.poll_relief(context, below));
            let _ = tokio::time::timeout(LONGEST_WAIT, relief).await;
            self.pipes = self.shared.pipes.promise(length);
        }
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
