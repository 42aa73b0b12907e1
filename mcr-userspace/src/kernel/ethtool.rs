//! What `ethtool` asks and sets: driver, queues, rings, offloads, hashing (linux/ethtool.h, through SIOCETHTOOL).

use std::{collections::BTreeMap, io};

use super::ifreq::Asker;

/// Taking an 802.1Q tag out of a received frame: `rx-vlan-offload` of `ethtool -k`.
pub const RX_VLAN_HW_PARSE: &str = "rx-vlan-hw-parse";
/// Leaving an 802.1Q tag beside a sent frame: `tx-vlan-offload` of `ethtool -k`.
pub const TX_VLAN_HW_INSERT: &str = "tx-vlan-hw-insert";

/// linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;

// linux/ethtool.h: commands.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// linux/ethtool.h: the set of strings that names the features.
const ETH_SS_FEATURES: u32 = 4;
/// linux/ethtool.h: bytes of a string of a set.
const ETH_GSTRING_LEN: usize = 32;
/// linux/ethtool.h: IPv4/UDP, of which ETHTOOL_GRXFH tells the hash.
const UDP_V4_FLOW: u32 = 0x02;
/// linux/ethtool.h: the source or the destination port is hashed.
const RXH_PORTS: u32 = 1 << 6 | 1 << 7;

/// Words of `struct ethtool_drvinfo`, and where in it the driver's name and the bus address are, 32 bytes each.
const DRVINFO_WORDS: usize = 49;
const DRVINFO_DRIVER: usize = 1;
const DRVINFO_BUS: usize = 25;

/// Driver and bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// The driver's name.
    pub name: String,
    /// Where the device is, such as a PCI address; empty where it is on no bus.
    pub bus: String,
}

/// Queues, as the driver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// That receive, in use.
    pub rx: u32,
    /// That transmit, in use.
    pub tx: u32,
    /// As many as there can be: that receive, that transmit, that do both.
    pub max: [u32; 3],
}

/// Descriptors of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Of each receive ring.
    pub rx: u32,
    /// As many as one can have.
    pub rx_max: u32,
}

/// One offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Whether it is on.
    pub on: bool,
    /// Whether it can be changed.
    pub changeable: bool,
}

/// Offloads by the kernel's names for them.
pub type Features = BTreeMap<String, Feature>;

/// One interface to ask and to set.
#[derive(Debug)]
pub struct Ethtool(Asker);

impl Ethtool {
    /// Asks about `name`; `ENODEV` where there is no such interface.
    pub fn new(name: &str) -> io::Result<Self> {
        Asker::new(name).map(Self)
    }

    pub(super) fn of(asker: Asker) -> Self {
        Self(asker)
    }

    pub(super) fn asker(&self) -> &Asker {
        &self.0
    }

    fn call(&self, words: &mut [u32]) -> io::Result<libc::c_int> {
        self.0.hand_over(SIOCETHTOOL, words)
    }

    /// Its driver.
    pub fn driver(&self) -> io::Result<Driver> {
        let mut info = [0; DRVINFO_WORDS];
        info[0] = ETHTOOL_GDRVINFO;
        self.call(&mut info)?;
        let string = |at: usize| text(&bytes(&info[at..at + ETH_GSTRING_LEN / size_of::<u32>()]));
        // The bridge says "N/A".
        Ok(Driver {
            name: string(DRVINFO_DRIVER),
            bus: Some(string(DRVINFO_BUS)).filter(|bus| bus != "N/A").unwrap_or_default(),
        })
    }

