//! What the router does about receivers that are slow and have said how they want to be treated.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use busway_net::wire::{FrameKind, ResultCode};

use super::peer::Peer;
use super::router::Router;
use super::touched::{HeldAnswer, Touched, Wait};
use crate::lane::Declined;
use crate::policy::SlowPolicy;

/// A bound beyond this is none; the clock cannot be asked for any.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Who waits looks so many times within its bound whether the receiver has taken anything, ...
const LOOKS: u32 = 8;
/// ... and not less often than this.
const LONGEST_LOOK: Duration = Duration::from_millis(100);
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

impl Router {
    /// Waits until the receivers of the operation at hand have room, for as long as their policies say, or does what
    /// takes long, and answers the sender.
    pub(crate) async fn settle(&self, sender: &Arc<Peer>, touched: &mut Touched) {
        let answer = touched.answer.take();
        let list = touched.long_list.take();
        let code = match &list {
            Some(list) => self.change_long_list(sender, list).await,
            None => self.wait_for_room(touched).await,
        };
        if let Some(HeldAnswer { op_id, qos, kind }) = answer
            && qos.is_confirmed()
        {
            let code = if kind == FrameKind::Message || list.is_some() { code } else { ResultCode::OK };
            self.confirm(sender, op_id, code, touched);
            // The sender may wait for nothing else: no batch may come that would end with this.
            self.finish(touched);
        }
    }

    /// Delivers what waits for room; says whether all of it was.
    pub(crate) async fn wait_for_room(&self, touched: &mut Touched) -> ResultCode {
        let waits = std::mem::take(&mut touched.waits);
        // Of all of them from the beginning: one after the other must not have its bound once more.
        let begin = Instant::now();
        let seen: Vec<u64> = waits.iter().map(|wait| wait.peer.sink.progress()).collect();
        let mut code = ResultCode::OK;
        // Who has not to wait gets its frame now.
        self.finish(touched);
        for (wait, seen) in waits.into_iter().zip(seen) {
            if !self.deliver_late(&wait, (seen, begin), touched).await {
                code = ResultCode::NOT_DELIVERED;
            }
            self.finish(touched);
        }
        code
    }

    /// Waits until a receiver has room, for as long as it takes something at least once within its bound. `seen` is how
    /// far it had come, and when it had not come further.
    async fn deliver_late(&self, wait: &Wait, mut seen: (u64, Instant), touched: &mut Touched) -> bool {
        let Wait { peer, frame, bound } = wait;
        let bound = bound.min(&LONGEST_WAIT);
        let Some(room) = peer.sink.room() else { return false };
        loop {
            let mut has_room = pin!(room.notified());
            // From here on, so that no room is missed that comes before the look.
            has_room.as_mut().enable();
            let progress = peer.sink.progress();
            if progress != seen.0 {
                seen = (progress, Instant::now());
            }
            match peer.sink.offer(touched.token(), &frame.outgoing()) {
                Ok(touch) => touched.heed(peer, touch),
                Err(Declined::Wait(_)) => {
                    let left = bound.saturating_sub(seen.1.elapsed());
                    if left.is_zero() {
                        peer.sink.stall(*bound);
                        self.lose(peer, 1);
                        return false;
                    }
                    // Also without being told: little room is a reason to go on, and no reason to tell.
                    let look = (*bound / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK).min(left);
                    let before = Instant::now();
                    let _ = tokio::time::timeout(look, has_room).await;
                    // Of the time for which the broker stood still itself nobody can say that the receiver did.
                    seen.1 += before.elapsed().saturating_sub(look);
                    continue;
                }
                Err(declined) => {
                    self.on_declined(peer, declined, touched);
                    return false;
                }
            }
            return true;
        }
    }

