//! Certificates for one test: an authority, a server on loopback, a client.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// PEM files that vanish with this value.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes an authority and has it sign a server (127.0.0.1, localhost) and a client.
    pub fn new() -> Self {
        Self::of_server(&["localhost", "127.0.0.1"])
    }

    /// The same for a server with these names.
    pub fn of_server(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    /// The same for a server whose certificate is valid from the beginning of one year to that of
    /// another.
    pub fn of_years(from: i32, to: i32) -> Self {
        Self::with(&["localhost", "127.0.0.1"], |params| {
            (params.not_before, params.not_after) =
                (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        })
    }

    /// A server on loopback whose certificate is its own authority, as `openssl req -x509` makes
    /// it.
    pub fn self_signed() -> Self {
        let certificates = Self::empty();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("plain names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = new_key();
        let certificate = params.self_signed(&key).expect("a signature");
        certificates.write("ca.pem", &certificate.pem());
        certificates.write("server.pem", &certificate.pem());
        certificates.write("server-key.pem", &key.serialize_pem());
        certificates
    }

    fn with(names: &[&str], change: impl Fn(&mut CertificateParams)) -> Self {
        let certificates = Self::empty();
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, new_key()).expect("an authority");
        certificates.write("ca.pem", &authority.pem());
        certificates.issue("server", names, &authority, change);
        certificates.issue("client", &["client"], &authority, |_| {});
        certificates
    }

    fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The client's certificate.
    pub fn client_certificate(&self) -> PathBuf {
        self.path("client.pem")
    }

    /// The client's private key, PKCS #8.
    pub fn client_key(&self) -> PathBuf {
        self.path("client-key.pem")
    }

    /// What goes between the braces of a server's `tls` block.
    pub fn server_config(&self) -> String {
        let [certificate, key, authority] = ["server.pem", "server-key.pem", "ca.pem"]
            .map(|name| format!("\"{}\"", self.path(name).display()));
        format!("cert_file: {certificate}, key_file: {key}, ca_file: {authority},")
    }

    fn issue(
        &self,
        name: &str,
        names: &[&str],
        authority: &CertifiedIssuer<'_, KeyPair>,
        change: impl Fn(&mut CertificateParams),
    ) {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let key = new_key();
        let mut params = CertificateParams::new(names).expect("plain names");
        change(&mut params);
        let certificate = params.signed_by(&key, authority).expect("a signature");
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}-key.pem"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("writing into the temporary folder");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
