//! A director of IPVS, in a network namespace of its own: a history is played on it.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_tests::{Host, Lab, wait};

use super::{
    history::{Event, Front, History, Name, Packet, Protocol, Service, Step, Terms, Tuple},
    table::{self, Connection},
    wire::{BACK, CLIENT, CLIENT_MAC, CLOSED, FRONT, FRONT_MAC, Fate, Wire},
};
use crate::command;

/// How many packets are sent before we look what became of them.
const BATCH: usize = 64;
/// Timeouts of established TCP, TCP after a FIN, and UDP: those of IPVS, and the shortest.
const USUAL: [&str; 3] = ["900", "120", "300"];
const SHORT: [&str; 3] = ["1", "1", "1"];
/// How long connections may take to be forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays a history on a new director: its text, each packet with what became of it.
pub(super) fn play(lab: &Lab, history: &History) -> Result<String> {
    let host = lab.host("director")?;
    prepare(&host, history.service.front)?;
    host.inside(|| {
        let mut director = Director {
            service: &history.service,
            servers: BTreeMap::new(),
            wire: Wire::open()?,
            text: String::new(),
        };
        director.play(history)?;
        Ok(director.text)
    })
    .with_context(|| history.title.clone())
}

/// Interfaces and addresses. Nobody has to be asked for a MAC address, and what goes to the real
/// servers ends in a device that swallows it.
fn prepare(host: &Host, front: Front) -> Result<()> {
    host.set(&[
        ("ipv4/ip_forward", "1"),
        ("ipv4/icmp_ratemask", "0"),
        ("ipv6/icmp/ratelimit", "0"),
        ("ipv6/conf/all/forwarding", "1"),
    ])?;
    let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
    let (director, _) = CLOSED.split_once(':').context("an address and a port")?;
    let lines = [
        format!(
            "link add {FRONT} address {} type veth peer {CLIENT} address {}",
            mac(FRONT_MAC),
            mac(CLIENT_MAC)
        ),
        format!("link add {BACK} type dummy"),
        format!("link set {FRONT} up arp off"),
        format!("link set {CLIENT} up arp off"),
        format!("link set {BACK} up"),
        format!("address add {director}/24 dev {FRONT}"),
        format!("address add 2001:db8::1/64 dev {FRONT} nodad"),
        format!("address add 10.1.255.254/16 dev {BACK}"),
        format!("address add fd00:1::ffff/64 dev {BACK} nodad"),
        format!("route add 0.0.0.0/0 dev {FRONT}"),
        format!("route add ::/0 dev {FRONT}"),
        "route add local 10.0.0.100 dev lo".to_owned(),
        "route add local 10.5.0.0/16 dev lo".to_owned(),
        "route add local 2001:db8::64 dev lo".to_owned(),
        "route add local 2001:db8:5::/48 dev lo".to_owned(),
    ];
    let path = host.write("/run/addresses", &lines.join("\n"))?;
    host.run("ip", ["-batch".as_ref(), path.as_os_str()])?;
    let marked = match front {
        Front::Address(_) => return Ok(()),
        Front::Mark4 => "protocol ip flower dst_ip 10.5.0.0/16",
        Front::Mark6 => "protocol ipv6 flower dst_ip 2001:db8:5::/48",
    };
    for line in [
        format!("qdisc add dev {FRONT} clsact"),
        format!("filter add dev {FRONT} ingress {marked} action skbedit mark 7"),
    ] {
        host.run("tc", line.split_whitespace())?;
    }
    Ok(())
}

/// The director while a history is played.
struct Director<'a> {
    service: &'a Service,
    servers: BTreeMap<Name, SocketAddr>,
    wire: Wire,
    text: String,
}

