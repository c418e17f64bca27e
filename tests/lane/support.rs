//! A broker in this process, and clients of it by every transport.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway::broker::{Broker, Builder};
use busway::client::Transport;
use busway::{Client, Frame};

/// A test ends after this long, whatever happens.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A broker on a temporary socket.
pub(crate) struct Bus {
    broker: Option<Broker>,
    directory: PathBuf,
}

impl Bus {
    pub(crate) async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// A broker with options.
    pub(crate) async fn with(options: impl FnOnce(Builder) -> Builder) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("busway-lane-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let mut bus = Self { broker: None, directory };
        bus.restart(options).await;
        bus
    }

    /// A new broker in the place of the one before.
    pub(crate) async fn restart(&mut self, options: impl FnOnce(Builder) -> Builder) {
        self.shut_down().await;
        let builder = Broker::builder().unix(self.socket()).tcp("127.0.0.1:0");
        self.broker = Some(options(builder).start().await.expect("the broker starts"));
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs")
    }

    /// Ends the broker as a program does that is told to end.
    pub(crate) async fn shut_down(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.shut_down().await;
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("bus.sock")
    }

    /// A client that is on the lane.
    pub(crate) async fn lane(&self, name: &str) -> Client {
        let client = Client::connect(self.socket(), name).await.expect("it connects");
        on_lane(&client).await;
        client
    }

    /// A client that stays on its socket.
    pub(crate) async fn unix(&self, name: &str) -> Client {
        Client::builder(self.socket(), name).shm(false).connect().await.expect("it connects")
    }

    /// A client in the broker's own process.
    pub(crate) fn internal(&self, name: &str) -> Client {
        self.broker().client(name).expect("it registers")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Waits for the switch.
pub(crate) async fn on_lane(client: &Client) {
    until(|| client.transport() == Transport::Lane).await;
}

/// Waits until a condition holds that nothing reports.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The next frame, which has to come.
pub(crate) async fn next(client: &Client) -> Frame {
    match client.recv().await {
        Some(frame) => frame,
        None => panic!("{} was to receive a frame, and {:?}", client.name(), *client.state().borrow()),
    }
}

/// Runs a promise; the watchdog ends a hang.
pub(crate) async fn keep(promise: impl Future<Output = ()>) {
    tokio::time::timeout(WATCHDOG, promise).await.expect("watchdog: the promise hangs");
}

/// Bytes that tell where they are.
pub(crate) fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|position| (position.wrapping_mul(31).wrapping_add(seed) >> 3).to_le_bytes()[0]).collect()
}
