//! Receivers that do not give back what the broker has written once for several of them.

use busway::Client;
use busway_shm::layout::{MAX_PLACED_RUN, flag};
use busway_shm::{Descriptor, PeerMemory, PeerSegment, Record, Run};
use tokio::runtime::{Builder, Runtime};

use crate::applicant::{Applicant, REQUEST};
use crate::cursors::BROKEN;
use crate::lane_peer::{LanePeer, payloads};
use crate::place::{Holdings, broker, expect_return_to, wait_until_gone};
use crate::support::{BrokerProcess, TemporaryDirectory, WATCHDOG};
use crate::witness::Witness;

/// Frames that go together in one record in any case.
const TOGETHER: u64 = 32;
/// Runs that one receiver may hold.
const MOST: usize = 128;

/// A client that publishes, and lanes that want it, of which one has mapped the common segment.
struct Scene {
    runtime: Runtime,
    sender: Client,
    hoarder: LanePeer,
    segment: PeerSegment,
    others: [LanePeer; 3],
    sent: u64,
    /// What the hoarder holds.
    held: Vec<Descriptor>,
    is_broadcast: bool,
}

impl Scene {
    fn new(broker: &BrokerProcess) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let sender = runtime.block_on(on_lane(broker, "sender"));
        let (hoarder, segment) = LanePeer::subscribed_with_others(broker, "receiver.hoarder", &["light"]);
        let others =
            ["receiver.1", "receiver.2", "receiver.3"].map(|name| LanePeer::subscribed(broker, name, &["light"]));
        Self { runtime, sender, hoarder, segment, others, sent: 0, held: Vec::new(), is_broadcast: false }
    }

    /// Publishes some frames, and holds what of them comes to the hoarder in place; says how many did. All of them come,
    /// to all of the receivers.
    fn publish(&mut self) -> usize {
        let expected: Vec<Vec<u8>> = (self.sent..self.sent + TOGETHER).map(payload).collect();
        self.runtime.block_on(async {
            for payload in &expected {
                let operation = if self.is_broadcast {
                    self.sender.broadcast("receiver.*", payload)
                } else {
                    self.sender.publish("light", payload)
                };
                operation.await.expect("it is sent");
            }
        });
        self.sent += TOGETHER;
        for other in &mut self.others {
            for payload in &expected {
                assert!(other.receive().1 == *payload);
            }
        }
        let (mut arrived, mut in_place) = (Vec::new(), 0);
        while arrived.len() < expected.len() {
            let (record, payload) = self.hoarder.record();
            if record.descriptor.flags & flag::IN_PLACE != 0 {
                let frames = self.read(&record);
                in_place += frames.len();
                arrived.extend(frames);
                self.held.push(record.descriptor);
            } else if record.is_run() {
                arrived.extend(payloads(Run::of(&record, 0), &payload));
            } else {
                arrived.push(payload);
            }
        }
        assert!(arrived == expected);
        in_place
    }

    fn read(&self, record: &Record) -> Vec<Vec<u8>> {
        let length = record.descriptor.payload.get() as usize;
        assert!(record.is_run() && length <= MAX_PLACED_RUN);
        let mut bytes = vec![0; length];
        self.segment.read(usize::try_from(record.descriptor.offset.get()).expect("an offset"), &mut bytes);
        payloads(Run::in_place(record, 0), &bytes)
    }

    /// Publishes until nothing comes in place any longer.
    fn fill(&mut self) {
        let mut rounds = 0;
        // The first of a stream go alone.
        while self.publish() > 0 || self.held.len() < MOST {
            rounds += 1;
            assert!(rounds < 20 * MOST, "it holds {} runs", self.held.len());
        }
    }

    fn give_back(&mut self, held: &Descriptor) {
        self.hoarder.give_back(held.slot.get(), held.generation.get());
    }
}

async fn on_lane(broker: &BrokerProcess, name: &str) -> Client {
    let client = Client::builder(broker.socket(), name).timeout(WATCHDOG).connect().await.expect("it connects");
    client.wait_for_lane(WATCHDOG).await.expect("it has a lane");
    client
}

fn payload(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(8)
}

#[test]
fn who_gives_no_runs_back_gets_copies_until_it_does() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut scene = Scene::new(&broker);
    scene.fill();
    let held = std::mem::take(&mut scene.held);
    let mut places: Vec<_> = held.iter().map(|held| held.offset.get()).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!((held.len(), places.len()), (MOST, MOST), "nothing is written where somebody still reads");
    for held in &held {
        scene.give_back(held);
    }
    let rounds = (0..100).find(|_| scene.publish() > 0);
    assert!(rounds.is_some(), "it may hold something again");
    witness.finish();
}

