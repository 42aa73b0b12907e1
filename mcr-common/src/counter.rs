//! The one name of every counter: in maps, `mcrctl stats`, Prometheus and the docs.

/// Defines a fieldless enum whose variants are counter names, in the order of their array slots.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of its array slot.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are: the length of an array of these counters.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in `stats`, Prometheus and the docs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

counters! {
    /// What the XDP program decided about a packet; each packet adds one to exactly one.
    Verdict {
        /// A rule takes it: redirected to the AF_XDP socket of this interface and queue.
        Steered = "steered",
        /// No rule asked for it: passed to the host.
        PassNoRule = "pass_no_rule",
        /// A fragment of a matched group: passed to the host.
        PassFragment = "pass_fragment",
        /// A group of some rule, under another VLAN tag than the rule's: passed to the host.
        PassVlan = "pass_vlan",
        /// Matched, but no socket serves this interface and queue: passed to the host.
        PassUnservedQueue = "pass_unserved_queue",
    }
}

counters! {
    /// Why a packet that was steered for a rule never reached the rule's outputs.
    RuleDrop {
        /// Lost between the XDP program and a worker: the RX ring or the fill ring was exhausted.
        RxRing = "rx_ring",
        /// Its rule was removed while the packet waited in a ring.
        RuleGone = "rule_gone",
        /// Bad IPv4 header checksum, or a length that does not fit the frame.
        Malformed = "malformed",
        /// Longer than a frame of the UMEM, or datagrams merged into a packet that cannot be split again.
        Oversize = "oversize",
        /// From an address that no datagram on a network may come from.
        MartianSource = "martian_source",
    }
}

counters! {
    /// Why a packet offered to an output was not sent there.
    OutputDrop {
        /// The TTL would have reached 0.
        TtlExpired = "ttl_expired",
        /// Larger than the egress interface's MTU.
        TooBig = "too_big",
        /// No free UMEM frame for this output's copy.
        NoFrame = "no_frame",
        /// The egress interface's TX ring was full.
        TxRingFull = "tx_ring_full",
        /// The kernel took the descriptor and refused to send it (no carrier, full queue of a peer).
        TxRefused = "tx_refused",
        /// The egress interface is down or absent.
        LinkDown = "link_down",
        /// `source = "interface"` on an interface without an IPv4 address.
        NoSource = "no_source",
    }
}
