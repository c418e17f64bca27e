//! Clients that have nothing to do with the trouble: a pair on the lane and a pair on sockets, each exchanging
//! messages all the time. Whatever happens to others, they lose nothing and wait for nobody.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use busway::client::Transport;
use busway::{Client, QoS};

use crate::place::segments;
use crate::support::{BrokerProcess, WATCHDOG, eventually};

/// Exchanges after which a client has asked for all arenas that it will ever need.
const SETTLED: u64 = 10;

pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    /// Exchanges of the pair on the lane, and of the pair on sockets.
    exchanges: Arc<[AtomicU64; 2]>,
    thread: JoinHandle<()>,
}

impl Witness {
    pub(crate) fn start(broker: &BrokerProcess) -> Self {
        let (stop, exchanges) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 2]>::default());
        let (socket, seen) = (broker.socket(), (Arc::clone(&stop), Arc::clone(&exchanges)));
        let process = broker.id();
        let thread = thread::spawn(move || run((&socket, process), &seen.0, &seen.1));
        let witness = Self { stop, exchanges, thread };
        // Until they have all that they will ever need of the broker.
        eventually("the witnesses have settled", || {
            assert!(!witness.thread.is_finished(), "the witnesses could not begin, see above");
            witness.exchanges[0].load(Ordering::Relaxed) > SETTLED
        });
        witness
    }

    /// Both pairs exchange something once more.
    pub(crate) fn goes_on(&self) {
        let count = || [0, 1].map(|pair| self.exchanges[pair].load(Ordering::Relaxed));
        let before = count();
        eventually("the witnesses' next exchange", || {
            assert!(!self.thread.is_finished(), "the witnesses were disturbed, see above");
            let now = count();
            // The one under way may have begun before the trouble.
            now[0] > before[0] + 1 && now[1] > before[1] + 1
        });
    }

    /// Ends the exchange; nothing disturbed it.
    pub(crate) fn finish(self) {
        self.goes_on();
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the witnesses were not disturbed");
    }
}

fn run((socket, broker): (&Path, u32), stop: &AtomicBool, exchanges: &[AtomicU64; 2]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let lane = pair(socket, "lane", true).await;
        let sockets = pair(socket, "sockets", false).await;
        fill_arenas(&lane.0, broker).await;
        for number in 0.. {
            for (index, (from, to, topic)) in [&lane, &sockets].into_iter().enumerate() {
                exchange(from, to, topic, number).await;
                exchanges[index].fetch_add(1, Ordering::Relaxed);
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Two arenas are what a client keeps, whatever it needs; it has them from the first, so that what the broker holds for
/// it does not change.
async fn fill_arenas(client: &Client, broker: u32) {
    let mut loans = Vec::new();
    while segments(broker, "arena").len() < 2 {
        loans.push(client.loan(1 << 20));
        tokio::time::sleep(Duration::from_millis(5)).await;
        if loans.len() > 3 {
            loans.clear();
        }
    }
}

async fn pair(socket: &Path, kind: &str, on_lane: bool) -> (Client, Client, String) {
    let topic = format!("witness/{kind}");
    let connect = |role: &str| {
        let name = format!("witness.{kind}.{role}");
        let builder = Client::builder(socket, &name).shm(on_lane).timeout(WATCHDOG);
        async move { builder.connect().await.expect("a witness connects") }
    };
    let (from, to) = (connect("from").await, connect("to").await);
    for client in [&from, &to] {
        while on_lane && client.transport() != Transport::Lane {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    to.subscribe(topic.as_str()).await.expect("it subscribes");
    (from, to, topic)
}

/// One confirmed publication, and its arrival: whole, and the next in order.
async fn exchange(from: &Client, to: &Client, topic: &str, number: usize) {
    let length = [16, 2_000, 70_000][number % 3];
    let payload: Vec<u8> = (0..length).map(|position| (position / 7 + number).to_le_bytes()[0]).collect();
    from.publish(topic, payload.as_slice()).qos(QoS::Processed).await.expect("a witness publishes");
    let frame = loop {
        let frame = tokio::time::timeout(WATCHDOG, to.recv()).await.expect("watchdog: a witness waits");
        let frame = frame.unwrap_or_else(|| panic!("a witness was cut off: {:?}", *to.state().borrow()));
        // The broker tells everybody whom it has cut.
        if frame.sender() != ".broker" {
            break frame;
        }
    };
    assert_eq!(frame.topic(), Some(topic));
    assert_eq!(frame.payload().as_slice(), payload, "exchange {number} of {topic}");
}
