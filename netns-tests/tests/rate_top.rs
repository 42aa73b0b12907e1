//! `mcrctl top` on a thousand rules at 150,000 packets a second: no packet is lost, and looking costs little.

use std::{
    fmt,
    process::Command,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use netns_tests::{
    account::trials,
    crossing::Crossing,
    daemon::Daemon,
    deadline::{SOON, until},
    ledger::{self, Deleted},
    needs_root,
    probe::{Load, Share},
    programs, rules,
    terminal::Terminal,
    threads,
    topology::{GEN, Network, Topology},
    watch,
};
use nix::unistd::Pid;

const RULES: u16 = 1_000;
/// The first fifty rules have packets; a sender of hundreds of streams makes a system call for each packet.
const LOAD: Load = Load { first: rules::SENT, streams: 50, rate: 150_000, size: 256, seconds: 20 };
/// While mcrd restarts; it is ended before its time.
const AGAIN: Load = Load { seconds: 60, ..LOAD };
/// How long each share is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// Percent of a core that mcrctl may take, and points that mcrd may take more outside its workers.
const MCRCTL: f64 = 3.0;
const MCRD: f64 = 3.0;

#[test]
fn a_thousand_rules_at_150_000_packets_a_second() -> Result<()> {
    needs_root!();
    trials(trial)
}

/// What disturbed it; nothing where every packet came.
fn trial() -> Result<Vec<String>> {
    let network = Topology::chain(1).build()?;
    let daemon = Daemon::start(network.relay(), &rules::file(&rules::streams(RULES, "v1", "v2")), &[])?;
    let (before, watch) = watch::begin(&network, &daemon, "v1", &["v2"])?;
    let (crossing, mut top, shares, was_loaded) = thread::scope(|scope| -> Result<_> {
        let crossing = scope.spawn(|| Crossing::of_chain(&network, &LOAD));
        until("the streams", SOON, || Ok((daemon.stats()?.totals.sent_packets > 0).then_some(())))?;
        let (top, shares) = look(&daemon)?;
        let was_loaded = daemon.stats()?.totals.matched_packets < LOAD.packets();
        Ok((crossing.join().expect("no panic")?, top, shares, was_loaded))
    })?;
    let stats = daemon.stats_at_rest()?;
    eprintln!("{crossing:?}");
    let mut disturbed = crossing.account(watch, &stats, &LOAD)?.judge()?;
    disturbed.extend((!was_loaded).then(|| "the load ended first".to_owned()));
    ledger::check(&stats, Deleted::None)?;
    ledger::check_frames(&before, &stats)?;
    if !disturbed.is_empty() {
        return Ok(disturbed);
    }
    assert_eq!(stats.totals.sent_packets, LOAD.packets());
    let of_each = LOAD.packets() / u64::from(LOAD.streams);
    let busy = stats.rules.iter().filter(|rule| rule.matched_packets == of_each).count();
    assert_eq!((busy, stats.rules.len()), (LOAD.streams.into(), RULES.into()));
    restart(&network, daemon, &mut top)?;
    top.press("q")?;
    top.ended()?.in_order()?;
    Ok(shares.too_large())
}

/// Parts of a core, in percent, over a time without `top` and one with it.
struct Shares {
    mcrctl: f64,
    mcrd_without: f64,
    mcrd_with: f64,
}

impl Shares {
    /// What is above its limit, in words.
    fn too_large(&self) -> Vec<String> {
        let more = self.mcrd_with - self.mcrd_without;
        let mut words = Vec::new();
        if self.mcrctl >= MCRCTL {
            words.push(format!("mcrctl takes {:.2} % of a core, not under {MCRCTL}", self.mcrctl));
        }
        if more > MCRD {
            words.push(format!("mcrd takes {more:.2} points more with top, not at most {MCRD}"));
        }
        words
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mcrctl, mcrd_without, mcrd_with } = self;
        write!(
            f,
            "of a core: mcrctl {mcrctl:.2} %; mcrd outside its workers {mcrd_without:.2} % without top, {mcrd_with:.2} % with"
        )
    }
}

