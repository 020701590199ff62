//! How long entries live, as net.netfilter.nf_conntrack_*_timeout* have it (Documentation/networking/nf_conntrack-sysctl.rst).

use super::tcp::State;

/// Timeouts in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    pub(super) udp: u32,
    pub(super) udp_stream: u32,
    pub(super) icmp: u32,
    pub(super) icmpv6: u32,
    pub(super) generic: u32,
    /// An INIT and its answer are all of SCTP that is modelled.
    pub(super) sctp_cookie_wait: u32,
    syn_sent: u32,
    syn_recv: u32,
    established: u32,
    fin_wait: u32,
    close_wait: u32,
    last_ack: u32,
    time_wait: u32,
    close: u32,
    pub(super) retransmission: u32,
    pub(super) unacknowledged: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            udp: 30,
            udp_stream: 120,
            icmp: 30,
            icmpv6: 30,
            generic: 600,
            sctp_cookie_wait: 3,
            syn_sent: 120,
            syn_recv: 60,
            established: 432_000,
            fin_wait: 120,
            close_wait: 60,
            last_ack: 30,
            time_wait: 120,
            close: 10,
            retransmission: 300,
            unacknowledged: 300,
        }
    }
}

impl Timeouts {
    /// The one that a setting is of, by what follows `nf_conntrack_`.
    pub(crate) fn named(&mut self, setting: &str) -> Option<&mut u32> {
        Some(match setting {
            "udp_timeout" => &mut self.udp,
            "udp_timeout_stream" => &mut self.udp_stream,
            "icmp_timeout" => &mut self.icmp,
            "icmpv6_timeout" => &mut self.icmpv6,
            "generic_timeout" => &mut self.generic,
            "sctp_timeout_cookie_wait" => &mut self.sctp_cookie_wait,
            "tcp_timeout_syn_sent" => &mut self.syn_sent,
            "tcp_timeout_syn_recv" => &mut self.syn_recv,
            "tcp_timeout_established" => &mut self.established,
            "tcp_timeout_fin_wait" => &mut self.fin_wait,
            "tcp_timeout_close_wait" => &mut self.close_wait,
            "tcp_timeout_last_ack" => &mut self.last_ack,
            "tcp_timeout_time_wait" => &mut self.time_wait,
            "tcp_timeout_close" => &mut self.close,
            "tcp_timeout_max_retrans" => &mut self.retransmission,
            "tcp_timeout_unacknowledged" => &mut self.unacknowledged,
            _ => return None,
        })
    }

    /// That of a connection in a state; the second SYN_SENT has no setting.
    pub(super) const fn of(&self, state: State) -> u32 {
        match state {
            State::None | State::SynSent2 => 120,
            State::SynSent => self.syn_sent,
            State::SynRecv => self.syn_recv,
            State::Established => self.established,
            State::FinWait => self.fin_wait,
            State::CloseWait => self.close_wait,
            State::LastAck => self.last_ack,
            State::TimeWait => self.time_wait,
            State::Close => self.close,
        }
    }
}
