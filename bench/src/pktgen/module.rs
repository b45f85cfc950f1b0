//! The kernel's pktgen, by its files (the kernel's `Documentation/networking/pktgen.rst`).
//!
//! It has a thread for each CPU, and these and their devices belong to the network namespace: they go with it.
//! Each packet is a new buffer of the stack. pktgen keeps hold of it until it has been sent, and what is held by
//! two a veth has to copy before an XDP program may write to it. Since Linux 6.7 it can be told to let go.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::source::{Order, Sent, Stream};

/// As the network namespace of this thread has it.
const FOLDER: &str = "/proc/thread-self/net/pktgen";
/// What controls all threads.
const CONTROL: &str = "pgctrl";
/// Ethernet, UDP and what pktgen writes behind them. What is to be shorter it makes as long as that.
const OTHER_HEADERS: usize = 14 + 8 + 16;
/// The first of a client's ports.
const FIRST_PORT: u16 = 16_384;
/// How many ports a client has where all flows are new: an odd number, so that ports and addresses, of which
/// there is a power of two, do not meet again before each has met each.
const PORTS: u16 = 16_383;
/// As many clients there are where all flows are new.
const ADDRESSES: u32 = 1 << 17;

/// pktgen's threads of the first CPUs, with a device each.
#[derive(Debug)]
pub(crate) struct Module {
    cpus: usize,
}

/// The clients of one CPU's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clients {
    first: IpAddr,
    addresses: u32,
    /// Those of each, or of all in turn.
    ports: u16,
}

/// Loads the module if need be; whether this kernel has it.
pub(crate) fn provide() -> bool {
    if !is_there() {
        let mut modprobe = Command::new("modprobe");
        modprobe.args(["-q", "pktgen"]).stderr(Stdio::null());
        // Whether there is a modprobe or not: what counts is what it leaves.
        drop(modprobe.status());
    }
    is_there()
}

fn is_there() -> bool {
    Path::new(FOLDER).join(CONTROL).exists()
}

/// How long frames are that are to be so long.
pub(crate) fn length(bytes: usize, is_ipv6: bool) -> usize {
    bytes.max(OTHER_HEADERS + if is_ipv6 { 40 } else { 20 })
}

impl Module {
    /// Takes the threads of so many CPUs, which must be idle. To be called on the host that sends, as all
    /// that follows.
    pub(crate) fn take(cpus: usize) -> Result<Self> {
        for cpu in 0..cpus {
            let text = read(&thread_of(cpu))?;
            ensure!(
                is_idle(&text),
                "pktgen's thread of CPU {cpu} has devices already"
            );
        }
        Ok(Self { cpus })
    }

    /// Sends as the stream says, on each of the CPUs, until `observe` has returned; or so many packets on each
    /// of them. It is told once all are sent.
    pub(crate) fn run<T>(
        &self,
        stream: &Stream,
        limit: Option<u32>,
        observe: impl FnOnce(&Receiver<()>) -> Result<T>,
    ) -> Result<(Sent, T)> {
        let mut devices = Vec::new();
        for cpu in 0..self.cpus {
            devices.push(self.prepare(cpu, stream, limit)?);
        }
        let (finished, over) = mpsc::channel();
        let seen = thread::scope(|scope| {
            // Whoever starts has to wait until all threads have stopped.
            let starter = scope.spawn(move || {
                let started = control("start");
                // Nobody listens any more if it was stopped.
                let _ = finished.send(());
                started
            });
            let seen = observe(&over);
            control("stop")?;
            match starter.join() {
                Ok(started) => started?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            seen
        })?;
        let mut sent = Sent::default();
        for device in &devices {
            let text = read(device)?;
            let done = done(&text).with_context(|| format!("pktgen: {}", text.trim()))?;
            sent.add(done.packets, done.time);
        }
        Ok((sent, seen))
    }

    /// Gives a CPU its device; the file of it.
    fn prepare(&self, cpu: usize, stream: &Stream, limit: Option<u32>) -> Result<String> {
        let thread = thread_of(cpu);
        write(&thread, "rem_device_all")?;
        let device = format!("{}@{cpu}", stream.out.name);
        write(&thread, &format!("add_device {device}"))?;
        let clients = Clients::of(stream, cpu, self.cpus);
        let mut lines = stream.lines(&clients)?;
        writeln!(lines, "count {}", limit.unwrap_or(0))?;
        if stream.out.queues > 1 {
            let queue = cpu % stream.out.queues;
            writeln!(lines, "queue_map_min {queue}\nqueue_map_max {queue}")?;
        }
        for line in lines.lines() {
            write(&device, line)?;
        }
        Ok(device)
    }
}

/// The next user finds the threads idle. Where the network namespace goes with us, this is for nothing.
impl Drop for Module {
    fn drop(&mut self) {
        release(self.cpus);
    }
}

/// Stops the threads of so many CPUs, and takes their devices away.
pub(crate) fn release(cpus: usize) {
    drop(control("stop"));
    for cpu in 0..cpus {
        // There is nobody whom an error would help.
        drop(write(&thread_of(cpu), "rem_device_all"));
    }
}

impl Clients {
    fn of(stream: &Stream, cpu: usize, cpus: usize) -> Self {
        let turn = cpu as u32;
        match stream.case.flows() {
            Some(flows) => Self {
                first: plus(stream.ends.client, turn),
                addresses: 1,
                ports: u16::try_from(flows).unwrap_or(PORTS),
            },
            None => {
                let parts = (cpus as u32 * stream.rounds).next_power_of_two();
                let addresses = (ADDRESSES / parts).max(1);
                let part = stream.round * cpus as u32 + turn;
                Self {
                    first: plus(stream.ends.client, part * addresses),
                    addresses,
                    ports: PORTS,
                }
            }
        }
    }

