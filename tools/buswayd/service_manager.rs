//! What a service manager gives and wants to know: sockets, readiness, signs of life.

use std::convert::Infallible;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use busway::Endpoint;
use busway::broker::Broker;
use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::Failure;

/// A socket that somebody else has bound.
pub(crate) enum Inherited {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Inherited {
    /// Whether it was bound where the broker is asked to listen, too.
    pub(crate) fn is_bound_to(&self, endpoint: &Endpoint) -> bool {
        match (self, endpoint) {
            (Self::Unix(listener), Endpoint::Unix(path)) => {
                listener.local_addr().is_ok_and(|bound| bound.as_pathname() == Some(path))
            }
            (Self::Tcp(listener), Endpoint::Tcp(address)) => {
                listener.local_addr().is_ok_and(|bound| address.parse() == Ok(bound))
            }
            _ => false,
        }
    }
}

/// More than any unit has.
const MAX_SOCKETS: u32 = 1024;

/// The sockets that were passed to this process (LISTEN_FDS and LISTEN_PID). Called before there are threads.
///
/// # Errors
/// When one of them is no stream socket.
pub(crate) fn sockets() -> Result<Vec<Inherited>, Failure> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    // Without a process id they may be somebody else's.
    let count = match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == std::process::id() => count,
        _ => return Ok(Vec::new()),
    };
    if count > MAX_SOCKETS {
        return Err(format!("LISTEN_FDS={count}: more than {MAX_SOCKETS} sockets were passed").into());
    }
    let mut passed = ListenFd::from_env();
    (0..passed.len()).map(|index| take(&mut passed, index)).collect()
}

fn take(passed: &mut ListenFd, index: usize) -> Result<Inherited, Failure> {
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        return Ok(Inherited::Unix(listener));
    }
    match passed.take_tcp_listener(index) {
        Ok(Some(listener)) => Ok(Inherited::Tcp(listener)),
        _ => Err(format!(
            "passed socket {index}: neither a UNIX nor a TCP stream socket; use ListenStream= in the socket unit"
        )
        .into()),
    }
}

/// Whether a service manager has passed something to this very process, or waits for a word of it: a daemon that it
/// starts would be nobody for it.
pub(crate) fn waits_for_this_process() -> bool {
    let is_this = |name| std::env::var(name).is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
    // The socket alone may be for somebody from whom this process has inherited it.
    is_this("LISTEN_PID") || is_this("SYSTEMD_EXEC_PID") && std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The broker listens.
pub(crate) fn tell_ready() {
    // Outside of systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// The end has begun.
pub(crate) fn tell_stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Gives signs of life for as long as the broker works (WATCHDOG_USEC); never returns. `timeout` is the broker's.
pub(crate) async fn give_signs_of_life(broker: &Broker, timeout: Duration) -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    let mut pulse = Pulse::new(timeout, Instant::now());
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        if pulse.is_felt(broker.looks(), Instant::now()) {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the broker has not looked after its clients for {:?}: no sign of life", pulse.patience);
        }
    }
}

/// Whether the broker's keeper still looks after the clients: it shares their locks, so that it stops when they do.
struct Pulse {
    patience: Duration,
    looks: u64,
    seen: Instant,
}

impl Pulse {
    fn new(timeout: Duration, now: Instant) -> Self {
        // It looks eight times per timeout; a loaded machine may be late.
        Self { patience: timeout / 2 + Duration::from_secs(1), looks: 0, seen: now }
    }

    fn is_felt(&mut self, looks: u64, now: Instant) -> bool {
        if looks != self.looks {
            (self.looks, self.seen) = (looks, now);
        }
        now.duration_since(self.seen) <= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pulse_is_lost_when_the_keeper_stands_still_and_felt_when_it_goes_on() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(Duration::from_secs(8), start);
        assert!(pulse.is_felt(0, at(5)), "it may not have begun");
        assert!(!pulse.is_felt(0, at(6)));
        assert!(pulse.is_felt(1, at(7)));
        assert!(pulse.is_felt(1, at(12)));
        assert!(!pulse.is_felt(1, at(13)));
        assert!(pulse.is_felt(2, at(14)));
    }
}
