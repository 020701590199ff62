//! The file (IETF draft-ietf-opsawg-pcapng).

use core::time::Duration;
use std::borrow::Cow;
use std::io::Write;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock as _, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapResult};
use seatrial_core::probe::Way;

use super::{Capture, Interface, Seen};

/// Who wrote it.
const PROGRAM: &str = concat!("seatrial ", env!("CARGO_PKG_VERSION"));
/// Units of time: a thousand millionth of a second (if_tsresol).
const NANOSECONDS: u8 = 9;
/// A frame's way in the flags of its block (epb_flags).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

pub(super) fn write(capture: &Capture, out: impl Write) -> PcapResult<()> {
    // The same bytes on every machine, whatever its own byte order.
    let options = vec![SectionHeaderOption::UserApplication(PROGRAM.into())];
    let section = SectionHeaderBlock { endianness: Endianness::Little, options, ..Default::default() };
    let mut file = PcapNgWriter::with_section_header(out, section)?;
    for device in &capture.interfaces {
        file.write_block(&interface(device).into_block())?;
    }
    for seen in &capture.frames {
        file.write_block(&frame(seen).into_block())?;
    }
    file.into_inner().flush().map_err(pcap_file::PcapError::IoError)
}

fn interface(interface: &Interface) -> InterfaceDescriptionBlock<'_> {
    let options = vec![
        InterfaceDescriptionOption::IfName(Cow::Borrowed(&interface.name)),
        InterfaceDescriptionOption::IfDescription(Cow::Borrowed(interface.kind)),
        InterfaceDescriptionOption::IfMacAddr(Cow::Borrowed(&interface.mac.0)),
        InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
    ];
    InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options }
}

fn frame(seen: &Seen) -> EnhancedPacketBlock<'_> {
    let way = match seen.way {
        Way::In => INBOUND,
        Way::Out | Way::Both => OUTBOUND,
    };
    let comments = seen.comments.iter().map(|text| EnhancedPacketOption::Comment(Cow::Borrowed(text)));
    EnhancedPacketBlock {
        interface_id: seen.interface,
        timestamp: Duration::from_micros(seen.at_us),
        original_len: u32::try_from(seen.bytes.len()).unwrap_or(u32::MAX),
        data: Cow::Borrowed(&seen.bytes),
        options: comments.chain([EnhancedPacketOption::Flags(way)]).collect(),
    }
}
