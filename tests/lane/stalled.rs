//! Clients that do not read: their process does nothing, until it is told to go on.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use busway::broker::ClientInfo;
use busway::client::Builder;
use busway::{Client, Endpoint, Frame, QoS};
use tokio::sync::oneshot;

use crate::support::{Bus, next, on_lane, until};

/// Far more than a ring or the buffers of a socket hold, with the queues before and behind them: of payloads that all go
/// in place a ring holds some 3,000.
pub(crate) const FRAMES: u64 = 6_000;
/// Goes by an arena on the lane.
pub(crate) const FRAME_BYTES: usize = 8 << 10;
pub(crate) const QUEUE: usize = 64;

/// How a stalled client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Lane,
    Unix,
    Tcp,
}

pub(crate) const WAYS: [Way; 3] = [Way::Lane, Way::Unix, Way::Tcp];

/// A client whose process does nothing until it is told to go on: its runtime is one thread, which is blocked.
pub(crate) struct Stalled {
    pub(crate) go_on: mpsc::Sender<()>,
    pub(crate) received: oneshot::Receiver<Received>,
}

/// What a stalled client finds when it goes on.
pub(crate) struct Received {
    pub(crate) frames: Vec<Frame>,
    pub(crate) lost: u64,
    /// The client stays until this goes.
    _leave: mpsc::Sender<()>,
}

impl Received {
    /// Numbers of the frames of a topic.
    pub(crate) fn numbers(&self, topic: &str) -> Vec<u64> {
        let of_topic = self.frames.iter().filter(|frame| frame.topic() == Some(topic));
        of_topic.map(number_of).collect()
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.frames.iter().map(Frame::lost_before).sum()
    }
}

pub(crate) fn number_of(frame: &Frame) -> u64 {
    u64::from_le_bytes(frame.payload()[..8].try_into().expect("a payload begins with its number"))
}

pub(crate) fn payload(number: u64) -> Vec<u8> {
    let mut payload = vec![0; FRAME_BYTES];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

/// Publishes numbers `0..FRAMES` to a topic.
pub(crate) async fn publish_all(publisher: &Client, topic: &str) {
    for number in 0..FRAMES {
        publisher.publish(topic, payload(number)).await.expect("it is accepted");
    }
    publisher.publish("nobody", "").qos(QoS::Processed).await.expect("the broker confirms");
}

/// A bus with a small queue, that does not take a stalled client for a dead one.
pub(crate) async fn bus() -> Bus {
    Bus::with(options).await
}

pub(crate) fn options(builder: busway::broker::Builder) -> busway::broker::Builder {
    builder.queue(QUEUE, 64 << 20).timeout(Duration::from_secs(3_600)).max_wait(Duration::from_secs(3_600))
}

pub(crate) fn endpoint(bus: &Bus, way: Way) -> Endpoint {
    let is_wanted = |endpoint: &&Endpoint| matches!(endpoint, Endpoint::Tcp(_)) == (way == Way::Tcp);
    bus.broker().endpoints().iter().find(is_wanted).expect("it listens there").clone()
}

/// Connects a client that takes `a/#` and `end`, prepares it, and stalls it.
pub(crate) async fn stall<P>(bus: &Bus, way: Way, prepare: P) -> Stalled
where
    P: AsyncFnOnce(&Client) + Send + 'static,
{
    stall_with(Client::builder(endpoint(bus, way), "stalled").shm(way == Way::Lane), way, prepare).await
}

pub(crate) async fn stall_with<P>(builder: Builder, way: Way, prepare: P) -> Stalled
where
    P: AsyncFnOnce(&Client) + Send + 'static,
{
    let (go_on, told) = mpsc::channel();
    let (ready, is_ready) = oneshot::channel();
    let (report, received) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = builder.connect().await.expect("it connects");
            if way == Way::Lane {
                on_lane(&client).await;
            }
            client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            prepare(&client).await;
            client.subscribe("end").await.expect("it subscribes");
            let _ = ready.send(());
            if told.recv().is_err() {
                return;
            }
            let mut frames = Vec::new();
            loop {
                let frame = next(&client).await;
                let is_end = frame.topic() == Some("end");
                frames.push(frame);
                if is_end {
                    break;
                }
            }
            let (leave, told_to_leave) = mpsc::channel();
            let _ = report.send(Received { frames, lost: client.lost_frames(), _leave: leave });
            let _ = told_to_leave.recv();
        });
    });
    is_ready.await.expect("it is prepared");
    Stalled { go_on, received }
}

impl Stalled {
    /// Lets it go on; the last frame is one that is published when it has taken what waited.
    pub(crate) async fn go_on(self, bus: &Bus, publisher: &Client) -> Received {
        self.go_on.send(()).expect("it waits");
        until(|| info(bus).queue == 0).await;
        publisher.publish("end", payload(u64::MAX)).qos(QoS::Processed).await.expect("the broker confirms");
        self.received.await.expect("it gets everything")
    }
}

pub(crate) fn info(bus: &Bus) -> ClientInfo {
    let clients = bus.broker().clients().clients;
    clients.into_iter().find(|client| client.name == "stalled").expect("it was not cut")
}
