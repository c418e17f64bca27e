//! What the clones of an [`Rpc`](super::Rpc) and the tasks behind it have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use busway_net::wire::{Operation, QoS};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use super::calls::Calls;
use super::options::Options;
use super::succession::Watching;
use crate::client::announcements::INFO_TOPIC;
use crate::client::queue::ReceiveQueue;
use crate::client::{Client, SendError};

pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) options: Options,
    pub(super) calls: Arc<Calls>,
    /// Of those who call.
    pub(super) turns: Semaphore,
    /// Of those who handle requests.
    pub(super) handlers: Arc<Semaphore>,
    /// What waits for a handler.
    pub(super) requests: ReceiveQueue,
    /// Notifications and frames, in order.
    pub(super) frames: ReceiveQueue,
    pub(super) unexpected_replies: AtomicU64,
    /// The last `Rpc` is gone, or the client has a newer RPC layer.
    pub(super) stop: Arc<Notify>,
    /// The connection has ended and everything is handled.
    pub(super) is_finished: watch::Sender<bool>,
    runtime: Handle,
}

impl Shared {
    pub(super) fn new(client: Client, options: Options) -> Self {
        let (frames, bytes) = options.request_queue;
        let requests = ReceiveQueue::new(frames, bytes);
        let (frames, bytes) = options.frame_queue;
        let frames = ReceiveQueue::with_rules_of(client.queue(), frames, bytes);
        let (calls, stop) = (Arc::clone(&client.succession().calls), client.succession().begin());
        Self {
            client,
            options,
            calls,
            turns: Semaphore::new(options.max_calls),
            handlers: Arc::new(Semaphore::new(options.max_handlers)),
            requests,
            frames,
            unexpected_replies: AtomicU64::new(0),
            stop,
            is_finished: watch::Sender::new(false),
            runtime: Handle::current(),
        }
    }

    /// Makes a timer, also where the caller has no runtime.
    pub(super) fn within_runtime<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = Handle::try_current().is_err().then(|| self.runtime.enter());
        make()
    }

    /// From now on the broker tells who leaves. It need not confirm: what is sent later is dealt with later.
    pub(super) async fn watch_announcements(&self) -> Result<(), SendError> {
        let succession = self.client.succession();
        if succession.is_watching.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut watching = succession.watching.lock().await;
        if !watching.is_counted {
            self.client.announcements().watch();
            watching.is_counted = true;
        }
        if !watching.is_subscribed {
            self.change(Operation::Subscribe).await?;
            watching.is_subscribed = true;
            succession.is_watching.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Leaves the client as it was found, unless a newer layer reads: it goes on for the calls of this one, too.
    pub(super) async fn unwatch_announcements(&self) {
        let succession = self.client.succession();
        let mut watching = succession.watching.lock().await;
        if !watching.is_counted || !succession.is_newest(&self.stop) {
            return;
        }
        succession.is_watching.store(false, Ordering::Release);
        *watching = Watching::default();
        let announcements = self.client.announcements();
        announcements.unwatch();
        if announcements.is_needed() {
            return;
        }
        if self.change(Operation::Unsubscribe).await.is_err() {
            // This connection has ended, and its subscriptions with it: the next one is not to have it, either.
            self.client.forget_subscription(INFO_TOPIC);
        } else if announcements.is_needed() {
            // Somebody has subscribed meanwhile, perhaps before this took it back.
            let _ = self.change(Operation::Subscribe).await;
        }
    }

    async fn change(&self, operation: Operation) -> Result<(), SendError> {
        self.client.change_quietly(operation, INFO_TOPIC).qos(QoS::No).await
    }
}
