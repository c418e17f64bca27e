//! Calls of clients for which frames wait.

use std::sync::mpsc;
use std::thread;

use busway::rpc::{Methods, Rpc};
use busway::{Client, SlowPolicy};
use tokio::sync::oneshot;

use crate::stalled::{Way, bus, endpoint, publish_all};
use crate::support::{Bus, keep, on_lane, until};

async fn serve(bus: &Bus) -> Rpc {
    let methods = Methods::new().typed_method("double", async |number: i64, _| Ok(number * 2));
    Rpc::new(bus.unix("service").await, methods)
}

/// That it had left waits behind frames, and comes after the confirmation of a call to the one that has come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_news_of_a_peer_that_has_come_again_ends_no_call() {
    keep(async {
        for way in [Way::Lane, Way::Unix] {
            let bus = bus().await;
            let service = serve(&bus).await;
            let builder = Client::builder(endpoint(&bus, way), "caller").shm(way == Way::Lane);
            let (go_on, told) = mpsc::channel::<()>();
            let (ready, is_ready) = oneshot::channel();
            let (report, reported) = oneshot::channel();
            // Its runtime is one thread, which is blocked meanwhile.
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let client = builder.connect().await.expect("it connects");
                    if way == Way::Lane {
                        on_lane(&client).await;
                    }
                    client.slow_policy(SlowPolicy::DropOldest).await.expect("the broker knows it");
                    client.subscribe("a/#").await.expect("it subscribes");
                    let rpc = Rpc::new(client, ());
                    let doubled: i64 = rpc.call_typed("service", "double", &4).await.expect("it is there");
                    let _ = ready.send(doubled);
                    let _ = told.recv();
                    let doubled: Result<i64, _> = rpc.call_typed("service", "double", &21).await;
                    let _ = report.send((doubled, rpc.unexpected_replies()));
                });
            });
            assert_eq!(is_ready.await, Ok(8));
            publish_all(&bus.unix("publisher").await, "a/b").await;
            drop(service);
            until(|| bus.broker().clients().clients.iter().all(|client| client.name != "service")).await;
            let _service = serve(&bus).await;
            go_on.send(()).expect("it waits");
            let (doubled, unexpected) = reported.await.expect("it reports");
            assert_eq!(doubled.expect("the service is there"), 42, "{way:?}");
            assert_eq!(unexpected, 0);
        }
    })
    .await;
}