impl Director<'_> {
    fn play(&mut self, history: &History) -> Result<()> {
        writeln!(self.text, "history {}\n{}", history.title, self.service)?;
        self.ipvsadm("-A", &self.service_options())?;
        let mut events = history.events.as_slice();
        while let Some((event, rest)) = events.split_first() {
            if let Event::Packet(_) = event {
                let batch = batch(events);
                self.send(&batch)?;
                events = &events[batch.len()..];
                continue;
            }
            self.happen(event)
                .with_context(|| format!("{event:?} after:\n{}", self.text))?;
            events = rest;
        }
        Ok(())
    }

    fn happen(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Add(name, address, terms) => {
                self.servers.insert(*name, *address);
                self.ipvsadm("-a", &self.server_options(*name, terms)?)?;
                writeln!(self.text, "add {name} {address} {terms}")?;
            }
            Event::Set(name, terms) => {
                self.ipvsadm("-e", &self.server_options(*name, terms)?)?;
                writeln!(self.text, "set {name} {terms}")?;
            }
            Event::Remove(name) => {
                self.ipvsadm("-d", &["-r".to_owned(), self.server(*name)?.to_string()])?;
                writeln!(self.text, "remove {name}")?;
            }
            Event::Packet(packet) => self.send(&[*packet])?,
            Event::End(tuples) => self.end(tuples)?,
            Event::Idle => self.idle()?,
            Event::Counts => self.counts()?,
            Event::Setting(name, value) => {
                let path = Path::new("/proc/sys/net/ipv4/vs").join(name);
                fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
                writeln!(self.text, "sysctl {name} {value}")?;
            }
            Event::Remark(text) => writeln!(self.text, "# {text}")?,
        }
        Ok(())
    }

    fn send(&mut self, packets: &[Packet]) -> Result<()> {
        let fates = self.wire.send(self.service.protocol, packets)?;
        let connections = table::connections()?;
        for (packet, fate) in packets.iter().zip(fates) {
            let Tuple { client, front } = packet.tuple;
            write!(self.text, "{} {client}", packet.step)?;
            match self.service.front {
                Front::Address(_) => {}
                Front::Mark4 | Front::Mark6 => write!(self.text, " to {front}")?,
            }
            let known = connections
                .get(&packet.tuple)
                .map_or(&[][..], Vec::as_slice);
            let what = match fate {
                Fate::Server(address) => self.name(address, known)?.to_string(),
                Fate::Refused(kind, code) => format!("none icmp {kind}/{code}"),
                Fate::Reset => "none reset".to_owned(),
                Fate::Silence => "none silence".to_owned(),
            };
            write!(self.text, " -> {what}")?;
            let known = known
                .iter()
                .find(|known| fate == Fate::Server(known.server) || fate == Fate::Silence);
            if let (Protocol::Tcp, Some(connection)) = (self.service.protocol, known) {
                write!(self.text, " {}", connection.state)?;
            }
            self.text.push('\n');
        }
        Ok(())
    }

    /// The server that a packet left for; what IPVS remembers has to agree.
    fn name(&self, to: SocketAddr, known: &[Connection]) -> Result<Name> {
        ensure!(
            known.is_empty() || known.iter().any(|known| known.server == to),
            "a packet went to {to}, and not as {known:?}"
        );
        // A marked service's servers have no port of their own.
        let of = |(_, server): &(&Name, &SocketAddr)| {
            server.ip() == to.ip() && [0, to.port()].contains(&server.port())
        };
        match self.servers.iter().find(of) {
            Some((name, _)) => Ok(*name),
            None => bail!("a packet left for {to}, which is no server"),
        }
    }

    /// One more packet makes each connection's time run anew, and short.
    fn end(&mut self, tuples: &[Tuple]) -> Result<()> {
        self.timeouts(SHORT)?;
        let again = |tuple: &Tuple| Packet {
            step: Step::Again,
            tuple: *tuple,
        };
        let packets: Vec<Packet> = tuples.iter().map(again).collect();
        self.wire.send(self.service.protocol, &packets)?;
        wait::until("connections end", PATIENCE, || {
            let connections = table::connections()?;
            let gone = !tuples.iter().any(|tuple| connections.contains_key(tuple));
            Ok(gone.then_some(()))
        })?;
        self.timeouts(USUAL)?;
        for Tuple { client, front } in tuples {
            match self.service.front {
                Front::Address(_) => writeln!(self.text, "end {client}")?,
                Front::Mark4 | Front::Mark6 => writeln!(self.text, "end {client} to {front}")?,
            }
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        wait::until("everything is forgotten", PATIENCE, || {
            Ok(table::connections()?.is_empty().then_some(()))
        })?;
        writeln!(self.text, "idle")?;
        Ok(())
    }

    fn counts(&mut self) -> Result<()> {
        let counts = table::counts()?;
        for (name, address) in &self.servers {
            if let Some(count) = counts.get(address) {
                writeln!(self.text, "counts {name} {count}")?;
            }
        }
        Ok(())
    }

    fn timeouts(&self, seconds: [&str; 3]) -> Result<()> {
        command::run(Command::new("ipvsadm").arg("--set").args(seconds))
    }

    fn server(&self, name: Name) -> Result<SocketAddr> {
        let server = self.servers.get(&name);
        server.copied().with_context(|| format!("no server {name}"))
    }

    fn ipvsadm(&self, verb: &str, options: &[String]) -> Result<()> {
        let mut ipvsadm = Command::new("ipvsadm");
        ipvsadm.arg(verb).args(self.front_options()).args(options);
        command::run(&mut ipvsadm)
    }

    fn front_options(&self) -> Vec<String> {
        match (self.service.front, self.service.protocol) {
            (Front::Address(address), Protocol::Tcp) => vec!["-t".to_owned(), address.to_string()],
            (Front::Address(address), Protocol::Udp) => vec!["-u".to_owned(), address.to_string()],
            (Front::Mark4, _) => ["-f", "7"].map(str::to_owned).to_vec(),
            (Front::Mark6, _) => ["-f", "7", "-6"].map(str::to_owned).to_vec(),
        }
    }

    fn service_options(&self) -> Vec<String> {
        let mut options = vec!["-s".to_owned(), self.service.scheduler.to_owned()];
        if let Some(flags) = self.service.flags {
            options.extend(["-b".to_owned(), flags.to_owned()]);
        }
        if let Some(persistence) = self.service.persistence {
            options.extend(["-p".to_owned(), persistence.seconds.to_string()]);
            if let Some(mask) = persistence.mask {
                options.extend(["-M".to_owned(), mask.to_owned()]);
            }
        }
        if self.service.one_packet {
            options.push("-o".to_owned());
        }
        options
    }

    /// Masquerading, by which a packet shows its server in its address.
    fn server_options(&self, name: Name, terms: &Terms) -> Result<Vec<String>> {
        let address = self.server(name)?;
        let Terms {
            weight,
            upper,
            lower,
        } = terms;
        let line = format!("-r {address} -m -w {weight} -x {upper} -y {lower}");
        Ok(line.split_whitespace().map(str::to_owned).collect())
    }
}

/// The packets at the beginning of these events that can be sent together: no connection twice, for
/// the state that we look up afterwards is the last one.
fn batch(events: &[Event]) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for event in events.iter().take(BATCH) {
        match event {
            Event::Packet(packet)
                if !packets
                    .iter()
                    .any(|before| before.tuple.client == packet.tuple.client) =>
            {
                packets.push(*packet);
            }
            Event::Packet(_)
            | Event::Add(..)
            | Event::Set(..)
            | Event::Remove(_)
            | Event::End(_)
            | Event::Idle
            | Event::Counts
            | Event::Setting(..)
            | Event::Remark(_) => break,
        }
    }
    packets
}
