//! What was found in a source, whatever it is: services, servers, and what holds for the directors.

use std::net::{IpAddr, SocketAddr};

use super::{interfaces::Home, report::Place};
use crate::{
    control::change::{ServerTerms, ServiceTerms},
    model::{Family, Protocol, Scheduler, Selector},
};

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is said at the top of the file.
    pub(super) notes: Vec<String>,
    /// Directives outside of blocks that are carried over as they are.
    pub(super) globals: Vec<Setting>,
    /// Addresses of the directors, and where they are.
    pub(super) homes: Vec<(IpAddr, Home, Place)>,
    /// The virtual services, in the order of the source.
    pub(super) services: Vec<Service>,
}

/// One directive of lvs.cf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its name.
    pub(super) name: &'static str,
    /// What stands behind `=`, with its quotes.
    pub(super) value: String,
    /// Where it comes from.
    pub(super) place: Place,
}

impl Setting {
    /// A value of one word, or of several that are written without quotes.
    pub(super) fn plain(name: &'static str, value: impl ToString, place: &Place) -> Self {
        Self {
            name,
            value: value.to_string(),
            place: place.clone(),
        }
    }

    /// A text. `None` if it cannot be written in lvs.cf.
    pub(super) fn text(name: &'static str, text: &str, place: &Place) -> Option<Self> {
        if text.is_empty() || text.contains(char::is_control) {
            return None;
        }
        let quote = match (text.contains('"'), text.contains('\'')) {
            (false, _) => '"',
            (true, false) => '\'',
            (true, true) => return None,
        };
        Some(Self::plain(name, format!("{quote}{text}{quote}"), place))
    }
}

/// A virtual service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// Where it comes from.
    pub(super) place: Place,
    /// What it is known by.
    pub(super) what: What,
    /// What is said of it.
    pub(super) terms: ServiceTerms,
    /// Its real servers, in the order of the source.
    pub(super) servers: Vec<Server>,
    /// The server for the time when there is no other, with its port if it has one.
    pub(super) sorry: Option<(IpAddr, Option<u16>)>,
    /// How its servers are checked, and what else is carried over as it is.
    pub(super) settings: Vec<Setting>,
    /// What is said above the block.
    pub(super) notes: Vec<String>,
}

/// What a service is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// One address and port; 0 for all ports.
    Address(Protocol, SocketAddr),
    /// A firewall mark; what it stands for is known to the firewall.
    Mark(u32, Family),
    /// Several addresses or ports, that are one service here.
    Several(Vec<Selector>),
}

/// A real server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Where it comes from.
    pub(super) place: Place,
    /// Its address.
    pub(super) address: IpAddr,
    /// Its port, if it says one.
    pub(super) port: Option<u16>,
    /// What is said of it.
    pub(super) terms: ServerTerms,
}

/// A scheduler by its name.
pub(super) fn scheduler(name: &str) -> Result<Scheduler, String> {
    let mut all = Scheduler::ALL.into_iter();
    let found = all.find(|scheduler| scheduler.name() == name);
    found.ok_or_else(|| format!("there is no scheduler `{name}`"))
}

/// A name that an interface, or an alias of one, can have in lvs.cf without quotes.
pub(super) fn device(name: &str) -> Result<&str, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '@');
    let is_name = name.len() <= 15 && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match is_name && name.chars().all(plain) {
        true => Ok(name),
        false => Err("the name of an interface that none can have".to_owned()),
    }
}

/// The three lines about the copying of connections.
pub(super) fn sync_daemon(interface: &str, id: u8, place: &Place) -> Result<[Setting; 3], String> {
    Ok([
        Setting::plain("syncdaemon", 1, place),
        Setting::plain("syncd_iface", device(interface)?, place),
        Setting::plain("syncd_id", id, place),
    ])
}
