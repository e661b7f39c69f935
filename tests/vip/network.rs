//! Holders on hosts of one network: what their neighbours see when an address moves.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use leasehold::clock::{Clock, Timestamp};
use leasehold::vip::{Extension, Fault, Holder, Policy, VipError, VipEvent, VirtualAddress};

use crate::netns::{Host, Lab, eventually, ip, isolated};

const V4: &str = "10.0.0.10";
const V6: &str = "fd00::10";
const LIMIT: Duration = Duration::from_secs(20);

fn ending_in(seconds: u64) -> Timestamp {
    Clock::boot().now() + Duration::from_secs(seconds)
}

fn holder_on(host: &Host, ip: IpAddr, policy: Policy) -> Holder {
    host.run(move || Holder::new(vec![on_eth0(ip)], policy).unwrap())
}

/// A holder that asks the network before it takes the address.
fn probing_on(host: &Host, ip: IpAddr, wait: Duration) -> Holder {
    let address = on_eth0(ip).probe(wait).unwrap();
    host.run(move || Holder::new(vec![address], Policy::default()).unwrap())
}

fn on_eth0(ip: IpAddr) -> VirtualAddress {
    VirtualAddress::new(ip, "eth0").unwrap()
}

fn acquire(host: &Host, mut holder: Holder) -> (Holder, Result<(), VipError>) {
    host.run(move || {
        let result = holder.acquire(ending_in(60));
        (holder, result)
    })
}

fn release(host: &Host, mut holder: Holder) -> Holder {
    host.run(move || {
        holder.release().unwrap();
        holder
    })
}

fn tick(host: &Host, mut holder: Holder) -> Holder {
    host.run(move || {
        holder.tick();
        holder
    })
}

/// Sends one packet from a client to the host with the address, so that the client's neighbour
/// table has an entry for the address.
fn talk(client: &Host, server: &Host, ip: IpAddr) {
    let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let (socket, port) = server.run(move || {
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    });
    client.run(move || {
        UdpSocket::bind(any).unwrap().send_to(b"?", SocketAddr::new(ip, port)).unwrap();
    });
    // A receive with a timeout is interrupted when the process is stopped and continued.
    server.run(move || while is_interrupted(&socket.recv(&mut [0; 8])) {});
}

fn is_interrupted(received: &io::Result<usize>) -> bool {
    match received {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
        Err(error) => panic!("nothing was received: {error}"),
    }
}

/// One handover with a policy. With `switches` the client's neighbour table must show the new
/// holder at last; without, it must still show the old one after the new one has sent it a packet.
fn handover(ip: IpAddr, policy: &Policy, switches: bool) {
    let lab = Lab::<3>::new();
    let [old, new, client] = &lab.hosts;
    let (first, acquired) = acquire(old, holder_on(old, ip, policy.clone()));
    acquired.unwrap();
    talk(client, old, ip);
    let known = || client.neighbour(ip);
    eventually("the client knows the old holder", LIMIT, || known() == Some(old.mac()));

    let second = holder_on(new, ip, policy.clone());
    let _first = release(old, first);
    let (second, acquired) = acquire(new, second);
    acquired.unwrap();
    let mut second = Some(second);
    if switches {
        eventually("the client knows the new holder", LIMIT, || {
            // A frame may be lost: the announcements after the first one are for that.
            second = second.take().map(|holder| tick(new, holder));
            known() == Some(new.mac())
        });
    } else {
        talk(new, client, "10.0.0.3".parse().unwrap());
        assert_eq!(known(), Some(old.mac()), "{ip}");
    }
}

#[test]
fn a_neighbour_table_follows_the_announcement() {
    isolated(|| {
        for ip_text in [V4, V6] {
            let ip = ip_text.parse().unwrap();
            isolated(move || handover(ip, &Policy::default(), true));
            // Without an announcement the table still shows the old holder.
            let silent = Policy::default().announce_at(&[]).unwrap();
            isolated(move || handover(ip, &silent, false));
        }
    });
}

#[test]
fn a_probe_finds_the_host_that_has_the_address() {
    isolated(|| {
        let lab = Lab::<2>::new();
        let [owner, other] = &lab.hosts;
        for ip_text in [V4, V6] {
            let ip: IpAddr = ip_text.parse().unwrap();
            let (first, acquired) = acquire(owner, holder_on(owner, ip, Policy::default()));
            acquired.unwrap();
            let (second, refused) = acquire(other, probing_on(other, ip, Duration::from_secs(3)));
            match refused {
                Err(VipError::Address { fault: Fault::Conflict { mac }, .. }) => {
                    assert_eq!(mac.to_string(), owner.mac());
                }
                other => panic!("{ip}: {other:?}"),
            }
            assert!(other.run(move || crate::netns::shown(ip_text, "eth0")).is_none());
            release(other, second);
            release(owner, first);
        }
    });
}