    fn last(&self) -> IpAddr {
        plus(self.first, self.addresses - 1)
    }
}

fn plus(address: IpAddr, number: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).wrapping_add(number)).into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from(u128::from(address).wrapping_add(u128::from(number))).into()
        }
    }
}

impl Stream {
    /// What pktgen is told of it, a line each.
    fn lines(&self, clients: &Clients) -> Result<String> {
        let (source, destination) = self.ends.macs;
        let mut lines = String::from(
            // Unless it is told otherwise, pktgen writes no checksum. Where it knows no `!SHARED` it says so
            // in its answer, and keeps hold of packets.
            "clone_skb 0\ndelay 0\nflag NO_TIMESTAMP\nflag UDPCSUM\nflag !SHARED\n",
        );
        writeln!(lines, "pkt_size {}", self.length())?;
        writeln!(
            lines,
            "src_mac {}\ndst_mac {}",
            mac(source),
            mac(destination)
        )?;
        let other = self.ends.other;
        let ([near, far], [near_port, far_port]) = if self.packet.is_from_server() {
            (["dst", "src"], ["udp_dst", "udp_src"])
        } else {
            (["src", "dst"], ["udp_src", "udp_dst"])
        };
        match other.ip() {
            IpAddr::V4(other) => {
                writeln!(lines, "{near}_min {}", clients.first)?;
                writeln!(lines, "{near}_max {}", clients.last())?;
                writeln!(lines, "{far}_min {other}\n{far}_max {other}")?;
            }
            IpAddr::V6(other) => {
                ensure!(
                    clients.addresses == 1,
                    "pktgen's packets over IPv6 come from one client: too few for flows that are all new"
                );
                writeln!(lines, "{near}6 {}\n{far}6 {other}", clients.first)?;
            }
        }
        // The last port is not used unless it is the only one.
        let ports = clients.ports;
        writeln!(lines, "{near_port}_min {FIRST_PORT}")?;
        writeln!(lines, "{near_port}_max {}", FIRST_PORT + ports)?;
        let port = other.port();
        writeln!(lines, "{far_port}_min {port}\n{far_port}_max {port}")?;
        if self.order == Order::ByLot && self.case.flows().is_some() {
            let flag = near_port.replace('_', "").to_uppercase();
            writeln!(lines, "flag {flag}_RND")?;
        }
        Ok(lines)
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// What a device has done.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    packets: u64,
    time: Duration,
}

/// What the file of a device tells after its thread has stopped; `None` if it did not send.
///
/// `Result: OK: 5008(c5005+d3) usec, 1000 (64byte,0frags)`
fn done(text: &str) -> Option<Done> {
    let result = text
        .lines()
        .find_map(|line| line.strip_prefix("Result: "))?;
    let (time, rest) = result.strip_prefix("OK: ")?.split_once('(')?;
    let (_, rest) = rest.split_once(" usec, ")?;
    let (packets, _) = rest.split_once(' ')?;
    Some(Done {
        packets: packets.parse().ok()?,
        time: Duration::from_micros(time.parse().ok()?),
    })
}

/// Whether the file of a thread names no devices. It has a line for those that run and one for those that do not.
fn is_idle(text: &str) -> bool {
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("Running:")
                .or_else(|| line.strip_prefix("Stopped:"))
        })
        .all(|devices| devices.trim().is_empty())
}

