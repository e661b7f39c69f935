//! What a failure of TLS means, and what to change.

use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InconsistentKeys};

use crate::utc::rfc3339_seconds;

/// How many names of a certificate are shown.
const MAX_NAMES: usize = 8;

/// The name that webpki gives to the error about an authority's certificate that a server uses.
pub(super) const IS_AUTHORITY: &str = "CaUsedAsEndEntity";

/// The failure in words. The server is "it" in them; they may hold text of the server.
pub(in crate::nats) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => about_certificate(error),
        Error::AlertReceived(alert) => about_alert(*alert),
        Error::InvalidMessage(_) => format!(
            "it does not answer in TLS: unset nats.tls.handshakeFirst if its INFO comes first; if \
             it has no TLS, use nats:// and unset nats.tls.required ({error})"
        ),
        Error::PeerIncompatible(_) => {
            format!("it must offer TLS 1.2 or 1.3 with a cipher suite of today ({error})")
        }
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "nats.tls.key is not the key of nats.tls.cert".into()
        }
        Error::NoCertificatesPresented => "it has no certificate: give it one".into(),
        Error::General(text) => text.clone(),
        other => other.to_string(),
    }
}

#[allow(deprecated, reason = "an older form of an error, which has the same words")]
fn about_certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => "no authority that is trusted has signed its certificate: name that \
                             authority in nats.tls.ca, or the certificate itself if it is \
                             self-signed"
            .into(),
        E::BadSignature => "its certificate is not signed with the key of the authority that it \
                            names: nats.tls.ca may have an older certificate of that authority"
            .into(),
        // Without the present time: a text that changes is told again.
        E::ExpiredContext { not_after, .. } => format!(
            "its certificate expired at {}: renew it, or set the clock of this machine",
            moment(*not_after)
        ),
        E::NotValidYetContext { not_before, .. } => format!(
            "its certificate is valid from {} on: set the clock of this machine",
            moment(*not_before)
        ),
        E::NotValidForNameContext { expected, presented } => {
            about_names(&expected.to_str(), presented)
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "its certificate is not one for a server: its extended key usage needs serverAuth"
                .into()
        }
        E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed by a method that is not accepted: renew it with ECDSA, \
             Ed25519, or RSA of 2048 bits or more, and SHA-256 or better"
                .into()
        }
        E::Other(other) => about_other(&other.to_string()),
        E::BadEncoding => "its certificate cannot be read: renew it".into(),
        other => format!("its certificate is not accepted ({other})"),
    }
}

/// An error that only webpki has, by its name.
fn about_other(name: &str) -> String {
    match name {
        IS_AUTHORITY => "its certificate is one of an authority (CA:TRUE): renew it without that, \
                         or name this very certificate in nats.tls.ca"
            .into(),
        "UnsupportedCertVersion" => {
            "its certificate is of an old form: renew it as X.509 version 3".into()
        }
        "EndEntityUsedAsCa" => "a certificate that it sends to prove its own is not one of an \
                                authority (CA:TRUE)"
            .into(),
        other => format!("its certificate is not accepted ({other})"),
    }
}

fn about_names(expected: &str, presented: &[String]) -> String {
    let mut names: Vec<_> = presented.iter().map(|name| plain(name)).take(MAX_NAMES).collect();
    let more = format!("{} more", presented.len().saturating_sub(MAX_NAMES));
    if presented.len() > MAX_NAMES {
        names.push(&more);
    }
    if names.is_empty() {
        return format!(
            "its certificate is for no name at all: renew it with {expected} as a subjectAltName"
        );
    }
    format!(
        "its certificate is for {}, and not for {expected}: use such a name in nats.servers, or \
         renew it with {expected} as a subjectAltName",
        names.join(", ")
    )
}

/// `DnsName("a.example")` and `IpAddress(10.0.0.1)` without what is around the name.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn moment(at: UnixTime) -> String {
    // Far beyond the last moment that has a text, and no overflow.
    const LATEST: u64 = 1 << 40;
    rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at.as_secs().min(LATEST)))
}

