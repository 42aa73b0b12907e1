//! All that a file can say beside its rules, as keys and values: mcrd reads these at its start alone.

use clap::ValueEnum;

use super::{Config, Daemon, Datapath, InterfaceConfig, Limits};

/// A key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as `datapath.profile`, `interface[eth0].membership`.
    pub key: String,
    /// What it was; `None`: it was not set.
    pub old: Option<String>,
    /// What it is; `None`: it is not set.
    pub new: Option<String>,
}

/// A key and its value; `None`: it has no default, and is not set.
type Setting = (String, Option<String>);

impl Config {
    /// Each key outside of `[[rule]]` with its value, defaults included, as it is written in the file, without quotes.
    pub fn settings(&self) -> Vec<Setting> {
        let Self { daemon, datapath, limits, interfaces, rules: _ } = self;
        let Daemon { control_socket, metrics_listen } = daemon;
        let Datapath { mode, profile, workers, cpu_reserve } = datapath;
        let Limits { rules, frames } = limits;
        let auto = |number: Option<u32>| Some(number.map_or("auto".to_owned(), |number| number.to_string()));
        let mut settings: Vec<Setting> = [
            ("daemon.control_socket", Some(control_socket.display().to_string())),
            ("daemon.metrics_listen", metrics_listen.map(|address| address.to_string())),
            ("datapath.mode", word(mode)),
            ("datapath.profile", word(profile)),
            ("datapath.workers", auto(workers.map(Into::into))),
            ("datapath.cpu_reserve", Some(cpu_reserve.to_string())),
            ("limits.rules", Some(rules.to_string())),
            ("limits.frames", auto(*frames)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        settings.extend(interfaces.iter().flat_map(of_interface));
        settings
    }

    /// The keys outside of `[[rule]]` that have another value in `new`.
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        // A table that is not there says what an empty one says.
        let with_all_of = |mine: &Self, others: &Self| {
            let is_mine = |name: &str| mine.interfaces.iter().any(|known| known.name == name);
            let lacking = others.interfaces.iter().filter(|other| !is_mine(&other.name));
            let empty = lacking.map(|other| InterfaceConfig::of(&other.name));
            Self { interfaces: mine.interfaces.iter().cloned().chain(empty).collect(), ..mine.clone() }.settings()
        };
        let (old, mut new) = (with_all_of(self, new), with_all_of(new, self));
        let differences = old.into_iter().filter_map(|(key, old)| {
            let at = new.iter().position(|(other, _)| *other == key)?;
            let new = new.swap_remove(at).1;
            (old != new).then_some(Difference { key, old, new })
        });
        differences.collect()
    }
}

impl InterfaceConfig {
    /// What holds for an interface that the file does not name.
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), mode: None, membership: Default::default(), rejoin: None }
    }
}

fn of_interface(interface: &InterfaceConfig) -> [Setting; 3] {
    let InterfaceConfig { name, mode, membership, rejoin } = interface;
    let key = |key: &str| format!("interface[{name}].{key}");
    [
        (key("mode"), mode.as_ref().and_then(word)),
        (key("membership"), word(membership)),
        (key("rejoin"), rejoin.map(|every| humantime::format_duration(every).to_string())),
    ]
}

/// As the file and the flags write it.
fn word<T: ValueEnum>(value: &T) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn told(old: &str, new: &str) -> Vec<String> {
        let config = |text| parse("f", text).expect("right").config;
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let differences = config(old).differences(&config(new)).into_iter();
        differences.map(|one| format!("{}: {} > {}", one.key, shown(one.old), shown(one.new))).collect()
    }

    #[test]
    fn each_key_is_compared_and_a_missing_one_is_its_default() {
        let all = "[daemon]\ncontrol_socket = \"/s\"\nmetrics_listen = \"127.0.0.1:1\"\n[datapath]\nmode = \"copy\"\nprofile = \"low-latency\"\nworkers = 2\ncpu_reserve = \"7%\"\n[limits]\nrules = 5\nframes = 20000\n[[interface]]\nname = \"e0\"\nmode = \"skb\"\nrejoin = \"30s\"\n[[interface]]\nname = \"e1\"\nmembership = \"none\"\n";
        let wanted = [
            "daemon.control_socket: /run/mcr/mcrd.sock > /s",
            "daemon.metrics_listen: - > 127.0.0.1:1",
            "datapath.mode: auto > copy",
            "datapath.profile: efficient > low-latency",
            "datapath.workers: auto > 2",
            "datapath.cpu_reserve: 5% > 7%",
            "limits.rules: 65536 > 5",
            "limits.frames: auto > 20000",
            "interface[e0].mode: - > skb",
            "interface[e0].rejoin: - > 30s",
            "interface[e1].membership: join > none",
        ];
        assert_eq!(told("", all), wanted);
        assert_eq!(told(all, all), [""; 0]);
        assert_eq!(told(all, "").len(), wanted.len());
        let defaults = "[daemon]\n[datapath]\nmode = \"auto\"\nworkers = \"auto\"\n[[interface]]\nname = \"e0\"\nmembership = \"join\"\n";
        assert_eq!(told("", defaults), [""; 0]);
    }
}
