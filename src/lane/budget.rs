//! What lanes may use of the broker's descriptors, mappings and memory.
//!
//! Running out of mappings would end the process, running out of descriptors would keep old clients out; so lanes stop
//! before that, and what has no lane goes over the socket.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::memory_limit::{first_number, memory_of_this_process};
use super::reason::LaneOff;

/// What something costs, or a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) descriptors: u64,
    pub(crate) mappings: u64,
    pub(crate) bytes: u64,
}

/// All that lanes may use.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Cost,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: Cost,
    users: HashMap<u32, Cost>,
}

/// A part of the budget that is in use; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Spent {
    budget: Arc<Budget>,
    user: u32,
    cost: Cost,
}

/// One user may use this much of each limit, so that others find something left: numerator and denominator.
const USER_SHARE: (u64, u64) = (3, 4);

/// What one client has of arenas, also of those that it has dropped while others hold payloads in them.
#[derive(Debug, Default)]
pub(crate) struct ClientArenas {
    /// How many, and their bytes.
    all: Mutex<(usize, u64)>,
}

/// One arena of a client; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct ClientArena {
    of: Arc<ClientArenas>,
    bytes: u64,
}

impl ClientArenas {
    /// One more, unless there would be more arenas or bytes than the client may have.
    pub(crate) fn add(self: &Arc<Self>, bytes: u64, (most, most_bytes): (usize, u64)) -> Option<ClientArena> {
        let mut all = self.all.lock();
        if all.0 >= most || bytes > most_bytes.saturating_sub(all.1) {
            return None;
        }
        *all = (all.0 + 1, all.1 + bytes);
        Some(ClientArena { of: Arc::clone(self), bytes })
    }
}

impl Drop for ClientArena {
    fn drop(&mut self) {
        let mut all = self.of.all.lock();
        *all = (all.0 - 1, all.1 - self.bytes);
    }
}

impl Budget {
    /// Half of the descriptors, a quarter of the mappings and `bytes` (a quarter of its memory if not given) of what
    /// the system allows at this moment.
    pub(crate) fn of_system(bytes: Option<u64>) -> Arc<Self> {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limits = Cost {
            descriptors: descriptors.unwrap_or(1 << 20) / 2,
            mappings: first_number("/proc/sys/vm/max_map_count").unwrap_or(65_530) / 4,
            bytes: bytes.unwrap_or_else(|| memory_of_this_process().map_or(1 << 30, |memory| memory / 4)),
        };
        Self::new(limits)
    }

    pub(crate) fn new(limits: Cost) -> Arc<Self> {
        Arc::new(Self { limits, used: Mutex::default() })
    }

    /// Uses a part of it.
    ///
    /// # Errors
    /// What is used up, for all or for this user.
    pub(crate) fn spend(self: &Arc<Self>, user: u32, cost: Cost) -> Result<Spent, LaneOff> {
        let mut used = self.used.lock();
        let all = used.all + cost;
        let own = used.users.get(&user).copied().unwrap_or_default() + cost;
        for (sum, limit) in [(all, self.limits), (own, self.limits.share(USER_SHARE))] {
            if let Some(reason) = sum.over(&limit) {
                return Err(reason);
            }
        }
        used.all = all;
        used.users.insert(user, own);
        Ok(Spent { budget: Arc::clone(self), user, cost })
    }

    /// Bytes that one user may have.
    pub(crate) fn user_bytes(&self) -> u64 {
        self.limits.share(USER_SHARE).bytes
    }

    /// Whether more than a quarter of the memory is in use: what could do with less should.
    pub(crate) fn is_scarce(&self) -> bool {
        self.used.lock().all.bytes > self.limits.bytes / 4
    }

    /// What is in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> Cost {
        self.used.lock().all
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock();
        used.all = used.all - self.cost;
        if let Some(own) = used.users.get_mut(&self.user) {
            *own = *own - self.cost;
            if *own == Cost::default() {
                used.users.remove(&self.user);
            }
        }
    }
}

impl Cost {
    fn share(self, (numerator, denominator): (u64, u64)) -> Self {
        Self {
            descriptors: self.descriptors / denominator * numerator,
            mappings: self.mappings / denominator * numerator,
            bytes: self.bytes / denominator * numerator,
        }
    }

    fn over(&self, limit: &Self) -> Option<LaneOff> {
        if self.descriptors > limit.descriptors {
            Some(LaneOff::Descriptors)
        } else if self.mappings > limit.mappings {
            Some(LaneOff::Mappings)
        } else if self.bytes > limit.bytes {
            Some(LaneOff::Memory)
        } else {
            None
        }
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors + other.descriptors,
            mappings: self.mappings + other.mappings,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl std::ops::Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            descriptors: self.descriptors.saturating_sub(other.descriptors),
            mappings: self.mappings.saturating_sub(other.mappings),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_comes_back_and_one_user_cannot_use_everything() {
        let budget = Budget::new(Cost { descriptors: 8, mappings: 100, bytes: 100 });
        let one = Cost { descriptors: 2, mappings: 1, bytes: 10 };
        let spent: Vec<_> = (0..3).map(|_| budget.spend(1, one).unwrap()).collect();
        assert_eq!(budget.spend(1, one).unwrap_err(), LaneOff::Descriptors);
        let other = budget.spend(2, one).unwrap();
        assert_eq!(budget.spend(2, one).unwrap_err(), LaneOff::Descriptors);
        drop(spent);
        assert_eq!(budget.spend(1, Cost { bytes: 80, ..Cost::default() }).unwrap_err(), LaneOff::Memory);
        assert_eq!(budget.spend(1, Cost { mappings: 76, ..Cost::default() }).unwrap_err(), LaneOff::Mappings);
        drop(other);
        assert_eq!(budget.used(), Cost::default());
    }

    #[test]
    fn memory_is_scarce_from_a_quarter_on() {
        let budget = Budget::new(Cost { descriptors: 8, mappings: 100, bytes: 100 });
        let quarter = budget.spend(1, Cost { bytes: 25, ..Cost::default() }).unwrap();
        assert!(!budget.is_scarce());
        let more = budget.spend(2, Cost { bytes: 1, ..Cost::default() }).unwrap();
        assert!(budget.is_scarce());
        drop((quarter, more));
        assert!(!budget.is_scarce());
    }
}