    /// Changes what is done with frames for which a client has no room: with publications that match one of the
    /// filters, or without any with all that no filter names.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn set_policy(&self, peer: &Peer, filters: &[&str], policy: SlowPolicy) -> Result<(), String> {
        self.slow_receivers.allow(policy)?;
        for filter in filters {
            self.limits.check_path(filter.as_bytes(), b'/').map_err(|fault| fault.to_string())?;
        }
        if filters.is_empty() {
            peer.sink.set_policy(None, policy);
        }
        match filters.iter().all(|filter| peer.sink.set_policy(Some(filter), policy)) {
            true => Ok(()),
            false => Err("too many topics have a policy of their own".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use busway_net::Pool;
    use busway_net::link::{Level, Touch};
    use busway_net::wire::Limits;
    use tokio::sync::Notify;

    use super::*;
    use crate::broker::peer::Transport;
    use crate::broker::registry::RegistryLimits;
    use crate::broker::slow_receivers::SlowReceivers;
    use crate::frame_names::FrameNames;
    use crate::lane::{Outgoing, Routed, Sink, StoredFrame};
    use crate::names::ClientName;

    const BOUND: Duration = Duration::from_secs(1);

    /// The sink of a receiver that takes nothing until it does.
    #[derive(Default)]
    struct Door {
        is_open: AtomicBool,
        opens: Notify,
    }

    impl Sink for Arc<Door> {
        fn offer(&self, _token: u64, _frame: &Outgoing<'_>) -> Result<Touch, Declined> {
            if self.is_open.load(Ordering::Relaxed) { Ok(Touch::First) } else { Err(Declined::Wait(BOUND)) }
        }

        fn acknowledge(&self, _token: u64, _op_id: u32, _code: ResultCode) -> Result<Touch, Declined> {
            Ok(Touch::First)
        }

        fn flush(&self) {}

        fn close(&self) -> Level {
            Level::default()
        }

        fn level(&self) -> Level {
            Level::default()
        }

        fn room(&self) -> Option<&Notify> {
            Some(&self.opens)
        }
    }

    /// Sends to a closed door, and says what becomes of it when the clock has gone on by `steps`, one after the other, and
    /// the door opens.
    async fn wait_at_door(steps: &[Duration]) -> ResultCode {
        let registry = RegistryLimits { clients: 1, subscriptions: 1, force_register: false };
        let router = Router::new(Limits::default(), registry, SlowReceivers::default(), Pool::default());
        let door = Arc::new(Door::default());
        let name = ClientName::parse("receiver", &Limits::default()).expect("it is one");
        let peer = Peer::new(router.next_id(), name, (Transport::Internal, None), Box::new(Arc::clone(&door)));
        let names = Arc::new(FrameNames { sender: "sender".into(), topic: None });
        let content = Routed::Borrowed(b"hello");
        let frame = Outgoing { kind: FrameKind::Message, realtime: false, names: &names, prefix: &[], content };
        let frame = StoredFrame::new(&frame, peer.id);
        let sending = tokio::spawn(async move {
            let mut touched = Touched::new(router.next_id());
            touched.waits.push(Wait { peer, frame, bound: BOUND });
            router.wait_for_room(&mut touched).await
        });
        for step in steps {
            tokio::task::yield_now().await;
            tokio::time::advance(*step).await;
        }
        // Whoever has waited for long enough notices it before.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        door.is_open.store(true, Ordering::Relaxed);
        door.opens.notify_waiters();
        sending.await.expect("it does not panic")
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_takes_nothing_for_the_bound_is_given_up() {
        assert_eq!(wait_at_door(&[Duration::from_millis(50); 10]).await, ResultCode::OK);
        assert_eq!(wait_at_door(&[Duration::from_millis(50); 30]).await, ResultCode::NOT_DELIVERED);
    }

    #[tokio::test(start_paused = true)]
    async fn time_for_which_the_broker_stood_still_is_not_the_receivers() {
        assert_eq!(wait_at_door(&[BOUND * 10]).await, ResultCode::OK);
    }
}
