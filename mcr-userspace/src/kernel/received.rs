//! How many packets an interface has received, as its driver counts them.

use std::fs;

/// Packets received, and those that the NIC had no room for: `/proc/net/dev`, packets and what stands under drop and fifo. `None` where
/// there is no such interface.
pub fn packets(interface: &str) -> Option<u64> {
    find(&fs::read_to_string("/proc/net/dev").ok()?, interface)
}

fn find(table: &str, interface: &str) -> Option<u64> {
    let of = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        // bytes, packets, errs, drop, fifo
        let numbers: Vec<u64> = numbers.split_whitespace().map_while(|number| number.parse().ok()).take(5).collect();
        (name.trim() == interface).then_some(numbers)
    };
    match table.lines().find_map(of)?[..] {
        [_, packets, _, dropped, fifo] => Some(packets + dropped + fifo),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn what_came_and_what_found_no_room() {
        let table = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1024       8    0    0    0     0          0         0     1024       8    0    0    0     0       0          0
  eth0: 52000    400    1    30   5     0          0       390      840      10    0    0    0     0       0          0
";
        assert_eq!(find(table, "eth0"), Some(435));
        assert_eq!(find(table, "lo"), Some(8));
        assert_eq!(find(table, "eth"), None);
    }
}
