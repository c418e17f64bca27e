//! Applications that do not receive what their clients have read: the same policies.

use std::time::Duration;

use busway::{Client, QoS, SlowPolicy};

use crate::stalled::{FRAMES, QUEUE, WAYS, Way, bus, endpoint, info, number_of, payload, publish_all};
use crate::support::{Bus, keep, next, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_in_process_client_has_policies_too() {
    keep(async {
        let bus = bus().await;
        let client = bus.internal("stalled");
        client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
        client.subscribe("old/#").slow_policy(SlowPolicy::DropOldest).await.expect("it subscribes");
        client.subscribe("latest/#").slow_policy(SlowPolicy::Latest).await.expect("it subscribes");
        let publisher = bus.lane("publisher").await;
        for number in 0..QUEUE as u64 * 2 {
            publisher.publish("latest/a", payload(number)).await.expect("it is accepted");
            publisher.publish("old/a", payload(number)).qos(QoS::Processed).await.expect("the broker confirms");
        }
        let first = next(&client).await;
        // The latest was taken once the queue was full of older ones; then it was one of the oldest itself.
        assert!(first.lost_before() > 0, "{}", first.lost_before());
        let (mut numbers, mut gaps) = (vec![number_of(&first)], first.lost_before());
        while let Some(frame) = client.try_recv() {
            gaps += frame.lost_before();
            numbers.push(number_of(&frame));
        }
        assert_eq!(numbers.last(), Some(&(QUEUE as u64 * 2 - 1)));
        assert_eq!(gaps + numbers.len() as u64, QUEUE as u64 * 4, "every frame is there or counted");
        assert_eq!((client.lost_frames(), info(&bus).lost_frames), (gaps, gaps));
        // Who sends to one that makes its senders wait, waits.
        client.slow_policy(SlowPolicy::Wait(Duration::from_secs(3_600))).await.expect("it is allowed");
        for _ in 0..QUEUE {
            publisher.send("stalled", "full").qos(QoS::Processed).await.expect("there is room");
        }
        let neighbour = bus.internal("neighbour");
        let one_more = publisher.send("stalled", "from outside").qos(QoS::Processed).enqueue().await.expect("accepted");
        let late = neighbour.send("stalled", "from inside").qos(QoS::Processed).enqueue().await.expect("accepted");
        let refused = neighbour.publish("nobody", "").try_enqueue().expect_err("it waits").error;
        assert_eq!(refused, busway::client::TryErrorKind::Full);
        for _ in 0..QUEUE + 2 {
            next(&client).await;
        }
        assert_eq!((one_more.await, late.await), (Ok(()), Ok(())));
        neighbour.publish("nobody", "").await.expect("it goes on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_does_not_receive_has_the_same_policies() {
    keep(async {
        let bus = Bus::start().await;
        for (way, policy) in [(Way::Lane, SlowPolicy::DropOldest), (Way::Unix, SlowPolicy::Latest)] {
            let builder = Client::builder(endpoint(&bus, way), "stalled").shm(way == Way::Lane);
            let client = builder.receive_queue(QUEUE, 64 << 20).connect().await.expect("it connects");
            client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            client.slow_policy(policy).await.expect("the broker knows it");
            client.subscribe("a/#").await.expect("it subscribes");
            let publisher = bus.lane("publisher").await;
            for number in 0..FRAMES {
                publisher.publish("a/b", payload(number)).await.expect("it is accepted");
            }
            publisher.send("stalled", "end").qos(QoS::Processed).await.expect("the broker confirms");
            until(|| info(&bus).queue == 0 && client.lost_frames() > 0).await;
            let (mut numbers, mut gaps) = (Vec::new(), 0);
            loop {
                let frame = next(&client).await;
                gaps += frame.lost_before();
                if frame.topic().is_none() {
                    break;
                }
                numbers.push(number_of(&frame));
            }
            assert_eq!(numbers.last(), Some(&(FRAMES - 1)), "{policy}");
            assert_eq!((gaps, client.lost_frames()), (FRAMES - numbers.len() as u64, gaps), "{policy}");
            client.close().await;
            publisher.close().await;
            until(|| bus.broker().clients().clients.len() == 1).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_does_not_receive_makes_its_senders_wait() {
    keep(async {
        let bus = bus().await;
        for way in WAYS {
            let builder = Client::builder(endpoint(&bus, way), "stalled").shm(way == Way::Lane);
            let client = builder.receive_queue(QUEUE, 64 << 20).connect().await.expect("it connects");
            client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            let policy = SlowPolicy::Wait(Duration::from_secs(3_600));
            client.subscribe("a/#").slow_policy(policy).await.expect("the broker allows it");
            let publisher = bus.lane("publisher").await;
            let mut publishing = {
                let publisher = publisher.clone();
                tokio::spawn(async move { publish_all(&publisher, "a/b").await })
            };
            until(|| info(&bus).queue >= QUEUE).await;
            // However long it takes: more is sent than all on the way can hold.
            let ended = tokio::time::timeout(Duration::from_millis(300), &mut publishing).await;
            assert!(ended.is_err(), "{way:?}: the sender waits as long as nothing is received");
            for number in 0..FRAMES {
                let frame = next(&client).await;
                assert_eq!((number_of(&frame), frame.lost_before()), (number, 0), "{way:?}");
            }
            publishing.await.expect("it ends");
            // One that waits to read can be closed.
            publish_all_unconfirmed(&publisher).await;
            until(|| info(&bus).queue >= QUEUE).await;
            client.close().await;
            publisher.close().await;
            until(|| bus.broker().clients().clients.len() == 1).await;
        }
    })
    .await;
}

/// As much as the publisher's own queue takes.
async fn publish_all_unconfirmed(publisher: &Client) {
    for number in 0..FRAMES {
        let _ = publisher.publish("a/b", payload(number)).try_enqueue();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_of_losses_is_no_reason_for_another_one() {
    const LOOK: Duration = Duration::from_millis(10);
    keep(async {
        let bus = Bus::with(|builder| builder.queue(4, 1 << 20).timeout(LOOK * 8)).await;
        let observer = bus.internal("observer");
        let stalled: Vec<Client> = (0..3).map(|number| bus.internal(&format!("stalled.{number}"))).collect();
        // One more than there is room for: one loss each, in whatever look.
        for _ in 0..5 {
            observer.broadcast("stalled.*", "too much").qos(QoS::Processed).await.expect("it is a broadcast");
        }
        for _ in 0..stalled.len() {
            assert_eq!(next(&observer).await.topic(), Some(".broker/warn"), "the loss of each");
        }
        let looks = bus.broker().looks();
        until(|| bus.broker().looks() > looks + 10).await;
        assert!(observer.try_recv().is_none(), "nothing was lost since but announcements");
        observer.broadcast("stalled.*", "once more").qos(QoS::Processed).await.expect("it is a broadcast");
        assert_eq!(next(&observer).await.topic(), Some(".broker/warn"), "the next loss is");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_itself_says_leaves_a_gap_where_there_was_no_room() {
    keep(async {
        let bus = bus().await;
        let client = bus.internal("stalled");
        client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
        client.slow_policy(SlowPolicy::Wait(Duration::from_secs(3_600))).await.expect("it is allowed");
        client.subscribe(".broker/info").await.expect("it subscribes");
        let publisher = bus.internal("publisher");
        next(&client).await;
        for _ in 0..QUEUE {
            publisher.send("stalled", "full").qos(QoS::Processed).await.expect("there is room");
        }
        for number in 0..3 {
            bus.internal(&format!("newcomer.{number}"));
        }
        let lost = client.lost_frames();
        assert!(lost >= 3, "nobody waits in the broker's place");
        for _ in 0..QUEUE {
            assert_eq!(next(&client).await.lost_before(), 0);
        }
        publisher.send("stalled", "the next").await.expect("there is room");
        assert_eq!(next(&client).await.lost_before(), lost);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_for_no_topics_is_no_policy_for_all() {
    keep(async {
        let bus = Bus::with(|builder| builder.max_wait(Duration::from_secs(1))).await;
        // A broker that was asked would refuse it.
        let policy = SlowPolicy::Wait(Duration::from_secs(3_600));
        for client in [bus.internal("inside"), bus.lane("lane").await, bus.unix("unix").await] {
            let none: [&str; 0] = [];
            client.subscribe(none).slow_policy(policy).await.expect("nothing was asked for");
            client.subscribe("a").slow_policy(policy).await.expect_err("that is too long");
        }
    })
    .await;
}
