//! Two sockets on smoltcp's loopback device, and one interface that is polled by hand.

use divan::Bencher;
use divan::counter::ItemsCount;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use crate::{PACKETS, QUESTION};

const SERVER: u16 = 7;
const CLIENT: u16 = 40_000;

/// Frames with Ethernet headers, as smoltcp's own example has them, or bare IP.
#[divan::bench(args = [Medium::Ethernet, Medium::Ip])]
fn smoltcp_loopback(bencher: Bencher<'_, '_>, medium: Medium) {
    let mut stack = Stack::new(medium);
    assert_eq!(stack.ask(), QUESTION);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| stack.ask());
}

struct Stack {
    device: Loopback,
    interface: Interface,
    sockets: SocketSet<'static>,
    server: SocketHandle,
    client: SocketHandle,
}

impl Stack {
    fn new(medium: Medium) -> Self {
        let mut device = Loopback::new(medium);
        let address = match medium {
            Medium::Ethernet => HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 1])),
            Medium::Ip => HardwareAddress::Ip,
        };
        let mut interface = Interface::new(Config::new(address), &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(127, 0, 0, 1), 8)).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let (server, client) = (sockets.add(socket(SERVER)), sockets.add(socket(CLIENT)));
        Self { device, interface, sockets, server, client }
    }

    /// The client asks, the server answers with what it got, and that is what the client gets.
    fn ask(&mut self) -> [u8; 64] {
        self.send(self.client, QUESTION, IpEndpoint::new(IpAddress::v4(127, 0, 0, 1), SERVER));
        let (question, from) = self.receive(self.server);
        self.send(self.server, question, from);
        self.receive(self.client).0
    }

    fn send(&mut self, socket: SocketHandle, payload: [u8; 64], to: IpEndpoint) {
        self.sockets.get_mut::<Socket<'_>>(socket).send_slice(&payload, to).unwrap();
    }

    fn receive(&mut self, socket: SocketHandle) -> ([u8; 64], IpEndpoint) {
        while !self.sockets.get::<Socket<'_>>(socket).can_recv() {
            self.interface.poll(Instant::ZERO, &mut self.device, &mut self.sockets);
        }
        let (payload, from) = self.sockets.get_mut::<Socket<'_>>(socket).recv().unwrap();
        (payload.try_into().unwrap(), from.endpoint)
    }
}

fn socket(port: u16) -> Socket<'static> {
    let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 4], vec![0; 1024]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.bind(port).unwrap();
    socket
}
