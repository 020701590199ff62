use hickory_proto::op::{Edns, Query};
use hickory_proto::rr::DNSClass;
use proptest::prelude::*;

use super::*;

/// web has both families and db one; many has 40 addresses.
fn zone() -> Zone {
    let addresses = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
    let many = (1..=40).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    Zone {
        names: [
            ("web".to_owned(), addresses(&["172.18.0.3", "172.18.0.2", "fd00::2"])),
            ("db.back_end".to_owned(), addresses(&["172.18.0.4"])),
            ("many".to_owned(), many),
        ]
        .into(),
        networks: ["back_end".to_owned(), "front".to_owned()].into(),
        reverse: [
            ("172.18.0.4".parse().unwrap(), "db.back_end".to_owned()),
            ("fd00::2".parse().unwrap(), "web.front".to_owned()),
        ]
        .into(),
    }
}

fn message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn judged(message: &Message, over: Over) -> Verdict {
    judge(&zone(), &message.to_vec().unwrap(), over)
}

fn answered(message: &Message, over: Over) -> Message {
    match judged(message, over) {
        Verdict::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
        other @ (Verdict::Forward | Verdict::Ignore) => panic!("{other:?}"),
    }
}

/// What a question for a name is answered: the code, and the data of each record.
fn ask(name: &str, kind: RecordType) -> String {
    let answer = answered(&message(name, kind), Over::Udp);
    let data: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
    format!("{} {}", answer.metadata.response_code, data.join(" ")).trim_end().to_owned()
}

#[test]
fn a_name_has_its_addresses_of_the_family_in_the_plans_order() {
    assert_eq!(ask("web.", RecordType::A), "No Error 172.18.0.3 172.18.0.2");
    assert_eq!(ask("web.", RecordType::AAAA), "No Error fd00::2");
}

#[test]
fn a_name_without_an_address_of_the_family_is_there_all_the_same() {
    assert_eq!(ask("db.back_end.", RecordType::AAAA), "No Error");
}

#[test]
fn a_name_is_the_same_in_capitals_and_comes_back_as_it_was_asked() {
    let answer = answered(&message("dB.back_end.", RecordType::A), Over::Udp);
    assert_eq!(answer.answers[0].name.to_ascii(), "dB.back_end.");
    assert_eq!(answer.queries[0].name().to_ascii(), "dB.back_end.");
    assert_eq!(answer.answers[0].data, RData::A("172.18.0.4".parse().unwrap()));
}

#[test]
fn a_network_is_another_in_capitals() {
    let message = message("db.Back_End.", RecordType::A);
    assert_eq!(judged(&message, Over::Udp), Verdict::Forward);
}

#[test]
fn an_answer_says_what_dockers_does() {
    let mut question = message("web.", RecordType::A);
    question.metadata.checking_disabled = true;
    question.set_edns(Edns::new());
    let answer = answered(&question, Over::Udp);
    let Metadata { id, message_type, authoritative, recursion_desired, recursion_available, .. } =
        answer.metadata;
    assert_eq!((id, message_type), (0x1234, MessageType::Response));
    assert!(recursion_desired && recursion_available && !authoritative);
    assert!(answer.metadata.checking_disabled && !answer.metadata.truncation);
    assert_eq!(answer.edns, None);
    assert!(answer.answers.iter().all(|r| r.ttl == 600 && r.dns_class == DNSClass::IN));
}

#[test]
fn mail_for_a_known_name_goes_to_the_name() {
    assert_eq!(ask("web.", RecordType::MX), "No Error");
    assert_eq!(judged(&message("nobody.", RecordType::MX), Over::Udp), Verdict::Forward);
}

#[test]
fn an_address_has_the_name_of_its_container_on_its_network() {
    assert_eq!(ask("4.0.18.172.in-addr.arpa.", RecordType::PTR), "No Error db.back_end.");
    let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
    assert_eq!(ask(six, RecordType::PTR), "No Error web.front.");
}

#[test]
fn what_the_zone_does_not_know_others_are_asked() {
    for (name, kind) in [
        ("nobody.", RecordType::A),
        ("web.nowhere.", RecordType::AAAA),
        (".", RecordType::A),
        ("web.", RecordType::TXT),
        ("web.", RecordType::SRV),
        ("web.", RecordType::ANY),
        ("9.0.18.172.in-addr.arpa.", RecordType::PTR),
        ("18.172.in-addr.arpa.", RecordType::PTR),
        ("web.", RecordType::PTR),
    ] {
        assert_eq!(judged(&message(name, kind), Over::Udp), Verdict::Forward, "{name} {kind}");
    }
}

