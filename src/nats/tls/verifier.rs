//! Verifies a server's certificate.
//!
//! A certificate that an authority has signed is verified by the rules of webpki. Those refuse a
//! self-signed one that says of itself that it is an authority, as `openssl req -x509` makes them.
//! Here it is accepted if it is, byte for byte, one that `nats.tls.ca` names: an operator who trusts
//! a certificate to sign others trusts it for itself. Its name and its dates are checked as well.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::words::IS_AUTHORITY;

/// See the [module](self).
#[derive(Debug)]
pub(in crate::nats) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// The certificates that the configuration names.
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::clone(provider);
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { inner, named })
    }

    /// Whether webpki looks at the dates of the certificate before anything else. It has no call
    /// for the dates alone. But for a moment by which every certificate has expired, it says so if
    /// it does; then another refusal of the certificate is about something else than its dates.
    fn dates_come_first(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
        let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        let verified = self.inner.verify_server_cert(certificate, &[], name, &[], end_of_time);
        matches!(verified, Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. })))
    }
}

/// Whether a certificate is refused only because no authority that is trusted has signed it, or
/// because it is one of an authority.
fn is_about_its_signer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => true,
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.to_string() == IS_AUTHORITY
        }
        _ => false,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = &self.inner;
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error)
                if is_about_its_signer(&error)
                    && self.named.iter().any(|named| named == end_entity)
                    && self.dates_come_first(end_entity, server_name) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
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

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::nats::tls::explain;

    /// Made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
    /// -days 36500 -subj /CN=nats -addext subjectAltName=DNS:a.example,IP:10.0.0.1`.
    const BY_OPENSSL: &[u8] = include_bytes!("../../../tests/fixtures/tls/self_signed.pem");
    /// Its dates.
    const NOT_BEFORE: u64 = 1_796_031_033;
    const NOT_AFTER: u64 = 4_949_631_033;

    fn by_openssl() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(BY_OPENSSL).unwrap()
    }

    /// Verifies `certificate` where these are named in `nats.tls.ca`; returns the error in words.
    fn verify(
        named: &[CertificateDer<'static>],
        certificate: &CertificateDer<'_>,
        name: &str,
        now: u64,
    ) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for one in named {
            roots.add(one.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(roots, named.to_vec(), &provider).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let name = name.try_into().unwrap();
        let result = verifier.verify_server_cert(certificate, &[], &name, &[], now);
        result.map(drop).map_err(|error| explain(&error))
    }

    #[track_caller]
    fn refused(verified: Result<(), String>, why: &str) {
        let refusal = verified.unwrap_err();
        assert!(refusal.contains(why), "{refusal}");
    }

    /// Without a name, it has the one of all certificates here that have none.
    fn authority(name: Option<&str>) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new([]).unwrap();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate of that authority for `a.example`.
    fn signed(is_ca: IsCa, by: &CertifiedIssuer<'_, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().clone()
    }

    #[test]
    fn a_self_signed_certificate_is_accepted_where_it_is_named() {
        let certificate = by_openssl();
        let named = [authority(None).der().clone(), certificate.clone()];
        for name in ["a.example", "10.0.0.1"] {
            for now in [NOT_BEFORE, NOT_AFTER] {
                assert_eq!(verify(&named, &certificate, name, now), Ok(()));
            }
        }
        refused(verify(&named[..1], &certificate, "a.example", NOT_BEFORE), "CA:TRUE");
    }

    #[test]
    fn its_name_and_its_dates_are_checked() {
        let certificate = by_openssl();
        let verify = |name, now| verify(&[by_openssl()], &certificate, name, now);
        for name in ["b.example", "10.0.0.2"] {
            refused(verify(name, NOT_BEFORE), "is for a.example, 10.0.0.1, and not for");
        }
        refused(verify("a.example", NOT_BEFORE - 1), "valid from 2026-11-30T09:30:33Z on");
        refused(verify("a.example", 0), "valid from 2026-11-30T09:30:33Z on");
        refused(verify("a.example", NOT_AFTER + 1), "expired at 2126-11-06T09:30:33Z");
        // The dates come before the name.
        refused(verify("b.example", NOT_AFTER + 1), "expired");
    }

    #[test]
    fn another_certificate_of_an_authority_is_no_servers() {
        let authority = authority(None);
        let named = [authority.der().clone()];
        let below = signed(IsCa::Ca(BasicConstraints::Unconstrained), &authority);
        refused(verify(&named, &below, "a.example", NOT_BEFORE), "CA:TRUE");
        assert_eq!(verify(from_ref(&below), &below, "a.example", NOT_BEFORE), Ok(()));
    }

    #[test]
    fn a_servers_certificate_passes_by_its_authority_or_by_being_named() {
        for name in [None, Some("an authority")] {
            let authority = authority(name);
            let server = signed(IsCa::NoCa, &authority);
            for named in [authority.der(), &server] {
                let verify = |name, now| verify(from_ref(named), &server, name, now);
                assert_eq!(verify("a.example", NOT_BEFORE), Ok(()));
                refused(verify("b.example", NOT_BEFORE), "is for a.example, and not");
                refused(verify("a.example", 0), "valid from");
            }
            let stranger = verify(&[by_openssl()], &server, "a.example", NOT_BEFORE);
            refused(stranger, "nats.tls.ca");
        }
    }
}
