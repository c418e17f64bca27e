//! Why a local client has no lane.

use std::fmt;

/// Why a client of a UNIX socket exchanges payloads over the socket and not by shared memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum LaneOff {
    /// The client has not asked for one: it is another library, or has switched it off.
    NotAsked = 0,
    /// The broker has it switched off.
    Disabled = 1,
    /// The client speaks another version of it.
    Version = 2,
    /// The kernel does not tell the broker the client's process: it is older than Linux 6.5, or the broker is in a container
    /// and the client outside of it.
    Unidentified = 3,
    /// The socket is used by another process than the one that connected.
    OtherProcess = 4,
    /// The broker is out of descriptors for lanes.
    Descriptors = 5,
    /// The broker is out of mappings for lanes.
    Mappings = 6,
    /// The broker is out of memory for lanes.
    Memory = 7,
    /// Processes of this user still hold too many payloads of clients that have gone.
    Zombies = 8,
    /// The system refused to make the segments.
    System = 9,
    /// The client could not take the lane over, or its descriptors did not arrive.
    ClientFailed = 10,
    /// It is being negotiated.
    Negotiating = 11,
    /// There is no connection at this moment.
    Disconnected = 12,
}

busway_net::debug_as_display!(LaneOff);

#[cfg(feature = "shm")]
impl LaneOff {
    /// The reason that a number stands for.
    pub(crate) fn from_number(number: u8) -> Self {
        const ALL: [LaneOff; 13] = [
            LaneOff::NotAsked,
            LaneOff::Disabled,
            LaneOff::Version,
            LaneOff::Unidentified,
            LaneOff::OtherProcess,
            LaneOff::Descriptors,
            LaneOff::Mappings,
            LaneOff::Memory,
            LaneOff::Zombies,
            LaneOff::System,
            LaneOff::ClientFailed,
            LaneOff::Negotiating,
            LaneOff::Disconnected,
        ];
        ALL.get(usize::from(number)).copied().unwrap_or(Self::System)
    }
}

impl fmt::Display for LaneOff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAsked => "the client has not asked for it",
            Self::Disabled => "it is switched off at the broker",
            Self::Version => "the client speaks another version of it",
            Self::Unidentified => {
                "the kernel does not tell the client's process (it takes Linux 6.5 or newer, and a broker in a container \
                 does not see processes outside of it)"
            }
            Self::OtherProcess => "the socket is used by another process than the one that connected",
            Self::Descriptors => "the broker's descriptors for lanes are used up (raise its limit of open files)",
            Self::Mappings => "the broker's mappings for lanes are used up (raise vm.max_map_count)",
            Self::Memory => "the broker's memory for lanes is used up (raise --shm-bytes)",
            Self::Zombies => "processes of this user hold too many payloads of connections that have ended",
            Self::System => "the system refused to make the shared memory",
            Self::ClientFailed => "the client could not take it over",
            Self::Negotiating => "it is being negotiated",
            Self::Disconnected => "there is no connection",
        })
    }
}

impl std::error::Error for LaneOff {}
