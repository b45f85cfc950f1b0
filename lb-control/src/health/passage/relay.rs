//! The thread through which everything goes: frames out of the cable to servers, and answers into it.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockProtocol, sendto},
};
use socket2::{SockRef, Socket};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot},
    task::{JoinSet, yield_now},
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    Hall,
    filter::{self, Family},
    framing, lock,
    register::Register,
    ways::Ways,
};
use crate::network::{
    enclave::{BUFFER, Enclave},
    next_hop::Resolved,
    packets,
};

/// The longest frame: several packets may have been put together.
const LONGEST: usize = 65_536 + 64;

/// So many frames are taken before others have a turn.
const AT_ONCE: usize = 64;

/// How often it is looked what nobody needs any more.
const SWEEP: Duration = Duration::from_secs(30);

/// The pause after an error of a socket.
const PAUSE: Duration = Duration::from_secs(1);

/// A packet socket that is waited for. It reads and writes as one of UDP does.
type Waited = Arc<UdpSocket>;

fn waited(socket: Socket) -> io::Result<Waited> {
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

/// What hears answers, by family.
pub(super) struct Ears {
    v4: Waited,
    v6: Waited,
}

impl Ears {
    fn open() -> io::Result<Self> {
        let ear = |protocol, family| {
            let socket = Socket::from(packets::hearer(protocol)?);
            // Nothing, until somebody is asked.
            listen(&socket, family, &Register::new())?;
            let _smaller_will_do = socket.set_recv_buffer_size(BUFFER);
            waited(socket)
        };
        Ok(Self {
            v4: ear(SockProtocol::EthIp, Family::V4)?,
            v6: ear(SockProtocol::EthIpv6, Family::V6)?,
        })
    }

    /// Hears the virtual addresses of the register, from now on.
    ///
    /// # Errors
    /// If the kernel does not take the filter.
    pub(super) fn hear(&self, register: &Register) -> io::Result<()> {
        listen(&SockRef::from(&*self.v4), Family::V4, register)?;
        listen(&SockRef::from(&*self.v6), Family::V6, register)
    }
}

fn listen(socket: &Socket, family: Family, register: &Register) -> io::Result<()> {
    let program = filter::program(family, register.addresses());
    socket.attach_filter(&filter::assembled(&program))
}

/// Makes everything, tells so, and takes frames along for as long as the process is.
pub(super) async fn run(told: oneshot::Sender<Result<Arc<Hall>, String>>) {
    let (hall, cable, sender, mut news) = match make() {
        Ok(made) => made,
        Err(why) => return drop(told.send(Err(why))),
    };
    let mut tasks = JoinSet::new();
    let everyone = Arc::clone(&hall);
    tasks.spawn(async move {
        while let Some(resolved) = news.recv().await {
            everyone.ways.learn(resolved);
        }
    });
    let out = Arc::clone(&hall);
    tasks.spawn(pump(Arc::clone(&cable), move |frame| {
        outward(&out, &sender, frame);
    }));
    for ear in [&hall.ears.v4, &hall.ears.v6] {
        let (ear, cable, hall) = (Arc::clone(ear), Arc::clone(&cable), Arc::clone(&hall));
        tasks.spawn(pump(ear, move |frame| inward(&hall, &cable, frame)));
    }
    tasks.spawn(sweep(Arc::clone(&hall)));
    if told.send(Ok(hall)).is_ok() {
        tasks.join_all().await;
    }
}

type Made = (Arc<Hall>, Waited, OwnedFd, mpsc::Receiver<Resolved>);

fn make() -> Result<Made, String> {
    let (enclave, cable) = Enclave::make().map_err(|error| error.to_string())?;
    let (ways, news) = Ways::follow().map_err(|error| error.to_string())?;
    let socket = |error: io::Error| format!("opening a packet socket: {error}");
    let ears = Ears::open().map_err(socket)?;
    let sender = packets::sender().map_err(|errno| socket(errno.into()))?;
    let cable = waited(cable).map_err(socket)?;
    let hall = Hall {
        enclave,
        register: Mutex::new(Register::new()),
        ways,
        ears,
        links: Mutex::new(HashMap::new()),
    };
    Ok((Arc::new(hall), cable, sender, news))
}

/// Takes whatever a socket hears.
async fn pump(socket: Waited, mut take: impl FnMut(&[u8])) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match some(&socket, &mut buffer, &mut take).await {
            Ok(()) => yield_now().await,
            Err(error) => {
                warn!("checks at virtual addresses: a packet socket says {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn some(
    socket: &UdpSocket,
    buffer: &mut [u8],
    take: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    socket.readable().await?;
    for _ in 0..AT_ONCE {
        match socket.try_recv(buffer) {
            Ok(length) => take(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// From the cable to a server.
fn outward(hall: &Hall, sender: &OwnedFd, frame: &[u8]) {
    let Some(read) = framing::read(frame).filter(|read| !read.is_quote) else {
        return;
    };
    let entry = lock(&hall.register).outgoing(&read.parcel, Instant::now());
    let Some(entry) = entry else {
        return;
    };
    let Some(frame) = read.outward(&entry.server) else {
        return;
    };
    if let Err(errno) = sendto(
        sender.as_raw_fd(),
        &frame,
        &entry.link,
        MsgFlags::MSG_DONTWAIT,
    ) {
        debug!("a packet of a check at {} was not sent: {errno}", entry.to);
        if matches!(errno, Errno::ENXIO | Errno::ENODEV) {
            // The interface is gone, and may come again with another number.
            lock(&hall.links).clear();
        }
    }
}

/// From a server into the cable.
fn inward(hall: &Hall, cable: &UdpSocket, frame: &[u8]) {
    let Some(read) = framing::read(frame) else {
        return;
    };
    if !lock(&hall.register).expects(&read.parcel, read.is_quote) {
        return;
    }
    // What finds no room is lost, as anywhere else on its way.
    if let Some(frame) = read.inward() {
        let _sent = cable.try_send(&frame);
    }
}

/// Forgets what nobody needs any more.
async fn sweep(hall: Arc<Hall>) {
    loop {
        sleep(SWEEP).await;
        let now = Instant::now();
        hall.ways.sweep(now);
        let mut register = lock(&hall.register);
        if register.sweep(now)
            && let Err(error) = hall.ears.hear(&register)
        {
            debug!("a packet filter stays as it was: {error}");
        }
    }
}