    /// Its queues.
    pub fn channels(&self) -> io::Result<Channels> {
        // struct ethtool_channels: the command, then max_{rx,tx,other,combined}, then {rx,tx,other,combined}.
        let mut channels = [ETHTOOL_GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
        self.call(&mut channels)?;
        let [_, max_rx, max_tx, _, max_combined, rx, tx, _, combined] = channels;
        Ok(Channels { rx: rx + combined, tx: tx + combined, max: [max_rx, max_tx, max_combined] })
    }

    /// Its rings.
    pub fn rings(&self) -> io::Result<Rings> {
        // struct ethtool_ringparam: the command, then {rx,rx_mini,rx_jumbo,tx}_max_pending, then the same _pending.
        let mut rings = [ETHTOOL_GRINGPARAM, 0, 0, 0, 0, 0, 0, 0, 0];
        self.call(&mut rings)?;
        let [_, rx_max, _, _, _, rx, ..] = rings;
        Ok(Rings { rx, rx_max })
    }

    /// Whether the receive queue of an IPv4/UDP packet depends on its ports, and not on its addresses alone; `None` where the driver
    /// does not choose by a hash.
    pub fn hashes_udp_ports(&self) -> io::Result<Option<bool>> {
        // struct ethtool_rxnfc up to `data`; the kernel reads and writes no more of it for this command.
        let mut hash = [ETHTOOL_GRXFH, UDP_V4_FLOW, 0, 0];
        self.call(&mut hash)?;
        let low = if cfg!(target_endian = "little") { hash[2] } else { hash[3] };
        Ok((low != 0).then_some(low & RXH_PORTS != 0))
    }

    /// All of its offloads.
    pub fn features(&self) -> io::Result<Features> {
        let names = self.feature_names()?;
        // struct ethtool_gfeatures: the command, the number of blocks, and for each block of 32 features four words: available,
        // requested, active, never_changed.
        let blocks = names.len().div_ceil(u32::BITS as usize);
        let mut words = vec![0; 2 + 4 * blocks];
        (words[0], words[1]) = (ETHTOOL_GFEATURES, blocks as u32);
        self.call(&mut words)?;
        let feature = |(i, name): (usize, String)| {
            let block = &words[2 + i / 32 * 4..][..4];
            let is = |word: u32| word & 1 << (i % 32) != 0;
            (name, Feature { on: is(block[2]), changeable: is(block[0]) && !is(block[3]) })
        };
        Ok(names.into_iter().enumerate().map(feature).filter(|(name, _)| !name.is_empty()).collect())
    }

    /// One offload; `None` where the kernel has none of that name.
    pub fn feature(&self, name: &str) -> io::Result<Option<Feature>> {
        Ok(self.features()?.get(name).copied())
    }

    /// Turns an offload on or off. Needs CAP_NET_ADMIN.
    ///
    /// # Errors
    ///
    /// The kernel has none of that name, refuses, or takes the wish and leaves the offload as it was.
    pub fn set_feature(&self, name: &str, on: bool) -> io::Result<()> {
        let names = self.feature_names()?;
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("this kernel has no offload {name}"));
        let at = names.iter().position(|known| known == name).ok_or_else(unknown)?;
        // struct ethtool_sfeatures: the command, the number of blocks, and for each block two words: valid, requested.
        let blocks = names.len().div_ceil(u32::BITS as usize);
        let mut words = vec![0; 2 + 2 * blocks];
        (words[0], words[1]) = (ETHTOOL_SFEATURES, blocks as u32);
        let bit = 1 << (at % 32);
        words[2 + at / 32 * 2] = bit;
        words[2 + at / 32 * 2 + 1] = if on { bit } else { 0 };
        self.call(&mut words)?;
        // A driver may not grant what the kernel noted as wished: what is so now is asked.
        match self.feature(name)? {
            Some(now) if now.on == on => Ok(()),
            _ => Err(io::Error::other(format!("the driver leaves {name} {}", if on { "off" } else { "on" }))),
        }
    }

    /// The names of the features, by their bit; the kernel has the same for all interfaces.
    fn feature_names(&self) -> io::Result<Vec<String>> {
        // struct ethtool_sset_info: the command, a reserved word, a mask of 64 bits, and a word for each set asked for.
        let mut info = [0; 5];
        info[0] = ETHTOOL_GSSET_INFO;
        info[if cfg!(target_endian = "little") { 2 } else { 3 }] = 1 << ETH_SS_FEATURES;
        self.call(&mut info)?;
        let count = info[4] as usize;
        // struct ethtool_gstrings: the command, the set, how many, and the strings.
        let mut words = vec![0; 3 + count * ETH_GSTRING_LEN / size_of::<u32>()];
        words[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
        self.call(&mut words)?;
        Ok(bytes(&words[3..]).chunks(ETH_GSTRING_LEN).map(text).collect())
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every machine has a loopback interface, and asking needs no privilege.
    #[test]
    fn features_of_the_loopback() {
        let lo = Ethtool::new("lo").expect("lo is there");
        let features = lo.features().expect("lo has features");
        assert_eq!(features.get(RX_VLAN_HW_PARSE).map(|feature| feature.on), Some(false), "{features:?}");
        assert_eq!(features.get("loopback"), Some(&Feature { on: true, changeable: false }));
        assert_eq!(lo.feature("no-such-offload").expect("asked"), None);
        let error = lo.set_feature("no-such-offload", true).expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn no_interface_of_that_name() {
        for name in ["no-such-if", "a-name-that-is-far-too-long", ""] {
            let error = Ethtool::new(name).expect_err(name);
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name}");
        }
    }
}
