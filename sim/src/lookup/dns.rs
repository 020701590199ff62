//! The bytes of queries and answers (RFC 1035).

use std::net::IpAddr;

use seatrial_core::addr::Family;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};

use super::{Code, Names};

/// How long an answer of Docker's is good, in seconds (daemon/libnetwork/resolver.go, respTTL).
const TTL_S: u32 = 600;

impl Names {
    /// A query; nothing where a name cannot be written as one.
    pub(crate) fn query_bytes(&self, number: u32) -> Vec<u8> {
        self.question(number).and_then(|query| query.build_bytes_vec().ok()).unwrap_or_default()
    }

    /// An answer.
    pub(crate) fn reply_bytes(&self, number: u32) -> Vec<u8> {
        let reply = self.answer(number).and_then(|reply| {
            let mut answer = self.question(reply.query)?.into_reply();
            let (name, _) = self.query(reply.query)?;
            if reply.code == Code::ServFail {
                *answer.rcode_mut() = RCODE::ServerFailure;
            }
            for address in &reply.addresses {
                let data = match *address {
                    IpAddr::V4(address) => RData::A(address.into()),
                    IpAddr::V6(address) => RData::AAAA(address.into()),
                };
                answer.answers.push(ResourceRecord::new(Name::new(name).ok()?, CLASS::IN, TTL_S, data));
            }
            answer.build_bytes_vec_compressed().ok()
        });
        reply.unwrap_or_default()
    }

    fn question(&self, number: u32) -> Option<Packet<'_>> {
        let (name, family) = self.query(number)?;
        let kind = match family {
            Family::V4 => TYPE::A,
            Family::V6 => TYPE::AAAA,
        };
        let mut packet = Packet::new_query(u16::try_from(number).unwrap_or(u16::MAX));
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false));
        Some(packet)
    }

    /// How long a message is in a packet.
    pub(crate) fn len(bytes: &[u8]) -> u16 {
        u16::try_from(bytes.len()).unwrap_or(u16::MAX)
    }
}
