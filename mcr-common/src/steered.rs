//! What the XDP program writes as XDP metadata, right before the packet, for the worker that receives it.

/// The metadata of a packet, native byte order.
///
/// Its slot is the one whose counter the kernel has raised, so what a worker receives is set off against exactly that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Steered {
    /// [`Steered::TAG`] or the number of another [`Kind`] after it: tells metadata from what an earlier packet left there. The worker
    /// clears it once read.
    pub tag: u32,
    /// The rule's slot.
    pub slot: u32,
}

/// What the packet behind the metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// One datagram, whole.
    Whole = 0,
    /// The headers alone of a packet that is too long for a frame of the UMEM, or of several datagrams that cannot be told apart.
    Cut = 1,
    /// Several datagrams of one flow, merged under one header. [`Merged`] lies before the metadata.
    Merged = 2,
}

impl Steered {
    /// Not a value that headroom holds by chance; nothing but the program and the worker writes there.
    pub const TAG: u32 = 0x6d63_7221;
    /// Bytes of the metadata.
    pub const LEN: usize = 8;

    /// The metadata of a packet that was steered for a slot.
    #[inline(always)]
    pub const fn new(kind: Kind, slot: u32) -> Self {
        Self { tag: Self::TAG + kind as u32, slot }
    }

    /// The metadata as it lies before the packet.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let ([a, b, c, d], [e, f, g, h]) = (self.tag.to_ne_bytes(), self.slot.to_ne_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// Reads metadata; `None` where no program wrote any.
    #[inline(always)]
    pub const fn read(bytes: [u8; Self::LEN]) -> Option<(Kind, u32)> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let kind = match u32::from_ne_bytes([a, b, c, d]).wrapping_sub(Self::TAG) {
            0 => Kind::Whole,
            1 => Kind::Cut,
            2 => Kind::Merged,
            _ => return None,
        };
        Some((kind, u32::from_ne_bytes([e, f, g, h])))
    }
}

/// How the datagrams of a merged packet are told apart; native byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Merged {
    /// Bytes of payload of each datagram but the last, which may have fewer.
    pub size: u32,
    /// Datagrams: the rule's counter was raised by so many.
    pub count: u32,
}

impl Merged {
    /// Bytes before the [`Steered`].
    pub const LEN: usize = 8;

    /// The datagrams of `payload` bytes in pieces of `size` bytes, which is not 0.
    #[inline(always)]
    pub const fn of(payload: u32, size: u32) -> Self {
        let count = payload.div_ceil(size);
        Self { size, count: if count == 0 { 1 } else { count } }
    }

    /// Reads the bytes before a [`Steered`] of [`Kind::Merged`].
    #[inline(always)]
    pub const fn read(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { size: u32::from_ne_bytes([a, b, c, d]), count: u32::from_ne_bytes([e, f, g, h]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_as_written() {
        for kind in [Kind::Whole, Kind::Cut, Kind::Merged] {
            assert_eq!(Steered::read(Steered::new(kind, 77).to_bytes()), Some((kind, 77)));
        }
        assert_eq!(Steered::read([0; Steered::LEN]), None);
        assert_eq!(Steered::read(Steered { tag: Steered::TAG + 3, slot: 7 }.to_bytes()), None);
    }

    #[test]
    fn as_many_datagrams_as_pieces() {
        for (payload, size, count) in
            [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (9_212, 1_316, 7), (65_507, 1, 65_507)]
        {
            assert_eq!(Merged::of(payload, size), Merged { size, count });
        }
    }
}
