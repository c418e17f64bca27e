//! A hundred thousand calls: none hangs, none is lost, and nothing stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use busway::rpc::{ErrorCode, Methods, Request, Rpc};
use tokio::task::JoinSet;

use crate::bus::Place;
use crate::expectations::until;
use crate::promises::promises;
use crate::service::{FOR_EVER, caller, echo, gate, service, text};

promises! {
    everywhere {
        a_hundred_thousand_calls_at_once_are_all_answered
        a_storm_on_a_service_that_is_too_slow_ends
        a_storm_of_calls_to_nobody_ends
    }
    alone {
        storms_leave_no_memory_behind
    }
}

const CALLS: usize = 100_000;

/// Bytes that this process holds.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has a resident size");
    let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of kibibytes");
    kibibytes * 1024
}

/// Calls so many times at once; what became of each is judged.
async fn storm(rpc: &Rpc, count: usize, target: &'static str, judge: impl Fn(usize, Result<String, ErrorCode>)) {
    let mut calls = JoinSet::new();
    let (opened, closed) = gate();
    for number in 0..count {
        let (rpc, closed) = (rpc.clone(), Arc::clone(&closed));
        calls.spawn(async move {
            // None begins before all are there.
            closed.acquire().await.expect("it opens").forget();
            let outcome = rpc.call(target, "echo", number.to_string()).await;
            (number, outcome.map(|answer| text(&answer)).map_err(|error| error.code()))
        });
    }
    opened.add_permits(count);
    while let Some(call) = calls.join_next().await {
        let (number, outcome) = call.expect("no call panics");
        judge(number, outcome);
    }
    assert_eq!(rpc.pending_calls(), 0);
}

async fn a_hundred_thousand_calls_at_once_are_all_answered(place: Place) {
    let bus = place.open().await;
    let service = service(&bus, "service", echo()).await;
    let rpc = caller(&bus, "caller").await;
    storm(&rpc, CALLS, "service", |number, outcome| assert_eq!(outcome, Ok(number.to_string()))).await;
    assert_eq!((service.refused_requests(), rpc.unexpected_replies()), (0, 0));
    assert_eq!((service.client().lost_frames(), rpc.client().lost_frames()), (0, 0));
    // Whoever has handled or called is no more.
    let metrics = tokio::runtime::Handle::current().metrics();
    until(|| metrics.num_alive_tasks() < 50).await;
}

/// The test that is run once more, by itself: others in the same process would be measured with it.
const MEASURED: &str = "BUSWAY_TEST_MEASURED";

async fn storms_leave_no_memory_behind() {
    if std::env::var_os(MEASURED).is_none() {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = tokio::process::Command::new(program);
        command.args(["--exact", "storm::alone::storms_leave_no_memory_behind"]).env(MEASURED, "yes");
        // Each arena of the allocator keeps what it has had at most.
        command.env("MALLOC_ARENA_MAX", "1");
        let output = command.kill_on_drop(true).output().await.expect("this program can be started");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && words.contains("1 passed"), "{words}");
        return;
    }
    let bus = Place::InProcess.open().await;
    let _service = service(&bus, "service", echo()).await;
    let rpc = caller(&bus, "caller").await;
    let answered = |number: usize, outcome| assert_eq!(outcome, Ok(number.to_string()));
    let mut most = 0;
    let mut steady = 0;
    for _ in 0..12 {
        storm(&rpc, CALLS / 2, "service", answered).await;
        let held = resident_bytes();
        // What one storm has taken, the next one takes again. Less than ten bytes a call is no call.
        steady = if held < most + 5 * CALLS { steady + 1 } else { 0 };
        most = most.max(held);
        if steady == 2 {
            return;
        }
    }
    panic!("{most} bytes are held, more after each storm");
}

async fn a_storm_on_a_service_that_is_too_slow_ends(place: Place) {
    let bus = place.open().await;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let methods = Methods::new().method("echo", move |request: Request| {
        let count = Arc::clone(&count);
        async move {
            // Every other one lets the others wait.
            if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Ok(request.params())
        }
    });
    let client = bus.client("service").await;
    let service = Rpc::builder(client).max_handlers(2).request_queue(16, 1 << 20).start(methods);
    let rpc = Rpc::builder(bus.client("caller").await).max_calls(256).deadline(FOR_EVER).start(());
    let busy = AtomicUsize::new(0);
    storm(&rpc, CALLS, "service", |number, outcome| match outcome {
        Ok(answer) => assert_eq!(answer, number.to_string()),
        Err(code) => {
            assert_eq!(code, ErrorCode(-32118));
            busy.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let busy = busy.into_inner();
    assert_eq!((busy as u64, handled.load(Ordering::Relaxed)), (service.refused_requests(), CALLS - busy));
    assert!(busy > 0, "it was a storm");
}

async fn a_storm_of_calls_to_nobody_ends(place: Place) {
    let bus = place.open().await;
    let rpc = caller(&bus, "caller").await;
    storm(&rpc, CALLS, "nobody", |_, outcome| assert_eq!(outcome, Err(ErrorCode(-32113)))).await;
    rpc.call(".broker", "test", "").await.unwrap();
}
