//! The one door for atomics and locks: the processor's, or loom's when the lock-free parts are model-checked.

pub use std::sync::atomic::Ordering;

#[cfg(loom)]
pub use modelled::without_fence;
#[cfg(loom)]
pub(crate) use modelled::{AtomicU64, Mutex, fence};
#[cfg(not(loom))]
pub(crate) use native::{AtomicU64, Mutex, fence};

/// The sequentially consistent fences, each between a store of this side and a load of the other side's. They work
/// in pairs, and each is needed: the models fail without any one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(loom), expect(unreachable_pub, reason = "only the models name them"))]
pub enum Fence {
    /// Producer: its tail is stored, the consumer's event is looked at. Pairs with [`Event`](Fence::Event).
    Tail,
    /// Consumer: its event is stored, the producer's tail is looked at. Pairs with [`Tail`](Fence::Tail).
    Event,
    /// Consumer: its head is stored, the producer's event is looked at. Pairs with [`SpaceEvent`](Fence::SpaceEvent).
    Head,
    /// Producer: its event is stored, the consumer's head is looked at. Pairs with [`Head`](Fence::Head).
    SpaceEvent,
}

#[cfg(not(loom))]
mod native {
    use std::sync::atomic;

    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::atomic::AtomicU64;

    use super::{Fence, Ordering};

    #[inline]
    pub(crate) fn fence(_which: Fence) {
        atomic::fence(Ordering::SeqCst);
    }
}

#[cfg(loom)]
mod modelled {
    use std::cell::Cell;

    pub(crate) use loom::sync::atomic::AtomicU64;
    use loom::sync::atomic::fence as modelled_fence;

    use super::{Fence, Ordering};

    // All threads of a model run on the thread of the test.
    std::thread_local! {
        static LEFT_OUT: Cell<Option<Fence>> = const { Cell::new(None) };
    }

    #[inline]
    pub(crate) fn fence(which: Fence) {
        if LEFT_OUT.get() != Some(which) {
            modelled_fence(Ordering::SeqCst);
        }
    }

    /// Runs a model without one of the fences, to show that it is needed.
    pub fn without_fence(which: Fence, model: impl FnOnce()) {
        LEFT_OUT.set(Some(which));
        model();
        LEFT_OUT.set(None);
    }

    /// A lock with the interface of the native one.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(content: T) -> Self {
            Self(loom::sync::Mutex::new(content))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a panic ends the model")
        }
    }
}
