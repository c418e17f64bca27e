//! System calls that a client can hold up, made where nobody waits for them but its own user.
//!
//! Who seals a segment waits for whoever writes to it at that moment (both take the lock of its inode), and who closes a
//! bell that a client has too waits for whoever takes events from the client's epoll instance that watches it (both take
//! its mutex). Nothing interrupts such a wait, and the client may write from, or take events to, memory that never comes,
//! of a file system that it serves itself. So no task of the broker does such things, but one thread for each user, one
//! after the other. Who holds it up keeps lanes and arenas from processes of its own user alone; these go on over their
//! sockets.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Bytes of a thread's stack: system calls need little.
const STACK: usize = 128 << 10;

type Errand = Box<dyn FnOnce() + Send>;

/// What waits for its turn, by user. Where there is an entry there is a thread.
#[derive(Default)]
pub(super) struct Errands {
    queues: Mutex<HashMap<u32, VecDeque<Errand>>>,
}

impl Errands {
    /// Has it done after all else of this user. The answer does not come if no thread can be started. What the work owns
    /// lasts until it is done, whoever waits for it: a client that leaves does not get rid of what it is counted for.
    pub(super) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        user: u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let errand: Errand = Box::new(move || {
            // Whoever has asked may have gone.
            let _ = sender.send(work());
        });
        match self.queues.lock().entry(user) {
            Entry::Occupied(mut queue) => {
                queue.get_mut().push_back(errand);
                return receiver;
            }
            Entry::Vacant(none) => none.insert(VecDeque::from([errand])),
        };
        let errands = Arc::clone(self);
        let thread = thread::Builder::new().name("busway-errand".to_owned()).stack_size(STACK);
        if let Err(error) = thread.spawn(move || errands.work_for(user)) {
            tracing::warn!("no shared memory can be taken over: no thread could be started: {error}");
            let waiting = self.queues.lock().remove(&user);
            drop(waiting);
        }
        receiver
    }

    fn work_for(&self, user: u32) {
        while let Some(errand) = self.next(user) {
            errand();
        }
    }

    fn next(&self, user: u32) -> Option<Errand> {
        let mut queues = self.queues.lock();
        let errand = queues.get_mut(&user)?.pop_front();
        if errand.is_none() {
            queues.remove(&user);
        }
        errand
    }
}

/// What is dropped by an errand of its user, and with it what counts it: who holds errands up does not get rid of that by
/// leaving, or could have any number of things wait here.
pub(crate) struct Entrusted<T: Send + 'static> {
    /// Until then.
    what: Option<T>,
    counted: Arc<dyn Send + Sync>,
    errands: Arc<Errands>,
    user: u32,
}

impl<T: Send + 'static> Entrusted<T> {
    pub(super) fn new(what: T, counted: Arc<dyn Send + Sync>, (errands, user): (&Arc<Errands>, u32)) -> Self {
        Self { what: Some(what), counted, errands: Arc::clone(errands), user }
    }

    /// Makes something else of it.
    pub(super) fn try_map<U: Send + 'static, E>(
        mut self,
        make: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Entrusted<U>, E> {
        let what = self.what.take().map(make).transpose()?;
        Ok(Entrusted { what, counted: Arc::clone(&self.counted), errands: Arc::clone(&self.errands), user: self.user })
    }
}

impl<T: Send + 'static> Deref for Entrusted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.what.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for Entrusted<T> {
    fn drop(&mut self) {
        if let Some(what) = self.what.take() {
            let counted = Arc::clone(&self.counted);
            drop(self.errands.begin(self.user, move || drop((what, counted))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_holds_it_up_holds_up_its_own_user_alone_and_in_order() {
        let errands = Arc::<Errands>::default();
        let (let_go, held) = mpsc::channel::<()>();
        let stuck = errands.begin(1, move || held.recv().is_ok());
        let (done, order) = mpsc::channel();
        let behind: Vec<_> = (0..3)
            .map(|number| {
                let done = done.clone();
                errands.begin(1, move || done.send(number))
            })
            .collect();
        assert_eq!(errands.begin(2, || 7).blocking_recv(), Ok(7), "others are served");
        assert!(order.try_recv().is_err(), "it is held up");
        let_go.send(()).unwrap();
        assert_eq!(stuck.blocking_recv(), Ok(true));
        assert_eq!(order.iter().take(3).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(behind.into_iter().all(|answer| answer.blocking_recv().is_ok()));
        // The thread ends a moment later, and the next gets one again.
        assert_eq!(errands.begin(1, || 8).blocking_recv(), Ok(8));
    }

    #[test]
    fn what_it_owns_lasts_as_long_as_it_waits() {
        let errands = Arc::<Errands>::default();
        let (let_go, held) = mpsc::channel::<()>();
        let stuck = errands.begin(1, move || held.recv().is_ok());
        let counted = Arc::new(());
        let owned = Arc::clone(&counted);
        drop(errands.begin(1, move || drop(owned)));
        assert_eq!(Arc::strong_count(&counted), 2, "whoever has asked has gone");
        let_go.send(()).unwrap();
        assert_eq!(stuck.blocking_recv(), Ok(true));
        assert_eq!(errands.begin(1, || ()).blocking_recv(), Ok(()));
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    /// Says in which thread it was dropped.
    struct Drops(mpsc::Sender<Option<String>>);

    impl Drop for Drops {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn what_is_entrusted_to_it_is_dropped_there() {
        let errands = Arc::<Errands>::default();
        let (sender, dropped) = mpsc::channel();
        let entrusted = Entrusted::new(Drops(sender.clone()), Arc::new(()), (&errands, 1));
        drop(entrusted.try_map(|drops| Ok::<_, ()>((drops, 1))));
        assert_eq!(dropped.recv().unwrap().as_deref(), Some("busway-errand"));
        // What nothing could be made of was made away with by whoever tried.
        let entrusted = Entrusted::new(Drops(sender), Arc::new(()), (&errands, 1));
        assert!(entrusted.try_map(Err::<(), _>).is_err());
        assert_ne!(dropped.recv().unwrap().as_deref(), Some("busway-errand"));
        assert!(dropped.recv().is_err());
    }

    #[test]
    fn what_is_entrusted_counts_until_it_is_dropped() {
        let errands = Arc::<Errands>::default();
        let (let_go, held) = mpsc::channel::<()>();
        let stuck = errands.begin(1, move || held.recv().is_ok());
        let counted = Arc::new(());
        let entrusted = Entrusted::new((), Arc::<()>::clone(&counted), (&errands, 1));
        drop(entrusted.try_map(Ok::<(), ()>));
        assert_eq!(Arc::strong_count(&counted), 2, "it waits for its turn");
        let_go.send(()).unwrap();
        assert_eq!(stuck.blocking_recv(), Ok(true));
        assert_eq!(errands.begin(1, || ()).blocking_recv(), Ok(()));
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}
