//! TLS to a real server: the handshake, and what is told of the certificate.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    },
};

use super::{Failure, Step, certificate, visit::Visit, witness::Happening};
use crate::{journal::since_1970, model::Tls};

/// Where systems keep the certificates that they trust: Debian, Red Hat, SUSE, Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The handshake over a connection, offering one protocol by ALPN, or none.
pub(super) async fn secure(
    visit: &mut Visit<'_>,
    tls: &Tls,
    alpn: Option<&'static str>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let untried = |error: String| Failure::Untried { error };
    let config = config(tls, alpn).map_err(untried)?;
    let name = match &tls.name {
        Some(name) => {
            ServerName::try_from(name.clone()).map_err(|error| untried(error.to_string()))?
        }
        None => ServerName::from(visit.server.ip()),
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = visit.step(Step::Secure, handshake).await?;
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    let days = certificates
        .first()
        .and_then(|first| certificate::days_left(first, since_1970()));
    (visit.witness)(Happening::Secured { days });
    if let Some(wanted) = alpn
        && wanted == "h2"
        && session.alpn_protocol() != Some(wanted.as_bytes())
    {
        return Err(super::visit::wrong("no HTTP/2", "it by ALPN"));
    }
    Ok(stream)
}

/// What makes one configuration of rustls differ from another.
type Key = (bool, Option<PathBuf>, Option<&'static str>);

/// Reading what a system trusts takes milliseconds, so it is done once, and again when the file is another.
static CONFIGS: LazyLock<Mutex<HashMap<Key, Made>>> = LazyLock::new(Mutex::default);

/// A configuration, and of when the file is that it was made of.
struct Made {
    of: Option<SystemTime>,
    config: Arc<ClientConfig>,
}

fn config(tls: &Tls, alpn: Option<&'static str>) -> Result<Arc<ClientConfig>, String> {
    let file = tls.authorities.clone().or_else(system);
    let file = file.filter(|_| tls.verify);
    let changed = file.as_deref().and_then(changed);
    let key = (tls.verify, file, alpn);
    let mut configs = CONFIGS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = configs.get(&key)
        && made.of == changed
    {
        return Ok(Arc::clone(&made.config));
    }
    let config = Arc::new(make(&key)?);
    let made = Made {
        of: changed,
        config: Arc::clone(&config),
    };
    configs.insert(key, made);
    Ok(config)
}

fn make((verify, file, alpn): &Key) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = if *verify {
        let file = file
            .as_deref()
            .ok_or("this system has no file of certificates that it trusts")?;
        builder
            .with_root_certificates(roots(file)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody { provider }))
            .with_no_client_auth()
    };
    // The certificate is looked at each time.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// The certificates of a file. Single ones that cannot be used are left out, as long as there are others.
/// How TLS is spoken with somebody who proves otherwise who it is: with any certificate, whose key it has to have.
pub(crate) fn of_anybody() -> Result<Arc<ClientConfig>, String> {
    make(&(false, None, None)).map(Arc::new)
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| format!("{shown}: {error}"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("{shown}: {error}"))?;
        let _others_may_do = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(format!("{shown} has no certificate that can be used"));
    }
    Ok(roots)
}

fn system() -> Option<PathBuf> {
    let paths = SYSTEM.iter().map(PathBuf::from);
    paths.into_iter().find(|path| path.exists())
}

fn changed(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|about| about.modified()).ok()
}

/// Takes every certificate; that its owner has the key is still looked at.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a protocol that failed inside says, as an error of reading.
pub(super) fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}
