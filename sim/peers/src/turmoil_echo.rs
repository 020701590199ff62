//! Two hosts of turmoil: a server that echoes, and a client that asks.

use std::net::Ipv4Addr;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use turmoil::net::UdpSocket;
use turmoil::{Builder, Sim};

use crate::{PACKETS, QUESTION};

/// How many questions a simulation is run for, so that what starting it costs is spread.
const QUESTIONS: usize = 640;
const PORT: u16 = 7;

/// One question after the other, and turmoil's own latency of up to 100 ticks of its clock.
#[divan::bench]
fn turmoil_echo(bencher: Bencher<'_, '_>) {
    run(bencher, 1, Builder::new);
}

/// So many questions at once, and the least latency, a tick. A socket queues 64.
#[divan::bench(args = [1, 64])]
fn turmoil_echo_least_latency(bencher: Bencher<'_, '_>, at_once: usize) {
    run(bencher, at_once, || {
        let (mut builder, tick) = (Builder::new(), Duration::from_millis(1));
        builder.tick_duration(tick).min_message_latency(tick).max_message_latency(tick);
        builder
    });
}

/// From the first question to the last answer; hosts are made beforehand.
fn run(bencher: Bencher<'_, '_>, at_once: usize, builder: fn() -> Builder) {
    bencher
        .counter(ItemsCount::new(QUESTIONS * PACKETS))
        .with_inputs(|| simulation(builder(), at_once))
        .bench_local_refs(|simulation| simulation.run().unwrap());
}

fn simulation(mut builder: Builder, at_once: usize) -> Sim<'static> {
    builder.rng_seed(1).simulation_duration(Duration::from_secs(3600));
    let mut simulation = builder.build();
    simulation.host("server", serve);
    simulation.client("client", ask(at_once));
    simulation
}

async fn serve() -> turmoil::Result {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let mut buffer = QUESTION;
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}

async fn ask(at_once: usize) -> turmoil::Result {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let server = (turmoil::lookup("server"), PORT);
    for _ in 0..QUESTIONS / at_once {
        for _ in 0..at_once {
            socket.send_to(&QUESTION, server).await?;
        }
        for _ in 0..at_once {
            let mut answer = [0; QUESTION.len()];
            socket.recv_from(&mut answer).await?;
            assert_eq!(answer, QUESTION);
        }
    }
    Ok(())
}
