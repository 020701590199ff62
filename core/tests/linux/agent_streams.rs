//! Connections: those that are closed without an answer, and those that ask something else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};

use crate::alone::alone;
use crate::bed::Bed;

/// A server of the test's own on port 80 of `b`, that serves one connection so.
fn serve(bed: &Bed, serve: impl FnOnce(TcpStream) + Send + 'static) {
    let listener = bed.inside("b", || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap());
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // The next is to have the port as soon as this connection is over.
        drop(listener);
        serve(stream);
    });
}

#[test]
fn a_connection_that_is_closed_or_reset_without_an_answer_is_closed() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    serve(&bed, drop);
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "closed");
    serve(&bed, |stream| {
        let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, sockopt::Linger, &now).unwrap();
    });
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "closed");
    serve(&bed, |mut stream| {
        stream.read_exact(&mut [0; 32]).unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    });
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "closed");
}

#[test]
fn an_answer_to_another_question_is_none() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    serve(&bed, |mut stream| {
        let mut question = [0; 32];
        stream.read_exact(&mut question).unwrap();
        let mut answer = [0; 64];
        answer[..4].copy_from_slice(b"sea!");
        answer[7] = 64;
        answer[8..16].copy_from_slice(&(1u64).to_be_bytes());
        stream.write_all(&answer).unwrap();
    });
    assert_eq!(bed.ask("a -> 10.0.0.2:80/tcp"), "closed");
}

#[test]
fn a_browser_is_told_who_answers_and_whom_it_saw() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/tcp");
    let mut stream = bed.inside("a", || TcpStream::connect("10.0.0.2:80").unwrap());
    stream.write_all(b"GE").unwrap();
    stream.write_all(b"T / HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 27\r\n"), "{head}");
    assert_eq!(body, "b:80 reached from 10.0.0.1\n");
    let mut stream = bed.inside("a", || TcpStream::connect("[2001:db8::2]:80").unwrap());
    stream.write_all(b"HEAD / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn curl_is_answered() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/tcp");
    let curl = "command -v curl >/dev/null || { echo skipped; exit; }; curl -sS";
    let answer = bed.sh("a", &format!("{curl} http://10.0.0.2/ http://10.0.0.2/again"));
    if answer == "skipped\n" {
        println!("skipped: no curl here");
        return;
    }
    assert_eq!(answer, "b:80 reached from 10.0.0.1\n".repeat(2));
    let answer = bed.sh("a", &format!("{curl} --data-binary @/proc/self/maps 'http://[2001:db8::2]/'"));
    assert_eq!(answer, "b:80 reached from 2001:db8::1\n");
}

#[test]
fn what_is_no_question_is_not_answered() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/tcp");
    let sent: [&[u8]; 5] = [b"", b"\n", b"hello\r\n", b"GET / HTTP/1.1\r\n", b"sea?\xff\xff\xff\xff12345678"];
    for text in sent {
        let mut stream = bed.inside("a", || TcpStream::connect("10.0.0.2:80").unwrap());
        stream.write_all(text).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty(), "{text:?}: {answer:?}");
    }
}

#[test]
fn one_connection_asks_many_questions() {
    if !alone() {
        return;
    }
    let mut bed = Bed::pair();
    bed.listen("b", "80/tcp");
    let mut stream = bed.inside("a", || TcpStream::connect("10.0.0.2:80").unwrap());
    for nonce in 1..=3u64 {
        let mut question = b"sea?\0\0\0\x14".to_vec();
        question.extend(nonce.to_be_bytes());
        question.extend([0; 4]);
        let (one, other) = question.split_at(5);
        stream.write_all(one).unwrap();
        stream.write_all(other).unwrap();
        let mut answer = [0; 64];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[..8], b"sea!\0\0\0\x40");
        assert_eq!(answer[8..16], nonce.to_be_bytes());
    }
}