fn about_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let words = match alert {
        A::CertificateRequired | A::NoCertificate => {
            "it demands a client certificate: set nats.tls.cert and nats.tls.key"
        }
        A::UnknownCA => "it does not trust the authority that signed nats.tls.cert",
        A::CertificateExpired => "it finds nats.tls.cert expired, or its clock is wrong",
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateUnknown
        | A::AccessDenied
        | A::DecryptError => {
            "it does not accept the client certificate: check nats.tls.cert, or set it if unset"
        }
        A::UnrecognisedName => "it has no certificate for the name in nats.servers",
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => {
            "it must offer TLS 1.2 or 1.3 with a cipher suite of today"
        }
        _ => "it gave TLS up",
    };
    format!("{words} (alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{InvalidMessage, OtherError, PeerIncompatible};

    use super::*;

    #[track_caller]
    fn says(error: impl Into<Error>, parts: &[&str]) {
        let error = error.into();
        let words = explain(&error);
        for part in parts {
            assert!(words.contains(part), "{part:?} is not in {words:?}");
        }
        assert!(words.len() < 300, "{words}");
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn wrong_name(presented: &[String]) -> Error {
        let expected = "a.example".try_into().unwrap();
        CertificateError::NotValidForNameContext { expected, presented: presented.to_vec() }.into()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct OfWebpki(&'static str);

    fn other(name: &'static str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(OfWebpki(name))))
    }

    #[test]
    fn a_signer_that_is_not_trusted_is_named_or_replaced() {
        says(CertificateError::UnknownIssuer, &["nats.tls.ca", "self-signed"]);
        says(CertificateError::BadSignature, &["nats.tls.ca", "older certificate"]);
        says(other(IS_AUTHORITY), &["CA:TRUE", "nats.tls.ca"]);
        says(other("EndEntityUsedAsCa"), &["CA:TRUE"]);
    }

    #[test]
    fn dates_are_named_and_the_present_time_is_not() {
        let (time, not_after) = (at(1_700_000_000), at(951_782_400));
        let expired = CertificateError::ExpiredContext { time, not_after };
        says(expired, &["expired at 2000-02-29T00:00:00Z: renew it", "clock"]);
        let (time, not_before) = (at(951_782_400), at(1_700_000_000));
        let early = CertificateError::NotValidYetContext { time, not_before };
        says(early, &["valid from 2023-11-14T22:13:20Z on", "clock"]);
        let later = CertificateError::NotValidYetContext { time: at(951_782_401), not_before };
        let early = CertificateError::NotValidYetContext { time, not_before };
        assert_eq!(explain(&later.into()), explain(&early.into()));
        let (time, not_after) = (at(u64::MAX), at(u64::MAX));
        says(CertificateError::ExpiredContext { time, not_after }, &["expired at "]);
    }

    #[test]
    fn a_wrong_name_is_named_beside_the_right_ones() {
        let presented = ["DnsName(\"b.example\")", "IpAddress(10.0.0.1)", "DirectoryName"];
        let words = "is for b.example, 10.0.0.1, DirectoryName, and not for a.example: ";
        says(wrong_name(&presented.map(str::to_owned)), &[words, "nats.servers"]);
        says(wrong_name(&[]), &["no name at all", "a.example as a subjectAltName"]);
        let many: Vec<_> = (0..100).map(|n| format!("DnsName(\"b{n}\")")).collect();
        says(wrong_name(&many), &["b7, 92 more, and not for a.example"]);
    }

    #[test]
    fn certificates_that_no_server_may_have_are_to_be_renewed() {
        says(CertificateError::InvalidPurpose, &["serverAuth"]);
        says(CertificateError::BadEncoding, &["cannot be read"]);
        says(other("UnsupportedCertVersion"), &["version 3"]);
        says(CertificateError::Revoked, &["not accepted (Revoked)"]);
        says(other("NameConstraintViolation"), &["NameConstraintViolation"]);
        let (signature_algorithm_id, supported_algorithms) = (vec![1], vec![]);
        let algorithm = CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            supported_algorithms,
        };
        says(algorithm, &["SHA-256"]);
        says(Error::NoCertificatesPresented, &["it has no certificate"]);
    }

    #[test]
    fn alerts_about_our_certificate_name_its_settings() {
        let alert = Error::AlertReceived;
        for required in [AlertDescription::CertificateRequired, AlertDescription::NoCertificate] {
            says(alert(required), &["demands a client certificate", "nats.tls.key", "alert"]);
        }
        says(alert(AlertDescription::UnknownCA), &["authority", "nats.tls.cert", "UnknownCA"]);
        says(alert(AlertDescription::CertificateExpired), &["nats.tls.cert expired"]);
        says(alert(AlertDescription::BadCertificate), &["nats.tls.cert", "BadCertificate"]);
        says(alert(AlertDescription::UnrecognisedName), &["nats.servers"]);
        says(alert(AlertDescription::InternalError), &["gave TLS up (alert InternalError)"]);
    }

    #[test]
    fn a_server_without_a_common_tls_is_told_from_one_without_tls() {
        let version = PeerIncompatible::ServerDoesNotSupportTls12Or13;
        says(version, &["TLS 1.2 or 1.3", "ServerDoesNotSupportTls12Or13"]);
        says(Error::AlertReceived(AlertDescription::ProtocolVersion), &["TLS 1.2 or 1.3"]);
        let plain = InvalidMessage::InvalidContentType;
        says(plain, &["nats.tls.handshakeFirst", "nats.tls.required", "InvalidContentType"]);
    }

    #[test]
    fn a_key_of_another_certificate_is_recognised() {
        says(InconsistentKeys::KeyMismatch, &["nats.tls.key is not the key of nats.tls.cert"]);
        says(Error::General("as it is".into()), &["as it is"]);
        says(Error::DecryptError, &["cannot decrypt"]);
    }
}
