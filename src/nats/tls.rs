//! The configuration of TLS, from the files that it names.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::connection::Tls;
use crate::config::file::open;

/// Reads the files that `tls` names, and the system's authorities when it names none.
pub(super) fn client_config(tls: &Tls) -> io::Result<ClientConfig> {
    let mut store = RootCertStore::empty();
    for certificate in authorities(tls)? {
        // Old stores of systems have some unreadable certificates; the others still count.
        if let (Err(error), Some(path)) = (store.add(certificate), &tls.ca_file) {
            return Err(bad(path, &error));
        }
    }
    if store.is_empty() {
        return Err(io::Error::other("there is no authority to trust: name a CA file"));
    }
    let provider = rustls::crypto::ring::default_provider().into();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(store);
    match client_certificate(tls)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(io::Error::other),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities to trust.
pub(super) fn authorities(tls: &Tls) -> io::Result<Vec<CertificateDer<'static>>> {
    match &tls.ca_file {
        Some(path) => certificates(path),
        // Errors about single files; the others still count.
        None => Ok(rustls_native_certs::load_native_certs().certs),
    }
}

/// The client's certificate chain and its key, if it has one.
pub(super) fn client_certificate(
    tls: &Tls,
) -> io::Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            let key_der = PrivateKeyDer::from_pem_reader(&mut reader(key)?)
                .map_err(|error| bad(key, &error))?;
            Ok(Some((certificates(cert)?, key_der)))
        }
        (None, None) => Ok(None),
        _ => Err(io::Error::other("a client certificate and its key go together")),
    }
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_reader_iter(&mut reader(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(path, &error))?;
    if all.is_empty() {
        return Err(bad(path, &"no certificate in it"));
    }
    Ok(all)
}

fn reader(path: &Path) -> io::Result<BufReader<File>> {
    open(path).map(BufReader::new).map_err(|error| bad(path, &error))
}

fn bad(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
