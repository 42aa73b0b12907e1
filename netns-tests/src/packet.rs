//! A UDP packet by its values, and the frame that etherparse writes of them: what a test sends and what it expects.

use std::net::Ipv4Addr;

use etherparse::{
    EtherType, Ethernet2Header, IpDscp, IpEcn, IpNumber, Ipv4Header, SingleVlanHeader, UdpHeader, VlanId, VlanPcp,
    checksum::Sum16BitWords,
};

/// Whether a frame without a tag carries UDP to a group of 239.0.0.0/8, as the streams of tests do.
pub fn is_stream(frame: &[u8]) -> bool {
    frame.len() > 42 && frame[12..14] == [8, 0] && frame[23] == 17 && frame[30] == 239
}

/// A packet in an Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source Ethernet address.
    pub from_mac: [u8; 6],
    /// Destination Ethernet address.
    pub to_mac: [u8; 6],
    /// 802.1Q tag.
    pub tag: Option<Tag>,
    /// Six bits of the old type of service.
    pub dscp: u8,
    /// The other two.
    pub ecn: u8,
    /// Identification.
    pub id: u16,
    /// DF.
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// IP options, whole words.
    pub options: Vec<u8>,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub group: Ipv4Addr,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub port: u16,
    /// UDP payload.
    pub payload: Vec<u8>,
    /// Bytes of the IP packet behind the datagram, which its UDP length leaves out.
    pub behind: Vec<u8>,
    /// Its UDP checksum.
    pub checksum: Checksum,
}

/// An 802.1Q tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Priority code point.
    pub priority: u8,
    /// Drop eligible.
    pub drop_eligible: bool,
    /// VLAN ID.
    pub id: u16,
}

/// What stands in the UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The right one; a computed 0 is all ones.
    Right,
    /// None.
    Zero,
    /// Off by so much from the right one, in one's complement.
    Damaged(u16),
    /// The pseudo-header's folded sum alone, as senders leave it on a virtual interface.
    Partial,
}

/// The Ethernet address of a group (RFC 1112, section 6.4).
pub fn group_mac(group: Ipv4Addr) -> [u8; 6] {
    let [_, b, c, d] = group.octets();
    [0x01, 0x00, 0x5e, b & 0x7f, c, d]
}

impl Packet {
    /// An untagged packet to `group` and `port`, with a payload of 32 bytes and a right checksum.
    pub fn new(group: Ipv4Addr, port: u16) -> Self {
        Self {
            from_mac: [0x02, 0, 0, 0, 0, 0x77],
            to_mac: group_mac(group),
            tag: None,
            dscp: 0,
            ecn: 0,
            id: 0,
            dont_fragment: false,
            ttl: 16,
            options: Vec::new(),
            source: Ipv4Addr::new(192, 0, 2, 7),
            group,
            source_port: 7777,
            port,
            payload: (0..32).collect(),
            behind: Vec::new(),
            checksum: Checksum::Right,
        }
    }

    /// The right UDP checksum, all ones where it is computed as 0.
    pub fn right_checksum(&self) -> u16 {
        let (source, group) = (self.source.octets(), self.group.octets());
        self.udp().calc_checksum_ipv4_raw(source, group, &self.payload).expect("it fits")
    }

    /// Makes the first two bytes of the payload such that the right checksum is computed as 0.
    pub fn balance(&mut self) {
        self.payload[..2].fill(0);
        let rest = self.right_checksum();
        self.payload[..2].copy_from_slice(&rest.to_be_bytes());
    }

    /// The IPv4 header, its own checksum right.
    pub fn ip(&self) -> Ipv4Header {
        let (source, group) = (self.source.octets(), self.group.octets());
        let mut ip = Ipv4Header::new(0, self.ttl, IpNumber::UDP, source, group).expect("it fits");
        ip.dscp = IpDscp::try_new(self.dscp).expect("six bits");
        ip.ecn = IpEcn::try_new(self.ecn).expect("two bits");
        ip.identification = self.id;
        ip.dont_fragment = self.dont_fragment;
        ip.options = self.options.as_slice().try_into().expect("whole words");
        ip.set_payload_len(8 + self.payload.len() + self.behind.len()).expect("it fits");
        ip.header_checksum = ip.calc_header_checksum();
        ip
    }

    /// The frame, from the Ethernet header to the end of the IP packet.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let ether_type = if self.tag.is_some() { EtherType::VLAN_TAGGED_FRAME } else { EtherType::IPV4 };
        frame.extend(Ethernet2Header { source: self.from_mac, destination: self.to_mac, ether_type }.to_bytes());
        if let Some(Tag { priority, drop_eligible, id }) = self.tag {
            let tag = SingleVlanHeader {
                pcp: VlanPcp::try_new(priority).expect("three bits"),
                drop_eligible_indicator: drop_eligible,
                vlan_id: VlanId::try_new(id).expect("twelve bits"),
                ether_type: EtherType::IPV4,
            };
            frame.extend(tag.to_bytes());
        }
        frame.extend(self.ip().to_bytes());
        frame.extend(UdpHeader { checksum: self.checksum(), ..self.udp() }.to_bytes());
        frame.extend(&self.payload);
        frame.extend(&self.behind);
        frame
    }

    fn udp(&self) -> UdpHeader {
        UdpHeader {
            source_port: self.source_port,
            destination_port: self.port,
            length: 8 + self.payload.len() as u16,
            checksum: 0,
        }
    }

    fn checksum(&self) -> u16 {
        match self.checksum {
            Checksum::Right => self.right_checksum(),
            Checksum::Zero => 0,
            Checksum::Damaged(by) => match (u32::from(self.right_checksum()) + u32::from(by)) % 0xffff {
                0 => 0xffff,
                sum => sum as u16,
            },
            Checksum::Partial => {
                let sum = Sum16BitWords::new().add_4bytes(self.source.octets()).add_4bytes(self.group.octets());
                !sum.add_2bytes([0, 17]).add_2bytes(self.udp().length.to_be_bytes()).ones_complement().to_be()
            }
        }
    }
}