fn thread_of(cpu: usize) -> String {
    format!("kpktgend_{cpu}")
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn control(command: &str) -> Result<()> {
    write(CONTROL, command)
}

fn read(name: &str) -> Result<String> {
    let path = path(name);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// pktgen takes a line with one write, and looks for its end.
fn write(name: &str, line: &str) -> Result<()> {
    let path = path(name);
    fs::write(&path, format!("{line}\n"))
        .with_context(|| format!("writing “{line}” to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use lb_control::model::Protocol;
    use lb_tests::Family;

    use super::*;
    use crate::{
        case::{Case, Method, Traffic},
        pktgen::{
            load::{Load, Size},
            source::Kind,
        },
    };

    #[test]
    fn the_result_is_read() {
        let text = "Params: count 1000  min_pkt_size: 64  max_pkt_size: 64\n\
             \x20    frags: 0  delay: 0  clone_skb: 0  ifname: clients@0\n\
             Current:\n\
             \x20    pkts-sofar: 1000  errors: 0\n\
             \x20    started: 1us  stopped: 2us idle: 3us\n\
             Result: OK: 5008(c5005+d3) usec, 1000 (64byte,0frags)\n\
             \x20 199680pps 102Mb/sec (102236160bps) errors: 0\n";
        let time = Duration::from_micros(5_008);
        let packets = 1_000;
        assert_eq!(done(text), Some(Done { packets, time }));
        for (text, why) in [
            ("Current:\nResult: OK: count=1000\n", "told, not started"),
            ("Result: Idle\n", "nothing yet"),
            ("", "no text"),
            ("Result: No such parameter \"x\"\n", "refused"),
        ] {
            assert_eq!(done(text), None, "{why}");
        }
    }

    /// What the second of two CPUs is told, in the second of two rounds.
    fn told(method: Method, family: Family, traffic: Traffic) -> Result<String> {
        let case = Case::new(method, family, Protocol::Udp, traffic);
        let size = Size {
            bytes: 512,
            cpus: 2,
        };
        let load = Load { case, size };
        let stream = Stream {
            round: 1,
            ..Stream::through(&load, Kind::Pktgen, 2, Duration::ZERO)
        };
        stream.lines(&Clients::of(&stream, 1, 2))
    }

    #[test]
    fn packets_are_described_to_pktgen() {
        let established = Traffic::Established(1_024);
        let table: [(_, _, _, &[&str]); 3] = [
            (
                Method::Direct,
                Family::V4,
                established,
                &[
                    "pkt_size 512",
                    "src_mac 02:00:00:00:00:c1",
                    "dst_mac 02:00:00:00:00:01",
                    "src_min 198.18.0.1",
                    "src_max 198.18.0.1",
                    "dst_min 10.64.0.1",
                    "dst_max 10.64.0.1",
                    "udp_src_min 16384",
                    "udp_src_max 17408",
                    "udp_dst_min 80",
                    "udp_dst_max 80",
                    "flag UDPSRC_RND",
                ],
            ),
            (
                Method::Reply,
                Family::V6,
                established,
                &[
                    "src6 fd00:128::1",
                    "dst6 2001:2::1",
                    "udp_src_min 80",
                    "udp_dst_min 16384",
                    "udp_dst_max 17408",
                    "flag UDPDST_RND",
                ],
            ),
            (
                Method::Nat,
                Family::V4,
                Traffic::New,
                // The last of four quarters of 2^17 clients.
                &[
                    "src_min 198.19.128.0",
                    "src_max 198.19.255.255",
                    "udp_src_min 16384",
                    "udp_src_max 32767",
                ],
            ),
        ];
        for (method, family, traffic, expected) in table {
            let told = told(method, family, traffic).unwrap();
            for line in expected {
                let is_there = told.lines().any(|told| told == *line);
                assert!(is_there, "{line} of {} {traffic}:\n{told}", method.name());
            }
        }
        assert!(told(Method::Direct, Family::V6, Traffic::New).is_err());
    }

    #[test]
    fn a_thread_with_devices_is_somebody_elses() {
        let table = [
            ("Running: \n\nStopped: \nResult: NA\n", true),
            (
                "Running: \n\nStopped: eth0@0 \nResult: OK: add_device=eth0@0\n",
                false,
            ),
            ("Running: eth0 \n\nStopped: \nResult: OK\n", false),
        ];
        for (text, expected) in table {
            assert_eq!(is_idle(text), expected, "{text}");
        }
    }

    #[test]
    fn frames_are_no_shorter_than_their_headers() {
        let table = [
            (64, false, 64),
            (64, true, 78),
            (50, false, 58),
            (1_500, true, 1_500),
        ];
        for (bytes, is_ipv6, expected) in table {
            assert_eq!(length(bytes, is_ipv6), expected, "{bytes} {is_ipv6}");
        }
    }
}
