//! `kill -9` and SIGSTOP at every step, and at any moment.

use std::thread;
use std::time::Duration;

use busway::Client;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::child::Actor;
use crate::garbage::Noise;
use crate::place::{Holdings, broker, expect_return_to, wait_until_gone};
use crate::roles::{STEPS, number_of, numbered};
use crate::support::{BrokerProcess, Request, WATCHDOG};
use crate::witness::Witness;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn subscriber(broker: &BrokerProcess, name: &str, on_lane: bool) -> Client {
    let client = Client::builder(broker.socket(), name).shm(on_lane).timeout(WATCHDOG).connect().await;
    let client = client.expect("it connects");
    client.subscribe("numbers").await.expect("it subscribes");
    while on_lane && client.transport() != busway::client::Transport::Lane {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client
}

#[test]
fn a_client_that_is_killed_at_any_step_leaves_nothing_behind() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for step in STEPS {
        let mut actor = Actor::start(&format!("steps {step}"), &broker.socket());
        actor.expect("there");
        actor.kill();
        wait_until_gone(&broker, "steps");
        expect_return_to(&broker, before);
    }
    witness.finish();
}

#[test]
fn a_client_that_is_stopped_at_any_step_holds_nobody_up() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for step in STEPS {
        let mut actor = Actor::start(&format!("steps {step}"), &broker.socket());
        actor.expect("there");
        actor.signal(Signal::STOP);
        witness.goes_on();
        actor.signal(Signal::CONT);
        actor.kill();
        wait_until_gone(&broker, "steps");
        expect_return_to(&broker, before);
    }
    witness.finish();
}

/// What was confirmed has arrived: once, whole, in order, on the lane and on a socket.
#[test]
fn what_a_killed_publisher_was_confirmed_has_arrived_once_and_in_order() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let runtime = runtime();
    let mut noise = Noise::new(1);
    runtime.block_on(async {
        let survivors = [subscriber(&broker, "on.lane", true).await, subscriber(&broker, "on.socket", false).await];
        let before = Holdings::of(broker.id());
        for round in 0..15 {
            let mut actor = Actor::start(&format!("publisher publisher.{round}"), &broker.socket());
            actor.expect("ready");
            thread::sleep(Duration::from_micros(noise.next() % 60_000));
            actor.kill();
            let confirmed = actor.rest().len() as u64;
            wait_until_gone(&broker, &format!("publisher.{round}"));
            // All that was routed has been; the end is told by a number of its own.
            let mut marker = broker.peer("marker");
            marker.perform(Request::publish("numbers", numbered(u64::MAX)));
            drop(marker);
            wait_until_gone(&broker, "marker");
            for survivor in &survivors {
                let mut next = 0;
                loop {
                    let frame = survivor.recv().await.expect("a survivor is not disturbed");
                    let number = number_of(frame.payload());
                    if number == u64::MAX {
                        break;
                    }
                    assert_eq!(number, next, "round {round}: once and in order");
                    next += 1;
                }
                assert!(next >= confirmed, "round {round}: {confirmed} were confirmed, {next} arrived");
            }
            expect_return_to(&broker, before);
        }
    });
    witness.finish();
}

#[test]
fn subscribers_that_are_killed_or_stopped_disturb_neither_publisher_nor_survivors() {
    let broker = broker(&["-t", "2"]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let publisher = Actor::start("publisher publisher", &broker.socket());
    publisher.expect("ready");
    let mut noise = Noise::new(2);
    for round in 0..12 {
        let mut actor = Actor::start(&format!("subscriber subscriber.{round}"), &broker.socket());
        actor.expect("ready");
        thread::sleep(Duration::from_micros(noise.next() % 50_000));
        if round % 4 == 3 {
            // Stopped for so long that the broker cuts it, and then gone.
            actor.signal(Signal::STOP);
            wait_until_gone(&broker, &format!("subscriber.{round}"));
            witness.goes_on();
        }
        actor.kill();
        wait_until_gone(&broker, &format!("subscriber.{round}"));
    }
    let mut publisher = publisher;
    publisher.kill();
    let confirmed = publisher.rest();
    let numbers: Vec<u64> = confirmed.iter().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "the publisher went on all the time");
    wait_until_gone(&broker, "publisher");
    expect_return_to(&broker, before);
    witness.finish();
}

/// A broker that ends in order lets go of what its clients hold; it must not tell the sender that this is free.
#[test]
fn what_is_held_when_the_broker_ends_is_not_written_over() {
    let mut broker = broker(&[]);
    let mut survivor = Actor::start("survivor 100", &broker.socket());
    survivor.expect("ready");
    let mut overwriter = Actor::start("overwriter", &broker.socket());
    overwriter.expect("ready");
    survivor.expect("holds");
    broker.signal(Signal::TERM);
    assert!(broker.wait().success());
    survivor.expect("alone");
    overwriter.say("write");
    overwriter.expect("written");
    survivor.say("check");
    survivor.expect("nothing is left");
}

#[test]
fn a_broker_that_is_killed_leaves_no_memory_and_a_new_one_serves() {
    let mut broker = broker(&[]);
    let named = || {
        std::fs::read_dir("/dev/shm").map_or(0, |entries| {
            entries
                .filter_map(Result::ok)
                .filter(|entry| entry.file_name().to_string_lossy().contains("busway"))
                .count()
        })
    };
    let mut noise = Noise::new(3);
    for round in 0..4 {
        let publisher = Actor::start("publisher publisher", &broker.socket());
        publisher.expect("ready");
        let mut survivor = Actor::start("survivor 3", &broker.socket());
        survivor.expect("ready");
        survivor.expect("holds");
        thread::sleep(Duration::from_micros(noise.next() % 20_000));
        broker.signal(Signal::KILL);
        broker.wait();
        survivor.expect("alone");
        // Payloads that were received stay, whatever became of broker and publisher.
        drop(publisher);
        survivor.say("check");
        survivor.expect("nothing is left");
        assert_eq!(named(), 0, "nothing has a name");
        if round < 3 {
            broker.start_again();
        }
    }
}
