//! The resolver on 127.0.0.11, asked by libc and by hand.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::mount::{MsFlags, mount};
use nix::sched::unshare;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seatrial_core::linux::resolver::Resolver;
use seatrial_core::linux::space::flag;
use seatrial_core::plan::{self, Upstream};
use seatrial_core::probe::NsKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, advance, timeout};

use crate::alone::alone;
use crate::local::{host, ip, network, own, run, run_paused};

const SOON: Duration = Duration::from_millis(300);
const UDP: u16 = 40_001;
const TCP: u16 = 40_002;

fn names(upstream: &[&str]) -> plan::Resolver {
    let many: Vec<IpAddr> = (1..=100).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    let server = |address: &&str| Upstream { address: address.parse().unwrap(), from_host: false };
    let zone = plan::Zone {
        names: [
            ("web".to_owned(), vec!["172.18.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]),
            ("many".to_owned(), many),
        ]
        .into(),
        networks: ["front".to_owned()].into(),
        reverse: [("172.18.0.2".parse().unwrap(), "web.front".to_owned())].into(),
    };
    let upstream = upstream.iter().map(server).collect();
    plan::Resolver { udp_port: UDP, tcp_port: TCP, zone: zone.into(), upstream }
}

fn serve(names: &plan::Resolver) -> Resolver {
    Resolver::serve(&host(), &network(), &network(), names).unwrap()
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn asker(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.11", port)).await.unwrap();
    socket
}

async fn heard(socket: &UdpSocket) -> Message {
    let mut buffer = vec![0; 65_535];
    let size = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..size]).unwrap()
}

async fn ask(name: &str, kind: RecordType) -> Message {
    let (socket, question) = (asker(UDP).await, question(name, kind));
    socket.send(&question.to_vec().unwrap()).await.unwrap();
    let answer = heard(&socket).await;
    assert_eq!(answer.metadata.id, question.metadata.id);
    answer
}

async fn say(stream: &mut TcpStream, message: &Message) {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

async fn listen(stream: &mut TcpStream) -> Message {
    let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut bytes).await.unwrap();
    Message::from_vec(&bytes).unwrap()
}

/// The code of an answer, and the data of its records.
fn text(answer: &Message) -> String {
    let data: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
    format!("{} {}", answer.metadata.response_code, data.join(" ")).trim_end().to_owned()
}

/// What a nameserver says: an address, or a code.
fn said(question: &[u8], word: &str) -> Message {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::error_msg(question.metadata.id, OpCode::Query, ResponseCode::NoError);
    let query = question.queries[0].clone();
    match word {
        "servfail" => answer.metadata.response_code = ResponseCode::ServFail,
        "refused" => answer.metadata.response_code = ResponseCode::Refused,
        "nxdomain" => answer.metadata.response_code = ResponseCode::NXDomain,
        address => {
            let data = RData::A(A(address.parse().unwrap()));
            _ = answer.add_answer(Record::from_rdata(query.name().clone(), 5, data));
        }
    }
    answer.add_query(query);
    answer
}

/// A nameserver that says the same to everyone, by UDP and TCP.
async fn nameserver(address: &str, word: &'static str) -> JoinHandle<()> {
    let at: SocketAddr = format!("{address}:53").parse().unwrap();
    let (udp, tcp) = (UdpSocket::bind(at).await.unwrap(), TcpListener::bind(at).await.unwrap());
    spawn_local(async move {
        let mut buffer = [0; 1500];
        loop {
            tokio::select! {
                heard = udp.recv_from(&mut buffer) => {
                    let (size, from) = heard.unwrap();
                    let answer = said(&buffer[..size], word);
                    let mut other = answer.clone();
                    other.metadata.id = !answer.metadata.id;
                    // Something that nobody asked comes first.
                    udp.send_to(&other.to_vec().unwrap(), from).await.unwrap();
                    udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
                stream = tcp.accept() => {
                    let mut stream = stream.unwrap().0;
                    let asked = listen(&mut stream).await;
                    say(&mut stream, &said(&asked.to_vec().unwrap(), word)).await;
                }
            }
        }
    })
}

/// A nameserver that is there, and says nothing.
async fn silent(address: &str) -> UdpSocket {
    UdpSocket::bind((address, 53)).await.unwrap()
}

/// Waits until a silent nameserver is asked, and then as long as it is waited for, but for the last moment.
async fn all_but_given_up(silent: &UdpSocket) {
    silent.recv(&mut [0; 512]).await.unwrap();
    advance(Duration::from_millis(3_999)).await;
}

const LAST_MOMENT: Duration = Duration::from_millis(2);

#[test]
fn libc_resolves_the_zones_names() {
    if !alone() {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let onto = format!("/etc/{name}");
            mount(Some(&path), onto.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        };
        // glibc asks for families of which it has an address beside lo's (AI_ADDRCONFIG).
        own("10.9.0.1").await;
        own("fd09::1").await;
        put("resolv.conf", "nameserver 127.0.0.11\noptions ndots:0\n");
        put("hosts", "127.0.0.1 localhost\n");
        let port_53 = plan::Resolver { udp_port: 53, tcp_port: 53, ..names(&[]) };
        let _resolver = serve(&port_53);
        let getent = async |args: &str| {
            let output = Command::new("getent").args(args.split(' ')).output().await.unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let addresses = |text: String| {
            let mut all: Vec<_> =
                text.lines().filter_map(|l| l.split(' ').next().map(str::to_owned)).collect();
            all.dedup();
            all
        };
        assert_eq!(addresses(getent("ahostsv4 WEB").await), ["172.18.0.2"]);
        assert_eq!(addresses(getent("ahostsv6 web").await), ["fd00::2"]);
        assert_eq!(getent("ahosts nobody").await, "");
        assert!(getent("hosts 172.18.0.2").await.ends_with(" web.front\n"));
        // A hundred addresses are too many for a datagram: libc asks again, by TCP.
        assert_eq!(getent("ahostsv4 many").await.lines().filter(|l| l.contains("STREAM")).count(), 100);
    });
}

#[test]
fn a_cut_answer_is_whole_over_tcp_and_a_connection_takes_several_questions() {
    if !alone() {
        return;
    }
    run(async {
        let _resolver = serve(&names(&[]));
        let cut = ask("many.", RecordType::A).await;
        assert!(cut.metadata.truncation && cut.answers.len() < 100);
        let mut stream = TcpStream::connect(("127.0.0.11", TCP)).await.unwrap();
        for _ in 0..3 {
            let question = question("many.", RecordType::A);
            say(&mut stream, &question).await;
            let whole = listen(&mut stream).await;
            assert_eq!(whole.metadata.id, question.metadata.id);
            assert!(!whole.metadata.truncation && whole.answers.len() == 100);
        }
    });
}

#[test]
fn a_connection_that_asks_nothing_is_closed() {
    if !alone() {
        return;
    }
    run_paused(async {
        let _resolver = serve(&names(&[]));
        let mut stream = TcpStream::connect(("127.0.0.11", TCP)).await.unwrap();
        say(&mut stream, &question("web.", RecordType::A)).await;
        assert_eq!(text(&listen(&mut stream).await), "No Error 172.18.0.2");
        advance(Duration::from_millis(7_999)).await;
        say(&mut stream, &question("web.", RecordType::A)).await;
        assert_eq!(text(&listen(&mut stream).await), "No Error 172.18.0.2");
        advance(Duration::from_millis(8_001)).await;
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    });
}

#[test]
fn what_the_zone_does_not_know_a_nameserver_is_asked_by_the_same_protocol() {
    if !alone() {
        return;
    }
    run(async {
        let _resolver = serve(&names(&["127.0.0.53"]));
        let _server = nameserver("127.0.0.53", "192.0.2.1").await;
        assert_eq!(text(&ask("web.", RecordType::A).await), "No Error 172.18.0.2");
        assert_eq!(text(&ask("example.org.", RecordType::A).await), "No Error 192.0.2.1");
        let mut stream = TcpStream::connect(("127.0.0.11", TCP)).await.unwrap();
        say(&mut stream, &question("example.org.", RecordType::A)).await;
        assert_eq!(text(&listen(&mut stream).await), "No Error 192.0.2.1");
    });
}

#[test]
fn a_silent_nameserver_is_waited_for_four_seconds_and_the_next_is_asked() {
    if !alone() {
        return;
    }
    run_paused(async {
        let _resolver = serve(&names(&["127.0.0.51", "127.0.0.52"]));
        let (first, second) = (silent("127.0.0.51").await, silent("127.0.0.52").await);
        let asked = spawn_local(ask("example.org.", RecordType::A));
        all_but_given_up(&first).await;
        let mut buffer = [0; 512];
        assert_eq!(second.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        advance(LAST_MOMENT).await;
        let (size, from) = second.recv_from(&mut buffer).await.unwrap();
        let answer = said(&buffer[..size], "192.0.2.1").to_vec().unwrap();
        second.send_to(&answer, from).await.unwrap();
        assert_eq!(text(&asked.await.unwrap()), "No Error 192.0.2.1");
    });
}

#[test]
fn three_nameservers_are_asked_and_no_fourth() {
    if !alone() {
        return;
    }
    run_paused(async {
        // Its own address does not count.
        let servers = ["127.0.0.51", "127.0.0.52", "127.0.0.53"];
        let _resolver = serve(&names(&["127.0.0.11", servers[0], servers[1], servers[2], "127.0.0.54"]));
        let _fourth = nameserver("127.0.0.54", "192.0.2.1").await;
        let asked = spawn_local(ask("example.org.", RecordType::A));
        for server in servers {
            all_but_given_up(&silent(server).await).await;
            assert!(!asked.is_finished());
            advance(LAST_MOMENT).await;
        }
        assert_eq!(text(&asked.await.unwrap()), "Server Failure");
    });
}

#[test]
fn a_nameserver_that_fails_refuses_or_is_not_there_is_passed_over_at_once() {
    if !alone() {
        return;
    }
    run(async {
        let _server = nameserver("127.0.0.54", "192.0.2.1").await;
        let _failing = nameserver("127.0.0.51", "servfail").await;
        let _refusing = nameserver("127.0.0.52", "refused").await;
        let begun = Instant::now();
        for first in ["127.0.0.51", "127.0.0.52", "127.0.0.53", "198.51.100.1"] {
            let _resolver = serve(&names(&[first, "127.0.0.54"]));
            assert_eq!(text(&ask("example.org.", RecordType::A).await), "No Error 192.0.2.1", "{first}");
        }
        assert!(begun.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn a_nameservers_no_is_an_answer() {
    if !alone() {
        return;
    }
    run(async {
        let _resolver = serve(&names(&["127.0.0.53", "127.0.0.54"]));
        let _server = nameserver("127.0.0.53", "nxdomain").await;
        let _other = nameserver("127.0.0.54", "192.0.2.1").await;
        assert_eq!(text(&ask("example.org.", RecordType::A).await), "Non-Existent Domain");
    });
}

#[test]
fn without_a_nameserver_the_rest_fails() {
    if !alone() {
        return;
    }
    run(async {
        let _resolver = serve(&names(&[]));
        assert_eq!(text(&ask("example.org.", RecordType::A).await), "Server Failure");
        assert_eq!(text(&ask("web.", RecordType::TXT).await), "Server Failure");
    });
}

#[test]
fn a_nameserver_is_asked_from_the_namespace_that_the_plan_says() {
    if !alone() {
        return;
    }
    run(async {
        let container = network();
        unshare(flag(NsKind::Network)).unwrap();
        ip("link set lo up");
        let of_the_host = network();
        let _host = nameserver("127.0.0.53", "192.0.2.1").await;
        container.enter().unwrap();
        let _own = nameserver("127.0.0.53", "192.0.2.2").await;
        for (from_host, answer) in [(true, "No Error 192.0.2.1"), (false, "No Error 192.0.2.2")] {
            let upstream = vec![Upstream { address: "127.0.0.53".parse().unwrap(), from_host }];
            let names = plan::Resolver { upstream, ..names(&[]) };
            let _resolver = Resolver::serve(&host(), &container, &of_the_host, &names).unwrap();
            assert_eq!(text(&ask("example.org.", RecordType::A).await), answer);
        }
    });
}

#[test]
fn what_is_no_message_is_not_answered_and_does_no_harm() {
    if !alone() {
        return;
    }
    run(async {
        let _resolver = serve(&names(&[]));
        let socket = asker(UDP).await;
        for rubbish in [&[][..], &[0; 11], &[0xff; 512]] {
            socket.send(rubbish).await.unwrap();
        }
        assert!(timeout(SOON, heard(&socket)).await.is_err());
        let mut stream = TcpStream::connect(("127.0.0.11", TCP)).await.unwrap();
        stream.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
        say(&mut stream, &question("web.", RecordType::A)).await;
        assert_eq!(text(&listen(&mut stream).await), "No Error 172.18.0.2");
        assert_eq!(text(&ask("web.", RecordType::A).await), "No Error 172.18.0.2");
    });
}

#[test]
fn names_are_replaced_and_the_sockets_stay() {
    if !alone() {
        return;
    }
    run(async {
        let mut resolver = serve(&names(&[]));
        let mut stream = TcpStream::connect(("127.0.0.11", TCP)).await.unwrap();
        let mut other = names(&[]);
        let web = vec!["172.18.0.9".parse().unwrap()];
        Arc::make_mut(&mut other.zone).names.insert("web".to_owned(), web);
        resolver.replace(&other).unwrap();
        say(&mut stream, &question("web.", RecordType::A)).await;
        assert_eq!(text(&listen(&mut stream).await), "No Error 172.18.0.9");
        assert_eq!(text(&ask("web.", RecordType::A).await), "No Error 172.18.0.9");

        other.udp_port = 41_001;
        resolver.replace(&other).unwrap();
        say(&mut stream, &question("web.", RecordType::A)).await;
        assert_eq!(text(&listen(&mut stream).await), "No Error 172.18.0.9");
        assert!(UdpSocket::bind(("127.0.0.11", UDP)).await.is_ok());
        let socket = asker(41_001).await;
        socket.send(&question("web.", RecordType::A).to_vec().unwrap()).await.unwrap();
        assert_eq!(text(&heard(&socket).await), "No Error 172.18.0.9");
        drop(resolver);
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
        assert!(UdpSocket::bind(("127.0.0.11", 41_001)).await.is_ok());
    });
}

#[test]
fn a_port_that_is_taken_is_said_with_its_resolver() {
    if !alone() {
        return;
    }
    run(async {
        let _taken = UdpSocket::bind(("127.0.0.11", UDP)).await.unwrap();
        let error = Resolver::serve(&host(), &network(), &network(), &names(&[])).unwrap_err();
        let text = "cannot make resolver on 127.0.0.11:40001/udp in host: Address already in use";
        assert_eq!(error.to_string(), text);
    });
}

#[test]
fn of_more_than_1024_questions_at_once_some_wait_for_a_turn_and_the_last_are_refused() {
    if !alone() {
        return;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    if most < 1200 {
        println!("skipped: no more than {most} descriptors");
        return;
    }
    run_paused(async {
        let server = silent("127.0.0.53").await;
        let _resolver = serve(&names(&["127.0.0.53"]));
        let asked = async |n: usize| {
            // A socket has no room for the answers to all.
            let socket = asker(UDP).await;
            for _ in 0..n {
                socket.send(&question("example.org.", RecordType::A).to_vec().unwrap()).await.unwrap();
            }
            socket
        };
        let reached = async || {
            for _ in 0..128 {
                server.recv(&mut [0; 512]).await.unwrap();
            }
        };
        let mut sockets = Vec::new();
        for _ in 0..8 {
            sockets.push(asked(128).await);
            reached().await;
        }
        advance(Duration::from_millis(1)).await;
        for _ in 0..8 {
            sockets.push(asked(128).await);
            idle().await;
        }
        let last = asked(6).await;
        idle().await;
        // The first are given up, and as many as can take their turns.
        advance(Duration::from_millis(3_999)).await;
        for _ in 0..8 {
            reached().await;
        }
        for socket in &sockets[..8] {
            for _ in 0..128 {
                assert_eq!(text(&heard(socket).await), "Server Failure");
            }
        }
        advance(Duration::from_millis(2)).await;
        for _ in 0..6 {
            assert_eq!(text(&heard(&last).await), "Query Refused");
        }
    });
}

/// Lets everyone do what there is to do.
async fn idle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}
