//! Options of the lane, the same for brokers and clients.

use std::str::FromStr;
#[cfg(all(feature = "shm", feature = "broker"))]
use std::sync::LazyLock;
#[cfg(feature = "broker")]
use std::time::Duration;

#[cfg(feature = "broker")]
use busway_net::link::BusyPoll;

/// Whose memory may be read in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShmTrust {
    /// That of processes of the same user.
    #[default]
    SameUser,
    /// Everybody's: any client can then read all that lies in the arenas of any other, and could change what it has
    /// sent while it is read.
    All,
    /// Nobody's: the broker copies every payload.
    None,
}

impl ShmTrust {
    /// Whether a process of one user reads what one of the other has written.
    #[cfg(all(feature = "shm", feature = "broker"))]
    pub(crate) fn allows(self, writer: u32, reader: u32) -> bool {
        match self {
            Self::SameUser => writer == reader && !is_nobody(writer),
            Self::All => true,
            Self::None => false,
        }
    }
}

/// Whether this number may stand for several users: in a user namespace those that it does not show have all the same.
#[cfg(all(feature = "shm", feature = "broker"))]
fn is_nobody(user: u32) -> bool {
    static NOBODY: LazyLock<Option<u32>> = LazyLock::new(|| {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        nobody(&read("/proc/self/uid_map"), &read("/proc/sys/kernel/overflowuid"))
    });
    *NOBODY == Some(user)
}

/// The number of users that are not shown, if there are any, by what the kernel says (user_namespaces(7)).
#[cfg(all(feature = "shm", feature = "broker"))]
fn nobody(uid_map: &str, overflow: &str) -> Option<u32> {
    const ALL: u64 = u32::MAX as u64;
    let shown = uid_map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum::<u64>();
    (shown < ALL).then(|| overflow.trim().parse().unwrap_or(65534))
}

impl FromStr for ShmTrust {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "same-user" => Ok(Self::SameUser),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err("must be same-user, all or none".to_owned()),
        }
    }
}

/// What a broker grants.
#[cfg(feature = "broker")]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "shm"), allow(dead_code, reason = "options are accepted where there is no lane"))]
pub(crate) struct BrokerOptions {
    pub(crate) is_on: bool,
    pub(crate) trust: ShmTrust,
    /// Bytes of all segments; a quarter of the memory if not given.
    pub(crate) bytes: Option<u64>,
    /// Bytes of the arenas of one client.
    pub(crate) arena_bytes: u64,
    /// For how long a connection looks for the next frame before it sleeps.
    pub(crate) busy_poll: Duration,
}

#[cfg(feature = "broker")]
impl Default for BrokerOptions {
    fn default() -> Self {
        Self { is_on: true, trust: ShmTrust::SameUser, bytes: None, arena_bytes: 1 << 30, busy_poll: BusyPoll::BUDGET }
    }
}

#[cfg(all(test, feature = "shm", feature = "broker"))]
mod tests {
    use super::*;

    #[test]
    fn users_that_a_namespace_does_not_show_are_not_the_same_one() {
        let everybody = "         0          0 4294967295\n";
        assert_eq!(nobody(everybody, "65534\n"), None);
        for some in ["0 1000 1\n", "0 1000 1\n1 100000 65536\n", ""] {
            assert_eq!(nobody(some, "65534\n"), Some(65534), "{some:?}");
        }
        assert_eq!(nobody("0 1000 1\n", "99\n"), Some(99));
        assert!(ShmTrust::SameUser.allows(1000, 1000) && !ShmTrust::SameUser.allows(1000, 1001));
    }
}
