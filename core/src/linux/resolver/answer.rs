//! A message, and what is answered: nothing here has a socket or a clock.

use std::net::IpAddr;

use hickory_proto::op::{Header, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::plan::Zone;

/// How long an answer may be kept, in seconds (`respTTL`).
const TTL: u32 = 600;
/// The bytes of an answer that everyone can take over UDP (RFC 1035 §4.2.1).
const SMALL: usize = 512;
/// The bytes of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;

/// By which protocol a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// In a datagram: there is little room for an answer.
    Udp,
    /// In a connection.
    Tcp,
}

/// What comes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Nameservers are to be asked.
    Forward,
    /// No answer: nobody asked anything.
    Ignore,
}

/// What a nameserver said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// An answer, be it that there is no such name.
    Something,
    /// That it cannot or will not answer.
    Failure,
    /// Something that belongs to another question.
    Aside,
}

/// Decides what comes of a message.
pub(super) fn judge(zone: &Zone, message: &[u8], over: Over) -> Verdict {
    let Ok(header) = Header::read(&mut BinDecoder::new(message)) else { return Verdict::Ignore };
    if header.metadata.message_type == MessageType::Response {
        return Verdict::Ignore;
    }
    if !matches!(header.metadata.op_code, OpCode::Query | OpCode::Notify) {
        return verdict(refusal(&header.metadata, ResponseCode::NotImp));
    }
    match question(&header, message) {
        None => verdict(refusal(&header.metadata, ResponseCode::FormErr)),
        Some(question) => match records(zone, &question) {
            None => Verdict::Forward,
            Some(records) => verdict(response(&question, records, room(&question, over))),
        },
    }
}

/// That none of the nameservers answered.
pub(super) fn failed(message: &[u8]) -> Option<Vec<u8>> {
    no_answer(message, ResponseCode::ServFail)
}

/// That too many questions wait already.
pub(super) fn refused(message: &[u8]) -> Option<Vec<u8>> {
    no_answer(message, ResponseCode::Refused)
}

/// What a nameserver said to a question. An answer is given on as it is, and not looked into: the number tells whether
/// it belongs to the question, and the code whether it is one.
pub(super) fn said(question: &[u8], answer: &[u8]) -> Said {
    let Some(header) = answer.get(..HEADER) else { return Said::Failure };
    if question.get(..2) != header.get(..2) {
        return Said::Aside;
    }
    let code = ResponseCode::from_low(header[3] & 0x0f);
    if matches!(code, ResponseCode::ServFail | ResponseCode::Refused) {
        Said::Failure
    } else {
        Said::Something
    }
}

/// A message that is one question (`defaultMsgAcceptFunc` of the Go library `dns`).
fn question(header: &Header, message: &[u8]) -> Option<Message> {
    let counts = &header.counts;
    let one =
        counts.queries == 1 && counts.answers <= 1 && counts.authorities <= 1 && counts.additionals <= 2;
    one.then(|| Message::from_vec(message).ok()).flatten()
}

/// What the zone says to a question; nothing where others are to be asked.
fn records(zone: &Zone, question: &Message) -> Option<Vec<Record>> {
    let query = question.queries.first()?;
    let name = query.name();
    let of = |pick: fn(IpAddr) -> Option<RData>| {
        let addresses = zone.addresses(&key(name)?)?;
        let data = addresses.iter().filter_map(|address| pick(*address));
        Some(data.map(|data| Record::from_rdata(name.clone(), TTL, data)).collect())
    };
    let kind = query.query_type();
    if kind == RecordType::A {
        of(|address| if let IpAddr::V4(v4) = address { Some(RData::A(A(v4))) } else { None })
    } else if kind == RecordType::AAAA {
        of(|address| if let IpAddr::V6(v6) = address { Some(RData::AAAA(AAAA(v6))) } else { None })
    } else if kind == RecordType::MX {
        // Known, and without an exchanger: mail goes to the name itself (RFC 5321 §5.1).
        of(|_| None)
    } else if kind == RecordType::PTR {
        let host = zone.reverse.get(&address(name)?)?;
        let host = Name::from_labels(host.split('.').map(str::as_bytes)).ok()?;
        Some(vec![Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(host)))])
    } else {
        None
    }
}

/// A name as it is written, dots between its labels.
fn key(name: &Name) -> Option<String> {
    let labels: Vec<&str> = name.iter().map(str::from_utf8).collect::<Result<_, _>>().ok()?;
    // A dot in a label is not one between labels.
    let plain = labels.iter().all(|label| !label.contains('.'));
    plain.then(|| labels.join("."))
}

/// The address of a name under in-addr.arpa or ip6.arpa (RFC 1035 §3.5, RFC 3596 §2.5).
fn address(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// The bytes there are for an answer (RFC 6891 §6.2.3).
fn room(question: &Message, over: Over) -> usize {
    match over {
        Over::Tcp => usize::from(u16::MAX),
        Over::Udp => question.edns.as_ref().map_or(SMALL, |edns| usize::from(edns.max_payload()).max(SMALL)),
    }
}

/// An answer, with as many records as there is room for; it says so where there are more.
fn response(question: &Message, records: Vec<Record>, room: usize) -> Option<Vec<u8>> {
    let mut response = reply(question);
    response.metadata.recursion_available = true;
    response.add_answers(records);
    let mut bytes = response.to_vec().ok()?;
    while bytes.len() > room {
        // A guess that is never too low, for records are of one size: what is left over shrinks it again.
        let fits = response.answers.len() * room / bytes.len();
        response.answers.truncate(fits.min(response.answers.len().saturating_sub(1)));
        response.metadata.truncation = true;
        bytes = response.to_vec().ok()?;
    }
    Some(bytes)
}

/// A question turned round (`SetReply` of the Go library `dns`).
fn reply(question: &Message) -> Message {
    let mut reply = Message::new(0, MessageType::Response, OpCode::Query);
    reply.metadata = Metadata::response_from_request(&question.metadata);
    reply.add_queries(question.queries.iter().cloned());
    reply
}

fn no_answer(message: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let mut reply = reply(&Message::from_vec(message).ok()?);
    reply.metadata.response_code = code;
    reply.to_vec().ok()
}

/// That a message is not a question, or not one that anybody answers here.
fn refusal(to: &Metadata, code: ResponseCode) -> Option<Vec<u8>> {
    Message::error_msg(to.id, to.op_code, code).to_vec().ok()
}

fn verdict(answer: Option<Vec<u8>>) -> Verdict {
    answer.map_or(Verdict::Ignore, Verdict::Answer)
}

#[cfg(test)]
mod tests;
