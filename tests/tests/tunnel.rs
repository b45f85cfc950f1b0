//! The far end of a tunnel, with wrapped packets made by hand.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lb_tests::{Family, Method, Network, Plan, address::FAMILIES, in_lab};
use socket2::{Domain, Protocol, Socket, Type};

const PORT: u16 = 5353;

#[test]
fn every_family_comes_out_of_every_family() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Tunnel))?;
        let server = &network.servers[2];
        for inner in FAMILIES {
            let listener = server.inside(|| Ok(UdpSocket::bind((inner.vip(), PORT))?))?;
            listener.set_read_timeout(Some(Duration::from_secs(2)))?;
            for outer in FAMILIES {
                let text = format!("{inner} in {outer}");
                let packet = datagram(inner.client(), inner.vip(), text.as_bytes());
                network
                    .router()
                    .inside(|| wrap(inner, outer.server(2), &packet))?;
                let mut received = [0; 100];
                let (length, from) = listener.recv_from(&mut received).context(text.clone())?;
                ensure!(&received[..length] == text.as_bytes());
                ensure!(from == SocketAddr::new(inner.client(), PORT));
            }
        }
        ensure!(network.tunnel_ends[2].packets() == 4);
        ensure!(network.tunnel_ends[0].packets() == 0);
        Ok(())
    });
}

#[test]
fn a_broken_checksum_is_not_mended() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Tunnel))?;
        let server = &network.servers[0];
        let vip = Family::V4.vip();
        let listener = server.inside(|| Ok(UdpSocket::bind((vip, PORT))?))?;
        listener.set_read_timeout(Some(Duration::from_millis(300)))?;
        let mut packet = datagram(Family::V4.client(), vip, b"broken");
        *packet.last_mut().context("empty")? ^= 1;
        network
            .router()
            .inside(|| wrap(Family::V4, Family::V4.server(0), &packet))?;
        let error = listener
            .recv(&mut [0; 100])
            .err()
            .context("the broken packet was taken")?;
        ensure!(error.kind() == ErrorKind::WouldBlock);
        ensure!(network.tunnel_ends[0].packets() == 1);
        Ok(())
    });
}

/// The router is a plain program here: whatever comes for the virtual address, it wraps.
#[test]
fn a_long_stream_comes_through_whole() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Tunnel))?;
        let (client, router, server) = (&network.client, network.router(), &network.servers[0]);
        let vip = Family::V4.vip();
        client.ip(&format!("route add {vip} via {}", Family::V4.router(0)))?;
        router.ip(&format!("route add blackhole {vip}"))?;
        // Only whole packets can be wrapped, not what GRO makes of them.
        router.ip("link set eth0 gro_max_size 1")?;
        let incoming = router.inside(packet_socket)?;
        let outer = router.inside(|| Ok(raw_socket(Family::V4.server(0), 4)?))?;
        let end = SocketAddr::new(Family::V4.server(0), 0).into();
        std::thread::spawn(move || {
            let mut packet = [0; 1 << 16];
            while let Ok(length) = (&incoming).read(&mut packet) {
                if octets(vip) == packet[16..20] {
                    outer.send_to(&packet[..length], &end).unwrap();
                }
            }
        });

        let listener = server.inside(|| Ok(TcpListener::bind((vip, PORT))?))?;
        let reader = std::thread::spawn(move || -> Result<u64> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(std::io::copy(&mut stream, &mut std::io::sink())?)
        });
        let bytes = vec![b'x'; 20 << 20];
        client.inside(|| Ok(TcpStream::connect((vip, PORT))?.write_all(&bytes)?))?;
        ensure!(reader.join().unwrap()? == 20 << 20);
        ensure!(
            network.tunnel_ends[0].packets() > 10_000,
            "packets were put together"
        );
        Ok(())
    });
}

/// Gives IPv4 packets as they come in by `eth0`; ends when nothing comes for a while.
fn packet_socket() -> Result<Socket> {
    const ETH_P_IP: u16 = 0x0800;
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

fn raw_socket(to: IpAddr, protocol: i32) -> std::io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(to, 0));
    Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))
}

/// Sends a packet in an outer packet to `to`.
fn wrap(inner: Family, to: IpAddr, packet: &[u8]) -> Result<()> {
    let protocol = match inner {
        Family::V4 => 4,
        Family::V6 => 41,
    };
    let to = SocketAddr::new(to, 0);
    let socket = Socket::new(
        Domain::for_address(to),
        Type::RAW,
        Some(Protocol::from(protocol)),
    )?;
    socket.send_to(packet, &to.into())?;
    Ok(())
}

/// A UDP packet with all its checksums.
fn datagram(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let addresses = [octets(from), octets(to)].concat();
    let mut udp = [
        PORT.to_be_bytes(),
        PORT.to_be_bytes(),
        length.to_be_bytes(),
        [0; 2],
    ]
    .concat();
    udp.extend(payload);
    let pseudo = [&addresses, &[0, 17][..], &length.to_be_bytes(), &udp].concat();
    udp[6..8].copy_from_slice(&checksum(&pseudo));
    let mut header = match from {
        IpAddr::V4(_) => {
            let total = (20 + length).to_be_bytes();
            [&[0x45, 0], &total[..], &[0, 0, 0, 0, 64, 17, 0, 0]].concat()
        }
        IpAddr::V6(_) => [&[0x60, 0, 0, 0], &length.to_be_bytes()[..], &[17, 64]].concat(),
    };
    header.extend(addresses);
    if from.is_ipv4() {
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
    }
    [header, udp].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| (*b).into()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
