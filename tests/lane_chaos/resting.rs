//! Lanes on which nothing is sent wake nobody.

use busway::Client;
use tokio::runtime::Builder;

use crate::child::Actor;
use crate::place::broker;
use crate::roles::{DAY, switched};
use crate::support::expect_rest;

/// Payloads in the ring, in an arena and in pieces, one by one and each within the time for which both sides look.
const LENGTHS: [usize; 3] = [64, 3_000, 300_000];
const ROUND_TRIPS: usize = 100;

#[test]
fn a_broker_and_a_client_whose_lanes_are_idle_sleep() {
    let broker = broker(&["-t", "86400", "--spin", "10000"]);
    let actor = Actor::start("answerer", &broker.socket());
    actor.expect("ready");
    expect_rest(broker.id(), "of the broker before anything is sent");
    expect_rest(actor.id(), "of the client before anything is sent");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let asker = runtime.block_on(async {
        let builder = Client::builder(broker.socket(), "asker").timeout(DAY).keep_alive(DAY);
        let asker = switched(builder.connect().await.expect("it connects")).await;
        for length in LENGTHS {
            for _ in 0..ROUND_TRIPS {
                asker.send("answerer", vec![7; length]).await.expect("it is sent");
                assert_eq!(asker.recv().await.expect("an answer").payload().len(), length);
            }
        }
        asker
    });
    expect_rest(broker.id(), "of the broker between two clients that have nothing to say");
    expect_rest(actor.id(), "of the client to which nothing is sent");
    runtime.block_on(asker.close());
    expect_rest(broker.id(), "of the broker when one of them has gone");
    expect_rest(actor.id(), "of the client when the other one has gone");
}
