//! Announces floating addresses: after they moved here, hosts and switches of the link have to
//! learn where they are now.

use std::{
    collections::HashMap,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use tokio::{
    task::{JoinSet, yield_now},
    time::interval,
};
use tracing::{info, warn};

use super::{
    NetworkError, Refusal,
    frames::{ArpForm, Forwards, gratuitous_arp, neighbour_advertisement},
    packets,
};
use crate::model::FloatingAddress;

/// How often an address is announced, as by Piranha.
pub const ROUNDS: u32 = 5;

/// Time between two rounds.
pub const PAUSE: Duration = Duration::from_secs(1);

/// How many are announced before others have a turn.
const AT_ONCE: usize = 64;

/// Whether the addresses are still this node's. One that stood still for a while would otherwise announce what is
/// its partner's by then.
pub type Right = Arc<dyn Fn() -> bool + Send + Sync>;

/// Announcements that go on in the background. They stop when this is dropped, and without the right to them.
pub struct Announcement {
    rounds: JoinSet<()>,
    right: Right,
}

impl Announcement {
    /// Starts announcing, in the network namespace of the calling thread. Needs a tokio runtime.
    pub fn start(addresses: Vec<FloatingAddress>, right: Right) -> Self {
        let mut rounds = JoinSet::new();
        rounds.spawn(announce(addresses, Arc::clone(&right)));
        Self { rounds, right }
    }

    /// Announces these as well.
    pub fn also(&mut self, addresses: Vec<FloatingAddress>) {
        let right = Arc::clone(&self.right);
        self.rounds.spawn(announce(addresses, right));
    }

    /// Waits until all rounds are over.
    pub async fn finished(mut self) {
        while self.rounds.join_next().await.is_some() {}
    }
}

async fn announce(addresses: Vec<FloatingAddress>, right: Right) {
    let mut pause = interval(PAUSE);
    for round in 1..=ROUNDS {
        pause.tick().await;
        let mut places = Places::default();
        for (number, address) in addresses.iter().enumerate() {
            if number > 0 && number.is_multiple_of(AT_ONCE) {
                yield_now().await;
            }
            if !right() {
                return;
            }
            // One warning will do.
            if let Err(error) = places.announce(address)
                && round == ROUNDS
            {
                warn!(%error, "not announced");
            }
        }
    }
    info!("gratuitous lvs arps finished");
}

/// Announces an address once.
///
/// # Errors
/// When its interface is missing, has no MAC address, or does not send.
pub fn announce_once(address: &FloatingAddress) -> Result<(), NetworkError> {
    Places::default().announce(address)
}

/// The interfaces that were announced on, each looked for once: many addresses are on the same.
#[derive(Default)]
struct Places {
    links: HashMap<String, LinkAddr>,
    /// What sends. There is one for all of a round, for whoever closes one waits for all CPUs of the machine.
    socket: Option<OwnedFd>,
}

impl Places {
    fn announce(&mut self, address: &FloatingAddress) -> Result<(), NetworkError> {
        self.send(address).map_err(|why| {
            why.when(format!(
                "announcing {} on {}",
                address.address, address.interface
            ))
        })
    }

    fn send(&mut self, address: &FloatingAddress) -> Result<(), Refusal> {
        let link = match self.links.get(&address.interface) {
            Some(link) => *link,
            None => {
                let link = packets::named(&address.interface)?;
                self.links.insert(address.interface.clone(), link);
                link
            }
        };
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => packets::sender()?,
        };
        let sent = send_frames(address, link, &socket);
        self.socket = Some(socket);
        sent
    }
}

fn send_frames(
    floating: &FloatingAddress,
    link: LinkAddr,
    socket: &OwnedFd,
) -> Result<(), Refusal> {
    let mac = link
        .addr()
        .filter(|mac| link.halen() == 6 && *mac != [0; 6])
        .ok_or_else(|| Refusal::NoMacAddress(floating.interface.clone()))?;
    let frames = match floating.address {
        IpAddr::V4(address) => [ArpForm::Request, ArpForm::Reply]
            .map(|form| gratuitous_arp(form, mac, address))
            .to_vec(),
        IpAddr::V6(address) => {
            let forwards = forwards(&floating.interface);
            vec![neighbour_advertisement(mac, address, forwards)]
        }
    };
    for frame in frames {
        sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty())?;
    }
    Ok(())
}

/// What the kernel says of itself when it answers for addresses of this interface.
fn forwards(interface: &str) -> Forwards {
    let setting = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    match std::fs::read_to_string(setting) {
        Ok(text) if text.trim() != "0" => Forwards::Yes,
        Ok(_) | Err(_) => Forwards::No,
    }
}
