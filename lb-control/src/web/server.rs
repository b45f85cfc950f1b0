//! How browsers come in: listeners, TLS, and what each of those outside may take.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, serve::Listener};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::throttle::network;
use crate::control::serve::{Limits, converse};

/// What browsers may take.
pub(super) const BROWSERS: Limits = Limits {
    clients: 512,
    head: Duration::from_secs(10),
    stall: Duration::from_secs(20),
};

/// One address may have so many connections: a browser opens six.
const OF_ONE: usize = 64;

/// A handshake has to be over after this time.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// How listeners treat those who come.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) router: Router,
    /// None where http is spoken.
    pub(super) tls: Option<TlsAcceptor>,
    /// It brings the connections of others, so it may have as many as there are.
    pub(super) proxy: Option<IpAddr>,
}

/// Answers all who come, until it is dropped: then all connections end.
pub(super) async fn serve(listeners: Vec<TcpListener>, door: Door) {
    let places = Places::new();
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(accept(listener, door.clone(), places.clone()));
    }
    while doors.join_next().await.is_some() {}
}

async fn accept(mut listener: TcpListener, door: Door, places: Places) {
    let mut connections = JoinSet::new();
    loop {
        let Some(place) = places.any().await else {
            return;
        };
        let (stream, peer) = Listener::accept(&mut listener).await;
        while connections.try_join_next().is_some() {}
        let peer = peer.ip().to_canonical();
        let seat = match door.proxy == Some(peer) {
            true => None,
            false => match places.one_of(peer) {
                Some(seat) => Some(seat),
                // It has too many already.
                None => continue,
            },
        };
        let door = door.clone();
        connections.spawn(async move {
            let (_place, _seat) = (place, seat);
            admit(stream, door, peer).await;
        });
    }
}

async fn admit(stream: TcpStream, door: Door, peer: IpAddr) {
    let Door { router, tls, .. } = door;
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        converse(stream, router, BROWSERS, peer).await;
        return;
    };
    let handshake = async {
        if speaks_http(&stream).await {
            tell(stream).await;
            return None;
        }
        tls.accept(stream).await.ok()
    };
    if let Ok(Some(stream)) = timeout(HANDSHAKE, handshake).await {
        converse(stream, router, BROWSERS, peer).await;
    }
}

/// Whether somebody speaks http where TLS is spoken: a handshake begins with byte 22 (RFC 8446 §5.1), a request with
/// a letter.
async fn speaks_http(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase()
}

/// People type `http://` as they did with Piranha.
async fn tell(mut stream: TcpStream) {
    const TEXT: &str = "This is https: write https:// in front of the address.\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n\r\n{TEXT}",
        TEXT.len()
    );
    // Whoever is gone by now is not told.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Places for connections: of all, and of each address.
#[derive(Debug, Clone)]
struct Places {
    all: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place of an address, until it is dropped.
#[derive(Debug)]
struct Seat {
    address: IpAddr,
    places: Places,
}

impl Places {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(BROWSERS.clients)),
            taken: Arc::default(),
        }
    }

    /// Waits until there is one.
    async fn any(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    fn one_of(&self, address: IpAddr) -> Option<Seat> {
        let address = network(address);
        let mut taken = self.taken();
        let count = taken.entry(address).or_default();
        if *count >= OF_ONE {
            return None;
        }
        *count += 1;
        Some(Seat {
            address,
            places: self.clone(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Whoever panicked with it in hand left it whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_places() {
        let places = Places::new();
        let address = IpAddr::from([192, 0, 2, 1]);
        let seats: Vec<_> = (0..100).filter_map(|_| places.one_of(address)).collect();
        assert_eq!(seats.len(), OF_ONE);
        let other = places.one_of([192, 0, 2, 2].into());
        assert!(other.is_some());
        drop(seats);
        assert!(places.one_of(address).is_some());
        drop(other);
        assert!(places.taken().is_empty());
    }
}
