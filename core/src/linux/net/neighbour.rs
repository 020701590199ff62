//! Permanent neighbours.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};

use super::Net;
use super::socket::Refusal;
use crate::addr::MacAddr;
use crate::plan::Neighbour;

impl Net {
    pub(super) fn make_neighbour(&self, neighbour: &Neighbour, over: bool) -> Result<(), Refusal> {
        let MacAddr(mac) = neighbour.mac;
        let mut message = self.neighbour(neighbour)?;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        let flags = NLM_F_CREATE | if over { NLM_F_REPLACE } else { NLM_F_EXCL };
        self.socket.ask(RouteNetlinkMessage::NewNeighbour(message), flags).map(drop)
    }

    pub(super) fn unmake_neighbour(&self, neighbour: &Neighbour) -> Result<(), Refusal> {
        let message = self.neighbour(neighbour)?;
        self.socket.ask(RouteNetlinkMessage::DelNeighbour(message), 0).map(drop)
    }

    fn neighbour(&self, neighbour: &Neighbour) -> Result<NeighbourMessage, Refusal> {
        let mut message = NeighbourMessage::default();
        message.header.family = neighbour.address.into();
        message.header.ifindex = self.socket.index(&neighbour.link)?;
        message.attributes = vec![NeighbourAttribute::Destination(neighbour.address.into())];
        Ok(message)
    }
}
