//! A part of a CPU, in percent.

use std::{fmt, str::FromStr};

/// What workers leave of their CPUs to others that want them: a whole number of percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuReserve(u8);

impl CpuReserve {
    /// Most that can be reserved, in percent: beyond, it is not the worker that goes first.
    const MOST: u8 = 50;

    /// In percent.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// As a part of 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl Default for CpuReserve {
    fn default() -> Self {
        Self(5)
    }
}

impl fmt::Display for CpuReserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for CpuReserve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let percent = digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= Self::MOST);
        percent.map(Self).ok_or_else(|| format!("write a part of a CPU from \"0%\" to \"{}%\"", Self::MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents() {
        for percent in [0, 5, 50] {
            let reserve: CpuReserve = format!("{percent}%").parse().expect("in order");
            assert_eq!((reserve.percent(), reserve.to_string()), (percent, format!("{percent}%")));
        }
        for wrong in ["", "%", "5", "51%", "-1%", "+5%", "5 %", "5%%", "0.5%", "999%", "five%"] {
            assert!(wrong.parse::<CpuReserve>().is_err(), "{wrong:?}");
        }
    }
}
