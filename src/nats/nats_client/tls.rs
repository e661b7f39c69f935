//! TLS as the crate needs it: with its version of `rustls`, and for a name that it does not know.
//!
//! The crate takes the name that it verifies from the address that it connects to. That address was
//! proven by the probe, and is not resolved again, so the name is put back here. Certificates are
//! verified as the probe does it, by the present version of `rustls`.

use std::io;
use std::sync::Arc;

use nats::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use nats::rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use nats::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use nats::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls::client::danger::ServerCertVerifier as _;

use crate::config::connection::Tls;
use crate::nats::tls::{Verifier, client_certificate, explain, verifier};

/// The configuration for a connection to `host`, whatever address the crate connects to.
pub(super) fn client_config(tls: &Tls, host: &str) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let named = Named {
        verifier: verifier(tls, &provider)?,
        name: ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        algorithms: ring::default_provider().signature_verification_algorithms,
    };
    let builder =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(named));
    match client_certificate(tls)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(io::Error::other),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Verifies a server under a name of its own.
#[derive(Debug)]
struct Named {
    verifier: Verifier,
    name: ServerName<'static>,
    algorithms: WebPkiSupportedAlgorithms,
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
        self.verifier
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
            .map(|_| ServerCertVerified::assertion())
            .map_err(|error| Error::General(explain(&error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
