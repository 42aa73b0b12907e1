//! Whose fault it is: what happened to a load before the relay, in it, and behind it.
//!
//! The machine may take packets from a load before mcr sees them, or after mcr has sent them: then the trial is disturbed, and is made
//! again. What reached mcr and is lost there, doubled or damaged, is mcr's fault, and fails at once; but that rings overflowed while other
//! programs had the workers' CPUs is the machine's.

use anyhow::{Result, bail, ensure};

use crate::probe::Received;

/// A disturbed trial is made again, until there were so many.
const TRIALS: u32 = 3;
/// A sender paces by the clock and catches up. One that was slower than this part of its rate has not offered the load.
pub const REACHED: f64 = 0.95;

/// Makes trials until one finds nothing that disturbed it.
///
/// # Errors
/// The first error of a trial; the disturbances of the last where there were too many.
pub fn trials(mut trial: impl FnMut() -> Result<Vec<String>>) -> Result<()> {
    let mut disturbed = Vec::new();
    for number in 1..=TRIALS {
        disturbed = trial()?;
        if disturbed.is_empty() {
            return Ok(());
        }
        eprintln!("trial {number} was disturbed: {}", disturbed.join("; "));
    }
    bail!("each of {TRIALS} trials was disturbed, the last so: {}", disturbed.join("; "))
}

/// Other programs have the workers' CPUs for more than this part of the time: rings may overflow.
const STARVED: f64 = 0.05;
/// Frames of others that may come between two looks at counters.
const BETWEEN: u64 = 16;

/// What both ends and the relay say of one load.
#[derive(Clone, Debug)]
pub struct Account {
    /// Packets that were to be sent, and the rate.
    pub wanted: (u64, f64),
    /// Packets that the senders sent, and the rate.
    pub offered: (u64, f64),
    /// Frames that the relay's ingress took in, by its own counter.
    pub arrived: u64,
    /// Frames that the XDP program judged.
    pub judged: u64,
    /// UDP packets that the relay's host got.
    pub host: u64,
    /// Packets that rules matched.
    pub matched: u64,
    /// Of them, those that were lost in the kernel's rings.
    pub overflowed: u64,
    /// The part of the time in which workers waited for a CPU.
    pub starved: f64,
    /// Of what was matched, packets that were dropped before the outputs for any other reason.
    pub dropped: u64,
    /// Packets that outputs sent, by mcr's counters.
    pub sent: u64,
    /// Packets that outputs were offered and did not send.
    pub not_sent: u64,
    /// Frames that the egress interfaces sent, or dropped when their other end had no room, by their own counters.
    pub left: u64,
    /// Of what was sent, packets that the receivers are to get.
    pub due: u64,
    /// What the receivers say.
    pub received: Vec<Received>,
}

impl Account {
    /// What disturbed it, in words; nothing where every packet came exactly once, at its rate.
    ///
    /// # Errors
    /// All that is mcr's fault.
    pub fn judge(&self) -> Result<Vec<String>> {
        let faults = self.faults();
        ensure!(faults.is_empty(), "{}: {self:?}", faults.join("; "));
        Ok(self.disturbances())
    }

    fn faults(&self) -> Vec<String> {
        let of = |what: fn(&Received) -> u64| self.received.iter().map(what).sum::<u64>();
        let mut faults = Vec::new();
        let mut zero = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        zero(self.arrived.saturating_sub(self.judged + BETWEEN), "frames came in that the XDP program never judged");
        zero(self.host, "packets went to the relay's host though a rule matches them");
        zero(self.matched.saturating_sub(self.offered.0), "packets were matched that nobody sent");
        zero(self.dropped, "matched packets were dropped");
        let alone = if self.starved < STARVED { self.overflowed } else { 0 };
        zero(alone, "packets found the rings full though the workers had their CPUs");
        zero(self.not_sent, "packets were offered to outputs and not sent");
        zero(self.sent.saturating_sub(self.left), "packets are counted as sent that left no interface");
        zero(of(|one| one.duplicated), "packets came twice");
        zero(of(|one| one.foreign), "packets came that are of no stream");
        zero(of(|one| one.checksum_errors), "packets came with a bad checksum");
        faults
    }

