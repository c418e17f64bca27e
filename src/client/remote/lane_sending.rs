//! Sending by the lane, and waiting for it.

use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use busway_net::link::Refused;

use super::Remote;
use crate::client::confirmation::{Accepted, Confirmation};
use crate::client::error::SendError;
use crate::client::operation::{Filters, Operation};
use crate::lane::{Offered, UpLane};

/// Who waits for room in the ring for longer than this uses the queue: the broker does not read.
const PATIENCE: Duration = Duration::from_millis(20);

impl Remote {
    /// Sends by the lane; `None` when there is none.
    #[inline(always)]
    pub(in crate::client) fn poll_send_by_lane(
        &self,
        context: &mut Context<'_>,
        operation: &mut Operation<'_>,
    ) -> Option<Poll<Accepted>> {
        if self.lane.is_on() { self.poll_send_by(context, operation) } else { None }
    }

    /// Sends by the lane after the socket has refused it: the connection's task is about to say that it is on.
    #[cold]
    pub(in crate::client) fn poll_send_switched(
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
        let offered = self.lane.with(|lane| {
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
    pub(in crate::client) fn poll_change_by_lane(
        &self,
        context: &mut Context<'_>,
        filters: &mut Filters<'_>,
    ) -> Option<Poll<Accepted>> {
        self.poll_change_by(&*self.lane.current()?, context, filters)
    }

    /// Changes filters by the lane after the socket has refused it; as [`poll_send_switched`](Self::poll_send_switched).
    pub(in crate::client) fn poll_change_switched(
        &self,
        context: &mut Context<'_>,
        filters: &mut Filters<'_>,
    ) -> Option<Poll<Accepted>> {
        self.poll_change_by(&*self.lane.with(Arc::clone)?, context, filters)
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
                    self.leave_to_task();
                }
                Poll::Ready(Ok(confirmation.unwrap_or(Confirmation::done())))
            }
        }
    }
}

impl Remote {
    /// Ends when somebody has waited for the broker for a while, and is to go on without it: at a moment and not after a
    /// time, which would begin anew with whatever else happens.
    pub(in crate::client) async fn end_patience(&self) {
        let Some(lane) = self.lane.current() else { return pending().await };
        tokio::select! {
            () = end_wait_for_room(&lane) => {}
            () = end_wait_for_arena(&lane) => {}
        }
    }
}

/// Who waits for room in the ring may use the queue after a while.
async fn end_wait_for_room(lane: &UpLane) {
    let Some(since) = lane.waiting_since() else { return pending().await };
    tokio::time::sleep_until((since + PATIENCE).into()).await;
    lane.spill();
}

/// Payloads that wait for an arena are copied after a while.
async fn end_wait_for_arena(lane: &UpLane) {
    let Some(deadline) = lane.arena_deadline() else { return pending().await };
    tokio::time::sleep_until(deadline.into()).await;
    lane.give_up_arena();
}
