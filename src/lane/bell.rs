//! What wakes the other end of a lane.

/// What rings the other side.
pub(super) trait Bell: Send + Sync {
    fn ring(&self);
}

impl Bell for busway_shm::UpBell {
    fn ring(&self) {
        busway_shm::UpBell::ring(self);
    }
}

impl Bell for busway_shm::DownBell {
    fn ring(&self) {
        busway_shm::DownBell::ring(self);
    }
}
