//! The interrupts of a device, and the CPUs that serve them.

use std::fs;

/// An interrupt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interrupt {
    /// Its number in /proc/irq.
    pub number: u32,
    /// Who asked for it, as /proc/interrupts says: `eth0-TxRx-0`, `virtio2-input.0`.
    pub name: String,
    /// The CPUs that serve it, as a list: `0`, `0-3,8`.
    pub cpus: String,
}

/// The message-signalled interrupts of an interface's device; none for one that has no device.
pub fn of(interface: &str) -> Vec<Interrupt> {
    let table = fs::read_to_string("/proc/interrupts").unwrap_or_default();
    // A virtio device has those of the PCI device above it.
    let lists = ["device", "device/.."].map(|at| fs::read_dir(format!("/sys/class/net/{interface}/{at}/msi_irqs")));
    let numbers = lists.into_iter().find_map(Result::ok).into_iter().flatten();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<Interrupt> = numbers
        .filter_map(|number| Some(Interrupt { number, name: name_in(&table, number)?, cpus: cpus(number) }))
        .collect();
    found.sort_by_key(|interrupt| interrupt.number);
    found
}

fn cpus(number: u32) -> String {
    let read =
        |file: &str| fs::read_to_string(format!("/proc/irq/{number}/{file}")).unwrap_or_default().trim().to_owned();
    // Where it may go; of several places, where it goes. The latter is late: it changes with the next interrupt.
    let (may, goes) = (read("smp_affinity_list"), read("effective_affinity_list"));
    if goes.is_empty() || (!may.is_empty() && !may.contains([',', '-'])) { may } else { goes }
}

/// The last column of an interrupt's line.
fn name_in(table: &str, number: u32) -> Option<String> {
    let key = format!("{number}:");
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(&key))?;
    line.split_whitespace().last().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn names() {
        let table = "           CPU0       CPU1\n 38:          0      13326 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0\nNMI:          0          0   Non-maskable interrupts\n";
        assert_eq!(name_in(table, 38).as_deref(), Some("virtio2-input.0"));
        assert_eq!(name_in(table, 3), None);
    }
}
