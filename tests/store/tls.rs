//! TLS with real certificates: which are accepted, and what is said about the others.

use std::env;
use std::net::TcpStream;
use std::path::PathBuf;

use leasehold::config::{ConfigBuilder, Tls, TransportChoice};
use leasehold::error::StoreError;
use leasehold::store::{Outcome, StoreEvent};

use crate::auth::{as_on_windows, refused, works};
use crate::driver::{PATIENCE, on_nats};
use crate::support::alone::alone;
use crate::support::proxy::Proxy;
use crate::support::server::NatsServer;
use crate::support::tls::Certificates;
use crate::support::version::Version;
use crate::support::wait::eventually;

fn trusting(certificates: &Certificates) -> Tls {
    Tls { ca_file: Some(certificates.authority()), ..Tls::default() }
}

fn with_certificate(certificates: &Certificates) -> Tls {
    Tls {
        cert_file: Some(certificates.client_certificate()),
        key_file: Some(certificates.client_key()),
        ..trusting(certificates)
    }
}

#[track_caller]
fn is_tls(error: &StoreError) {
    is_tls_about(error, &[]);
}

#[track_caller]
fn is_tls_about(error: &StoreError, parts: &[&str]) {
    assert!(matches!(error, StoreError::Tls { .. }), "{error:?}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
}

on_both_servers!(tls_with_a_private_authority, |version| {
    let certificates = Certificates::new();
    let server = NatsServer::builder(version).tls(&certificates).start();
    works(&server, |config| config.tls(trusting(&certificates)));
    // Neither the system's authorities nor a stranger's have signed it.
    is_tls(&refused(&server.url(), |config| config));
    let other = Certificates::new();
    is_tls(&refused(&server.url(), |config| config.tls(trusting(&other))));
});

const TRANSPORTS: [TransportChoice; 2] = [TransportChoice::Direct, TransportChoice::NatsClient];

on_both_servers!(a_self_signed_certificate_that_is_trusted_itself, |version| {
    let certificates = Certificates::self_signed();
    let server = NatsServer::builder(version).tls(&certificates).start();
    for transport in TRANSPORTS {
        let tls = trusting(&certificates);
        works(&server, |config| config.transport(transport).tls(tls));
        let other = Certificates::self_signed();
        let tls = trusting(&other);
        let error = refused(&server.url(), |config| config.transport(transport).tls(tls));
        is_tls_about(&error, &["(CA:TRUE)", "name this very certificate in nats.tls.ca"]);
    }
});

/// The server is real, and so are its certificates.
#[test]
fn a_failure_of_tls_says_what_to_change() {
    let refused = |certificates: &Certificates, tls: Tls| {
        let server = NatsServer::builder(Version::Newest).tls(certificates).start();
        refused(&server.url(), |config| config.tls(tls))
    };
    let certificates = Certificates::of_years(2001, 2002);
    let error = refused(&certificates, trusting(&certificates));
    is_tls_about(&error, &["its certificate expired at 2002-01-01T00:00:00Z: renew it"]);
    let certificates = Certificates::of_years(2401, 2402);
    let error = refused(&certificates, trusting(&certificates));
    is_tls_about(&error, &["its certificate is valid from 2401-01-01T00:00:00Z on: set the clock"]);
    let certificates = Certificates::of_server(&["a.example", "10.0.0.1"]);
    let error = refused(&certificates, trusting(&certificates));
    is_tls_about(&error, &["is for a.example, 10.0.0.1, and not for 127.0.0.1", "nats.servers"]);
    let certificates = Certificates::of_server(&[]);
    let error = refused(&certificates, trusting(&certificates));
    is_tls_about(&error, &["for no name at all", "127.0.0.1 as a subjectAltName"]);
    let certificates = Certificates::new();
    let error = refused(&certificates, Tls::default());
    is_tls_about(&error, &["no authority that is trusted", "nats.tls.ca"]);
    // Of the same name, with another key.
    let other = Certificates::new();
    let error = refused(&certificates, trusting(&other));
    is_tls_about(&error, &["nats.tls.ca may have an older certificate"]);
    let missing = Tls { ca_file: Some("/nonexistent/ca.pem".into()), ..Tls::default() };
    let error = refused(&certificates, missing);
    is_tls_about(&error, &["nats.tls.ca: /nonexistent/ca.pem: "]);
}

#[test]
fn a_client_certificate_that_is_missing_or_not_trusted_is_named() {
    let certificates = Certificates::new();
    let server = NatsServer::builder(Version::Newest).tls_with_client_certificate(&certificates);
    let server = server.start();
    let error = refused(&server.url(), |config| config.tls(trusting(&certificates)));
    is_tls_about(&error, &["demands a client certificate: set nats.tls.cert and nats.tls.key"]);
    let other = Certificates::new();
    let tls = Tls { ca_file: Some(certificates.authority()), ..with_certificate(&other) };
    // The end of the connection may overtake the server's reason.
    let mut driver = on_nats(&[server.url()], |config| config.tls(tls));
    is_tls_about(&driver.wait_disconnected(), &["nats.tls.cert"]);
}

on_both_servers!(a_plain_server_is_told_from_one_with_tls, |version| {
    let server = NatsServer::start(version);
    let required = Tls { required: true, ..Tls::default() };
    let error = refused(&server.url(), |config| config.tls(required.clone()));
    is_tls_about(&error, &["does not offer it: configure tls there, or use nats://"]);
    let first = Tls { handshake_first: true, ..required };
    let with = |config: ConfigBuilder| config.transport(TransportChoice::Direct).tls(first);
    is_tls_about(&refused(&server.url(), with), &["unset nats.tls.handshakeFirst"]);
});

// As editors on Windows write them.
on_both_servers!(pem_files_with_a_byte_order_mark_and_carriage_returns, |version| {
    let certificates = Certificates::new();
    let server = NatsServer::builder(version).tls_with_client_certificate(&certificates).start();
    for file in
        [certificates.authority(), certificates.client_certificate(), certificates.client_key()]
    {
        as_on_windows(&file);
    }
    works(&server, |config| config.tls(with_certificate(&certificates)));
});

/// The folder is that of the whole process.
#[test]
fn relative_paths_outlive_a_change_of_folder() {
    alone(|| {
        let certificates = Certificates::new();
        let server =
            NatsServer::builder(Version::Newest).tls_with_client_certificate(&certificates).start();
        let proxy = Proxy::start(server.address());
        let tls = with_certificate(&certificates);
        let folder = certificates.authority().parent().expect("a folder").to_owned();
        let relative = |file: Option<PathBuf>| file?.file_name().map(PathBuf::from);
        let tls = Tls {
            ca_file: relative(tls.ca_file),
            cert_file: relative(tls.cert_file),
            key_file: relative(tls.key_file),
            ..tls
        };
        env::set_current_dir(&folder).expect("it exists");
        let elsewhere = |config: ConfigBuilder| {
            let config = config.tls(tls).build().expect("valid");
            env::set_current_dir("/").expect("it exists");
            assert_eq!(config.to_builder().build().expect("valid"), config);
            config.to_builder()
        };
        let mut driver = on_nats(&[proxy.url()], elsewhere);
        for _ in 0..2 {
            driver.wait_connected();
            proxy.cut();
            driver.wait_disconnected();
        }
    });
}

on_both_servers!(tls_with_a_client_certificate, |version| {
    let certificates = Certificates::new();
    let server = NatsServer::builder(version).tls_with_client_certificate(&certificates).start();
    works(&server, |config| config.tls(with_certificate(&certificates)));
    is_tls(&refused(&server.url(), |config| config.tls(trusting(&certificates))));
});

on_both_servers!(required_tls_is_never_skipped, |version| {
    let server = NatsServer::start(version);
    let required = Tls { required: true, ..Tls::default() };
    is_tls(&refused(&server.url(), |config| config.tls(required)));
    is_tls(&refused(&server.url().replace("nats://", "tls://"), |config| config));
});

on_both_servers!(many_requests_pass_over_tls, |version| {
    let certificates = Certificates::new();
    let server = NatsServer::builder(version).tls(&certificates).start();
    let mut driver = on_nats(&[server.url()], |config| config.tls(trusting(&certificates)));
    driver.wait_connected();
    driver.create();
    let mut revision = driver.stored(0, "x");
    for _ in 0..100 {
        revision = driver.stored(revision, &"y".repeat(4000));
    }
    assert_eq!(driver.read().last_seq, revision);
});

#[test]
fn tls_before_the_first_message() {
    let certificates = Certificates::new();
    let first = format!("tls {{ {} handshake_first: true }}", certificates.server_config());
    let mut server = NatsServer::builder(Version::Newest).config(&first).prepare();
    server.launch();
    eventually(PATIENCE, "the server to listen", || TcpStream::connect(server.address()).is_ok());
    let tls = Tls { handshake_first: true, ..trusting(&certificates) };
    let with = |config: ConfigBuilder| config.transport(TransportChoice::Direct).tls(tls.clone());
    works(&server, with);
    let error =
        refused(&server.url(), |config| with(config).transport(TransportChoice::NatsClient));
    is_tls(&error);
    assert!(error.to_string().contains("nats.tls.handshakeFirst does not work"), "{error}");
    for transport in [TransportChoice::Direct, TransportChoice::NatsClient] {
        let error = refused(&server.url(), |config| config.transport(transport));
        assert!(
            error.to_string().contains("perhaps it is no NATS server, or wants TLS"),
            "{error}"
        );
        let required = Tls { required: true, ..trusting(&certificates) };
        let error = refused(&server.url(), |config| config.transport(transport).tls(required));
        assert!(error.to_string().contains("set nats.tls.handshakeFirst"), "{error}");
    }
}

/// More than the socket and the buffers of TLS take: nothing is sent twice, and nothing is lost.
#[test]
fn requests_wait_for_a_full_socket_over_tls() {
    let certificates = Certificates::new();
    let server = NatsServer::builder(Version::Newest).tls(&certificates).start();
    let proxy = Proxy::start(server.address());
    let mut driver = on_nats(&[proxy.url()], |config| {
        config.tls(trusting(&certificates)).transport(TransportChoice::Direct)
    });
    driver.wait_connected();
    driver.create();
    proxy.freeze();
    // Fewer than a store remembers, and more bytes than fit on the way.
    let text = "x".repeat(16_000);
    let tickets = [(); 200].map(|()| driver.submit(crate::driver::write(0, None, &text)));
    proxy.thaw();
    let outcomes = tickets.map(|ticket| driver.outcome(ticket));
    let stored = outcomes.iter().filter(|one| matches!(one, Outcome::Stored { .. })).count();
    let lost = outcomes.iter().filter(|one| matches!(one, Outcome::LostRace)).count();
    assert_eq!((stored, lost), (1, 199));
    let ended = |event: &StoreEvent| matches!(event, StoreEvent::Disconnected { .. });
    assert!(!driver.seen.iter().any(ended), "{:?}", driver.seen);
}
