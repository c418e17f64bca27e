//! Why a broker cannot listen somewhere.

use std::io;
use std::path::PathBuf;

use super::{Endpoint, EndpointFault};

/// Why a broker cannot listen somewhere.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another broker answers there.
    #[error("{}: another broker is listening here; stop it or choose another path", .0.display())]
    Live(PathBuf),
    /// Something that is not a socket is in the way.
    #[error("{}: exists and is not a socket; it was left as it is, choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Something that is not a FIFO is in the way.
    #[error("{}: exists and is not a FIFO; it was left as it is, choose another path", .0.display())]
    NotAFifo(PathBuf),
    /// Two readers of one FIFO would get half of the lines each.
    #[error("{}: another program reads this FIFO; stop it or choose another path", .0.display())]
    BeingRead(PathBuf),
    /// A FIFO whose owner is neither this process's user nor root.
    #[error("{}: this FIFO belongs to another user (uid {uid}); remove it or choose another path", .path.display())]
    ForeignFifo {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// A socket that was taken over.
    #[error("{0}: the socket that was passed does not listen for connections; pass a listening stream socket")]
    NotListening(Endpoint),
    /// The address is taken.
    #[error("{0}: the address is taken by another program; stop it or choose another port")]
    AddressTaken(String),
    /// The address does not parse or resolve.
    #[error("{at}: cannot listen here ({source}); use HOST:PORT, or a path with a / in it or .sock at its end")]
    BadAddress {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody can listen there.
    #[error("{at}: {fault}")]
    NoEndpoint {
        /// Where.
        at: String,
        /// Why.
        fault: EndpointFault,
    },
    /// The system refuses.
    #[error("{at}: cannot listen: {source}")]
    System {
        /// Where.
        at: String,
        /// Why.
        source: io::Error,
    },
}

crate::debug_as_display!(BindError);
