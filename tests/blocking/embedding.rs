//! A broker inside a program without async code.

use busway::blocking::{Broker, Client};
use busway::broker::BindError;
use busway::client::Transport;
use busway::{Endpoint, LaneOff, QoS};

use crate::support::TemporaryDirectory;
use crate::threads::{is_closed, next_text, threads};

threads! {
    alone {
        an_embedded_broker_serves_its_program_and_others
        the_lane_can_be_waited_for
        an_embedded_broker_that_cannot_listen_says_why
        the_end_of_an_embedded_broker_is_the_end_of_its_clients
    }
}

fn an_embedded_broker_serves_its_program_and_others() {
    let directory = TemporaryDirectory::new();
    let options = Broker::builder().unix(directory.join("bus.sock")).tcp("127.0.0.1:0");
    let broker = Broker::start(options).expect("it listens");
    let inside = broker.client("inside").expect("the name is free");
    inside.subscribe("sensor/+").wait().expect("it is confirmed");
    assert_eq!(inside.transport(), Transport::Internal);
    assert!(broker.client("inside").is_err(), "the name is taken");
    for (number, endpoint) in broker.endpoints().to_vec().into_iter().enumerate() {
        assert!(number == 0 || !endpoint.to_string().ends_with(":0"), "{endpoint}");
        let outside = Client::connect(endpoint, "outside").expect("it is there");
        outside.publish("sensor/light", number.to_string()).wait().expect("it is accepted");
        outside.close();
        assert_eq!(next_text(&inside), number.to_string());
    }
    let names: Vec<_> = broker.clients().clients.into_iter().map(|client| client.name).collect();
    assert!(names.iter().any(|name| name.as_str() == "inside"), "{names:?}");
    assert!(broker.stats().r_frames > 0);
    broker.shut_down();
    assert!(!directory.join("bus.sock").exists());
}

fn the_lane_can_be_waited_for() {
    let directory = TemporaryDirectory::new();
    let broker = Broker::start(Broker::builder().unix(directory.join("bus.sock"))).expect("it listens");
    let client = Client::connect(directory.join("bus.sock"), "client").expect("it is there");
    let settled = client.wait_for_lane(std::time::Duration::from_secs(60));
    let expected =
        if cfg!(feature = "shm") { (Ok(()), None) } else { (Err(LaneOff::NotAsked), Some(LaneOff::NotAsked)) };
    assert_eq!((settled, client.lane_off_reason()), expected);
    broker.shut_down();
}

fn an_embedded_broker_that_cannot_listen_says_why() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    std::fs::write(&path, "a file").expect("it can be written");
    let refused = Broker::start(Broker::builder().unix(&path));
    assert!(matches!(refused, Err(BindError::NotASocket(_))), "{refused:?}");
}

fn the_end_of_an_embedded_broker_is_the_end_of_its_clients() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("bus.sock");
    for is_dropped in [true, false] {
        let broker = Broker::start(Broker::builder().unix(&path)).expect("it listens");
        let inside = broker.client("inside").expect("the name is free");
        let outside = Client::connect(Endpoint::from(path.clone()), "outside").expect("it is there");
        outside.send("inside", "hello").qos(QoS::Processed).wait().expect("it is there");
        let waiting = std::thread::spawn(move || (outside.iter().count(), is_closed(&outside)));
        if is_dropped {
            drop(broker);
        } else {
            broker.shut_down();
        }
        assert_eq!(next_text(&inside), "hello");
        // A shutdown is announced, a drop is not.
        assert_eq!(inside.iter().count(), usize::from(!is_dropped));
        assert!(is_closed(&inside));
        let (_, is_closed) = waiting.join().expect("no panic");
        assert!(is_closed);
    }
}
