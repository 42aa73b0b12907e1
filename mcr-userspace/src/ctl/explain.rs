//! `mcrctl explain` and `mcrctl unmatched`: arguments, and answers as a person reads them.

use std::{
    io::{self, Write},
    net::Ipv4Addr,
    path::Path,
};

use clap::Args;

use super::{run::Failure, show::table};
use crate::{
    control::protocol::{
        CheckResult, ErrorCode, ExplainedOutput, PacketExplained, PacketSpec, Request, Response, RuleExplained,
        RuleFinding, Unmatched, UnmatchedFlow, default_seconds, default_size, default_ttl,
    },
    doctor,
    rules::value,
};

/// The arguments of both forms.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The rule
    #[arg(conflicts_with_all = ["interface", "source", "group", "port", "vlan", "ttl", "size"], required_unless_present = "interface")]
    pub(super) name: Option<String>,
    /// Watch packets for so many seconds where counters alone do not tell
    #[arg(long, value_name = "N", default_value_t = default_seconds())]
    seconds: u32,
    /// A packet that comes in on this interface; it is not sent
    #[arg(long = "in", value_name = "IF", requires_all = ["source", "group", "port"])]
    interface: Option<String>,
    /// Its source address
    #[arg(long, value_name = "S", value_parser = value::address)]
    source: Option<Ipv4Addr>,
    /// Its group
    #[arg(long, value_name = "G", value_parser = value::address)]
    group: Option<Ipv4Addr>,
    /// Its UDP destination port
    #[arg(long, value_name = "P", value_parser = port)]
    port: Option<u16>,
    /// VLAN ID of its tag [default: untagged]
    #[arg(long, value_name = "V", value_parser = vlan)]
    vlan: Option<u16>,
    /// Its TTL
    #[arg(long, value_name = "N", default_value_t = default_ttl())]
    ttl: u8,
    /// Bytes of its frame, Ethernet header and tag included, without FCS
    #[arg(long, value_name = "N", default_value_t = default_size())]
    size: u32,
}

fn port(text: &str) -> Result<u16, String> {
    value::port(&text.into())
}

/// A packet may have any tag, also those of no VLAN: 0 and 4095.
fn vlan(text: &str) -> Result<u16, String> {
    value::number(&text.into(), 0, 4095, "a VLAN ID").map(|id| id as u16)
}

impl ExplainArgs {
    /// What is asked for.
    pub(super) fn request(&self) -> Result<Request, Failure> {
        let Self { name, seconds, interface, source, group, port, vlan, ttl, size } = self;
        match (name, interface, source, group, port) {
            (Some(name), ..) => Ok(Request::ExplainRule { name: name.clone(), seconds: *seconds }),
            (None, Some(interface), Some(source), Some(group), Some(port)) => Ok(Request::ExplainPacket {
                packet: PacketSpec {
                    interface: interface.clone(),
                    source: *source,
                    group: *group,
                    port: *port,
                    vlan: *vlan,
                    ttl: *ttl,
                    size: *size,
                },
            }),
            // clap lets nothing else through.
            _ => {
                let line = "mcrctl: name a rule, or a packet: --in IF --source S --group G --port P";
                Err(Failure::Refused(ErrorCode::Invalid, vec![line.to_owned()]))
            }
        }
    }
}

/// The answer to `request`. That of a rule has what only this process can see, too: the host's firewall, and who asks for its memberships.
pub(super) fn answer(
    request: &Request,
    socket: &Path,
    mut ask: impl FnMut(&Request) -> Result<Response, Failure>,
) -> Result<Response, Failure> {
    let mut response = ask(request)?;
    if let Response::RuleExplained(explained) = &mut response
        && let Response::Rule(rule) = ask(&Request::RuleShow { name: explained.rule.clone() })?
    {
        complete(explained, &rule.matcher.interface, socket);
    }
    Ok(response)
}

fn complete(explained: &mut RuleExplained, interface: &str, socket: &Path) {
    let is_silent = explained.silent;
    merge(&mut explained.findings, doctor::hearing(interface, socket, is_silent), is_silent);
}

