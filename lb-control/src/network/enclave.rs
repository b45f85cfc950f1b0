//! A network namespace of the daemon's own, whose only way out is a cable that ends in the daemon: no address is
//! local there, whatever is sent comes out of the cable, and whatever comes in is for whoever sent from there.
//!
//! ```text
//!   sockets ── kernel's stack ── inside ═══ cable (veth) ═══ outside ── packet socket ── the daemon
//! ```
//!
//! Nothing of it is mounted or has a name outside: it is gone with the process. A socket stays in the namespace that
//! it was made in, so one thread lives there and makes them for all others.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
    sync::mpsc,
    thread,
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{InfoData, InfoVeth, LinkAttribute},
    route::{RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{SockProtocol, bind},
};
use rtnetlink::{
    LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL},
};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use super::{NetworkError, Refusal, kernel::Kernel, links::Link, packets};

/// The end of the cable that the kernel's stack sends by, and its MAC address.
const INSIDE: &str = "inside";
pub(crate) const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The end that the daemon holds.
const OUTSIDE: &str = "outside";
pub(crate) const OUTSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The cable takes whatever a network card has put together of several packets.
const CABLE_MTU: u32 = 65_535;

/// The longest packet that is sent: what every link takes (RFC 8200 section 5), so that there is room for the header of
/// any tunnel on all of them. Answers are as long as their senders like.
pub(crate) const MTU: u32 = 1280;

/// The index of the loopback interface of every network namespace.
const LOOPBACK: u32 = 1;

/// The routing table by which everything that comes in is local.
const TABLE: u8 = 100;

/// Room for frames that the daemon has not read yet; the kernel may give less.
pub(crate) const BUFFER: usize = 4 << 20;

/// A network namespace, as long as this is there.
pub(crate) struct Enclave {
    wishes: mpsc::Sender<Wish>,
}

struct Wish {
    domain: Domain,
    kind: Type,
    reply: oneshot::Sender<io::Result<Socket>>,
}

impl Enclave {
    /// Makes one, with the end of its cable: a packet socket that does not block.
    ///
    /// # Errors
    /// If we may not (it takes CAP_SYS_ADMIN), or the kernel has no such cable.
    pub(crate) fn make() -> Result<(Self, Socket), NetworkError> {
        let (wishes, wished) = mpsc::channel();
        let (told, made) = mpsc::channel();
        let spawned =
            thread::Builder::new()
                .name("enclave".to_owned())
                .spawn(move || match furnish() {
                    Ok(cable) => {
                        let _asker_left = told.send(Ok(cable));
                        serve(&wished);
                    }
                    Err(error) => {
                        let _asker_left = told.send(Err(error));
                    }
                });
        let doing = "making a network namespace";
        spawned.map_err(|error| Refusal::from(error).when(doing))?;
        let made = made.recv();
        let cable = made.map_err(|_ended| Refusal::Silence.when(doing))??;
        Ok((Self { wishes }, cable))
    }