    fn disturbances(&self) -> Vec<String> {
        let (offered, rate) = self.offered;
        let received = self.received.iter().map(|one| one.packets).sum::<u64>();
        let mut words = Vec::new();
        if offered != self.wanted.0 {
            words.push(format!("{offered} of {} packets were sent", self.wanted.0));
        }
        if rate < self.wanted.1 * REACHED {
            words.push(format!("only {rate:.0} of {:.0} packets a second were sent", self.wanted.1));
        }
        if offered > self.matched {
            words.push(format!("{} packets were lost before the relay", offered - self.matched));
        }
        if self.overflowed > 0 {
            let percent = 100.0 * self.starved;
            words.push(format!(
                "{} packets found the rings full while the workers waited for a CPU for {percent:.0} % of the time",
                self.overflowed
            ));
        }
        if received < self.due {
            let full: u64 = self.received.iter().map(|one| one.receiver_dropped).sum();
            words.push(format!(
                "{} packets were lost behind the relay, {full} of them at the receivers' own sockets",
                self.due - received
            ));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(packets: u64) -> Received {
        Received {
            packets,
            lost: 1_500_000 - packets,
            duplicated: 0,
            reordered: 0,
            foreign: 0,
            receiver_dropped: 0,
            checksum_errors: 0,
        }
    }

    /// As a run of the dual bridge left it. Beside the load there are ARP and IGMP.
    fn clean() -> Account {
        Account {
            wanted: (1_500_000, 150_000.0),
            offered: (1_500_000, 149_998.0),
            arrived: 1_500_052,
            judged: 1_500_052,
            host: 0,
            matched: 1_500_000,
            overflowed: 0,
            starved: 0.01,
            dropped: 0,
            sent: 1_500_000,
            not_sent: 0,
            left: 1_500_050,
            due: 1_500_000,
            received: vec![received(1_500_000)],
        }
    }

    #[test]
    fn all_came_once() {
        assert_eq!(clean().judge().expect("no fault"), Vec::<String>::new());
    }

    /// 179 packets were lost between the bridge and the relay, on a machine that did other work as well.
    #[test]
    fn what_never_reached_the_relay_disturbs() {
        let all = 1_500_000 - 179;
        let account = Account {
            arrived: 1_500_052 - 179,
            judged: 1_500_052 - 179,
            matched: all,
            sent: all,
            left: 1_500_050 - 179,
            due: all,
            received: vec![received(all)],
            ..clean()
        };
        assert_eq!(account.judge().expect("no fault"), ["179 packets were lost before the relay"]);
    }

    #[test]
    fn what_the_machine_loses_behind_the_relay_disturbs() {
        let account = Account { received: vec![received(1_499_990)], ..clean() };
        let disturbed = account.judge().expect("no fault");
        assert!(
            disturbed.len() == 1 && disturbed[0].starts_with("10 packets were lost behind the relay"),
            "{disturbed:?}"
        );
        let slow = Account { offered: (1_500_000, 120_000.0), ..clean() };
        assert_eq!(slow.judge().expect("no fault"), ["only 120000 of 150000 packets a second were sent"]);
    }

    /// A chain to eight outputs beside nine other busy programs on two CPUs.
    #[test]
    fn rings_that_overflow_while_others_have_the_cpu_disturb() {
        let through = 200_000 - 22_483;
        let account = Account {
            wanted: (200_000, 50_000.0),
            offered: (200_000, 49_998.8),
            arrived: 200_000,
            judged: 200_000,
            matched: 200_000,
            overflowed: 22_483,
            starved: 0.31,
            sent: 7 * through,
            left: 7 * through + 177_497,
            due: through,
            received: vec![received(through)],
            ..clean()
        };
        let disturbed = account.judge().expect("no fault");
        assert!(
            disturbed.len() == 1 && disturbed[0].starts_with("22483 packets found the rings full"),
            "{disturbed:?}"
        );
    }

    #[test]
    fn what_mcr_loses_or_doubles_fails_at_once() {
        let faults: [fn(&mut Account); 10] = [
            |account| account.judged -= 1 + BETWEEN,
            |account| account.host = 1,
            |account| account.matched += 1,
            |account| account.dropped = 1,
            |account| account.overflowed = 1,
            |account| account.not_sent = 1,
            |account| account.left = account.sent - 1,
            |account| account.received[0].duplicated = 1,
            |account| account.received[0].foreign = 1,
            |account| account.received[0].checksum_errors = 1,
        ];
        for (i, fault) in faults.iter().enumerate() {
            // A disturbance beside it is no excuse.
            let mut account = Account { received: vec![received(1_499_990)], ..clean() };
            fault(&mut account);
            assert!(account.judge().is_err(), "{i}");
        }
    }

    #[test]
    fn a_disturbed_trial_is_made_again_and_a_fault_is_not() {
        let mut made = 0;
        let after = |disturbed: u32| {
            move || {
                made += 1;
                Ok(if made <= disturbed { vec!["noise".to_owned()] } else { Vec::new() })
            }
        };
        assert!(trials(after(2)).is_ok());
        assert!(trials(after(3)).is_err());
        let mut made = 0;
        let failed = trials(|| {
            made += 1;
            bail!("a fault")
        });
        assert!(failed.is_err() && made == 1);
    }
}
