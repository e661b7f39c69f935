//! TLS: one configuration for the probe and for the crate.

use std::io;
use std::path::Path;

use nats::rustls::pki_types::pem::PemObject;
use nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use nats::rustls::{ClientConfig, RootCertStore};

use crate::config::connection::Tls;

/// Reads the files that `tls` names, and the system's authorities when it names none.
pub(super) fn client_config(tls: &Tls) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder().with_root_certificates(authorities(tls)?);
    match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
            builder.with_client_auth_cert(certificates(cert)?, key_der).map_err(io::Error::other)
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(io::Error::other("a client certificate and its key go together")),
    }
}

fn authorities(tls: &Tls) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca_file {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| bad(path, &error))?;
        }
    } else {
        // Old stores have some unreadable certificates; the others still count.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs()?);
    }
    if store.is_empty() {
        return Err(io::Error::other("there is no authority to trust: name a CA file"));
    }
    Ok(store)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| bad(path, &error))?
        .collect::<Result<_, _>>()
        .map_err(|error| bad(path, &error))?;
    if all.is_empty() {
        return Err(bad(path, &"no certificate in it"));
    }
    Ok(all)
}

fn bad(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
