//! The end of a hang. It bounds how long a broken broker can hold the suite up; it never decides how fast a good one is.

use std::thread;
use std::time::{Duration, Instant};

/// Far beyond what a loaded machine needs, so that it fires for hangs alone.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; for what a broker does on its own and tells nobody about.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < WATCHDOG, "watchdog: {what} did not come to pass");
        thread::sleep(Duration::from_millis(10));
    }
}
