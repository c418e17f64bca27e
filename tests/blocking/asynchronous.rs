//! Blocking functions within async code: they work, and block the thread alone.

use std::time::Duration;

use busway::QoS;
use busway::blocking::rpc::{Methods, Request, Rpc};

use crate::Client;
use crate::bus::Place;
use crate::promises::promises;
use crate::threads::FOR_EVER;

promises! {
    everywhere {
        a_task_may_wait_more_often_than_tasks_have_turns
        a_task_may_call_and_serve
        a_timer_of_the_task_goes_on
    }
}

/// A task's turns are counted, and who blocks in one never ends it.
async fn a_task_may_wait_more_often_than_tasks_have_turns(place: Place) {
    let bus = place.open().await;
    let (anna, bert) = (bus.client("anna").await, bus.client("bert").await);
    let task = tokio::spawn(async move {
        let (Client(anna), Client(bert)) = (anna, bert);
        for number in 0..500 {
            anna.send("bert", number.to_string()).qos(QoS::Processed).wait().expect("bert is there");
            assert_eq!(bert.recv().expect("it is there").payload().as_slice(), number.to_string().as_bytes());
        }
        bert.close();
        anna.flush().expect("it is connected");
    });
    task.await.expect("no panic");
}

async fn a_task_may_call_and_serve(place: Place) {
    let bus = place.open().await;
    let (Client(service), Client(caller)) = (bus.client("service").await, bus.client("caller").await);
    let task = tokio::spawn(async move {
        let echo = Methods::new().method("echo", |request: Request| Ok(request.params()));
        let _service = Rpc::new(service, echo);
        let rpc = Rpc::builder(caller).deadline(FOR_EVER).start(());
        for _ in 0..300 {
            assert_eq!(rpc.call("service", "echo", "words").wait().expect("it answers").as_slice(), b"words");
        }
    });
    task.await.expect("no panic");
}

async fn a_timer_of_the_task_goes_on(place: Place) {
    let bus = place.open().await;
    let Client(anna) = bus.client("anna").await;
    let runtime = tokio::runtime::Handle::current().id();
    assert!(anna.recv_timeout(Duration::from_millis(1)).is_err());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(tokio::runtime::Handle::current().id(), runtime, "the task is where it was");
}
