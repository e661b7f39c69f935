//! TLS as the crate needs it: with its version of `rustls`, and for a name that it does not know.
//!
//! The crate takes the name that it verifies from the address that it connects to. That address was
//! proven by the probe, and is not resolved again, so the name is put back here.

use std::io;
use std::sync::Arc;

use nats::rustls::client::WebPkiServerVerifier;
use nats::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use nats::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use nats::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::connection::Tls;
use crate::nats::tls::{authorities, client_certificate};

/// The configuration for a connection to `host`, whatever address the crate connects to.
pub(super) fn client_config(tls: &Tls, host: &str) -> io::Result<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(authorities(tls)?);
    let inner = WebPkiServerVerifier::builder(Arc::new(store)).build().map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let builder = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { inner, name }));
    match client_certificate(tls)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(io::Error::other),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Verifies a server by the authorities' rules, under a name of its own.
#[derive(Debug)]
struct Named {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
