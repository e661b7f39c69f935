//! Authentication, right and wrong, in each way that NATS has; permissions.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leasehold::config::ConfigBuilder;
use leasehold::error::StoreError;
use leasehold::store::{Outcome, Request};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::driver::{CLUSTER, Driver, PATIENCE, SILENCE, on_nats};
use crate::support::server::NatsServer;
use crate::support::version::Version;

/// Connects with `set`, and shows that it works.
#[track_caller]
pub(crate) fn works(server: &NatsServer, set: impl FnOnce(ConfigBuilder) -> ConfigBuilder) {
    let mut driver = on_nats(&[server.url()], set);
    driver.wait_connected();
    driver.create();
    driver.read();
}

/// Fails to connect with `set`; returns why.
#[track_caller]
pub(crate) fn refused(url: &str, set: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> StoreError {
    let mut driver = on_nats(&[url.to_owned()], set);
    let begun = Instant::now();
    let error = driver.wait_disconnected();
    assert!(begun.elapsed() < PATIENCE);
    // It goes on trying, and goes on failing.
    assert_eq!(driver.wait_disconnected(), error);
    let text = format!("{error} {error:?} {:?}", driver.store.poll(driver.now()));
    assert!(!text.contains("wrong"), "a secret in an error: {text}");
    error
}

#[track_caller]
fn is_authentication(error: &StoreError) {
    assert!(matches!(error, StoreError::Authentication { .. }), "{error:?}");
}

on_both_servers!(a_server_without_authentication_accepts_every_client, |version| {
    let server = NatsServer::start(version);
    works(&server, |config| config);
});

on_both_servers!(a_user_and_a_password, |version| {
    let server = NatsServer::builder(version).user("ann", "p:@/ä%").start();
    works(&server, |config| config.user_password("ann", "p:@/ä%"));
    is_authentication(&refused(&server.url(), |config| config.user_password("ann", "wrong")));
    is_authentication(&refused(&server.url(), |config| config));
});

on_both_servers!(credentials_in_the_url_are_decoded_and_come_first, |version| {
    let server = NatsServer::builder(version).user("ann", "p:@/ä%").start();
    let url = |password: &str| format!("nats://ann:{password}@{}", server.address());
    let mut driver =
        on_nats(&[url("p%3A%40%2F%C3%A4%25")], |config| config.user_password("bob", "other"));
    let address = driver.wait_connected();
    assert_eq!(address, server.url(), "without the credentials");
    is_authentication(&refused(&url("wrong"), |config| config.user_password("ann", "p:@/ä%")));
});

on_both_servers!(a_token, |version| {
    let server = NatsServer::builder(version).token("s3cr3t").start();
    works(&server, |config| config.token("s3cr3t"));
    is_authentication(&refused(&server.url(), |config| config.token("wrong")));
});

on_both_servers!(an_nkey, |version| {
    let key = KeyPair::new_user();
    let server = NatsServer::builder(version).nkey(&key.public_key()).start();
    works(&server, |config| config.nkey_seed(key.seed().expect("a seed")));
    let stranger = KeyPair::new_user().seed().expect("a seed");
    is_authentication(&refused(&server.url(), |config| config.nkey_seed(stranger)));
});

/// A signed token as `nsc` makes them (NATS ADR-14).
fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let payload = part(&json!({
        "jti": "X", "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": claims,
    }));
    let text = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).expect("a signature"));
    format!("{text}.{signature}")
}

/// A server whose users show tokens, and the contents of one user's credentials file.
fn server_of_an_operator(version: Version) -> (NatsServer, String) {
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let operator_jwt = jwt(&operator, &operator, &json!({ "type": "operator", "version": 2 }));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let claims = json!({ "type": "account", "version": 2, "limits": limits });
    let account_jwt = jwt(&operator, &account, &claims);
    let system_jwt = jwt(&operator, &system, &json!({ "type": "account", "version": 2 }));
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let user_jwt = jwt(&account, &user, &claims);
    let (name, system) = (account.public_key(), system.public_key());
    let server = NatsServer::builder(version)
        .config(&format!("operator: {operator_jwt}\nresolver: MEMORY"))
        .config(&format!("system_account: {system}"))
        .config(&format!("resolver_preload {{ {name}: {account_jwt}, {system}: {system_jwt} }}"))
        .start();
    (server, credentials(&user_jwt, &user))
}