/// Measures without `top` and with it, and then does with it what users do; nothing else asks the daemon meanwhile.
fn look(daemon: &Daemon) -> Result<(Terminal, Shares)> {
    let [mcrd_without] = taken([daemon.pid()])?;
    let mut command = Command::new(programs::path("mcrctl")?);
    command.arg("--socket").arg(daemon.files().socket()).arg("top");
    let mut top = Terminal::run(&command, (80, 24))?;
    // The busiest first: all lines change each second.
    top.press("ss")?;
    top.until_it_says("s sort: pps")?;
    is_in_flow(&top)?;
    let [mcrctl, mcrd_with] = taken([top.pid(), daemon.pid()])?;
    let shares = Shares { mcrctl, mcrd_without, mcrd_with };
    eprintln!("{shares}");
    use_it(&mut top)?;
    Ok((top, shares))
}

/// The part of a core in percent that each process takes over a while, its workers left out.
fn taken<const N: usize>(processes: [Pid; N]) -> Result<[f64; N]> {
    let begun = Instant::now();
    let before = ran(processes)?;
    sleep(WINDOW);
    let (after, passed) = (ran(processes)?, begun.elapsed());
    Ok(std::array::from_fn(|at| 100.0 * (after[at] - before[at]).as_secs_f64() / passed.as_secs_f64()))
}

fn ran<const N: usize>(processes: [Pid; N]) -> Result<[Duration; N]> {
    let mut times = [Duration::ZERO; N];
    for (time, pid) in times.iter_mut().zip(processes) {
        let all = threads::of(pid)?;
        *time = all.iter().filter(|thread| !thread.name.starts_with("mcr-worker")).map(|thread| thread.ran).sum();
    }
    Ok(times)
}

/// Waits until `top` shows all rules, and packets in full flow, as a running daemon counts them.
fn is_in_flow(top: &Terminal) -> Result<()> {
    let seen = top.until("packets in full flow", |lines| {
        let rate = lines[0].split_once(" pps").and_then(|(before, _)| before.split_whitespace().last());
        let rate = rate.and_then(|rate| rate.replace(',', "").parse::<u64>().ok());
        let is_away = lines.iter().any(|line| line.contains("waiting for mcrd"));
        lines[0].contains(" 1,000 rules") && rate.is_some_and(|rate| rate > LOAD.rate / 3) && !is_away
    });
    seen.map(drop)
}

/// Sorts, filters, opens a rule, and makes the terminal larger and smaller.
fn use_it(top: &mut Terminal) -> Result<()> {
    top.press("sss")?;
    let lines = top.until_it_says("s sort: name")?;
    ensure!(lines[2].starts_with("stream-0 "), "{lines:#?}");
    top.resize(200, 60)?;
    let lines = top.until("more rules", |lines| lines.len() == 60 && lines[58].starts_with("stream-56 "))?;
    ensure!(lines[1].contains("WHY"), "{lines:#?}");
    top.press("/stream-4?\r")?;
    top.until("ten rules", |lines| lines[2].starts_with("stream-40 ") && lines[11].starts_with("stream-49 "))?;
    top.press("G\r")?;
    top.until("the rule's outputs, and what explain says of it", |lines| {
        let has = |text: &str| lines.iter().any(|line| line.contains(text));
        lines[0] == " stream-49" && has("v2 239.10.1.50:6050") && has("nothing is wrong")
    })?;
    top.resize(80, 24)?;
    // A key that comes together with a change of the size is read with the next key only.
    top.until("the page at its new size", |lines| lines.last().is_some_and(|line| line.contains("Esc back")))?;
    top.press("\x1b")?;
    top.until_it_says("s sort: name")?;
    top.press("\x1b")?;
    top.until("all rules", |lines| lines.iter().any(|line| line.starts_with("stream-39 "))).map(drop)
}

/// mcrd is killed and started again while packets come: `top` goes on.
fn restart(network: &Network, daemon: Daemon, top: &mut Terminal) -> Result<()> {
    let _sender = AGAIN.send(network.namespace(GEN), "v0", Share::Many)?;
    is_in_flow(top)?;
    let files = daemon.kill()?;
    top.until_it_says("waiting for mcrd")?;
    let _daemon = Daemon::start_with(files, network.relay(), &[])?;
    is_in_flow(top)
}
