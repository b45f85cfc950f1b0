//! The certificate of the web tool: a given one, or one of its own that is made at the first start.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use nix::ifaddrs::getifaddrs;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{
    partner::Fingerprint,
    password::replace,
    token::{digest, random},
};
use crate::{health::certificate::days_left, journal::since_1970};

/// The names of the files in the folder of the web tool.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// An own certificate is good for so many days: browsers do not take much more.
const DAYS: u64 = 397;

/// With fewer days left, a start makes a new one.
const RENEWED: i64 = 30;

/// Nobody's clock is later than ours by more, in seconds.
const SLACK: u64 = 24 * 3600;

/// No file of certificates or keys is longer, in bytes.
const LARGEST: u64 = 1 << 20;

/// A certificate with its key, and those that vouch for it.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The one in two files (PEM).
    pub(super) fn given(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let reading = |path: &Path| format!("reading {}", path.display());
        let chain = bytes(certificate).with_context(|| reading(certificate))?;
        let chain = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| reading(certificate))?;
        ensure!(
            !chain.is_empty(),
            "{} has no certificate in it",
            certificate.display()
        );
        let secret = bytes(key).with_context(|| reading(key))?;
        let key = PrivateKeyDer::from_pem_slice(&secret).with_context(|| reading(key))?;
        Ok(Self { chain, key })
    }

    /// The own one in a folder. It is made if there is none, or if that is about to end; then it is told so.
    pub(super) fn own(folder: &Path) -> anyhow::Result<(Self, bool)> {
        let (certificate, key) = files(folder);
        if certificate.exists() && key.exists() {
            let found = Self::given(&certificate, &key)?;
            let left = found.days_left();
            if left.is_none_or(|days| days >= RENEWED) {
                return Ok((found, false));
            }
        }
        let (chain, secret) = make(&names())?;
        let writing = |path: &Path| format!("writing {}", path.display());
        replace(folder, &key, &secret).with_context(|| writing(&key))?;
        replace(folder, &certificate, &chain).with_context(|| writing(&certificate))?;
        Ok((Self::given(&certificate, &key)?, true))
    }

    /// How many days it is good for; negative if it is not any more.
    pub(super) fn days_left(&self) -> Option<i64> {
        days_left(self.chain.first()?, since_1970())
    }

    /// What people compare with what their browser shows: SHA-256, in pairs of digits.
    pub(super) fn fingerprint(&self) -> String {
        let first = self.chain.first().map_or(&[][..], |first| first.as_ref());
        let digest = digest(first);
        let pairs = digest.iter().map(|byte| format!("{byte:02X}"));
        pairs.collect::<Vec<_>>().join(":")
    }

    /// What partners sign.
    pub(super) fn certificate(&self) -> Option<Fingerprint> {
        self.chain.first().map(|first| Fingerprint::of(first))
    }

    /// How TLS is spoken with it: 1.2 or 1.3.
    pub(super) fn config(self) -> anyhow::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .context("the certificate and the key do not go together")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join(CERTIFICATE), folder.join(KEY))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

/// What browsers may call this machine: its name, `localhost`, and its addresses.
fn names() -> Vec<String> {
    let host = nix::unistd::gethostname().ok();
    let host = host.and_then(|name| name.into_string().ok());
    let mut names: BTreeSet<String> = ["localhost".to_owned()].into();
    names.extend(host.filter(|name| !name.is_empty() && name.is_ascii()));
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else {
            continue;
        };
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip()));
        let is_local = |address: &IpAddr| match address {
            // These have no meaning without an interface, which no certificate tells.
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        names.extend(
            v4.or(v6)
                .filter(|address| !is_local(address))
                .map(|address| address.to_string()),
        );
    }
    names.into_iter().collect()
}

/// A certificate that vouches for itself, and its key, both in PEM.
fn make(names: &[String]) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate().context("making a key")?;
    let mut params = CertificateParams::new(names).context("making a certificate")?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = since_1970();
    let day = std::time::Duration::from_secs(24 * 3600);
    params.not_before = epoch + now.saturating_sub(std::time::Duration::from_secs(SLACK));
    params.not_after = epoch + now + day * u32::try_from(DAYS)?;
    params.serial_number = Some(random::<16>()?.to_vec().into());
    let host = names
        .iter()
        .find(|name| name.parse::<IpAddr>().is_err() && *name != "localhost");
    let host = host.map_or("localhost", |name| name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "lvs-xdp piranha");
    params.distinguished_name.push(DnType::CommonName, host);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let Ok(certificate) = params.self_signed(&key) else {
        bail!("signing the certificate failed");
    };
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn an_own_certificate_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let (first, made) = Identity::own(folder.path()).unwrap();
        assert!(made);
        assert!((390..=397).contains(&first.days_left().unwrap()));
        let (again, made) = Identity::own(folder.path()).unwrap();
        assert!(!made);
        assert_eq!(again.fingerprint(), first.fingerprint());
        assert_eq!(first.fingerprint().len(), 95);
        let (_, key) = files(folder.path());
        assert_eq!(fs::metadata(key).unwrap().mode() & 0o777, 0o600);
        first.config().unwrap();
    }

    #[test]
    fn names_of_this_machine_are_in_it() {
        let names = names();
        assert!(names.contains(&"localhost".to_owned()), "{names:?}");
        assert!(names.contains(&"127.0.0.1".to_owned()), "{names:?}");
        assert!(
            names.iter().all(|name| !name.starts_with("fe80")),
            "{names:?}"
        );
    }

    #[test]
    fn files_that_are_no_certificate_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        Identity::own(folder.path()).unwrap();
        let (certificate, key) = files(folder.path());
        let other = tempfile::tempdir().unwrap();
        Identity::own(other.path()).unwrap();
        let (_, strange) = files(other.path());
        let refused = |certificate: &Path, key: &Path| {
            let config = Identity::given(certificate, key).and_then(Identity::config);
            format!("{:#}", config.err().unwrap())
        };
        assert!(refused(&key, &key).contains("has no certificate in it"));
        assert!(refused(&certificate, &certificate).starts_with("reading "));
        assert!(refused(&certificate, &strange).contains("do not go together"));
        assert!(refused(&folder.path().join("none"), &key).starts_with("reading "));
    }
}
