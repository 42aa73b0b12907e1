//! The acceptance tool: sends paced, numbered, time-stamped multicast streams, and verifies them at the far end.

use std::{
    io::{self, ErrorKind, Write},
    net::Ipv4Addr,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, Parser, Subcommand, error::ErrorKind as Usage};
use mcr_userspace::probe::{
    iface::Iface,
    pace::Pace,
    payload::{HEADER, OVERHEAD, SEQ_END},
    recv, send,
    summary::RecvSummary,
    target::{Series, targets},
    value::{self, Rate},
};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Sends numbered, time-stamped multicast streams, or receives them and reports loss, duplication, reordering, latency.
#[derive(Parser)]
#[command(name = "mcrprobe", version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send streams at a steady rate; exits 1 when the kernel refused packets
    Send(SendArgs),
    /// Receive streams; says `ready` on stderr once joined; exits 1 when anything was lost, duplicated or foreign
    Recv(RecvArgs),
}

#[derive(Args)]
struct Streams {
    /// Interface to send on, or to join the groups on
    #[arg(long, value_name = "IF")]
    iface: String,
    /// Group of stream 0, and the step to the next stream's (default +1)
    #[arg(long, value_name = "G[+N]")]
    group: Series<Ipv4Addr>,
    /// UDP port of stream 0, and the step to the next stream's (default +1)
    #[arg(long, value_name = "P[+N]")]
    port: Series<u16>,
    /// Send, or join, in this VLAN: by the host's own interface in it, such as eth0.100
    #[arg(long, value_name = "VID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Option<u16>,
    /// Number of streams
    #[arg(long, value_name = "N", default_value_t = 1)]
    streams: u32,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
    /// No line each second on stderr
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Args)]
#[command(group = ArgGroup::new("end").required(true))]
struct SendArgs {
    #[command(flatten)]
    streams: Streams,
    /// Source address; one that is not this machine's needs CAP_NET_ADMIN [default: the interface's]
    #[arg(long, visible_alias = "source-ip", value_name = "A", value_parser = source)]
    source: Option<Ipv4Addr>,
    /// Packets a second over all streams: 3000, 1k, 10M; or bits a second of their frames: 40Mbit. Round robin, in bursts of at most 2 ms
    #[arg(long, value_name = "RATE", value_parser = value::rate)]
    rate: Rate,
    /// Bytes of the Ethernet frame without FCS, from 60 to the interface's MTU + 14
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range((HEADER + OVERHEAD) as i64..))]
    size: u32,
    /// Packets to send over all streams
    #[arg(long, value_name = "N", group = "end", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Time to send for: rate x S packets
    #[arg(long, value_name = "S", group = "end", value_parser = seconds)]
    seconds: Option<f64>,
    /// IPv4 TTL
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..))]
    ttl: u8,
    /// IPv4 DSCP: 0 to 63, or a name such as EF, AF41, CS5
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value::dscp)]
    dscp: u8,
}

#[derive(Args)]
#[command(group = ArgGroup::new("end").required(true).multiple(true))]
struct RecvArgs {
    #[command(flatten)]
    streams: Streams,
    /// Join the groups for this source alone (SSM) [default: any source]
    #[arg(long, value_name = "A", value_parser = source)]
    source: Option<Ipv4Addr>,
    /// End S seconds after the joins
    #[arg(long, value_name = "S", group = "end", value_parser = seconds)]
    seconds: Option<f64>,
    /// Packets sent over all streams: ends when all came, and what lacks at the tail counts as lost.
    /// Alone, also ends after 10 s of silence
    #[arg(long, value_name = "N", group = "end", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after MS milliseconds without a packet; at least 30 s are waited for the first
    #[arg(long, value_name = "MS", group = "end", value_parser = clap::value_parser!(u64).range(1..))]
    idle: Option<u64>,
}

impl Streams {
    /// The interface, or the host's own in the VLAN on it.
    fn interface(&self) -> Result<Iface> {
        let iface = Iface::find(&self.iface)?;
        self.vlan.map_or(Ok(iface.clone()), |vlan| iface.in_vlan(vlan))
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if s > 0.0 && s <= 1e9 => Ok(s),
        _ => Err("not a number of seconds above 0".into()),
    }
}

