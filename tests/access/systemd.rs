//! What systemd is told.

use std::os::unix::net::UnixDatagram;

use crate::ruled::{Ruled, text_of};
use crate::support::{TemporaryDirectory, WATCHDOG, next_datagram};

#[test]
fn systemd_is_told_of_each_reload_from_its_beginning_to_its_end() {
    let directory = TemporaryDirectory::new();
    let path = directory.join("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket can be made");
    notified.set_read_timeout(Some(WATCHDOG)).expect("a hang has an end");
    let next = || next_datagram(&notified);
    let variable = format!("NOTIFY_SOCKET={}", text_of(&path));
    let ruled = Ruled::start_by(&["env", &variable], "[access.a]\n", &[]);
    assert_eq!(next().trim(), "READY=1");
    ruled.reload("[access.b]\n");
    let began = next();
    let time = began.trim().strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
    assert!(matches!(time, Some(Ok(1..))), "{began}");
    assert_eq!(next().trim(), "READY=1");
    ruled.fail_to_reload("wrong");
    assert!(next().starts_with("RELOADING=1"));
    assert_eq!(next().trim(), "READY=1", "a service with a wrong file is ready as before");
}
