//! docker-proxy and the ports that are held without one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sched::unshare;
use seatrial_core::addr::Transport::{Sctp, Tcp, Udp};
use seatrial_core::addr::{Family, Transport};
use seatrial_core::linux::Error;
use seatrial_core::linux::proxy::{hold, serve};
use seatrial_core::linux::service::Running;
use seatrial_core::linux::space::flag;
use seatrial_core::plan::{Proxy, Reservation};
use seatrial_core::probe::NsKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{advance, timeout};

use crate::alone::alone;
use crate::local::{descriptors, host, ip, network, run, run_paused};

const SOON: Duration = Duration::from_millis(300);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn proxy(transport: Transport, listen: &str, connect: SocketAddr) -> Result<Running, Error> {
    serve(&host(), &network(), &Proxy { transport, listen: at(listen), connect, answers_by_route: false })
}

/// A container's listener, a proxy before it on 8080, and one connection through both: the client's end and the
/// container's.
async fn connected() -> (Running, TcpStream, TcpStream) {
    let container = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let running = proxy(Tcp, "127.0.0.1:8080", container.local_addr().unwrap()).unwrap();
    let client = TcpStream::connect("127.0.0.1:8080").await.unwrap();
    let (inside, _) = container.accept().await.unwrap();
    (running, client, inside)
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// The next datagram, and whom it is from.
async fn heard(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 1500];
    let (size, from) = socket.recv_from(&mut buffer).await.unwrap();
    (String::from_utf8(buffer[..size].to_vec()).unwrap(), from)
}

#[test]
fn a_client_that_says_no_more_still_hears_the_container() {
    if !alone() {
        return;
    }
    run(async {
        let (_running, mut client, mut inside) = connected().await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut inside).await, "question");
        inside.write_all(b"answer").await.unwrap();
        drop(inside);
        assert_eq!(rest(&mut client).await, "answer");
    });
}

#[test]
fn a_container_that_says_no_more_still_hears_the_client() {
    if !alone() {
        return;
    }
    run(async {
        let (_running, mut client, mut inside) = connected().await;
        inside.write_all(b"welcome").await.unwrap();
        inside.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await, "welcome");
        client.write_all(b"thanks").await.unwrap();
        drop(client);
        assert_eq!(rest(&mut inside).await, "thanks");
    });
}

#[test]
fn the_container_sees_the_proxy_and_a_megabyte_passes_both_ways() {
    if !alone() {
        return;
    }
    run(async {
        let (_running, mut client, mut inside) = connected().await;
        assert_ne!(inside.peer_addr().unwrap(), client.local_addr().unwrap());
        let data: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_inside, mut to_inside) = inside.split();
        let (mut there, mut back) = (vec![0; data.len()], vec![0; data.len()]);
        let done = tokio::try_join!(
            to_client.write_all(&data),
            from_inside.read_exact(&mut there),
            to_inside.write_all(&data),
            from_client.read_exact(&mut back),
        );
        done.unwrap();
        assert!(there == data && back == data);
    });
}

#[test]
fn a_client_is_accepted_and_sent_away_where_the_container_refuses() {
    if !alone() {
        return;
    }
    run(async {
        let _running = proxy(Tcp, "127.0.0.1:8080", at("127.0.0.2:80")).unwrap();
        let mut client = TcpStream::connect("127.0.0.1:8080").await.unwrap();
        assert_eq!(rest(&mut client).await, "");
    });
}

#[test]
fn a_client_that_breaks_off_ends_the_connection_to_the_container() {
    if !alone() {
        return;
    }
    run(async {
        let (_running, client, mut inside) = connected().await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert_eq!(rest(&mut inside).await, "");
    });
}

#[test]
fn a_container_that_breaks_off_ends_the_connection_of_the_client() {
    if !alone() {
        return;
    }
    run(async {
        let (_running, mut client, inside) = connected().await;
        inside.set_zero_linger().unwrap();
        drop(inside);
        assert_eq!(rest(&mut client).await, "");
    });
}