fn source(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|e| format!("{e}"))?;
    if address.octets()[0] == 0 || address.is_multicast() || address.is_broadcast() {
        return Err("not an address that a packet may come from".into());
    }
    Ok(address)
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if matches!(e.kind(), Usage::DisplayHelp | Usage::DisplayVersion) => {
            return say(&e.render().to_string()).map_or_else(failed, |()| ExitCode::SUCCESS);
        }
        Err(e) => return usage(&first_paragraph(&e.render().to_string())),
    };
    match cli.command {
        Command::Send(args) => run_send(&args),
        Command::Recv(args) => run_recv(&args),
    }
}

fn run_send(args: &SendArgs) -> ExitCode {
    let targets = match targets(args.streams.group, args.streams.port, args.streams.streams) {
        Ok(targets) => targets,
        Err(e) => return usage(&e),
    };
    let rate = args.rate.packets(args.size);
    let total = match (args.count, args.seconds) {
        (Some(count), _) => count,
        (None, seconds) => Pace::total_in(rate, seconds.unwrap_or(0.0)),
    };
    if total == 0 {
        return usage("--rate and --seconds together make no packet");
    }
    if total.div_ceil(targets.len() as u64) > SEQ_END {
        return usage("more than 2^40 packets a stream: the sequence number has no room for it");
    }
    let sent = args.streams.interface().and_then(|iface| {
        let plan = send::Plan {
            iface,
            source: args.source,
            targets,
            pace: Pace::new(rate, total),
            timed: args.count.is_none(),
            frame_size: args.size as usize,
            ttl: args.ttl,
            dscp: args.dscp,
            live: !args.streams.quiet,
        };
        let summary = send::run(&plan, &*stop_flag()?)?;
        report(&summary, args.streams.json)?;
        Ok(summary)
    });
    match sent {
        Err(e) => failed(e),
        Ok(summary) => match summary.last_error {
            Some(error) => failed(anyhow::anyhow!("{} packets were refused, the last with: {error}", summary.errors)),
            None => ExitCode::SUCCESS,
        },
    }
}

fn run_recv(args: &RecvArgs) -> ExitCode {
    let targets = match targets(args.streams.group, args.streams.port, args.streams.streams) {
        Ok(targets) => targets,
        Err(e) => return usage(&e),
    };
    let received = args.streams.interface().and_then(|iface| {
        let plan = recv::Plan {
            iface,
            targets,
            source: args.source,
            live: !args.streams.quiet,
            seconds: args.seconds,
            count: args.count,
            idle_ms: args.idle,
        };
        let summary = recv::run(&plan, &*stop_flag()?, || tell("ready"))?;
        report(&summary, args.streams.json)?;
        Ok(summary)
    });
    match received {
        Err(e) => failed(e),
        Ok(summary) if summary.packets == 0 => failed(nothing_received(&summary, &args.streams.iface)),
        Ok(summary) if summary.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
    }
}

fn nothing_received(summary: &RecvSummary, iface: &str) -> anyhow::Error {
    // the higher of the two counts (Documentation/networking/ip-sysctl.rst)
    let filter = ["all", iface]
        .iter()
        .filter_map(|name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).ok())
        .filter_map(|value| value.trim().parse::<u8>().ok())
        .max();
    let mut text = format!("no packet of a `mcrprobe send` arrived on interface '{iface}'");
    if summary.foreign > 0 {
        text += &format!(", but {} foreign ones did", summary.foreign);
    } else if summary.receiver_dropped > 0 {
        text += &format!(", but {} were dropped at this receiver's sockets", summary.receiver_dropped);
    } else if filter == Some(1) {
        text += "; rp_filter is 1 there, which drops sources that this interface has no route back to";
    }
    anyhow::Error::msg(text)
}

/// Set by the first SIGINT or SIGTERM; a second one ends the process at once.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .context("cannot catch signals")?;
    }
    Ok(stop)
}

fn report(summary: &(impl Serialize + std::fmt::Display), json: bool) -> Result<()> {
    let text = if json { serde_json::to_string(summary)? } else { summary.to_string() };
    say(&format!("{text}\n"))
}

/// Prints; a reader that has gone (`| head`) is no failure.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("cannot print the summary"),
        _ => Ok(()),
    }
}

/// One line on stderr; whether anybody reads it changes nothing.
fn tell(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What clap says before its usage lines, in one line.
fn first_paragraph(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    lines.join(" ")
}

fn usage(text: &str) -> ExitCode {
    tell(&format!("mcrprobe: {text}"));
    ExitCode::from(2)
}

fn failed(error: anyhow::Error) -> ExitCode {
    tell(&format!("mcrprobe: {error:#}"));
    ExitCode::FAILURE
}