/// Puts findings of this process among the daemon's. Of one check, this process knows more.
fn merge(findings: &mut Vec<RuleFinding>, more: Vec<RuleFinding>, is_silent: bool) {
    findings.retain(|finding| !more.iter().any(|better| better.check == finding.check));
    let (problems, fine): (Vec<_>, Vec<_>) = more.into_iter().partition(RuleFinding::is_problem);
    // Nobody is asked: that is why nothing arrives. Where packets do arrive, it is what will go wrong next.
    let silence = |finding: &RuleFinding| !finding.is_problem() || is_silent && finding.check == "arrival";
    let at = findings.iter().position(silence).unwrap_or(findings.len());
    findings.splice(at..at, problems);
    findings.extend(fine);
}

/// The cause and its fix in the first line; then each check.
pub(super) fn rule_text(explained: &RuleExplained, out: &mut dyn Write) -> io::Result<()> {
    let RuleExplained { rule, state, findings, .. } = explained;
    match findings.first().filter(|first| first.result == CheckResult::Problem) {
        Some(first) => {
            let fix = first.fix.as_ref().map(|fix| format!("; fix: {fix}")).unwrap_or_default();
            writeln!(out, "{rule} is {state}: {}{fix}\n", first.text)?;
        }
        None => writeln!(out, "{rule} is {state}: nothing is wrong\n")?,
    }
    let width = |of: fn(&RuleFinding) -> usize| findings.iter().map(of).max().unwrap_or(0);
    let (check_width, place_width) = (width(|finding| finding.check.len()), width(|finding| finding.place.len()));
    for RuleFinding { check, place, result, text, fix } in findings {
        let result = match result {
            CheckResult::Ok => "ok",
            CheckResult::Problem => "problem",
        };
        writeln!(out, "{result:<7}  {check:<check_width$}  {place:<place_width$}  {text}")?;
        if let Some(fix) = fix {
            writeln!(out, "         fix: {fix}")?;
        }
    }
    Ok(())
}

/// Which rule takes it, what leaves, and which rules are near.
pub(super) fn packet_text(explained: &PacketExplained, out: &mut dyn Write) -> io::Result<()> {
    match &explained.rule {
        Some(rule) => writeln!(out, "rule {rule} matches")?,
        None => writeln!(out, "no rule matches")?,
    }
    for output in &explained.outputs {
        match output {
            ExplainedOutput::Sent { interface, vlan, source, group, port, ttl, bytes } => {
                let tag = vlan.map_or("untagged".to_owned(), |vlan| format!("VLAN {vlan}"));
                writeln!(out, "  sent on {interface}: {source} to {group}:{port}, {tag}, TTL {ttl}, {bytes} bytes")?;
            }
            ExplainedOutput::Dropped { interface, drop } => writeln!(out, "  not sent on {interface}: {drop}")?,
        }
    }
    explained.near.iter().try_for_each(|near| writeln!(out, "near: {}", near.text))?;
    explained.reason.iter().try_for_each(|reason| writeln!(out, "{reason}"))
}

/// A line a flow.
pub(super) fn unmatched_text(unmatched: &Unmatched, out: &mut dyn Write) -> io::Result<()> {
    let seconds = u64::from(unmatched.seconds.max(1));
    if unmatched.flows.is_empty() {
        return writeln!(out, "no multicast arrived within {seconds} s that no rule matches");
    }
    let mut columns = vec!["INTERFACE", "VLAN", "SOURCE", "GROUP:PORT", "PPS", "NEAREST RULE"];
    // What no rule can match as it comes, and why: mostly there is none.
    let has_reasons = unmatched.flows.iter().any(|flow| flow.reason.is_some());
    if has_reasons {
        columns.push("WHY");
    }
    let rows = unmatched.flows.iter().map(|flow| {
        let port = flow.port.map_or("fragments".to_owned(), |port| port.to_string());
        let mut row = vec![
            flow.interface.clone(),
            tags(flow),
            flow.source.to_string(),
            format!("{}:{port}", flow.group),
            flow.packets.div_ceil(seconds).to_string(),
            flow.near.clone().unwrap_or_else(|| "-".to_owned()),
        ];
        row.extend(has_reasons.then(|| flow.reason.clone().unwrap_or_else(|| "-".to_owned())));
        row
    });
    writeln!(out, "{}", table(&columns, &["PPS"], rows))
}

/// `6, 5` of two tags.
fn tags(flow: &UnmatchedFlow) -> String {
    let ids = [flow.vlan, flow.inner_vlan].into_iter().flatten().map(|vlan| vlan.to_string());
    let ids: Vec<String> = ids.collect();
    if ids.is_empty() { "-".to_owned() } else { ids.join(", ") }
}
