//! A log that nobody reads.

use busway::QoS;
use busway::blocking::Client;

use crate::program::{Place, Running};
use crate::support::eventually;

#[test]
fn a_broker_whose_log_nobody_reads_serves_on() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut running = Running::start_with(place.buswayd().env("RUST_LOG", "trace"), writer);
    eventually("the broker listens", || place.serves());
    for number in 0..10 {
        let name = format!("client.{number}");
        let client = Client::connect(place.socket(), &name).expect("it is served");
        for length in [5, 100_000] {
            client.send(&name, vec![7; length]).qos(QoS::Processed).wait().expect("it is confirmed");
            assert_eq!(client.recv().expect("it arrives").payload().len(), length);
        }
    }
    assert_eq!(running.end(), Some(0));
}
