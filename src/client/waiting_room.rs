//! Where operations of a client wait until their frames are taken.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// All who wait, whatever for, behind one waker, which is all that the queues know: whoever gives up waiting is gone
/// from here at once, while in a queue that stands still its waker, and with it its task, would stay.
pub(super) struct WaitingRoom {
    crowd: Arc<Crowd>,
    waker: Waker,
}

struct Crowd(Arc<Notify>);

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_waiters();
    }
}

impl Default for WaitingRoom {
    fn default() -> Self {
        let crowd = Arc::new(Crowd(Arc::default()));
        Self { waker: Waker::from(Arc::clone(&crowd)), crowd }
    }
}

impl WaitingRoom {
    /// With the waker for all: for a look that comes before a wait, and is mostly enough.
    #[inline]
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Waits until `look` is ready. It must keep the waker that it is given when it is not.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut wait = Wait::default();
        poll_fn(|context| wait.poll(self, context, &mut look)).await
    }
}

/// One who waits, or does not have to yet.
#[derive(Default)]
pub(super) struct Wait(Option<Pin<Box<OwnedNotified>>>);

impl Wait {
    #[inline]
    pub(super) fn has_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Ready when `look` is, which is called again only when something has changed.
    #[cold]
    pub(super) fn poll<T>(
        &mut self,
        room: &WaitingRoom,
        context: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        loop {
            if let Some(notified) = &mut self.0 {
                ready!(notified.as_mut().poll(context));
                self.0 = None;
            }
            // Who is not in the room yet is not woken: looks are made from inside.
            let mut notified = Box::pin(Arc::clone(&room.crowd.0).notified_owned());
            notified.as_mut().enable();
            let looked = look(&mut room.context());
            if looked.is_ready() {
                return looked;
            }
            self.0 = Some(notified);
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Wait").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn someone() -> (Arc<Counted>, Waker) {
        let counted = Arc::new(Counted::default());
        (Arc::clone(&counted), Waker::from(counted))
    }

    /// A queue that keeps whom it has to wake.
    #[derive(Default)]
    struct Queue {
        has_room: bool,
        wakers: Vec<Waker>,
    }

    impl Queue {
        fn look(&mut self, context: &mut Context<'_>) -> Poll<()> {
            if self.has_room {
                return Poll::Ready(());
            }
            if !self.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                self.wakers.push(context.waker().clone());
            }
            Poll::Pending
        }
    }

    #[test]
    fn all_are_woken_and_the_queue_knows_one_waker() {
        let (room, mut queue) = (WaitingRoom::default(), Queue::default());
        let people: Vec<_> = (0..100).map(|_| someone()).collect();
        let mut waits: Vec<_> = people.iter().map(|_| Wait::default()).collect();
        for ((_, waker), wait) in people.iter().zip(&mut waits) {
            let context = &mut Context::from_waker(waker);
            assert!(wait.poll(&room, context, |context| queue.look(context)).is_pending());
            // Looked at again without a reason, it still waits.
            assert!(wait.poll(&room, context, |_| -> Poll<()> { panic!("nothing has changed") }).is_pending());
        }
        assert_eq!(queue.wakers.len(), 1);
        queue.has_room = true;
        queue.wakers.drain(..).for_each(Waker::wake);
        for ((counted, waker), wait) in people.iter().zip(&mut waits) {
            assert_eq!(counted.0.load(Ordering::Relaxed), 1);
            let context = &mut Context::from_waker(waker);
            assert!(wait.poll(&room, context, |context| queue.look(context)).is_ready());
        }
    }

    #[test]
    fn who_gives_up_leaves_nothing() {
        let (room, mut queue) = (WaitingRoom::default(), Queue::default());
        let (counted, waker) = someone();
        for _ in 0..100 {
            let mut wait = Wait::default();
            let context = &mut Context::from_waker(&waker);
            assert!(wait.poll(&room, context, |context| queue.look(context)).is_pending());
        }
        drop(waker);
        assert_eq!((Arc::strong_count(&counted), queue.wakers.len()), (1, 1));
        queue.wakers.drain(..).for_each(Waker::wake);
        assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn room_that_comes_during_a_look_is_found() {
        let (room, (counted, waker)) = (WaitingRoom::default(), someone());
        let mut looks = 0;
        let found = Wait::default().poll(&room, &mut Context::from_waker(&waker), |context| {
            looks += 1;
            if looks == 3 {
                return Poll::Ready(());
            }
            // Before anybody sleeps.
            context.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(found.is_ready() && looks == 3);
        assert_eq!((Arc::strong_count(&counted), counted.0.load(Ordering::Relaxed)), (2, 0));
    }

    #[test]
    fn who_is_woken_too_early_waits_again() {
        let (room, mut queue, (counted, waker)) = (WaitingRoom::default(), Queue::default(), someone());
        let (mut wait, context) = (Wait::default(), &mut Context::from_waker(&waker));
        for woken in 0..10 {
            assert!(wait.poll(&room, context, |context| queue.look(context)).is_pending());
            assert_eq!(counted.0.load(Ordering::Relaxed), woken);
            queue.wakers.drain(..).for_each(Waker::wake);
        }
        queue.has_room = true;
        assert!(wait.poll(&room, context, |context| queue.look(context)).is_ready());
    }
}
