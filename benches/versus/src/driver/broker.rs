//! A broker, started afresh for each run.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::folder::{Folder, last_line};
use super::usage::{self, CpuTime};
use crate::failure::{Context, Result};
use crate::systems::{BrokerProgram, System};

/// Where the brokers' programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) buswayd: PathBuf,
    pub(crate) busrtd: PathBuf,
    pub(crate) nats_server: PathBuf,
}

const PATIENCE: Duration = Duration::from_secs(10);
const GREETING: [u8; 3] = [0xEB, 1, 0];
/// The greeting is over before the broker has put everything in order for the next client.
const SETTLE: Duration = Duration::from_millis(20);

/// What runs between the clients of a run; a system without a broker has only a place to meet.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Option<Child>,
    pub(crate) endpoint: String,
    log: PathBuf,
}

impl Programs {
    /// Whether a system's broker is there.
    pub(crate) fn has(&self, system: System) -> bool {
        system.broker().is_none_or(|program| self.path(program).is_file())
    }

    pub(crate) fn path(&self, program: BrokerProgram) -> &Path {
        match program {
            BrokerProgram::Buswayd => &self.buswayd,
            BrokerProgram::Busrtd => &self.busrtd,
            BrokerProgram::NatsServer => &self.nats_server,
        }
    }
}

impl Broker {
    /// Starts the broker of a system with its default options and waits until it answers.
    pub(crate) fn start(programs: &Programs, system: System, folder: &Folder) -> Result<Self> {
        let log = folder.join("broker.log");
        let Some(program) = system.broker() else {
            return Ok(Self { process: None, endpoint: meeting_point(system, folder), log });
        };
        let path = programs.path(program);
        let mut command = Command::new(path);
        let endpoint = match program {
            BrokerProgram::Buswayd | BrokerProgram::Busrtd => {
                let socket = folder.join("broker.sock").display().to_string();
                command.args(["-B", &socket]);
                socket
            }
            BrokerProgram::NatsServer => {
                let address = free_address()?;
                let settings = folder.join("nats.conf");
                // By default it takes no payload over 1 MiB and cuts a client for which a window of large ones waits.
                let limits = "max_payload: 67108864\nmax_pending: 536870912\nwrite_deadline: \"30s\"\n";
                std::fs::write(&settings, format!("listen: \"{address}\"\n{limits}"))?;
                command.arg("-c").arg(&settings);
                address
            }
        };
        let sink = File::create(&log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(sink.try_clone()?)
            .stderr(sink)
            .env_remove("RUST_LOG")
            .spawn()
            .context(|| format!("cannot start {}", path.display()))?;
        let mut broker = Self { process: Some(process), endpoint, log };
        broker.wait_until_it_answers()?;
        Ok(broker)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !answers(&self.endpoint) {
            self.check()?;
            if Instant::now() > deadline {
                return Err(format!("the broker does not answer: {}", last_line(&self.log)).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let ended = self.process.as_mut().map(Child::try_wait).transpose()?.flatten();
        ended.map_or(Ok(()), |status| Err(format!("the broker ended, {status}: {}", last_line(&self.log)).into()))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// CPU time so far, if there is a broker.
    pub(crate) fn cpu(&self) -> Result<Option<CpuTime>> {
        self.pid().map(CpuTime::of).transpose()
    }

    /// The most memory it has held, in MiB.
    pub(crate) fn peak_rss(&self) -> Result<Option<f64>> {
        self.pid().map(usage::peak_rss).transpose()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn meeting_point(system: System, folder: &Folder) -> String {
    let path = folder.path().display();
    match system {
        System::Zenoh => format!("unixsock-stream/{path}/zenoh.sock"),
        System::Zeromq => format!("ipc://{path}/zeromq.sock"),
        // Names of services, unlike anybody else's.
        _ => format!("{path}"),
    }
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn answers(endpoint: &str) -> bool {
    if !endpoint.starts_with('/') {
        return TcpStream::connect(endpoint).is_ok();
    }
    let Ok(mut stream) = UnixStream::connect(endpoint) else { return false };
    let mut greeting = [0; GREETING.len()];
    let timeout = stream.set_read_timeout(Some(Duration::from_secs(1)));
    timeout.is_ok() && stream.read_exact(&mut greeting).is_ok() && greeting == GREETING
}
