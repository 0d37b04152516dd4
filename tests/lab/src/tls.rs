//! The lab's certificate authority. Instances trust it like a public one, so that they use real TLS. It is created once
//! and kept.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

/// The lab's certificate authority.
pub struct Authority {
    folder: PathBuf,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Opens the authority in this folder, and creates it if it is missing.
    pub fn open(folder: &Path) -> Result<Authority> {
        if !folder.join(CERTIFICATE).exists() {
            make(folder).with_context(|| format!("creating a certificate authority in {}", folder.display()))?;
        }
        let read = |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let key = KeyPair::from_pem(&read(KEY)?).with_context(|| format!("reading the key in {}", folder.display()))?;
        Ok(Authority { folder: folder.to_owned(), pem: read(CERTIFICATE)?, issuer: Issuer::new(parameters(), key) })
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate's file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// A server's TLS configuration for these names, with HTTP/1.1 like EC2's endpoints.
    pub fn server<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Arc<ServerConfig>> {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let key = KeyPair::generate().context("creating a server's key")?;
        let mut parameters =
            CertificateParams::new(names.clone()).with_context(|| format!("server names {names:?}"))?;
        valid_for_long(&mut parameters);
        parameters.distinguished_name.push(DnType::CommonName, names.first().map_or("lab", String::as_str));
        parameters.use_authority_key_identifier_extension = true;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &self.issuer).context("signing a server's certificate")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    valid_for_long(&mut parameters);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Elbow lab");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// An instance may have any date.
fn valid_for_long(parameters: &mut CertificateParams) {
    parameters.not_before = date_time_ymd(2000, 1, 1);
    parameters.not_after = date_time_ymd(2049, 12, 31);
}

/// Creates both files at once by renaming their folder, so that two labs that start together use the same authority.
fn make(folder: &Path) -> Result<()> {
    let above = folder.parent().context("the folder has no parent")?;
    fs::create_dir_all(above)?;
    let beside = tempfile::Builder::new().prefix(".ca-").tempdir_in(above)?;
    let key = KeyPair::generate()?;
    fs::write(beside.path().join(KEY), key.serialize_pem())?;
    fs::write(beside.path().join(CERTIFICATE), parameters().self_signed(&key)?.pem())?;
    match fs::rename(beside.path(), folder) {
        Ok(()) => {
            let _ = beside.keep();
            Ok(())
        }
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// For tests of TLS: a client that trusts the authority.
#[cfg(test)]
pub(crate) mod testing {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Trusts only this authority, and prefers HTTP/2 like the SDK.
    pub fn trusting(authority: &Authority) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use rustls::pki_types::ServerName;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::testing::trusting;
    use super::*;
    use crate::serving::testing::*;
    use crate::serving::{Door, text};

    async fn connect(tls: &TlsConnector, to: std::net::SocketAddr, name: &'static str) -> std::io::Result<Vec<u8>> {
        let stream = TcpStream::connect(to).await?;
        let stream = tls.connect(ServerName::try_from(name).unwrap(), stream).await?;
        let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
        assert_eq!(text_of(&Caller::on(stream).await.get("/").await), "secret");
        Ok(protocol)
    }

    #[tokio::test]
    async fn a_client_of_the_authority_trusts_its_servers_by_their_names_only() {
        let folder = tempfile::tempdir().unwrap();
        let made = Authority::open(&folder.path().join("ca")).unwrap();
        let reopened = Authority::open(&folder.path().join("ca")).unwrap();
        assert_eq!(made.pem(), reopened.pem());

        let (listener, address) = loopback();
        let names = ["ec2.eu-west-1.amazonaws.com", "iam.amazonaws.com", "*.s3.eu-west-1.amazonaws.com"];
        let config = reopened.server(names).unwrap();
        let served = tokio::spawn(Door::tls(listener, config).serve(async |_, _| Ok(text(StatusCode::OK, "secret"))));
        let tls = trusting(&made);
        assert_eq!(connect(&tls, address, "ec2.eu-west-1.amazonaws.com").await.unwrap(), b"http/1.1");
        assert_eq!(connect(&tls, address, "iam.amazonaws.com").await.unwrap(), b"http/1.1");
        assert_eq!(connect(&tls, address, "elbow-1.s3.eu-west-1.amazonaws.com").await.unwrap(), b"http/1.1");
        assert!(connect(&tls, address, "example.com").await.is_err());
        assert!(connect(&tls, address, "a.b.s3.eu-west-1.amazonaws.com").await.is_err());
        let stranger = Authority::open(&folder.path().join("other")).unwrap();
        assert!(connect(&trusting(&stranger), address, "iam.amazonaws.com").await.is_err());
        served.abort();
    }

    #[test]
    fn authorities_opened_at_once_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("ca");
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| Authority::open(&place).unwrap().pem().to_owned())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(opened.iter().all(|pem| *pem == opened[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no leftovers beside it");
    }
}
