//! A daemon that has a fixed table, and remembers what it was told.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
};

use lb_control::{
    control::{
        change::{Change, Changes, Made, Refused, Why},
        connection::Connection,
        table::Table,
    },
    ipvsadm::{Director, Fault, Firewall, Names, Program, World},
    model::{Protocol, ServiceId},
};

/// A daemon that has a fixed table.
#[derive(Default)]
pub(crate) struct Fixed {
    pub(crate) table: Table,
    pub(crate) connections: Vec<Connection>,
    /// What it answers to changes.
    pub(crate) refuses: Option<Refused>,
    /// It lets nobody in.
    pub(crate) is_closed: bool,
    /// What it was told.
    pub(crate) told: Rc<RefCell<Vec<Changes>>>,
}

impl Fixed {
    pub(crate) fn with(table: Table) -> Self {
        Self {
            table,
            ..Self::default()
        }
    }

    pub(crate) fn refusing(index: usize, why: Why) -> Self {
        Self {
            refuses: Some(Refused {
                index: Some(index),
                why,
                text: "because".to_owned(),
            }),
            ..Self::default()
        }
    }

    /// The changes that it was told, if it was told once.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let told = self.told.borrow();
        assert!(told.len() <= 1, "changes are sent together: {told:?}");
        told.first()
            .map(|changes| changes.changes.clone())
            .unwrap_or_default()
    }
}

impl Director for Fixed {
    fn table(&mut self, _: Option<ServiceId>) -> Result<Table, Fault> {
        match self.is_closed {
            true => Err(Fault::Denied),
            false => Ok(self.table.clone()),
        }
    }

    fn connections(
        &mut self,
        each: &mut dyn FnMut(Connection) -> io::Result<()>,
    ) -> Result<(), Fault> {
        for connection in &self.connections {
            each(connection.clone())?;
        }
        Ok(())
    }

    fn change(&mut self, changes: &Changes) -> Result<Made, Fault> {
        if self.is_closed {
            return Err(Fault::Denied);
        }
        if let Some(refused) = &self.refuses {
            return Err(refused.clone().into());
        }
        self.told.borrow_mut().push(changes.clone());
        Ok(Made::default())
    }
}

/// A few names.
pub(crate) struct FewNames;

impl Names for FewNames {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        match host {
            "localhost" => Some(Ipv4Addr::LOCALHOST),
            "web.example.org" => Some(Ipv4Addr::new(192, 0, 2, 10)),
            _ => None,
        }
    }

    fn port(&self, service: &str, protocol: Protocol) -> Option<u16> {
        match (service, protocol) {
            ("http", Protocol::Tcp) => Some(80),
            ("domain", Protocol::Tcp | Protocol::Udp) => Some(53),
            _ => None,
        }
    }

    fn hosts(&self, addresses: &BTreeSet<IpAddr>) -> HashMap<IpAddr, String> {
        let known = [
            ("192.0.2.10", "web.example.org"),
            (
                "10.0.0.11",
                "a-real-server-with-a-very-long-name.in.a.rack.example.org",
            ),
            ("10.0.0.12", "real-server-12.rack.example.org"),
            ("2001:db8::80", "v6.example.org"),
            (
                "2001:db8::a0a0",
                "a-real-server-with-a-long-name.v6.example.org",
            ),
            ("192.0.2.12", "a-director-with-a-long-name.example.org"),
        ];
        known
            .iter()
            .map(|(address, name)| (address.parse().unwrap(), (*name).to_owned()))
            .filter(|(address, _)| addresses.contains(address))
            .collect()
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        match (port, protocol) {
            (80, Protocol::Tcp) => Some("http".to_owned()),
            (443, Protocol::Tcp) => Some("https".to_owned()),
            (53, Protocol::Udp) => Some("domain".to_owned()),
            _ => None,
        }
    }
}

/// A packet filter that says this.
pub(crate) struct Rules(pub(crate) &'static str);

impl Firewall for Rules {
    fn rules(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }
}

/// What a command printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub out: String,
    pub err: String,
    pub status: u8,
}

/// Runs a command line.
pub(crate) fn run(director: &mut Fixed, words: &[&str]) -> Ended {
    run_as(Program::Ipvsadm, "ipvsadm", director, words, "", &Rules(""))
}

/// Runs a program.
pub(crate) fn run_as(
    program: Program,
    name: &str,
    director: &mut Fixed,
    words: &[&str],
    input: &str,
    firewall: &Rules,
) -> Ended {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut world = World {
        director,
        names: &FewNames,
        firewall,
        input: &mut input.as_bytes(),
        out: &mut out,
        err: &mut err,
    };
    let status = program.run(name, &words, &mut world).unwrap();
    Ended {
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
        status,
    }
}
