//! The rows, in the order of the file.

use super::Kind::{self, Flag, Meta, Number, Secret, Servers, Text};
use super::{Check, Row};
use crate::config::nats::{check_domain, check_path, check_seed, check_subject, check_transport};
use crate::config::{check_cluster_id, check_node_id, vip};

const HOUR: u64 = 3_600_000;
/// How long a term of an hour is valid with the smallest clock drift.
const LONGEST_TERM: u64 = HOUR * 99 / 101;

const ANY: Check = |_, _| Ok(());
const PATH: Kind = Text(check_path);

macro_rules! table {
    ($(
        $name:ident: $path:literal, $kind:expr, $value:literal, $default:literal, $doc:literal;
    )*) => {
        $(pub(in crate::config) static $name: Row =
            Row { path: $path, kind: $kind, value: $value, default: $default, doc: $doc };)*

        pub(in crate::config) static ROWS: &[&Row] = &[$(&$name),*];

        /// The documentation of a method that sets or returns the setting of a row.
        macro_rules! row_doc {
            $(($name) => {
                concat!($doc, "\n\n`", $path, "`: ", $value, "; default: ", $default, ".")
            };)*
        }
    };
}

// Each timer's range is the widest that it can have; `Timing::new` checks the timers together.
table! {
    CLUSTER_ID: "clusterId", Text(|path, id| check_cluster_id(id).map_err(|error| error.at(path))),
        "1 to 64 characters of `A-Z a-z 0-9 - _`", "none, it is required",
        "Name of the cluster, the same on all its nodes; part of the bucket's name.";
    NODE_ID: "nodeId", Text(|path, id| check_node_id(id).map_err(|error| error.at(path))),
        "as `clusterId`, and single dots inside", "none, it is required",
        "Name of the node, unique in the cluster.";

    SERVERS: "nats.servers", Servers, "a list of texts", "none, it is required",
        "Addresses of 1 to 64 servers: `nats://`, `tls://` or bare `host[:port]`. The default port \
         is 4222; an IPv6 address stands in brackets. `user:password@` or `token@` before the \
         host, percent-encoded, counts for that server. One text may hold several addresses, \
         separated by commas.";
    CREDENTIALS: "nats.credentials", PATH, "path of a file", "none",
        "Credentials file (JWT and seed) as `nsc` writes it; read again for each connection.";
    USER: "nats.user", Text(ANY), "any text", "none", "User name; goes with `nats.password`.";
    PASSWORD: "nats.password", Secret(ANY), "any text", "none", "Password; goes with `nats.user`.";
    TOKEN: "nats.token", Secret(ANY), "any text", "none", "Authentication token.";
    NKEY: "nats.nkey", Secret(check_seed), "58 characters that begin with `SU`", "none",
        "Seed of a user nkey, which signs the server's nonce.";
    NKEY_FILE: "nats.nkeyFile", PATH, "path of a file", "none",
        "File with the seed of a user nkey; read when the configuration is built.";
    TLS_REQUIRED: "nats.tls.required", Flag, "true or false", "false",
        "Refuse servers that do not offer TLS. Otherwise TLS is used when the server or a \
         `tls://` address asks for it.";
    TLS_FIRST: "nats.tls.handshakeFirst", Flag, "true or false", "false",
        "Make TLS before the server's first message, for servers that are configured with \
         `handshake_first`. Only with the transport `direct`.";
    TLS_CA: "nats.tls.ca", PATH, "path of a file", "the system's",
        "PEM file of the certificate authorities to trust, or of the servers' own certificates.";
    TLS_CERT: "nats.tls.cert", PATH, "path of a file", "none",
        "PEM file of the client certificate; goes with `nats.tls.key`.";
    TLS_KEY: "nats.tls.key", PATH, "path of a file", "none",
        "PEM file of the client certificate's key; goes with `nats.tls.cert`.";
    TRANSPORT: "nats.transport", Text(check_transport), "`auto`, `direct` or `nats-client`",
        "`auto`",
        "The client that connects to the servers: `direct` is this library's own, and \
         `nats-client` uses the `nats` crate. `auto` is `direct` where the program was built with \
         it.";
    DOMAIN: "nats.domain", Text(check_domain), "one token", "none",
        "JetStream domain, for leaf nodes; excludes `nats.apiPrefix`.";
    API_PREFIX: "nats.apiPrefix", Text(check_subject), "tokens without wildcards",
        "`$JS.API`",
        "Subject prefix of the JetStream API, for imports from another account; excludes \
         `nats.domain`.";
    INBOX_PREFIX: "nats.inboxPrefix", Text(check_subject), "tokens without wildcards",
        "`_INBOX`", "First tokens of reply subjects, for accounts that may not use all inboxes.";
    REPLICAS: "nats.replicas", Number(|n| matches!(n, 1 | 3 | 5)),
        "a number of replicas (1, 3 or 5)", "1",
        "Replicas of the bucket, when this node creates it.";
    CONNECT_TIMEOUT: "nats.connectTimeoutMs", Number(|n| matches!(n, 100..=300_000)),
        "milliseconds (100 to 300000)", "5000",
        "How long one attempt to connect may take, handshake included, and how long a start \
         waits for a server. With several servers an attempt takes half of it, or a third with \
         three or more, but 1 s at least.";
    RECONNECT_WAIT: "nats.reconnectWaitMs", Number(|n| matches!(n, 10..=300_000)),
        "milliseconds (10 to 300000)", "2000",
        "Longest pause between attempts to connect; the first attempt is immediate.";
    START_DISCONNECTED: "nats.startDisconnected", Flag, "true or false", "false",
        "Start, and keep trying, when no server can be reached within the connect timeout. \
         Otherwise the start fails.";

    VIP_ADDRESS: "vip.address", Text(vip::check_address), "an IPv4 or IPv6 address", "none",
        "Virtual IP, which the node holds while it leads. Without it the section `vip` has no \
         effect. The section may be a list of 1 to 64 sections, for several addresses; there each \
         needs an address.";
    VIP_NETMASK: "vip.netmask", Number(|n| matches!(n, 0..=128)),
        "a prefix length in bits (0 to 32 for IPv4, 0 to 128 for IPv6)", "24, for IPv6 128",
        "Prefix length that status shows. On the interface the address always has its full \
         length, and no route.";
    VIP_INTERFACE: "vip.interface", Text(vip::check_interface),
        "1 to 127 printable ASCII characters without `/` and `:`", "none",
        "Network interface of the virtual IP, by its name or an alternative name; required when \
         `vip.address` is set.";
    VIP_PROBE: "vip.probe", Flag, "true or false", "false",
        "Ask the network for 300 ms whether another host has the address, before it is taken. If \
         one has it, the node leads without the address and tries again with each renewal. At most \
         4 virtual IPs can be probed.";
    VIP_LOOPBACK: "vip.allowOnLoopback", Flag, "true or false", "false",
        "Accept that the address also stands on the loopback interface, as on the servers of a \
         load balancer that routes directly.";

    LEASE_TTL: "election.leaseTtlMs", Number(|n| matches!(n, 103..=HOUR)),
        "milliseconds (103 to 3600000)", "10000",
        "*D*: how long other nodes wait before they take over a lease that is not renewed. The \
         same on all nodes of a cluster.";
    RENEW_INTERVAL: "election.renewIntervalMs",
        Number(|n| (40..=LONGEST_TERM - 60).contains(&n)), "milliseconds (40 to 3528652)", "3000",
        "*R*: how often the leader renews its lease.";
    REQUEST_TIMEOUT: "election.requestTimeoutMs",
        Number(|n| (20..=LONGEST_TERM / 5).contains(&n)), "milliseconds (20 to 705742)",
        "the lesser of *R*/3 and (*L* − *R*)/3",
        "*rt*: how long the node waits for a server's response.";
    CLOCK_DRIFT: "election.clockDriftPercent", Number(|n| matches!(n, 1..=50)),
        "percent (1 to 50)", "10",
        "*ρ*: how far the rate of any node's clock may depart from true time.";
    COOLDOWN: "election.cooldownMs", Number(|n| n <= 24 * HOUR), "milliseconds (0 to 86400000)",
        "*D*",
        "How long this node leaves the lead to others after it gave up a term; somewhat longer \
         when the lease could not be released. A term that was lost starts no cooldown.";
    DRAIN_TIMEOUT: "election.drainTimeoutMs", Number(|n| n <= HOUR),
        "milliseconds (0 to 3600000)", "10000",
        "How long the application may take to finish its work when the node steps down. After \
         that the lease is left to expire instead of being released.";
    STOP_TIMEOUT: "election.stopTimeoutMs", Number(|n| matches!(n, 100..=HOUR)),
        "milliseconds (100 to 3600000)", "5000",
        "How long it may take to stop the node, draining and releasing included.";
    STRICT_BOOTSTRAP: "election.strictBootstrap", Flag, "true or false", "false",
        "Wait *D* before the first election in a new bucket, in case a bucket of this name was \
         deleted while a leader held its lease.";
    EVENT_CAPACITY: "election.eventCapacity", Number(|n| matches!(n, 16..=65_536)),
        "a number of events (16 to 65536)", "256",
        "How many events are kept for an application that does not fetch them. Beyond that the \
         least important ones are dropped.";
    META: "election.meta", Meta, "at most 4096 bytes of JSON", "none",
        "Value that the leader's record carries, an address for example.";
}

pub(in crate::config) use row_doc;

/// Settings without a default.
pub(in crate::config) static REQUIRED: [&Row; 3] = [&CLUSTER_ID, &NODE_ID, &SERVERS];

/// Settings of which only one may be set.
pub(in crate::config) static EXCLUSIVE: [&[&Row]; 2] =
    [&[&CREDENTIALS, &USER, &TOKEN, &NKEY, &NKEY_FILE], &[&DOMAIN, &API_PREFIX]];

/// The first setting needs the second.
pub(in crate::config) static NEEDED: [(&Row, &Row); 5] = [
    (&USER, &PASSWORD),
    (&PASSWORD, &USER),
    (&TLS_CERT, &TLS_KEY),
    (&TLS_KEY, &TLS_CERT),
    (&VIP_ADDRESS, &VIP_INTERFACE),
];

/// Numbers that go-cluster writes; 0 is the default.
pub(super) static GO_CLUSTER: [&Row; 3] = [&LEASE_TTL, &RENEW_INTERVAL, &VIP_NETMASK];