#[test]
fn a_dropped_proxy_closes_all_and_its_port_is_free_at_once() {
    if !alone() {
        return;
    }
    run(async {
        for _ in 0..3 {
            let (running, mut client, mut inside) = connected().await;
            drop(running);
            assert_eq!(rest(&mut client).await, "");
            assert_eq!(rest(&mut inside).await, "");
            let refused = TcpStream::connect("127.0.0.1:8080").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let running = proxy(Udp, "127.0.0.1:8080", at("127.0.0.2:80")).unwrap();
            drop(running);
            drop(proxy(Udp, "127.0.0.1:8080", at("127.0.0.2:80")).unwrap());
        }
    });
}

#[test]
fn a_thousand_clients_leave_no_descriptor_behind() {
    if !alone() {
        return;
    }
    run(async {
        let container = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let _running = proxy(Tcp, "127.0.0.1:8080", container.local_addr().unwrap()).unwrap();
        let before = descriptors();
        for _ in 0..10 {
            let mut ends = Vec::new();
            for n in 0..100_u8 {
                let mut client = TcpStream::connect("127.0.0.1:8080").await.unwrap();
                client.write_all(&[n]).await.unwrap();
                let (mut inside, _) = container.accept().await.unwrap();
                assert_eq!(inside.read_u8().await.unwrap(), n);
                ends.push((client, inside));
            }
            for (client, mut inside) in ends {
                drop(client);
                assert_eq!(rest(&mut inside).await, "");
            }
        }
        // The proxy's own ends go when it is its turn again.
        while descriptors() > before {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_port_that_is_taken_is_said_with_its_proxy() {
    if !alone() {
        return;
    }
    run(async {
        let _taken = TcpListener::bind("0.0.0.0:8080").await.unwrap();
        let error = proxy(Tcp, "0.0.0.0:8080", at("172.18.0.2:80")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot make docker-proxy 0.0.0.0:8080/tcp to 172.18.0.2:80 in host: Address already in use"
        );
        // The same port of the other family is another port.
        proxy(Tcp, "[::]:8080", at("172.18.0.2:80")).unwrap();
    });
}

#[test]
fn a_proxy_listens_and_connects_in_its_own_namespace() {
    if !alone() {
        return;
    }
    run(async {
        let home = network();
        unshare(flag(NsKind::Network)).unwrap();
        let away = network();
        ip("link set lo up");
        let container = TcpListener::bind("127.0.0.2:80").await.unwrap();
        home.enter().unwrap();
        let config = Proxy {
            transport: Tcp,
            listen: at("[::]:8080"),
            connect: at("127.0.0.2:80"),
            answers_by_route: false,
        };
        let _running = serve(&host(), &away, &config).unwrap();
        assert_eq!(TcpStream::connect("[::1]:8080").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let socket = away.inside(tokio::net::TcpSocket::new_v6).unwrap().unwrap();
        let mut client = socket.connect(at("[::1]:8080")).await.unwrap();
        let (mut inside, _) = container.accept().await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(inside.read_u8().await.unwrap(), b'x');
    });
}

#[test]
fn datagrams_of_two_clients_do_not_mix_and_answers_come_from_the_address_that_was_asked() {
    if !alone() {
        return;
    }
    run(async {
        for (family, own, to) in [(Family::V4, "10.9.0.1", "10.9.0.2"), (Family::V6, "fd09::1", "fd09::2")] {
            let (any, loopback, wide) = match family {
                Family::V4 => ("0.0.0.0:5353", "127.0.0.1:0", format!("{to}:5353")),
                Family::V6 => ("[::]:5353", "[::1]:0", format!("[{to}]:5353")),
            };
            crate::local::own(own).await;
            crate::local::own(to).await;
            let container = UdpSocket::bind(loopback).await.unwrap();
            let _running = proxy(Udp, any, container.local_addr().unwrap()).unwrap();
            let client = async || {
                let mut here = at(any);
                here.set_ip(own.parse().unwrap());
                here.set_port(0);
                let client = UdpSocket::bind(here).await.unwrap();
                client.connect(&wide).await.unwrap();
                client
            };
            let (one, two) = (client().await, client().await);
            one.send(b"one").await.unwrap();
            let (first, to_one) = heard(&container).await;
            two.send(b"two").await.unwrap();
            let (second, to_two) = heard(&container).await;
            assert_eq!((first.as_str(), second.as_str()), ("one", "two"));
            container.send_to(b"for two", to_two).await.unwrap();
            container.send_to(b"for one", to_one).await.unwrap();
            // Connected sockets hear only whom they asked.
            assert_eq!(heard(&one).await.0, "for one");
            assert_eq!(heard(&two).await.0, "for two");
            one.send(b"again").await.unwrap();
            assert_eq!(heard(&container).await, ("again".to_owned(), to_one));
        }
    });
}

#[test]
fn datagrams_are_lost_until_the_container_listens() {
    if !alone() {
        return;
    }
    run(async {
        let _running = proxy(Udp, "127.0.0.1:5353", at("127.0.0.2:53")).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect("127.0.0.1:5353").await.unwrap();
        client.send(b"lost").await.unwrap();
        assert!(timeout(SOON, heard(&client)).await.is_err(), "and the client is told nothing");
        let container = UdpSocket::bind("127.0.0.2:53").await.unwrap();
        client.send(b"found").await.unwrap();
        let (said, from) = heard(&container).await;
        assert_eq!(said, "found");
        container.send_to(b"yes", from).await.unwrap();
        assert_eq!(heard(&client).await.0, "yes");
    });
}

#[test]
fn a_client_that_the_container_says_nothing_to_is_forgotten_after_90_seconds() {
    if !alone() {
        return;
    }
    run_paused(async {
        let container = UdpSocket::bind("127.0.0.2:53").await.unwrap();
        let _running = proxy(Udp, "127.0.0.1:5353", at("127.0.0.2:53")).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect("127.0.0.1:5353").await.unwrap();
        let said = async || {
            client.send(b"x").await.unwrap();
            heard(&container).await.1
        };
        let first = said().await;
        let before = descriptors();
        advance(Duration::from_secs(89)).await;
        assert_eq!(said().await, first, "still the same socket");
        // What the client says does not count.
        advance(Duration::from_secs(2)).await;
        while descriptors() >= before {
            tokio::task::yield_now().await;
        }
        assert_ne!(said().await, first);
    });
}

#[test]
fn a_held_port_is_taken_and_answers_nobody() {
    if !alone() {
        return;
    }
    run(async {
        for transport in [Tcp, Udp] {
            let held = Reservation { transport, listen: at("0.0.0.0:8080") };
            let guard = hold(&host(), &network(), &held).unwrap();
            let error = hold(&host(), &network(), &held).unwrap_err();
            assert_eq!(error.errno, Some(nix::errno::Errno::EADDRINUSE as i32));
            assert_eq!(error.object, format!("reservation of 0.0.0.0:8080/{transport} in host"));
            match transport {
                Tcp => assert!(timeout(SOON, TcpStream::connect("127.0.0.1:8080")).await.is_err()),
                Udp | Sctp => {
                    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    client.connect("127.0.0.1:8080").await.unwrap();
                    client.send(b"x").await.unwrap();
                    assert!(timeout(SOON, heard(&client)).await.is_err());
                }
            }
            drop(guard);
            drop(hold(&host(), &network(), &held).unwrap());
        }
    });
}

#[test]
fn a_kernel_without_sctp_is_said_to_be_so() {
    if !alone() {
        return;
    }
    run(async {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, Some(socket2::Protocol::SCTP));
        let made = proxy(Sctp, "127.0.0.1:8080", at("127.0.0.2:80"));
        match (socket, made) {
            (Ok(_), Ok(_)) => {}
            (Err(_), Err(error)) => {
                assert!(error.missing);
                assert!(error.to_string().ends_with("this needs a kernel with CONFIG_IP_SCTP"), "{error}");
            }
            (Ok(_), Err(error)) => panic!("{error}"),
            (Err(error), Ok(_)) => panic!("{error}, and yet a proxy"),
        }
    });
}
