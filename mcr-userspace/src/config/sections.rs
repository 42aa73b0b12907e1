//! The sections beside the rules.

use std::{collections::HashMap, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::ValueEnum;

use super::{
    CpuReserve, Daemon, Datapath, InterfaceConfig, Limits, Membership,
    problem::Report,
    table::{At, Table},
};
use crate::rules::{
    spec::Scalar,
    value::{self, shown},
};

/// Most rules that a limit may allow, workers, and UMEM frames of a worker: past these it is a slip of the pen.
const MAX_RULES: i64 = 1 << 20;
/// Most workers.
pub const MAX_WORKERS: i64 = 1024;
const MAX_FRAMES: i64 = 1 << 24;
/// `sun_path` less its final NUL, unix(7).
const MAX_SOCKET_PATH: usize = 107;
/// How often memberships may be repeated: at each look around at most, and before a switch's own hour of patience ends.
const REJOIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];

pub(super) fn read_daemon(mut table: Table<'_>, report: &mut Report) -> Daemon {
    let mut daemon = Daemon::default();
    if let Some(At { value, at }) = table.text("control_socket", report) {
        let path = match value.len() {
            0 => Err("is empty; give the path of a socket, or leave it out".to_owned()),
            1..=MAX_SOCKET_PATH => Ok(PathBuf::from(value)),
            long => Err(format!("is {long} bytes long; a socket's path has at most {MAX_SOCKET_PATH}")),
        };
        daemon.control_socket = report.take(at, &table.key("control_socket"), path).unwrap_or(daemon.control_socket);
    }
    if let Some(At { value, at }) = table.text("metrics_listen", report) {
        daemon.metrics_listen = report.take(at, &table.key("metrics_listen"), value.parse());
    }
    table.finish(report);
    daemon
}

pub(super) fn read_datapath(mut table: Table<'_>, report: &mut Report) -> Datapath {
    let mut datapath = Datapath {
        mode: choice(&mut table, "mode", report).unwrap_or_default(),
        profile: choice(&mut table, "profile", report).unwrap_or_default(),
        workers: auto_or(&mut table, "workers", MAX_WORKERS, report).and_then(NonZeroU32::new),
        cpu_reserve: CpuReserve::default(),
    };
    if let Some(At { value, at }) = table.text("cpu_reserve", report) {
        let reserve = value.parse().map_err(|error| format!("`{}`: {error}", shown(&value)));
        datapath.cpu_reserve = report.take(at, &table.key("cpu_reserve"), reserve).unwrap_or_default();
    }
    table.finish(report);
    datapath
}

pub(super) fn read_limits(mut table: Table<'_>, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    if let Some(At { value, at }) = table.scalar("rules", report) {
        let rules = value::number(&value, 1, MAX_RULES, "a number of rules");
        limits.rules = report.take(at, &table.key("rules"), rules).map_or(limits.rules, |rules| rules as u32);
    }
    limits.frames = auto_or(&mut table, "frames", MAX_FRAMES, report);
    table.finish(report);
    limits
}

pub(super) fn read_interfaces(tables: Vec<Table<'_>>, report: &mut Report) -> Vec<InterfaceConfig> {
    let mut interfaces = Vec::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    for mut table in tables.into_iter().filter(Table::is_table) {
        let key = table.key("name");
        let before = report.count();
        let name = match table.text("name", report) {
            Some(At { value, at }) => report.take(at, &key, value::interface(&value)).map(|name| (name, at)),
            None if report.since(before).covers(&key) => None,
            None => {
                report.missing(table.at(), key.as_str(), "is missing; name the interface");
                None
            }
        };
        let mode = choice(&mut table, "mode", report);
        let membership = choice(&mut table, "membership", report).unwrap_or_default();
        let rejoin = rejoin(&mut table, membership, report);
        if let Some((name, at)) = name {
            if let Some(first) = seen.get(&name) {
                report.problem(
                    at,
                    key.as_str(),
                    format!("`{name}` was already given at {first}; make one table of both"),
                );
            }
            seen.entry(name.clone()).or_insert(key);
            interfaces.push(InterfaceConfig { name, mode, membership, rejoin });
        }
        table.finish(report);
        report.bound();
    }
    interfaces
}

/// How often memberships are repeated; `None` when absent, or after a problem.
fn rejoin(table: &mut Table<'_>, membership: Membership, report: &mut Report) -> Option<Duration> {
    let At { value, at } = table.text("rejoin", report)?;
    let every = match humantime::parse_duration(&value) {
        _ if membership != Membership::Join => {
            Err("repeats the reports of membership = \"join\", and this interface joins nothing; leave it out"
                .to_owned())
        }
        Ok(every) if (REJOIN[0]..=REJOIN[1]).contains(&every) => Ok(every),
        Ok(_) => Err(format!("`{}` is not between \"1s\" and \"1h\"; \"30s\" suits most switches", shown(&value))),
        Err(_) => Err(value::negative(&value)
            .unwrap_or_else(|| format!("`{}` is not a duration; write one such as \"30s\"", shown(&value)))),
    };
    report.take(at, &table.key("rejoin"), every)
}

/// One of the words of `T`; `None` when absent, or after a problem.
fn choice<T: ValueEnum>(table: &mut Table<'_>, key: &'static str, report: &mut Report) -> Option<T> {
    let At { value, at } = table.text(key, report)?;
    let choice = T::from_str(&value, false).map_err(|_| {
        let words = T::value_variants().iter().filter_map(T::to_possible_value);
        let words: Vec<String> = words.map(|word| format!("\"{}\"", word.get_name())).collect();
        format!("`{}` is not known; write one of {}", shown(&value), words.join(", "))
    });
    report.take(at, &table.key(key), choice)
}

/// A number from 1 to `most`; `None` for `auto`, when absent, or after a problem.
fn auto_or(table: &mut Table<'_>, key: &'static str, most: i64, report: &mut Report) -> Option<u32> {
    let At { value, at } = table.scalar(key, report)?;
    if value == Scalar::from("auto") {
        return None;
    }
    report.take(at, &table.key(key), value::number(&value, 1, most, "\"auto\" or a number")).map(|number| number as u32)
}
