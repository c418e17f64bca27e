//! The one runtime behind all blocking clients of a process.
//!
//! Its thread reads what brokers send and keeps connections alive. Everything else a caller does on its own thread: it
//! polls the futures of the async client itself, and sleeps while they are pending.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;

use super::parker::Parker;

/// The thread's name; handlers have [`HANDLER`].
const THREAD: &str = "busway-blocking";
const HANDLER: &str = "busway-handler";
/// Handlers are bounded for each service: here nobody waits for a thread that somebody else's handler has.
const MAX_THREADS: usize = 1 << 20;
/// A handler's thread that has had nothing to do for so long goes.
const IDLE: Duration = Duration::from_secs(2);

/// The runtime of this process, once there is one.
static CURRENT: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// What runs futures on the caller's thread.
#[derive(Debug)]
pub(super) struct Runtime {
    handle: Handle,
    /// A forked child has the object, but not the thread.
    process: u32,
}

/// Why a future cannot be waited for: nobody would ever wake this thread. It is a forked child's, or the one that would
/// have to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NobodyWakes;

impl From<NobodyWakes> for io::Error {
    fn from(_: NobodyWakes) -> Self {
        Self::other("this thread cannot wait for it")
    }
}

/// Whose thread this is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Application,
    /// It runs handlers.
    Handler,
    /// It is the runtime's own.
    Reader,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Application) };
}

impl Runtime {
    /// The runtime of this process, started when it is asked for first.
    ///
    /// # Errors
    /// When the system has no thread or no descriptor to give.
    pub(super) fn current() -> io::Result<&'static Self> {
        let mut current = CURRENT.lock();
        if let Some(runtime) = *current
            && !runtime.is_of_parent()
        {
            return Ok(runtime);
        }
        // It lasts as long as the process, for whoever connects next.
        let runtime = &*Box::leak(Box::new(Self { handle: start()?, process: process::id() }));
        *current = Some(runtime);
        Ok(runtime)
    }

    /// Whether this process is a forked child of the one that started it.
    pub(super) fn is_of_parent(&self) -> bool {
        self.process != process::id()
    }

    /// Waits for a future on this thread.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn run<F: Future>(&self, future: F) -> Result<F::Output, NobodyWakes> {
        match self.run_within(None, future) {
            Ok(Some(output)) => Ok(output),
            // There is no time in which it could be late.
            Ok(None) | Err(NobodyWakes) => Err(NobodyWakes),
        }
    }

    /// As [`run`](Runtime::run), for so long at most, if at all; `None` when it is late.
    pub(super) fn run_within<F: Future>(
        &self,
        patience: Option<Duration>,
        future: F,
    ) -> Result<Option<F::Output>, NobodyWakes> {
        if self.is_of_parent() {
            return Err(NobodyWakes);
        }
        // A thread that is ending may have lost what a runtime needs.
        if Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
            return Err(NobodyWakes);
        }
        let _entered = self.handle.enter();
        // A task of another runtime that blocks here has no turns to take: its budget must not count.
        Parker::wait(unconstrained(future), patience, || ROLE.get() != Role::Reader).map_err(|_| NobodyWakes)
    }

    /// Within the runtime, for what starts tasks.
    #[cfg(any(feature = "broker", feature = "rpc"))]
    pub(super) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.handle.enter();
        work()
    }
}

/// Whether this thread belongs to the application, which may wait for the end of a connection; the library's own have
/// others to serve.
pub(super) fn is_of_application() -> bool {
    ROLE.get() == Role::Application
}

/// Starts the thread; the runtime is built and dropped by it alone, since an async program may not drop one.
fn start() -> io::Result<Handle> {
    let (built, is_built) = mpsc::channel();
    thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
        ROLE.set(Role::Reader);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(HANDLER)
            .max_blocking_threads(MAX_THREADS)
            .thread_keep_alive(IDLE)
            .on_thread_start(|| ROLE.set(Role::Handler))
            .build();
        match runtime {
            Ok(runtime) => {
                // Whoever asked waits for it.
                let _ = built.send(Ok(runtime.handle().clone()));
                runtime.block_on(pending::<()>());
            }
            Err(error) => drop(built.send(Err(error))),
        }
    })?;
    is_built.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))
}

#[cfg(all(test, feature = "broker", feature = "rpc"))]
mod tests {
    use busway_net::wire::QoS;

    use super::super::{Broker, Client};
    use super::*;
    use crate::client::SendError;

    #[test]
    fn there_is_one_for_all() {
        assert!(std::ptr::eq(Runtime::current().unwrap(), Runtime::current().unwrap()));
    }

    #[test]
    fn a_forked_child_fails_and_leaves_the_connection_to_its_parent() {
        let broker = Broker::start(Broker::builder()).unwrap();
        let anna = broker.client("anna").unwrap();
        // What a child sees: the object, made by another process.
        let of_parent = Runtime { handle: anna.runtime().handle.clone(), process: process::id() ^ 1 };
        let inherited = Client::new(anna.as_async().clone(), Box::leak(Box::new(of_parent)));
        let hello = || inherited.send("anna", "hello").qos(QoS::Processed);
        assert_eq!(hello().wait(), Err(SendError::Disconnected));
        assert_eq!(hello().enqueue().unwrap_err(), SendError::Disconnected);
        assert_eq!(hello().try_enqueue().unwrap_err().payload.as_slice(), b"hello");
        assert_eq!(inherited.subscribe("topic").wait(), Err(SendError::Disconnected));
        assert!(inherited.recv().is_none());
        inherited.close();
        drop(inherited);
        assert_eq!(anna.send("anna", "hello").qos(QoS::Processed).wait(), Ok(()));
        assert_eq!(anna.recv().unwrap().payload().as_slice(), b"hello");
    }

    #[test]
    fn a_forked_child_leaves_the_broker_to_its_parent() {
        let broker = Broker::start(Broker::builder()).unwrap();
        let anna = broker.client("anna").unwrap();
        let handle = anna.runtime().handle.clone();
        let of_parent = Box::leak(Box::new(Runtime { handle, process: process::id() ^ 1 }));
        let inherited = broker.in_a_child(of_parent);
        assert!(inherited.client("bert").is_err());
        drop(inherited);
        assert_eq!(anna.send("anna", "hello").qos(QoS::Processed).wait(), Ok(()));
    }

    #[test]
    fn a_client_in_a_thread_local_ends_with_its_thread() {
        thread_local! {
            static KEPT: std::cell::RefCell<Option<Client>> = const { std::cell::RefCell::new(None) };
        }
        let broker = Broker::start(Broker::builder()).unwrap();
        let names = || broker.clients().clients.into_iter().filter(|client| client.name == "anna").count();
        thread::scope(|scope| {
            let keep = || KEPT.with_borrow_mut(|kept| *kept = Some(broker.client("anna").unwrap()));
            scope.spawn(keep).join().unwrap();
        });
        // A panic at the end of a thread is the end of the process.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while names() > 0 {
            assert!(std::time::Instant::now() < deadline, "it has not gone");
            thread::yield_now();
        }
    }

    #[test]
    fn the_thread_that_would_have_to_wake_itself_does_not_wait() {
        let runtime = Runtime::current().unwrap();
        let waits = runtime.handle.spawn(async move { runtime.run(pending::<()>()) });
        assert_eq!(runtime.run(waits).unwrap().unwrap(), Err(NobodyWakes));
    }
}
