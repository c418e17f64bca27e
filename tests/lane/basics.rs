//! What a program sees of the lane when everything is well.

use busway::QoS;

use crate::support::{Bus, keep, next, pattern, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_every_size_arrive_whole_and_in_order() {
    keep(async {
        let bus = Bus::start().await;
        let (publisher, subscriber) = (bus.lane("publisher").await, bus.lane("subscriber").await);
        subscriber.subscribe("sizes").await.unwrap();
        let sizes = [0, 1, 63, 64, 65, 1023, 1024, 1025, 4096, 4097, 16 << 10, 100_000, 1 << 20, 3 << 20, 9 << 20];
        for round in 0..3 {
            for (number, size) in sizes.into_iter().enumerate() {
                publisher.publish("sizes", pattern(size, number + round)).qos(QoS::Processed).await.unwrap();
            }
            for (number, size) in sizes.into_iter().enumerate() {
                let frame = next(&subscriber).await;
                assert_eq!(frame.payload().len(), size);
                assert_eq!(frame.payload().as_slice(), pattern(size, number + round), "size {size}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loan_is_read_in_place_by_every_kind_of_local_receiver() {
    keep(async {
        let bus = Bus::start().await;
        let publisher = bus.lane("publisher").await;
        let receivers = [bus.lane("one").await, bus.lane("two").await, bus.unix("three").await, bus.internal("four")];
        for receiver in &receivers {
            receiver.subscribe("loans").await.unwrap();
        }
        let length = 100_000;
        let mut places = 0;
        for round in 0..50 {
            let mut loan = publisher.loan(length);
            loan.copy_from_slice(&pattern(length, round));
            publisher.publish("loans", loan).qos(QoS::Processed).await.unwrap();
            for (number, receiver) in receivers.iter().enumerate() {
                let frame = next(receiver).await;
                assert_eq!(frame.payload().as_slice(), pattern(length, round));
                places |= usize::from(frame.payload().is_in_place()) << number;
            }
        }
        assert_eq!(places, 0b1011, "all but the one on a socket read in place");
        until(|| bus.broker().clients().clients.iter().any(|client| client.in_place.is_some_and(|count| count > 0)))
            .await;
    })
    .await;
}
