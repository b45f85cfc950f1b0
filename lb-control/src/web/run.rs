//! `lb web`, from its start to its end.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    path::PathBuf,
    thread,
};

use anyhow::{Context as _, ensure};
use sd_notify::NotifyState;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::{
    PORT,
    app::{App, Scheme},
    live,
    partner::{Address, Partner},
    password, privilege, router, sandbox,
    server::{self, Door},
    tls::Identity,
};

/// How the web tool was called.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where it listens; nowhere means everywhere.
    pub(crate) listen: Vec<SocketAddr>,
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// Where passwords, the certificate and the audit log are.
    pub(crate) folder: PathBuf,
    /// A certificate and its key, if not its own.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// http in place of https, on loopback addresses.
    pub(crate) plain: bool,
    /// The proxy in front of it.
    pub(crate) proxy: Option<IpAddr>,
    /// Who it is when root starts it.
    pub(crate) user: String,
    /// Where the web tool of the partner is, if not at the partner's address in lvs.cf.
    pub(crate) partner: Option<Address>,
}

/// Serves until a signal ends it. Whatever needs rights comes first; then they are given up, for good.
///
/// # Errors
/// If something of it cannot be had. Nothing is served then.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listeners = listeners(options)?;
    let given = options
        .certificate
        .as_ref()
        .map(|(certificate, key)| Identity::given(certificate, key))
        .transpose()?;
    privilege::drop_all(&options.user, &options.folder)?;
    let folder = &options.folder;
    let scheme = match (options.plain, options.proxy) {
        (true, None) => Scheme::Http,
        // What a browser sees is the https of the proxy.
        (true, Some(_)) | (false, _) => Scheme::Https,
    };
    let tls = match (options.plain, given) {
        (true, _) => None,
        (false, Some(given)) => Some(given),
        (false, None) => Some(own(options)?),
    };
    let certificate = tls.as_ref().and_then(Identity::certificate);
    let tls = tls.map(Identity::config).transpose()?;
    let app = App::new(folder, &options.socket, scheme, options.proxy)?;
    let mut partner = Partner::new(folder, certificate, options.partner)?;
    if app.users.users()?.is_empty() {
        let path = folder.join(password::FILE);
        warn!(
            "there are no users in {} yet; `lb web passwd --role admin NAME` makes one",
            path.display()
        );
    }
    for listener in &listeners {
        let scheme = if tls.is_some() { "https" } else { "http" };
        info!("listening on {scheme}://{}/", listener.local_addr()?);
    }
    // A service manager that is not there is not told.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let port = options
        .partner
        .map_or(PORT, |Address(address)| address.port());
    partner.is_open = sandbox::enter(folder, port, partner.has_key())?;
    let app = app.with_partner(partner);
    // What the daemon tells of a large site takes a while to understand: on a thread of its own, so that no page waits
    // for it.
    let (keeping, kept) = (runtime()?, app.clone());
    thread::Builder::new()
        .name("live".to_owned())
        .spawn(move || keeping.block_on(live::keep(kept)))?;
    runtime()?.block_on(serve(listeners, app, tls.map(TlsAcceptor::from)))
}

fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

async fn serve(
    listeners: Vec<StdListener>,
    app: App,
    tls: Option<TlsAcceptor>,
) -> anyhow::Result<()> {
    let listeners = listeners.into_iter().map(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let door = Door {
        router: router::router(&app),
        tls,
        proxy: app.proxy,
    };
    let serving = server::serve(listeners.collect::<Result<_, _>>()?, door);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = serving => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn own(options: &Options) -> anyhow::Result<Identity> {
    let (identity, made) = Identity::own(&options.folder)?;
    let what = if made {
        "made a certificate"
    } else {
        "own certificate"
    };
    info!(
        "{what}, {} days left; its SHA-256 fingerprint is {}",
        identity.days_left().unwrap_or_default(),
        identity.fingerprint()
    );
    Ok(identity)
}

fn listeners(options: &Options) -> anyhow::Result<Vec<StdListener>> {
    if options.plain {
        for address in &options.listen {
            ensure!(
                address.ip().to_canonical().is_loopback(),
                "--plain-http is for loopback addresses only: passwords would be read on the way to {address}"
            );
        }
    }
    if !options.listen.is_empty() {
        let each = options.listen.iter().map(|address| listen(*address, false));
        return each.collect();
    }
    let (v4, v6) = match options.plain {
        true => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
        false => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
    };
    let v4 = SocketAddr::from((v4, PORT));
    // A machine without IPv6 has the other one.
    let v6 = listen(SocketAddr::from((v6, PORT)), true);
    Ok([listen(v4, false)?].into_iter().chain(v6.ok()).collect())
}

fn listen(address: SocketAddr, only_v6: bool) -> anyhow::Result<StdListener> {
    let listening = || format!("listening on {address}");
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec(),
        Some(Protocol::TCP),
    )
    .with_context(listening)?;
    if only_v6 {
        SockRef::from(&socket)
            .set_only_v6(true)
            .with_context(listening)?;
    }
    socket.set_reuse_address(true).with_context(listening)?;
    socket.bind(&address.into()).with_context(listening)?;
    socket.listen(128).with_context(listening)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &[&str], plain: bool) -> Options {
        Options {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            socket: "/nowhere/lb.sock".into(),
            folder: "/nowhere".into(),
            certificate: None,
            plain,
            proxy: None,
            user: "piranha".to_owned(),
            partner: None,
        }
    }

    #[test]
    fn http_is_for_loopback_only() {
        let table: [(&[&str], bool, bool); 7] = [
            (&["127.0.0.1:0"], true, true),
            (&["[::1]:0"], true, true),
            (&["0.0.0.0:0"], true, false),
            (&["[::]:0"], true, false),
            (&["127.0.0.1:0", "192.0.2.1:0"], true, false),
            (&["[::ffff:127.0.0.1]:0"], true, true),
            (&["0.0.0.0:0"], false, true),
        ];
        for (listen, plain, expected) in table {
            let found = listeners(&options(listen, plain));
            assert_eq!(found.is_ok(), expected, "{listen:?}: {found:?}");
        }
    }
}
