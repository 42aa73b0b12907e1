//! Whether an interface is hardware: where it is not, senders behind it may leave UDP checksums to a NIC that is not there.

use std::io;

use super::{
    link::{self, Link},
    nic::Nic,
};

/// Buses of hardware. What is on another bus (`virtio`, `xen`, `vmbus`, `netdevsim`), or on none, is virtual: a veth, tap, bridge, bond,
/// macvlan or tunnel, whatever is below it. A macvlan on a NIC gets packets from its neighbours on the same NIC, which never cross a wire.
const HARDWARE_BUSES: [&str; 12] =
    ["pci", "usb", "platform", "auxiliary", "fsl-mc", "mdio_bus", "amba", "bcma", "ssb", "pcmcia", "mmc", "spi"];

/// Drivers of devices on those buses that are a hypervisor's, whose packets come from its other guests.
const VIRTUAL_DRIVERS: [&str; 2] = ["vmxnet3", "ivshmem-net"];

impl Nic {
    /// Whether frames that come in here may carry partial checksums (`CHECKSUM_PARTIAL`, include/linux/skbuff.h).
    ///
    /// A wrong yes costs one damaged packet in 65,535 its damage; a wrong no costs every packet of such a sender. So yes is the answer
    /// wherever the kernel does not say that there is hardware.
    pub fn leaves_partial_checksums(&self) -> bool {
        match link::of(self.ifindex) {
            Ok(link) => !is_hardware(&link, &self.driver),
            Err(error) => {
                tell(self, &error);
                true
            }
        }
    }
}

fn is_hardware(link: &Link, driver: &str) -> bool {
    HARDWARE_BUSES.contains(&link.bus.as_str()) && !VIRTUAL_DRIVERS.contains(&driver)
}

fn tell(nic: &Nic, error: &io::Error) {
    log::warn!("{}: whether it is hardware cannot be asked ({error}): UDP checksums are taken for partial", nic.name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_known_by_its_bus() {
        let on = |bus: &str| Link { bus: bus.to_owned(), ..Link::default() };
        for (bus, driver) in [("pci", "igb"), ("pci", "ixgbe"), ("usb", "r8152"), ("platform", "st_gmac")] {
            assert!(is_hardware(&on(bus), driver), "{driver}");
        }
        for (bus, driver) in [
            ("", "veth"),
            ("", "macvlan"),
            ("", "bonding"),
            ("", "no-such-driver"),
            ("virtio", "virtio_net"),
            ("xen", "vif"),
            ("vmbus", "hv_netvsc"),
            ("netdevsim", "netdevsim"),
            ("pci", "vmxnet3"),
        ] {
            assert!(!is_hardware(&on(bus), driver), "{driver}");
        }
    }

    #[test]
    fn the_loopback_is_virtual() {
        let lo = Nic::read("lo").expect("lo is there");
        assert!(lo.leaves_partial_checksums());
    }
}