fn credentials(jwt: &str, key: &KeyPair) -> String {
    let seed = key.seed().expect("a seed");
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

on_both_servers!(a_credentials_file_is_read_for_every_connection, |version| {
    let (server, contents) = server_of_an_operator(version);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("user.creds");

    // Not there yet, then a pipe, then of a stranger, then right: one store sees all four.
    let mut driver = on_nats(&[server.url()], |config| config.credentials_file(&file));
    let missing = driver.wait_disconnected();
    assert!(matches!(missing, StoreError::Credentials(_)), "{missing:?}");
    assert!(missing.to_string().contains("user.creds"), "{missing}");

    // Nothing waits for a pipe's writer.
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    driver.wait("the pipe's refusal", |event| {
        format!("{event:?}").contains("not a regular file").then_some(())
    });
    fs::remove_file(&file).expect("removed");

    let stranger = KeyPair::new_user();
    let token = jwt(&KeyPair::new_account(), &stranger, &json!({ "type": "user", "version": 2 }));
    fs::write(&file, credentials(&token, &stranger)).expect("written");
    driver.wait("the server's refusal", |event| {
        format!("{event:?}").contains("Authorization Violation").then_some(())
    });

    fs::write(&file, contents).expect("written");
    driver.wait_connected();
    driver.create();
});

// As editors on Windows write it.
on_both_servers!(a_credentials_file_with_a_byte_order_mark_and_carriage_returns, |version| {
    let (server, contents) = server_of_an_operator(version);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("user.creds");
    fs::write(&file, &contents).expect("written");
    as_on_windows(&file);
    works(&server, |config| config.credentials_file(&file));
    let utf16: Vec<u8> = contents.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&file, utf16).expect("written");
    let error = refused(&server.url(), |config| config.credentials_file(&file)).to_string();
    let named = error.contains("nats.credentials: ") && error.contains("user.creds");
    assert!(named && error.contains("it is UTF-16, must be UTF-8"), "{error}");
});

/// Writes the file again as editors on Windows do.
pub(crate) fn as_on_windows(file: &Path) {
    let text = fs::read_to_string(file).expect("readable").replace("\r\n", "\n");
    fs::write(file, format!("\u{feff}{}", text.replace('\n', "\r\n"))).expect("written");
}

/// A user with all permissions except those that `deny` names.
fn restricted(version: Version, deny: &str) -> NatsServer {
    NatsServer::builder(version)
        .config(&format!(
            "authorization {{ users: [ {{ user: u, password: p, permissions: {{ {deny} }} }} ] }}"
        ))
        .start()
}

fn as_user(server: &NatsServer) -> Driver {
    let mut driver = on_nats(&[server.url()], |config| config.user_password("u", "p"));
    driver.wait_connected();
    driver
}

#[track_caller]
fn names(error: &StoreError, subject: &str) {
    assert!(matches!(error, StoreError::Permission(_)), "{error:?}");
    assert!(error.to_string().contains(subject), "{error}");
}

on_both_servers!(a_denied_write_fails_and_names_its_subject, |version| {
    let server = restricted(version, "publish: { deny: \"$KV.>\" }");
    let mut driver = as_user(&server);
    driver.create();
    let Outcome::Failed(error) = driver.write(0, "x") else { panic!("it was not stored") };
    names(&error, "$KV.cluster-test.lease");
    names(&driver.wait_problem(), "$KV.cluster-test.lease");
    assert_eq!(driver.read().entry, None);
    // Reported once; each write still fails.
    assert!(matches!(driver.write(0, "x"), Outcome::Failed(StoreError::Permission(_))));
    assert_eq!(driver.next(SILENCE), None);
});

on_both_servers!(two_denied_writes_are_both_unknown, |version| {
    let server = restricted(version, "publish: { deny: \"$KV.>\" }");
    let mut driver = as_user(&server);
    let tickets = [(); 2].map(|()| driver.submit(crate::driver::write(0, None, "x")));
    // The complaint does not say which of the two it is about.
    for ticket in tickets {
        let outcome = driver.outcome(ticket);
        assert!(matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_)), "{outcome:?}");
    }
});

on_both_servers!(a_denied_read_fails_and_names_its_subject, |version| {
    let server = restricted(version, "publish: { deny: \"$JS.API.STREAM.INFO.>\" }");
    let mut driver = as_user(&server);
    let Outcome::Failed(error) = driver.ask(Request::Read) else { panic!("it was not answered") };
    names(&error, "$JS.API.STREAM.INFO.KV_cluster-test");
});

on_both_servers!(denied_notices_are_only_a_problem, |version| {
    let server = restricted(version, "subscribe: { deny: \"cluster.>\" }");
    let mut driver = as_user(&server);
    names(&driver.wait_problem(), "cluster.test.kv.lease");
    driver.create();
    driver.stored(0, "x");
});

on_both_servers!(an_own_inbox_prefix_is_enough, |version| {
    let allowed = format!("[\"_INBOX.mine.>\", \"cluster.{CLUSTER}.kv.>\"]");
    let server = restricted(version, &format!("subscribe: {{ allow: {allowed} }}"));
    let set = |config: ConfigBuilder| config.user_password("u", "p");
    let mut driver = on_nats(&[server.url()], |config| set(config).inbox_prefix("_INBOX.mine"));
    driver.wait_connected();
    driver.create();
    driver.stored(0, "x");
    driver.wait_notice();
    assert!(driver.seen.is_empty(), "{:?}", driver.seen);
    // With the usual inbox no response can arrive; the reason is reported.
    names(&as_user(&server).wait_problem(), "_INBOX.");
});
