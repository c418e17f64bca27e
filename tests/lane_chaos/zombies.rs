//! Clients whose connection has ended and that still read.

use busway::QoS;
use tokio::runtime::Builder;

use crate::child::Actor;
use crate::place::{Holdings, broker, expect_return_to, segments, wait_until_gone};
use crate::roles::numbered;
use crate::support::WATCHDOG;
use crate::witness::Witness;

/// Publishes to a holder until it holds something and has closed its connection, and then a lot more.
fn with_a_holder(play: impl FnOnce(&mut Actor, &dyn Fn())) {
    let broker = broker(&["--shm-client-bytes", "64M"]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut holder = Actor::start("holder", &broker.socket());
    holder.expect("ready");
    runtime.block_on(async {
        let client = busway::Client::builder(broker.socket(), "sender").timeout(WATCHDOG).connect().await;
        let client = client.expect("it connects");
        let publish = async |from: u64, count: u64| {
            for number in from..from + count {
                // Those that go in an arena of the usual size, so that all of it is used again and again.
                let payload = numbered(16 * number + 2);
                client.publish("held", payload).qos(QoS::Processed).await.expect("it is confirmed");
            }
        };
        let mut number = 0;
        while client.transport() != busway::client::Transport::Lane {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        loop {
            publish(number, 10).await;
            number += 10;
            let list = crate::place::names(&broker);
            if !list.iter().any(|name| name == "holder") {
                break;
            }
        }
        holder.expect("holds");
        // Several times what fits into its arenas.
        publish(number, 2_000).await;
        holder.say("check");
        holder.expect("unchanged");
        client.close().await;
        drop(client);
    });
    wait_until_gone(&broker, "sender");
    // The sender is gone, its memory is not.
    let arenas = || segments(broker.id(), "arena").len();
    let of_witnesses = before.mappings;
    assert!(segments(broker.id(), "").len() > of_witnesses, "what is held is still mapped");
    assert!(arenas() > 0);
    play(&mut holder, &|| expect_return_to(&broker, before));
    witness.finish();
}

#[test]
fn what_a_closed_client_holds_is_unchanged_until_it_is_given_back() {
    with_a_holder(|holder, expect_return| {
        holder.say("check");
        holder.expect("unchanged");
        holder.say("drop");
        holder.expect("dropped");
        expect_return();
    });
}

#[test]
fn what_a_closed_client_holds_comes_back_when_its_process_dies() {
    with_a_holder(|holder, expect_return| {
        holder.kill();
        expect_return();
    });
}

#[test]
fn what_a_closed_client_holds_stays_while_its_process_is_stopped() {
    with_a_holder(|holder, expect_return| {
        holder.signal(rustix::process::Signal::STOP);
        std::thread::sleep(std::time::Duration::from_millis(300));
        holder.signal(rustix::process::Signal::CONT);
        holder.say("check");
        holder.expect("unchanged");
        holder.kill();
        expect_return();
    });
}

#[test]
fn a_process_may_come_back_as_often_as_it_likes() {
    let broker = broker(&[]);
    let witness = Witness::start(&broker);
    let before = Holdings::of(broker.id());
    for _ in 0..3 {
        let mut actor = Actor::start("steps holding", &broker.socket());
        actor.expect("there");
        actor.kill();
    }
    expect_return_to(&broker, before);
    witness.finish();
}
