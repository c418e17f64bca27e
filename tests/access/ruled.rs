//! A broker with a configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use busway::Client;
use rustix::process::Signal;

use crate::support::{
    BrokerProcess, Call, Flavor, Kind, Setup, Stream, TemporaryDirectory, Transport, WirePeer, code, eventually,
    number, text, unpack,
};

/// Somebody who may do everything, and watches.
pub(crate) const OPERATOR: &str = r#"
[access.operator]
message = "any"
publish = "any"
subscribe = "any"
broadcast = "any"
"#;

pub(crate) struct Ruled {
    pub(crate) broker: BrokerProcess,
    file: PathBuf,
    _directory: TemporaryDirectory,
}

impl Ruled {
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    pub(crate) fn start_with(config: &str, options: &[&str]) -> Self {
        Self::start_by(&[], config, options)
    }

    /// As `start_with`, by another program.
    pub(crate) fn start_by(starter: &[&str], config: &str, options: &[&str]) -> Self {
        let directory = TemporaryDirectory::new();
        let file = directory.join("buswayd.toml");
        fs::write(&file, config).expect("a file can be written");
        let setup = Setup { flavor: Flavor::Busway, transport: Transport::Unix };
        let options = [&["--config", text_of(&file)], options].concat();
        Self { broker: BrokerProcess::start_by(setup, starter, &options), file, _directory: directory }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A connection before its handshake.
    pub(crate) fn connect(&self, transport: Transport) -> WirePeer {
        let stream = match transport {
            Transport::Unix => Stream::unix(&self.broker.socket()),
            Transport::Tcp => Stream::tcp(self.broker.port()),
        };
        WirePeer::new(stream.expect("the broker accepts"))
    }

    /// What the broker answers to a name, once the last one of that name has left.
    pub(crate) fn answer(&self, transport: Transport, name: &str) -> u8 {
        let mut answer = code::BUSY;
        eventually("the name is free", || {
            answer = self.connect(transport).introduce(name);
            answer != code::BUSY
        });
        answer
    }

    pub(crate) fn peer(&self, name: &str) -> WirePeer {
        self.peer_by(Transport::Unix, name)
    }

    pub(crate) fn peer_by(&self, transport: Transport, name: &str) -> WirePeer {
        let mut peer = self.connect(transport);
        assert_eq!(peer.introduce(name), code::OK, "{name} may connect");
        peer
    }

    /// A client of the library that is on the lane.
    pub(crate) async fn lane(&self, name: &str) -> Client {
        let client = Client::connect(self.broker.socket(), name).await.expect("it may connect");
        while client.transport() != busway::client::Transport::Lane {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        client
    }

    /// Writes the file anew and has it read; returns when the broker says that it has done so.
    pub(crate) fn reload(&self, config: &str) {
        self.reload_until(config, "the access rules are in force");
    }

    /// As `reload`, for a file that is wrong.
    pub(crate) fn fail_to_reload(&self, config: &str) {
        self.reload_until(config, "the access rules stay as they are");
    }

    fn reload_until(&self, config: &str, said: &str) {
        let count = || self.broker.log().matches(said).count();
        let before = count();
        fs::write(&self.file, config).expect("a file can be written");
        self.broker.signal(Signal::HUP);
        eventually("the broker has read the file again", || count() > before);
    }
}

/// What `client.list` counts as denied of a client, asked by somebody who may.
pub(crate) fn denied_frames(observer: &mut WirePeer, name: &str) -> u64 {
    let call = Call::new(1, "client.list");
    observer.send(&call.request());
    let reply = loop {
        let delivery = observer.receive_delivery();
        if delivery.kind != Kind::Publication {
            break delivery;
        }
    };
    let list = unpack(&call.reply(&reply).expect("the broker lists its clients"));
    let clients = list["clients"].as_array().expect("an array");
    number(clients.iter().find(|client| text(client, "name") == name).expect("it is listed"), "denied_frames")
}

pub(crate) fn text_of(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}
