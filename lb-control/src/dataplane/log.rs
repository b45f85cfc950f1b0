//! The program with the decision log in it, which takes the other's place while somebody wants to
//! read it, on the same maps.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map, MapData},
};
use aya_log::EbpfLogger;
use lb_common::{maps::Server, verdict::Reason};
use tokio::io::unix::AsyncFd;

use super::{
    bpffs::Pins,
    kernel::{Back, MAPS, program},
    trial::Key,
};

/// The object with the decision log.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/balancer-log.o"));

/// No more records than this wait to be read; those that come then are lost.
const WAITING: usize = 4_096;

/// Which packets are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// One of so many, by chance.
    pub one_of: u32,
    /// Only those that end here.
    pub drops_only: bool,
}

/// Loads the program with the decision log beside the one in use, and begins to read what it says.
///
/// # Errors
/// Why the kernel does not take it.
pub(super) fn load(pins: &Pins, back: Back, sampling: Sampling) -> anyhow::Result<(Ebpf, Records)> {
    if OBJECT.is_empty() {
        bail!("this lb was built without the decision log; build it by `cargo xtask build`");
    }
    let redirect_back = u8::from(back == Back::Redirect);
    let threshold = u32::MAX / sampling.one_of.max(1);
    let drops_only = u8::from(sampling.drops_only);
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, pins.maps().join(name));
    }
    let mut ebpf = loader
        .override_global("REDIRECT_BACK", &redirect_back, true)
        .override_global("SAMPLE", &threshold, true)
        .override_global("DROPS_ONLY", &drops_only, true)
        .load(OBJECT)
        .context("loading the BPF program with the decision log")?;
    program(&mut ebpf, "balance")?
        .load()
        .context("the kernel refused the program with the decision log")?;
    let lines = Lines::default();
    let logger = EbpfLogger::init_with_logger(&mut ebpf, lines.clone())
        .context("reading the decision log")?;
    #[expect(
        deprecated,
        reason = "what takes its place is unsafe; the logger keeps its descriptor open"
    )]
    let logger = AsyncFd::new(logger).context("waiting for the decision log")?;
    let records = Records {
        logger,
        lines,
        servers: servers(&pins.maps().join("servers"))?,
    };
    Ok((ebpf, records))
}

fn servers(path: &Path) -> anyhow::Result<Array<MapData, Server>> {
    let map = MapData::from_pin(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Array::try_from(Map::Array(map))?)
}

/// What the program says, as it comes.
pub struct Records {
    logger: AsyncFd<EbpfLogger<Lines>>,
    lines: Lines,
    servers: Array<MapData, Server>,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What becomes of the packet.
    pub outcome: Outcome,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// Its addresses and ports, if it has a transport header that is balanced.
    pub key: Option<Key>,
    /// The id of the service, of the first packet of a flow.
    pub service: Option<u32>,
    /// The id of the real server.
    pub server: Option<u32>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on its way.
    Steered,
    /// The kernel's own stack gets it.
    Passed,
    /// It ends.
    Dropped,
}

impl Records {
    /// The next records, and how many were lost.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn next(&mut self) -> io::Result<(Vec<Record>, usize)> {
        loop {
            let mut ready = self.logger.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
            let (lines, lost) = self.lines.take();
            if !lines.is_empty() {
                let records = lines.iter().filter_map(|line| Record::parse(line));
                return Ok((records.collect(), lost));
            }
        }
    }

    /// The address of a real server, and the port on which it gets what clients send to `port`.
    #[must_use]
    pub fn server(&self, id: u32, port: u16) -> Option<SocketAddr> {
        let server = self.servers.get(&id, 0).ok()?;
        let own = server.port.get();
        Some(SocketAddr::new(
            server.address.into(),
            if own == 0 { port } else { own },
        ))
    }
}

impl Record {
    /// Reads the numbers that `lb-ebpf/src/log.rs` writes.
    fn parse(line: &str) -> Option<Self> {
        const NONE: u32 = u32::MAX;
        const PASS: u32 = 2;
        const TRANSMIT: u32 = 3;
        const REDIRECT: u32 = 4;

        let mut words = line.split(' ');
        let mut number = || words.next()?.parse::<u32>().ok();
        let (code, reason) = (number()?, number()?);
        let mut record = Self {
            outcome: match code {
                PASS => Outcome::Passed,
                TRANSMIT | REDIRECT => Outcome::Steered,
                _ => Outcome::Dropped,
            },
            reason: Reason::ALL.get(reason as usize).copied(),
            key: None,
            service: None,
            server: None,
        };
        let Some(protocol) = number() else {
            return Some(record);
        };
        let mut socket = || {
            let address = words.next()?;
            let address = address
                .parse::<Ipv4Addr>()
                .map(IpAddr::from)
                .or_else(|_| address.parse::<Ipv6Addr>().map(IpAddr::from));
            let port = words.next()?.parse().ok()?;
            Some(SocketAddr::new(address.ok()?, port))
        };
        record.key = Some(Key {
            source: socket()?,
            destination: socket()?,
            protocol: protocol as u8,
        });
        let mut id = || {
            let id = words.next()?.parse().ok()?;
            Some(Some(id).filter(|id| *id != NONE))
        };
        record.service = id()?;
        record.server = id()?;
        Some(record)
    }
}

/// Where aya-log puts its lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<(Vec<String>, usize)>>);

impl Lines {
    /// What has come, and how many lines were lost.
    fn take(&self) -> (Vec<String>, usize) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl log::Log for Lines {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, lost) = &mut *waiting;
        if lines.len() < WAITING {
            lines.push(record.args().to_string());
        } else {
            *lost += 1;
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let key = |source: &str, destination: &str| Key {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: 6,
        };
        let record = |outcome, reason, key, service, server| Record {
            outcome,
            reason,
            key,
            service,
            server,
        };
        let table = [
            (
                "4 4294967295 6 198.51.100.7 4321 192.0.2.10 80 0 3",
                Some(record(
                    Outcome::Steered,
                    None,
                    Some(key("198.51.100.7:4321", "192.0.2.10:80")),
                    Some(0),
                    Some(3),
                )),
            ),
            (
                "1 7 6 2001:db8::7 4321 2001:db8::10 80 4294967295 4294967295",
                Some(record(
                    Outcome::Dropped,
                    Some(Reason::NextHopUnknown),
                    Some(key("[2001:db8::7]:4321", "[2001:db8::10]:80")),
                    None,
                    None,
                )),
            ),
            (
                "2 4294967295",
                Some(record(Outcome::Passed, None, None, None, None)),
            ),
            ("2", None),
            ("2 0 6 nobody 1 192.0.2.10 80 0 1", None),
        ];
        for (line, expected) in table {
            assert_eq!(Record::parse(line), expected, "{line}");
        }
    }
}