#[test]
fn an_address_is_acquired_when_no_host_answers_the_probe() {
    isolated(|| {
        let lab = Lab::<2>::new();
        for ip_text in [V4, V6] {
            let wait = Duration::from_millis(60);
            let holder = probing_on(&lab.hosts[0], ip_text.parse().unwrap(), wait);
            let start = std::time::Instant::now();
            let (_holder, acquired) = acquire(&lab.hosts[0], holder);
            acquired.unwrap();
            assert!(start.elapsed() >= wait);
        }
    });
}

/// Without a probe both take it; each learns of the other and says so.
#[test]
fn two_holders_of_one_address_report_each_other() {
    isolated(|| {
        let lab = Lab::<2>::new();
        let [a, b] = &lab.hosts;
        for ip_text in [V4, V6] {
            let ip = ip_text.parse().unwrap();
            let (mut first, acquired) = acquire(a, holder_on(a, ip, Policy::default()));
            acquired.unwrap();
            let (mut second, acquired) = acquire(b, holder_on(b, ip, Policy::default()));
            acquired.unwrap();
            let macs = [b.mac(), a.mac()];
            let [heard_by_first, heard_by_second] = macs.map(|rival| {
                move |holder: &mut Holder| {
                    holder.tick();
                    holder.events().try_iter().any(|event| match event {
                        VipEvent::Conflict { mac, .. } => mac.to_string() == rival,
                        _ => false,
                    })
                }
            });
            let _first = a.run(move || {
                eventually("the second's announcement", LIMIT, || heard_by_first(&mut first));
                first
            });
            b.run(move || {
                eventually("the first's defence", LIMIT, || heard_by_second(&mut second));
            });
        }
    });
}

/// An address's lifetime is set anew under open connections: none of them may notice.
#[test]
fn a_refresh_does_not_disturb_tcp_connections() {
    isolated(|| {
        let lab = Lab::<2>::new();
        let [server, client] = &lab.hosts;
        for ip_text in [V4, V6] {
            let ip: IpAddr = ip_text.parse().unwrap();
            let (holder, acquired) = acquire(server, holder_on(server, ip, Policy::default()));
            acquired.unwrap();
            let listener = server.run(move || TcpListener::bind((ip, 0)).unwrap());
            let port = listener.local_addr().unwrap().port();
            let echo = thread::spawn(move || echo(&listener));
            let (rounds, done) = client.run(move || {
                let mut stream = TcpStream::connect((ip, port)).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                let (rounds, done) = std::sync::mpsc::channel();
                let body = move || {
                    for round in 0..2_000_u32 {
                        stream.write_all(&round.to_be_bytes()).unwrap();
                        let mut back = [0; 4];
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, round.to_be_bytes());
                        let _ = rounds.send(round);
                    }
                };
                (done, thread::spawn(body))
            });
            // A refresh every 250 echoes, while they go on.
            let holder = server.run(move || {
                let mut holder = holder;
                for round in rounds.iter().filter(|round| round % 250 == 100) {
                    let found = holder.extend(ending_in(60 + u64::from(round)));
                    assert!(matches!(found, Extension::Refreshed), "{found:?}");
                }
                assert_eq!(holder.stats().refreshed, 8);
                holder
            });
            done.join().unwrap();
            // Not before the connection is closed: its last packets go to the address.
            echo.join().unwrap();
            release(server, holder);
        }
    });
}

fn echo(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 4];
    while stream.read_exact(&mut bytes).is_ok() {
        stream.write_all(&bytes).unwrap();
    }
}

/// A cable pulled and put back: neighbours may have learnt something else meanwhile.
#[test]
fn a_returning_carrier_causes_an_announcement() {
    isolated(|| {
        let lab = Lab::<2>::new();
        let [server, _] = &lab.hosts;
        let (mut holder, acquired) =
            acquire(server, holder_on(server, V4.parse().unwrap(), Policy::default()));
        acquired.unwrap();
        ip("link set port1 down");
        holder = server.run(move || {
            holder.tick();
            holder
        });
        ip("link set port1 up");
        server.run(move || {
            let up = |event| matches!(event, VipEvent::InterfaceChanged { running: true, .. });
            eventually("the carrier is noticed", LIMIT, || {
                holder.tick();
                holder.events().try_iter().any(up)
            });
            assert!(holder.stats().announced >= 2);
        });
    });
}
