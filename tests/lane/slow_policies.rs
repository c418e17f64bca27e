//! Clients that say what is to happen when they are too slow: what is delivered, what is lost, and who counts it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway::client::{ConnectionState, Reconnect, SendError};
use busway::{Client, Frame, QoS, ResultCode, SlowPolicy};
use tokio::sync::oneshot;

use crate::stalled::{
    FRAMES, QUEUE, Received, WAYS, Way, bus, info, number_of, options, payload, publish_all, stall, stall_with,
};
use crate::support::{Bus, keep, next, until};

fn is_rising(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

/// Everybody counts the same: the broker, the client, and the gaps in what it got.
fn expect_counted(bus: &Bus, received: &Received, published: u64) {
    let lost = published - (received.frames.len() as u64 - 1);
    assert!(lost > 0, "the load was not enough to lose anything");
    assert_eq!(info(bus).lost_frames, lost, "what the broker counts");
    assert_eq!(bus.broker().stats().lost_frames, lost, "what it counts of all");
    assert_eq!((received.gaps(), received.lost), (lost, lost), "what the receiver sees");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_are_dropped() {
    keep(async {
        for way in WAYS {
            let bus = bus().await;
            let stalled = stall(&bus, way, async |client| {
                client.slow_policy(SlowPolicy::DropNewest).await.expect("the broker knows it");
                client.subscribe("a/#").await.expect("it subscribes");
            })
            .await;
            let publisher = bus.unix("publisher").await;
            publish_all(&publisher, "a/b").await;
            let received = stalled.go_on(&bus, &publisher).await;
            let numbers = received.numbers("a/b");
            assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{way:?}: a beginning, without gaps");
            let end = received.frames.last().expect("the end came");
            assert_eq!(end.lost_before(), FRAMES - numbers.len() as u64, "{way:?}: the gap is before the end");
            expect_counted(&bus, &received, FRAMES);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_are_dropped() {
    keep(async {
        for way in WAYS {
            let bus = bus().await;
            let stalled = stall(&bus, way, async |client| {
                client.slow_policy(SlowPolicy::DropOldest).await.expect("the broker knows it");
                client.subscribe("a/#").await.expect("it subscribes");
            })
            .await;
            let publisher = bus.unix("publisher").await;
            publish_all(&publisher, "a/b").await;
            let received = stalled.go_on(&bus, &publisher).await;
            let numbers = received.numbers("a/b");
            assert!(is_rising(&numbers), "{way:?}: in order");
            let last = FRAMES - QUEUE as u64..FRAMES;
            assert!(numbers.ends_with(&last.collect::<Vec<_>>()), "{way:?}: the newest are there");
            let gaps: Vec<u64> = received.frames.iter().map(Frame::lost_before).filter(|gap| *gap > 0).collect();
            assert_eq!(gaps.len(), 1, "{way:?}: one gap, where the oldest were");
            expect_counted(&bus, &received, FRAMES);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_latest_of_each_topic_waits() {
    keep(async {
        for way in WAYS {
            let bus = bus().await;
            let stalled = stall(&bus, way, async |client| {
                client.subscribe("a/#").slow_policy(SlowPolicy::Latest).await.expect("the broker knows it");
            })
            .await;
            let publisher = bus.unix("publisher").await;
            publish_all(&publisher, "a/filling").await;
            for number in 0..100 {
                for topic in ["a/x", "a/y", "a/z"] {
                    publisher.publish(topic, payload(number)).await.expect("it is accepted");
                }
            }
            publisher.publish("nobody", "").qos(QoS::Processed).await.expect("the broker confirms");
            assert!(info(&bus).queue <= 256 + 4, "{way:?}: one of each topic, and what was on its way before");
            let received = stalled.go_on(&bus, &publisher).await;
            for topic in ["a/x", "a/y", "a/z"] {
                assert_eq!(received.numbers(topic), [99], "{way:?}: the latest of {topic}");
            }
            assert_eq!(received.numbers("a/filling").last(), Some(&(FRAMES - 1)), "{way:?}");
            // What came through is thinned out once more by the client's own queue.
            let lost = FRAMES + 300 - (received.frames.len() as u64 - 1);
            assert_eq!((received.gaps(), received.lost), (lost, lost), "{way:?}: what the receiver sees");
            assert!((1..=lost).contains(&info(&bus).lost_frames), "{way:?}: what the broker counts");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_wait_for_a_receiver_that_goes_on_in_time_and_nothing_is_lost() {
    keep(async {
        for way in WAYS {
            let bus = bus().await;
            let stalled = stall(&bus, way, async |client| {
                let policy = SlowPolicy::Wait(Duration::from_secs(3_600));
                client.subscribe("a/#").slow_policy(policy).await.expect("the broker allows it");
            })
            .await;
            let publisher = bus.lane("publisher").await;
            let confirmed = Arc::new(AtomicU64::new(0));
            let publishing = {
                let (publisher, confirmed) = (publisher.clone(), Arc::clone(&confirmed));
                tokio::spawn(async move {
                    for number in 0..FRAMES {
                        let operation = publisher.publish("a/b", payload(number)).qos(QoS::Processed);
                        operation.await.expect("the broker confirms");
                        confirmed.store(number + 1, Ordering::Relaxed);
                    }
                })
            };
            until(|| info(&bus).queue >= QUEUE).await;
            let before = confirmed.load(Ordering::Relaxed);
            assert!(before < FRAMES && !publishing.is_finished(), "{way:?}: the confirmation waits");
            stalled.go_on.send(()).expect("it waits");
            publishing.await.expect("everything is confirmed in the end");
            publisher.publish("end", payload(0)).qos(QoS::Processed).await.expect("the broker confirms");
            let received = stalled.received.await.expect("it gets everything");
            assert_eq!(received.numbers("a/b"), (0..FRAMES).collect::<Vec<_>>(), "{way:?}");
            assert_eq!((received.lost, info(&bus).lost_frames), (0, 0), "{way:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_wait_once_for_a_receiver_that_does_not_go_on() {
    keep(async {
        for way in WAYS {
            let bus = bus().await;
            let stalled = stall(&bus, way, async |client| {
                client.slow_policy(SlowPolicy::Wait(Duration::from_millis(50))).await.expect("the broker allows it");
                client.subscribe("a/#").await.expect("it subscribes");
            })
            .await;
            let publisher = bus.lane("publisher").await;
            // A wait for each would take minutes, and the watchdog ends this.
            publish_all(&publisher, "a/b").await;
            let refused = publisher.send("stalled", payload(0)).qos(QoS::Processed).await;
            assert_eq!(refused, Err(SendError::Refused(ResultCode::NOT_DELIVERED)), "{way:?}");
            let received = stalled.go_on(&bus, &publisher).await;
            let numbers = received.numbers("a/b");
            assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{way:?}: a beginning, without gaps");
            expect_counted(&bus, &received, FRAMES + 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_the_receiver_is_cut() {
    keep(async {
        for way in WAYS {
            let bus = bus().await;
            let _stalled = stall(&bus, way, async |client| {
                client.subscribe("a/#").await.expect("it subscribes");
            })
            .await;
            let publisher = bus.unix("publisher").await;
            publish_all(&publisher, "a/b").await;
            let clients = bus.broker().clients().clients;
            assert!(clients.iter().all(|client| client.name != "stalled"), "{way:?}: it was cut");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_have_policies_of_their_own_until_they_end() {
    keep(async {
        let bus = bus().await;
        let stalled = stall(&bus, Way::Unix, async |client| {
            client.slow_policy(SlowPolicy::DropNewest).await.expect("the broker knows it");
            client.subscribe(["a/old/#", "a/new/#"]).slow_policy(SlowPolicy::Latest).await.expect("it subscribes");
            client.unsubscribe("a/old/#").await.expect("it unsubscribes");
            client.subscribe("a/#").await.expect("it subscribes");
        })
        .await;
        let publisher = bus.unix("publisher").await;
        publish_all(&publisher, "a/old/x").await;
        publisher.publish("a/new/x", payload(1)).qos(QoS::Processed).await.expect("the broker confirms");
        let received = stalled.go_on(&bus, &publisher).await;
        let numbers = received.numbers("a/old/x");
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "the client's own policy: a beginning");
        assert_eq!(received.numbers("a/new/x"), [] as [u64; 0], "what others asked to be kept is kept");
        expect_counted(&bus, &received, FRAMES + 1);
    })
    .await;
}

/// The general policy is to cut: also for the announcement of its own losses, and for messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_some_frames_be_dropped_is_not_cut_for_others() {
    keep(async {
        for (way, policy) in
            [(Way::Unix, SlowPolicy::DropOldest), (Way::Lane, SlowPolicy::Latest), (Way::Unix, SlowPolicy::DropNewest)]
        {
            let bus = Bus::with(|builder| options(builder).timeout(Duration::from_secs(8))).await;
            let listener = bus.internal("listener");
            let stalled = stall(&bus, way, async move |client| {
                client.subscribe("a/#").slow_policy(policy).await.expect("it subscribes");
            })
            .await;
            let publisher = bus.unix("publisher").await;
            for number in 0..FRAMES {
                let topic = format!("a/{number}");
                publisher.publish(&topic, payload(number)).await.expect("it is accepted");
            }
            while announced_loss(&next(&listener).await).0 != "stalled" {}
            if policy != SlowPolicy::DropNewest {
                publisher.send("stalled", payload(FRAMES)).qos(QoS::Processed).await.expect("it makes room");
            }
            let received = stalled.go_on(&bus, &publisher).await;
            assert!(received.lost > 0 && received.gaps() == received.lost, "{way:?}, {policy}: all gaps are seen");
            let messages = received.frames.iter().filter(|frame| frame.topic().is_none()).count();
            assert_eq!(messages, usize::from(policy != SlowPolicy::DropNewest), "{way:?}, {policy}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_s_policies_are_nothing_to_others() {
    keep(async {
        let bus = bus().await;
        let reader = bus.lane("reader").await;
        reader.unsubscribe(".broker/warn").await.expect("it unsubscribes");
        reader.subscribe("a/#").await.expect("it subscribes");
        let _stalled = stall(&bus, Way::Lane, async |client| {
            client.subscribe("a/#").slow_policy(SlowPolicy::DropOldest).await.expect("it subscribes");
        })
        .await;
        let publisher = bus.lane("publisher").await;
        for number in 0..FRAMES {
            publisher.publish("a/b", payload(number)).await.expect("it is accepted");
            assert_eq!(number_of(&next(&reader).await), number);
        }
        assert_eq!(reader.lost_frames(), 0);
    })
    .await;
}

/// How many lost frames of this client an announcement tells of.
fn announced_losses(announcement: &Frame, name: &str) -> u64 {
    let (announced, frames) = announced_loss(announcement);
    assert_eq!(announced, name);
    frames
}

/// How many lost frames of whom an announcement tells of.
fn announced_loss(announcement: &Frame) -> (String, u64) {
    assert_eq!((announcement.sender(), announcement.topic()), (".broker", Some(".broker/warn")));
    let announced: rmpv::Value = rmp_serde::from_slice(announcement.payload()).expect("a map");
    let field = |name: &str| {
        let fields = announced.as_map().expect("a map");
        fields.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value.clone())
    };
    assert_eq!(field("s"), Some("loss".into()));
    let name = field("d").and_then(|name| name.as_str().map(str::to_owned)).expect("a name");
    (name, field("n").and_then(|number| number.as_u64()).filter(|number| *number > 0).expect("a number"))
}

/// More of them than are announced at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_of_many_are_all_announced() {
    keep(async {
        let bus = Bus::with(|builder| builder.queue(QUEUE, 64 << 20)).await;
        let listener = bus.internal("listener");
        let mut lossy = Vec::new();
        for number in 0..50 {
            let client = bus.internal(&format!("lossy.{number}"));
            // Its queue is for the frames alone.
            client.unsubscribe(".broker/warn").await.expect("it unsubscribes");
            client.subscribe("a/#").await.expect("it subscribes");
            lossy.push(client);
        }
        let publisher = bus.unix("publisher").await;
        // Beside it: where it takes long there are more announcements than the listener has room for.
        let publishing = tokio::spawn(async move { publish_all(&publisher, "a/b").await });
        let mut announced = HashMap::new();
        let all = lossy.len() as u64 * (FRAMES - QUEUE as u64);
        while announced.values().sum::<u64>() < all {
            let announcement = next(&listener).await;
            let (name, frames) = announced_loss(&announcement);
            *announced.entry(name).or_insert(0) += frames;
        }
        publishing.await.expect("all is published");
        for client in lossy {
            assert_eq!(announced[client.name()], FRAMES - QUEUE as u64);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_are_announced_with_name_and_number() {
    keep(async {
        let bus = Bus::with(|builder| builder.queue(QUEUE, 64 << 20).timeout(Duration::from_secs(8))).await;
        let listener = bus.internal("listener");
        let stalled = stall(&bus, Way::Unix, async |client| {
            client.subscribe("a/#").slow_policy(SlowPolicy::DropNewest).await.expect("it subscribes");
        })
        .await;
        let publisher = bus.unix("publisher").await;
        publish_all(&publisher, "a/b").await;
        let received = stalled.go_on(&bus, &publisher).await;
        assert!(received.lost > 0);
        let mut announced = 0;
        while announced < received.lost {
            announced += announced_losses(&next(&listener).await, "stalled");
        }
        assert_eq!(announced, received.lost, "no more than were lost, and each of them");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_gives_policies_by_name_and_limits_the_wait() {
    keep(async {
        let bus = Bus::with(|builder| {
            let builder = options(builder).max_wait(Duration::from_millis(100));
            builder.slow_policy(SlowPolicy::DropNewest).slow_policy_of("stal?d.*", SlowPolicy::Cut)
        })
        .await;
        let stalled = stall(&bus, Way::Tcp, async |client| {
            client.subscribe("a/#").await.expect("it subscribes");
            let refused = client.slow_policy(SlowPolicy::Wait(Duration::from_millis(101))).await;
            assert!(matches!(&refused, Err(SendError::Policy { reason }) if reason.contains("0.1 s")), "{refused:?}");
        })
        .await;
        let publisher = bus.unix("publisher").await;
        publish_all(&publisher, "a/b").await;
        let received = stalled.go_on(&bus, &publisher).await;
        expect_counted(&bus, &received, FRAMES);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_restored_on_a_new_connection() {
    keep(async {
        let mut bus = bus().await;
        let (ready, is_ready) = oneshot::channel();
        let socket = bus.socket();
        let stalled = tokio::spawn(async move {
            let prepare = async |client: &Client| {
                client.slow_policy(SlowPolicy::DropNewest).await.expect("the broker knows it");
                client.subscribe("a/new/#").slow_policy(SlowPolicy::Latest).await.expect("it subscribes");
                client.subscribe("a/#").await.expect("it subscribes");
                let mut state = client.state();
                let _ = ready.send(());
                let is_lost = |state: &ConnectionState| matches!(state, ConnectionState::Disconnected { .. });
                state.wait_for(is_lost).await.expect("it is there");
                state.wait_for(|state| *state == ConnectionState::Connected).await.expect("it is there");
            };
            let builder = Client::builder(socket, "stalled").shm(false).reconnect(Reconnect::default());
            stall_with(builder, Way::Unix, prepare).await
        });
        is_ready.await.expect("it has subscribed");
        bus.restart(options).await;
        let stalled = stalled.await.expect("it is connected again");
        let publisher = bus.lane("publisher").await;
        publisher.publish("a/new/x", payload(0)).await.expect("it is accepted");
        publish_all(&publisher, "a/old/x").await;
        publisher.publish("a/new/x", payload(1)).qos(QoS::Processed).await.expect("the broker confirms");
        let received = stalled.go_on(&bus, &publisher).await;
        assert!(received.numbers("a/old/x").starts_with(&[0, 1, 2]), "the client's own policy");
        expect_counted(&bus, &received, FRAMES + 2);
    })
    .await;
}