    /// A socket there. It may be bound to any address.
    ///
    /// # Errors
    /// If there can be none.
    pub(crate) async fn socket(&self, domain: Domain, kind: Type) -> io::Result<Socket> {
        let gone = || io::Error::other("the thread of the network namespace has ended");
        let (reply, answer) = oneshot::channel();
        let wish = Wish {
            domain,
            kind,
            reply,
        };
        self.wishes.send(wish).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Makes sockets until nobody wants any more.
fn serve(wishes: &mpsc::Receiver<Wish>) {
    while let Ok(wish) = wishes.recv() {
        let _asker_left = wish.reply.send(open(wish.domain, wish.kind));
    }
}

fn open(domain: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    // The option is one of the socket, whatever its family.
    socket.set_ip_transparent_v4(true)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Takes the calling thread into a namespace of its own. The end of the cable.
fn furnish() -> Result<Socket, NetworkError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
        Refusal::Kernel(errno).when("making a network namespace, which takes CAP_SYS_ADMIN")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let furnished = runtime
        .map_err(Refusal::from)
        .and_then(|runtime| runtime.block_on(lay()))
        .and_then(|()| cable());
    furnished.map_err(|why| why.when("laying a virtual cable (veth) in a network namespace"))
}

/// Lays the cable, and routes that lead to it and from it.
async fn lay() -> Result<(), Refusal> {
    let kernel = Kernel::open()?;
    let outside = LinkUnspec::new_with_name(OUTSIDE)
        .address(OUTSIDE_MAC.to_vec())
        .mtu(CABLE_MTU)
        .build();
    let cable = LinkVeth::new(INSIDE, OUTSIDE)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(outside)))
        .address(INSIDE_MAC.to_vec())
        .mtu(CABLE_MTU)
        // Packets of one segment each, as they have to be outside.
        .append_extra_attribute(LinkAttribute::GsoMaxSegs(1))
        .arp(false)
        .build();
    tell(&kernel, RouteNetlinkMessage::NewLink(cable)).await?;
    let inside = Link::ask(&kernel, INSIDE).await?.index;
    let outside = Link::ask(&kernel, OUTSIDE).await?.index;
    // An end can only be switched on when it has the other one.
    for index in [LOOPBACK, outside, inside] {
        let up = LinkUnspec::new_with_index(index).up().build();
        let up = RouteNetlinkMessage::SetLink(up);
        kernel.ask(up, NLM_F_ACK).await?;
    }

    // By way of a router that is not there: so there is one neighbour, and not one for each address.
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(Ipv4Addr::new(169, 254, 0, 1))
        .output_interface(inside)
        .onlink()
        .build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new()
        .gateway(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))
        .output_interface(inside)
        .build();
    let back4 = RouteMessageBuilder::<Ipv4Addr>::new();
    let back4 = back4.output_interface(LOOPBACK).table_id(TABLE.into());
    let back6 = RouteMessageBuilder::<Ipv6Addr>::new();
    let back6 = back6.output_interface(LOOPBACK).table_id(TABLE.into());
    lead(&kernel, v4, back4.build()).await?;
    if let Err(error) = lead(&kernel, v6, back6.build()).await {
        // Whoever asks for a socket of IPv6 hears of it.
        tracing::debug!(%error, "no IPv6 in a network namespace");
    }
    Ok(())
}

/// Out by one route, and in by another that makes everything local.
async fn lead(
    kernel: &Kernel,
    mut out: RouteMessage,
    mut back: RouteMessage,
) -> Result<(), Refusal> {
    let family = out.header.address_family;
    let metrics = vec![RouteMetric::Mtu(MTU)];
    out.attributes.push(RouteAttribute::Metrics(metrics));
    back.header.kind = RouteType::Local;
    back.header.scope = RouteScope::Host;
    for route in [out, back] {
        tell(kernel, RouteNetlinkMessage::NewRoute(route)).await?;
    }
    tell(kernel, RouteNetlinkMessage::NewRule(rule(family))).await
}

fn rule(family: AddressFamily) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    rule.header.table = TABLE;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Iifname(INSIDE.to_owned()),
        RuleAttribute::Priority(TABLE.into()),
    ];
    rule
}

async fn tell(kernel: &Kernel, what: RouteNetlinkMessage) -> Result<(), Refusal> {
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    kernel.ask(what, flags).await.map(drop)
}

/// The daemon's end.
fn cable() -> Result<Socket, Refusal> {
    let socket = packets::hearer(SockProtocol::EthAll)?;
    bind(socket.as_raw_fd(), &packets::named(OUTSIDE)?)?;
    let socket = Socket::from(socket);
    let _smaller_will_do = socket.set_recv_buffer_size(BUFFER);
    Ok(socket)
}

/// The domain of sockets for an address.
pub(crate) const fn domain(address: IpAddr) -> Domain {
    match address {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    }
}
