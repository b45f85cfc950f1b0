//! A one-to-one SCTP socket (RFC 6458 section 4), which reads and writes as a TCP stream does.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpStream;

/// An association with a server.
///
/// # Errors
/// If the kernel has no SCTP, says so; else what the handshake met with.
pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let domain = Domain::for_address(server);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::SCTP)).map_err(absent)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::from(server)) {
        Err(error) if !is_under_way(&error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32)
}

/// A kernel without the module answers that the protocol is not supported.
fn absent(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(nix::errno::Errno::EPROTONOSUPPORT as i32) {
        return io::Error::new(
            io::ErrorKind::Unsupported,
            "this router's kernel has no SCTP (module sctp)",
        );
    }
    error
}
