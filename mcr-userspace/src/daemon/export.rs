//! What runs, as a configuration file.

use std::fmt::Write;

use clap::ValueEnum;
use toml_edit::Value;

use super::{options::Options, retire::Shared};
use crate::{
    config::{Config, DEFAULT_SOCKET, Daemon, Datapath, InterfaceConfig, Limits, Membership},
    control::protocol::Response,
    rules::{order::natural, persist::rule_table, rule::Rule, spec::RuleSpec},
};

impl Shared {
    /// The file that a daemon would run as this one does with.
    pub(super) fn export(&self) -> Response {
        let (options, mut rules) = {
            let state = self.lock();
            (state.options.clone(), state.set.iter().cloned().collect::<Vec<_>>())
        };
        rules.sort_by(|a, b| natural(&a.name, &b.name));
        Response::Exported { config: text(&options, &rules) }
    }
}

/// A file with all that these options and rules differ in from the defaults; the defaults as comments.
fn text(options: &Options, rules: &[Rule]) -> String {
    let Config { daemon, datapath, limits, interfaces, .. } = &options.config;
    let mut text = format!("# What mcrd {} ran with, written by `mcrctl export`.\n", env!("CARGO_PKG_VERSION"));
    for (flag, names) in [("--iface-in", &options.iface_in), ("--iface-out", &options.iface_out)] {
        for name in names {
            line(&mut text, &format!("# Started with {flag} {name}, which a file cannot say."));
        }
    }
    sections(&mut text, daemon, datapath, limits);
    for interface in interfaces {
        line(&mut text, "\n[[interface]]");
        one_interface(&mut text, interface);
    }
    for rule in rules {
        line(&mut text, "\n[[rule]]");
        text += &rule_table(&RuleSpec::from(rule).plain()).to_string();
    }
    text
}

fn sections(text: &mut String, daemon: &Daemon, datapath: &Datapath, limits: &Limits) {
    let auto = |number: Option<u32>| number.map(|number| Value::from(i64::from(number)));
    line(text, "\n[daemon]");
    let socket = daemon.control_socket.to_string_lossy();
    key(text, "control_socket", Some(socket.as_ref()).filter(|path| *path != DEFAULT_SOCKET), DEFAULT_SOCKET);
    key(text, "metrics_listen", daemon.metrics_listen.map(|address| address.to_string()), "127.0.0.1:9469");
    line(text, "\n[datapath]");
    let defaults = Datapath::default();
    let mode = Some(word(&datapath.mode)).filter(|_| datapath.mode != defaults.mode);
    key(text, "mode", mode, word(&defaults.mode));
    let profile = Some(word(&datapath.profile)).filter(|_| datapath.profile != defaults.profile);
    key(text, "profile", profile, word(&defaults.profile));
    key(text, "workers", auto(datapath.workers.map(Into::into)), "auto");
    let reserve = Some(datapath.cpu_reserve).filter(|reserve| *reserve != defaults.cpu_reserve);
    key(text, "cpu_reserve", reserve.map(|reserve| reserve.to_string()), defaults.cpu_reserve.to_string());
    line(text, "\n[limits]");
    let most = Limits::default().rules;
    let number = |rules: u32| Value::from(i64::from(rules));
    key(text, "rules", Some(limits.rules).filter(|rules| *rules != most).map(number), number(most));
    key(text, "frames", auto(limits.frames), "auto");
}

fn one_interface(text: &mut String, interface: &InterfaceConfig) {
    let InterfaceConfig { name, mode, membership, rejoin } = interface;
    let mut put = |key: &str, value: Value| line(text, &format!("{key} = {value}"));
    put("name", name.as_str().into());
    if let Some(mode) = mode {
        put("mode", word(mode).into());
    }
    if *membership != Membership::default() {
        put("membership", word(membership).into());
    }
    if let Some(rejoin) = rejoin {
        put("rejoin", humantime::format_duration(*rejoin).to_string().into());
    }
}

/// `key = value`, or the default as a comment.
fn key(text: &mut String, key: &str, value: Option<impl Into<Value>>, default: impl Into<Value>) {
    match value {
        Some(value) => line(text, &format!("{key} = {}", value.into())),
        None => line(text, &format!("# {key} = {}", default.into())),
    }
}

fn line(text: &mut String, line: &str) {
    // A String takes what is written.
    writeln!(text, "{line}").ok();
}

/// As the file has it.
fn word<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{config::parse, daemon::options::Args};

    fn exported(config: &str) -> (Config, String) {
        let config = parse("f", config).expect("right").config;
        let args = Args::parse_from(["mcrd", "--iface-in", "e0"]);
        let mut options = Options::from_args(args).expect("no file");
        options.config = config.clone();
        let text = text(&options, &config.rules);
        (config, text)
    }

    #[test]
    fn defaults_are_comments() {
        let (config, text) = exported("");
        assert_eq!(parse("f", &text).expect("right").config, config);
        let bare = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect::<Vec<_>>();
        assert_eq!(bare, ["[daemon]", "[datapath]", "[limits]"], "{text}");
        // Each is the default that the file has: uncommented it changes nothing.
        let plain = text.replace("\n# metrics_listen", "\n#metrics_listen").replace("\n# ", "\n");
        let plain = plain.replace("Started with", "# Started with");
        assert_eq!(parse("f", &plain).expect("right").config, config, "{plain}");
    }

    #[test]
    fn every_key_comes_back() {
        let (config, text) = exported(
            r#"
            [daemon]
            control_socket = "/tmp/a \"socket\""
            metrics_listen = "[::1]:9469"
            [datapath]
            mode = "copy"
            profile = "low-latency"
            workers = 2
            cpu_reserve = "10%"
            [limits]
            rules = 100
            frames = 4096
            [[interface]]
            name = "e0"
            mode = "skb"
            rejoin = "1m 30s"
            [[interface]]
            name = "e1"
            membership = "allmulticast"
            [[rule]]
            name = "odd\"'\\#[=]\u00e9"
            description = "the \"main\" feed, isn't it? \\ # ]"
            stall_after = "1500ms"
            enabled = false
            match = { interface = "e0", group = "239.1.1.0/28", port = "5001-5050", source = "10.0.0.0/8", vlan = 7 }
            output = [{ name = "x'\"y", interface = "e1", group = "239.10.1.0", port = 6001, source = "keep", ttl = 16, dscp = 0, vlan = "keep" }]
            [[rule]]
            match = { interface = "e0", group = "239.1.2.1" }
            output = [{ interface = "e1", source = "10.0.0.7", ttl = "keep", vlan = 9 }, { interface = "e2" }]
            "#,
        );
        let again = parse("f", &text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        assert_eq!(again.config, config, "{text}");
    }
}
