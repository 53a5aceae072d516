//! RTMPS: the certificate that publishers are shown, and those that we want to be shown.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Two files in PEM. They are read once: a renewed certificate wants a restart.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The server's certificate, and those between it and the authority behind it.
    pub chain: PathBuf,
    pub key: PathBuf,
}

// === impl Certificate ===

impl Certificate {
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|cause| unusable(&self.key, &cause))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(certificates(&self.chain)?, key)
            .map_err(|cause| unusable(&self.chain, &cause))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// To a server whose certificate is good for `host`: by the authorities that browsers trust, and by
/// those in the file.
pub(crate) async fn connect(
    host: &str,
    stream: TcpStream,
    authorities: Option<&Path>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(file) = authorities {
        roots.add_parsable_certificates(certificates(file)?);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|cause| unusable(file, &cause))
}

fn unusable(file: &Path, cause: &dyn Display) -> io::Error {
    io::Error::other(format!("{}: {cause}", file.display()))
}
