//! A message of a socket that keeps messages apart.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

/// The next message, as text; the end of the socket's timeout is an error.
///
/// A machine that was frozen and goes on ends the waiting for sockets with a timeout (see signal(7)): such a wait is
/// begun again.
#[allow(dead_code, reason = "for suites that listen in a service manager's or syslog's place")]
pub(crate) fn next_datagram(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => return String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("watchdog: no message comes: {error}"),
        }
    }
}
