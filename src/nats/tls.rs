//! The configuration of TLS, from the files that it names.

mod verifier;
mod words;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::connection::Tls;
use crate::config::file::read_lines;
pub(super) use verifier::Verifier;
pub(super) use words::explain;

/// The authorities of the whole internet are some 200 kB.
const MAX_PEM_BYTES: usize = 16 * 1024 * 1024;

/// Reads the files that `tls` names, and the system's authorities when it names none.
pub(super) fn client_config(tls: &Tls) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(tls, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match client_certificate(tls)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| io::Error::other(explain(&error))),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// What verifies servers, with the authorities to trust.
pub(super) fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> io::Result<Verifier> {
    let mut roots = RootCertStore::empty();
    let mut named = Vec::new();
    if let Some(path) = &tls.ca_file {
        named = certificates("nats.tls.ca", path)?;
        for certificate in &named {
            let unusable = |error| format!("a certificate in it cannot be used ({error})");
            let added = roots.add(certificate.clone()).map_err(unusable);
            added.map_err(|why| bad("nats.tls.ca", path, &why))?;
        }
    } else {
        // Errors about single files, and unreadable certificates in old stores of systems: the
        // others still count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(io::Error::other("there is no authority to trust: name one in nats.tls.ca"));
    }
    Verifier::new(roots, named, provider).map_err(io::Error::other)
}

/// The client's certificate chain and its key, if it has one.
pub(super) fn client_certificate(
    tls: &Tls,
) -> io::Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            Ok(Some((certificates("nats.tls.cert", cert)?, private_key("nats.tls.key", key)?)))
        }
        (None, None) => Ok(None),
        _ => Err(io::Error::other("nats.tls.cert and nats.tls.key go together")),
    }
}

fn certificates(setting: &str, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = read(setting, path)?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(setting, path, &error))?;
    if all.is_empty() {
        return Err(bad(setting, path, &"there is no certificate in PEM form in it"));
    }
    Ok(all)
}

fn private_key(setting: &str, path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    match PrivateKeyDer::pem_slice_iter(&read(setting, path)?).next() {
        Some(key) => key.map_err(|error| bad(setting, path, &error)),
        None => Err(bad(
            setting,
            path,
            &"there is no private key in PEM form in it, or it is an encrypted one",
        )),
    }
}

fn read(setting: &str, path: &Path) -> io::Result<Vec<u8>> {
    read_lines(path, MAX_PEM_BYTES).map_err(|error| bad(setting, path, &error))
}

fn bad(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{setting}: {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The error for files with these contents as authority, certificate and key.
    fn refusal(contents: [&[u8]; 3]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let [ca_file, cert_file, key_file] = [0, 1, 2].map(|index| {
            let file = folder.path().join(["ca.pem", "cert.pem", "key.pem"][index]);
            fs::write(&file, contents[index]).unwrap();
            Some(file)
        });
        let tls = Tls { ca_file, cert_file, key_file, ..Tls::default() };
        client_config(&tls).unwrap_err().to_string()
    }

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        (pair.cert.pem().into_bytes(), pair.signing_key.serialize_pem().into_bytes())
    }

    #[test]
    fn an_error_names_the_setting_and_the_file() {
        let (cert, key) = pair();
        let named = |refusal: String, setting: &str, why: &str| {
            let begins = refusal.starts_with(&format!("{setting}: /"));
            assert!(begins && refusal.contains(why), "{refusal}");
        };
        named(refusal([b"", &cert, &key]), "nats.tls.ca", "ca.pem: there is no certificate");
        named(refusal([&cert, &key, &key]), "nats.tls.cert", "cert.pem: there is no certificate");
        named(refusal([&cert, &cert, &cert]), "nats.tls.key", "key.pem: there is no private key");
        named(refusal([&cert, &cert, b"a\0b\0"]), "nats.tls.key", "key.pem: it is UTF-16");
        let truncated = &cert[..cert.len() / 2];
        named(refusal([truncated, &cert, &key]), "nats.tls.ca", "missing section end");
        let other = pair().1;
        assert_eq!(refusal([&cert, &cert, &other]), "nats.tls.key is not the key of nats.tls.cert");
        let missing = Tls { ca_file: Some("/nonexistent/ca.pem".into()), ..Tls::default() };
        let error = client_config(&missing).unwrap_err().to_string();
        assert!(error.starts_with("nats.tls.ca: /nonexistent/ca.pem: "), "{error}");
    }

    /// As editors on Windows write them.
    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_no_part_of_a_file() {
        let (cert, key) = pair();
        let folder = tempfile::tempdir().unwrap();
        let [cert_file, key_file] = [("cert.pem", cert), ("key.pem", key)].map(|(name, pem)| {
            let file = folder.path().join(name);
            let pem = String::from_utf8(pem).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
            fs::write(&file, format!("\u{feff}{pem}")).unwrap();
            Some(file)
        });
        let tls = Tls { ca_file: cert_file.clone(), cert_file, key_file, ..Tls::default() };
        client_config(&tls).unwrap();
    }
}