/// What the rules let through is for those whom they name, and for nobody else of the same user.
#[test]
fn what_rules_are_for_is_not_written_where_others_read() {
    const RULES: &str =
        "[access.\"*\"]\nmessage = \"any\"\npublish = \"any\"\nsubscribe = \"any\"\nbroadcast = \"any\"\n";
    let directory = TemporaryDirectory::new();
    let file = directory.join("buswayd.toml");
    for (rules, is_in_place) in [("", true), (RULES, false)] {
        std::fs::write(&file, rules).expect("a file can be written");
        let broker = broker(&["--config", file.to_str().expect("a path of text")]);
        for is_broadcast in [false, true] {
            let mut scene = Scene { is_broadcast, ..Scene::new(&broker) };
            let in_place: usize = (0..100).map(|_| scene.publish()).sum();
            assert_eq!(in_place > 0, is_in_place, "broadcast: {is_broadcast}, rules: {rules:?}");
            drop(scene);
            for name in ["sender", "receiver.hoarder", "receiver.1", "receiver.2", "receiver.3"] {
                wait_until_gone(&broker, name);
            }
        }
    }
}

#[test]
fn nobody_is_shown_a_common_segment_where_nobody_is_trusted() {
    let broker = broker(&["--shm-trust", "none"]);
    let applicant = Applicant::register(&broker.socket(), "applicant");
    applicant.write(REQUEST);
    let mut peer = LanePeer::map(applicant).switch_alone();
    peer.expect_served();
    assert!(peer.applicant.segment_if_any().is_none());
}

/// A client that has no lane, by its own will or because it knows of none, has nothing in shared memory.
#[test]
fn what_comes_over_a_socket_is_not_written_where_others_read() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut scene = Scene::new(&broker);
    scene.sender = scene.runtime.block_on(async {
        let sender = Client::builder(broker.socket(), "sender.socket").timeout(WATCHDOG).shm(false).connect().await;
        sender.expect("it connects")
    });
    for _ in 0..100 {
        assert_eq!(scene.publish(), 0);
    }
    witness.finish();
}

#[test]
fn a_run_that_is_given_back_twice_is_a_lie() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let mut scene = Scene::new(&broker);
    while scene.held.is_empty() {
        scene.publish();
    }
    let held = scene.held[0];
    scene.give_back(&held);
    scene.give_back(&held);
    // Looked at with the next that is for several.
    scene.runtime.block_on(async {
        for number in 0..10 * TOGETHER {
            scene.sender.publish("light", payload(number)).await.expect("it is sent");
        }
    });
    scene.hoarder.applicant.expect_closed();
    broker.expect_logged(&["receiver.hoarder", BROKEN]);
    for number in 0..10 * TOGETHER {
        for other in &mut scene.others {
            assert!(other.receive().1 == payload(number));
        }
    }
    witness.finish();
}

/// The process goes on, and could still read.
#[test]
fn runs_that_are_held_beyond_the_end_of_a_connection_are_not_written_again() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let mut scene = Scene::new(&broker);
    scene.fill();
    let read = |scene: &Scene| {
        let mut bytes = vec![0; MAX_PLACED_RUN];
        let mut all = Vec::new();
        for held in &scene.held {
            scene.segment.read(usize::try_from(held.offset.get()).expect("an offset"), &mut bytes);
            all.extend_from_slice(&bytes);
        }
        all
    };
    let held = read(&scene);
    scene.hoarder.applicant.socket.shutdown(std::net::Shutdown::Both).expect("a socket can be shut down");
    wait_until_gone(&broker, "receiver.hoarder");
    let reader = scene.runtime.block_on(async {
        let reader = on_lane(&broker, "reader").await;
        reader.subscribe("light").await.expect("it subscribes");
        // All places that are free, again and again.
        for from in (0..400 * TOGETHER).step_by(usize::try_from(TOGETHER).expect("few")) {
            for number in from..from + TOGETHER {
                scene.sender.publish("light", payload(number)).await.expect("it is sent");
            }
            for number in from..from + TOGETHER {
                assert!(reader.recv().await.expect("a frame").payload()[..] == payload(number)[..]);
                for other in &mut scene.others {
                    assert!(other.receive().1 == payload(number));
                }
            }
        }
        reader
    });
    assert!(read(&scene) == held);
    for held in std::mem::take(&mut scene.held) {
        scene.give_back(&held);
    }
    let Scene { runtime, sender, others, .. } = scene;
    drop((sender, others, reader));
    drop(runtime);
    expect_return_to(&broker, before);
    witness.finish();
}
