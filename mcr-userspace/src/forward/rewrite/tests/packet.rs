//! A packet by its values, and its bytes as etherparse writes them.

use super::*;

/// A packet by its values.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from_mac: [u8; 6],
    pub(super) to_mac: [u8; 6],
    /// Priority, drop eligibility, VLAN ID.
    pub(super) tag: Option<(u8, bool, u16)>,
    pub(super) dscp: u8,
    pub(super) ecn: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    pub(super) ttl: u8,
    pub(super) options: Vec<u8>,
    pub(super) source: u32,
    pub(super) group: u32,
    pub(super) ports: (u16, u16),
    pub(super) payload: Vec<u8>,
    /// Bytes of the IP packet behind the datagram, which its UDP length leaves out.
    pub(super) behind: Vec<u8>,
}

/// What the UDP checksum of a packet is when it comes in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Checksum {
    Right,
    Zero,
    /// Off by so much.
    Damaged(u16),
    /// The pseudo-header's sum alone.
    Partial,
}

impl Packet {
    pub(super) fn udp(&self) -> UdpHeader {
        UdpHeader {
            source_port: self.ports.0,
            destination_port: self.ports.1,
            length: 8 + self.payload.len() as u16,
            checksum: 0,
        }
    }

    pub(super) fn right_checksum(&self) -> u16 {
        let (source, group) = (self.source.to_be_bytes(), self.group.to_be_bytes());
        self.udp().calc_checksum_ipv4_raw(source, group, &self.payload).expect("it fits")
    }

    pub(super) fn partial_checksum(&self) -> u16 {
        let sum = Sum16BitWords::new().add_4bytes(self.source.to_be_bytes()).add_4bytes(self.group.to_be_bytes());
        !sum.add_2bytes([0, 17]).add_2bytes(self.udp().length.to_be_bytes()).ones_complement().to_be()
    }

    /// Makes the first two bytes of the payload such that the checksum is computed as 0.
    pub(super) fn balance(&mut self) {
        if let Some(word) = self.payload.first_chunk_mut::<2>() {
            *word = [0, 0];
            let rest = self.right_checksum();
            self.payload[..2].copy_from_slice(&rest.to_be_bytes());
        }
    }

    pub(super) fn bytes(&self, checksum: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let ether_type = if self.tag.is_some() { EtherType::VLAN_TAGGED_FRAME } else { EtherType::IPV4 };
        let ethernet = Ethernet2Header { source: self.from_mac, destination: self.to_mac, ether_type };
        bytes.extend(ethernet.to_bytes());
        if let Some((priority, drop_eligible_indicator, id)) = self.tag {
            let tag = SingleVlanHeader {
                pcp: VlanPcp::try_new(priority).expect("three bits"),
                drop_eligible_indicator,
                vlan_id: VlanId::try_new(id).expect("twelve bits"),
                ether_type: EtherType::IPV4,
            };
            bytes.extend(tag.to_bytes());
        }
        let (source, group) = (self.source.to_be_bytes(), self.group.to_be_bytes());
        let mut ip = Ipv4Header::new(0, self.ttl, IpNumber::UDP, source, group).expect("it fits");
        ip.dscp = IpDscp::try_new(self.dscp).expect("six bits");
        ip.ecn = IpEcn::try_new(self.ecn).expect("two bits");
        ip.identification = self.id;
        ip.dont_fragment = self.dont_fragment;
        ip.options = self.options.as_slice().try_into().expect("whole words");
        ip.set_payload_len(8 + self.payload.len() + self.behind.len()).expect("it fits");
        ip.header_checksum = ip.calc_header_checksum();
        bytes.extend(ip.to_bytes());
        bytes.extend(UdpHeader { checksum, ..self.udp() }.to_bytes());
        bytes.extend(&self.payload);
        bytes.extend(&self.behind);
        bytes
    }
}