#[test]
fn a_dot_in_a_label_is_not_a_dot_between_labels() {
    let name = Name::from_labels([b"db.back_end".as_slice()]).unwrap();
    let mut question = message("x.", RecordType::A);
    question.queries[0].set_name(name);
    assert_eq!(judged(&question, Over::Udp), Verdict::Forward);
}

#[test]
fn an_answer_that_is_too_long_for_a_datagram_is_cut_and_says_so() {
    let asked = |over, size: Option<u16>| {
        let mut question = message("many.", RecordType::A);
        let edns = size.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns
        });
        question.edns = edns;
        let answer = answered(&question, over);
        (answer.answers.len(), answer.metadata.truncation, answer.to_vec().unwrap().len())
    };
    // 12 of header, 10 of question, 16 of each record: 30 fit into 512.
    assert_eq!(asked(Over::Udp, None), (30, true, 502));
    assert_eq!(asked(Over::Udp, Some(600)), (36, true, 598));
    assert_eq!(asked(Over::Udp, Some(1232)), (40, false, 662));
    assert_eq!(asked(Over::Tcp, None), (40, false, 662));
}

#[test]
fn what_is_not_a_question_is_not_answered_or_refused() {
    let bytes = message("web.", RecordType::A).to_vec().unwrap();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        match judge(&zone(), &bytes, Over::Udp) {
            Verdict::Answer(bytes) => Message::from_vec(&bytes).unwrap().metadata.response_code.to_string(),
            Verdict::Forward => "forward".to_owned(),
            Verdict::Ignore => "ignore".to_owned(),
        }
    };
    assert_eq!(with(|b| b.truncate(11)), "ignore");
    assert_eq!(with(|b| b[2] |= 0x80), "ignore", "an answer");
    assert_eq!(with(|b| b[2] = 5 << 3), "Not Implemented", "an update");
    assert_eq!(with(|b| b[5] = 2), "Form Error", "two questions");
    assert_eq!(with(|b| b[5] = 0), "Form Error", "none");
    assert_eq!(with(|b| b.truncate(14)), "Form Error", "half a question");
    assert_eq!(with(|b| b[12] = 0xc0), "Form Error", "a name that points at itself");
}

#[test]
fn a_nameservers_word_is_an_answer_a_failure_or_about_something_else() {
    let question = message("x.", RecordType::A).to_vec().unwrap();
    let word = |id: u16, code: ResponseCode| {
        let answer = Message::error_msg(id, OpCode::Query, code).to_vec().unwrap();
        said(&question, &answer)
    };
    assert_eq!(word(0x1234, ResponseCode::NoError), Said::Something);
    assert_eq!(word(0x1234, ResponseCode::NXDomain), Said::Something);
    assert_eq!(word(0x1234, ResponseCode::ServFail), Said::Failure);
    assert_eq!(word(0x1234, ResponseCode::Refused), Said::Failure);
    assert_eq!(word(0x1235, ResponseCode::NoError), Said::Aside);
    assert_eq!(said(&question, &question[..11]), Said::Failure);
}

#[test]
fn a_failure_repeats_the_question() {
    let question = message("Nobody.", RecordType::TXT);
    let bytes = question.to_vec().unwrap();
    for (answer, code) in [(failed(&bytes), ResponseCode::ServFail), (refused(&bytes), ResponseCode::Refused)]
    {
        let answer = Message::from_vec(&answer.unwrap()).unwrap();
        assert_eq!(answer.metadata.response_code, code);
        assert_eq!((answer.metadata.id, &answer.queries), (0x1234, &question.queries));
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for over in [Over::Udp, Over::Tcp] {
            judge(&zone(), &bytes, over);
        }
        said(&bytes, &bytes);
        failed(&bytes);
    }

    #[test]
    fn a_question_with_strange_bytes_is_answered_within_its_room(
        at in prop::collection::vec((0_usize..40, any::<u8>()), 1..8),
    ) {
        let mut bytes = message("web.", RecordType::A).to_vec().unwrap();
        bytes.resize(40, 0);
        for (at, byte) in at {
            bytes[at] = byte;
        }
        if let Verdict::Answer(answer) = judge(&zone(), &bytes, Over::Udp) {
            prop_assert!(answer.len() <= 512);
            prop_assert_eq!(&answer[..2], &bytes[..2]);
        }
    }
}
