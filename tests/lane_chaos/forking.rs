//! Forked children of a client: whatever they do with it, they end well.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use busway::broker::Broker;
use busway::{Client, QoS};
use fork::{Fork, WEXITSTATUS, WIFEXITED, fork, waitpid};

use crate::child::{Actor, Director};
use crate::place::broker;
use crate::roles::{on_lane, switched};

#[test]
fn a_forked_child_may_flush_close_and_drop_its_parents_client() {
    let broker = broker(&[]);
    let parent = Actor::start("parent", &broker.socket());
    parent.expect("all children have ended well");
}

/// A client whose process is forked while something waits for the broker to be woken.
pub(crate) fn play(director: &Director) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(on_lane(director, "parent"));
    let publish = |client: &Client, qos| {
        runtime.block_on(async { client.publish("nobody/listens", "something").qos(qos).await }).expect("it goes on");
    };
    // Not written yet: nobody has run the task that does it.
    publish(&client, QoS::No);
    end_well(|| assert!(matches!(look_once(client.flush()), Poll::Ready(Err(_)))));
    publish(&client, QoS::Processed);

    publish(&client, QoS::No);
    let mut client = Some(client);
    end_well(|| drop(client.take()));
    let client = client.expect("it is still the parent's");
    publish(&client, QoS::Processed);

    publish(&client, QoS::No);
    end_well(|| {
        let _context = runtime.enter();
        let _ = look_once(client.close());
    });
    publish(&client, QoS::Processed);
    let path = director.socket.with_extension("embedded");
    let (broker, inside, outside) = runtime.block_on(async {
        let broker = Broker::builder().unix(&path).start().await.expect("it starts");
        let inside = broker.client("inside").expect("its name is free");
        let outside = switched(Client::connect(&*path, "outside").await.expect("it connects")).await;
        outside.subscribe("news").await.expect("it is subscribed");
        (broker, inside, outside)
    });
    let mut all = Some((broker, inside));
    end_well(|| drop(all.take()));
    let (_broker, inside) = all.expect("they are still the parent's");
    runtime.block_on(async {
        inside.publish("news", "we go on").qos(QoS::Processed).await.expect("it goes on");
        let frame = outside.recv().await.expect("it is connected");
        assert_eq!(frame.payload()[..], *b"we go on");
    });
    director.say("all children have ended well");
}

fn look_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Does something in a forked child.
fn end_well(action: impl FnOnce()) {
    // In the child no other thread holds a lock: the only one is that of the harness, which waits.
    match fork().expect("a fork") {
        Fork::Child => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(action));
            std::process::exit(i32::from(outcome.is_err()))
        }
        Fork::Parent(child) => {
            let status = waitpid(child).expect("a child can be waited for");
            assert!(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child has failed: {status}");
        }
    }
}
