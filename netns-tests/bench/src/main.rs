//! The program that `cargo xtask bench` builds and runs as root.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, builder::PossibleValuesParser};
use mcr_bench::{
    interrupt,
    judge::goals,
    machine::{about::Machine, clear, cpu},
    measure::{Bench, MEASURES},
    plan::{FULL, QUICK},
    relay::Contender,
    report::{self, table},
    results::{Entry, Results},
};

/// Measures mcr and what else forwards multicast, side by side.
#[derive(Parser)]
struct Args {
    /// Under three minutes in place of half an hour: fewer sizes, one repeat
    #[arg(long)]
    quick: bool,
    /// Only these contenders; the wire's CPU is measured in any case
    #[arg(long, num_args = 1.., value_parser = PossibleValuesParser::new(Contender::ALL.map(Contender::name)))]
    only: Vec<String>,
    /// Only these measures
    #[arg(long, num_args = 1.., value_parser = PossibleValuesParser::new(MEASURES.map(|(name, _)| name)))]
    measure: Vec<String>,
    /// Where results.json, results.csv, index.html and the charts go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    // `RUST_LOG=mcr_bench=debug` shows each trial.
    env_logger::init();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "network namespaces and BPF programs need root: cargo xtask bench asks for it"
    );
    ensure!(cpu::cpus()? >= 2, "the sender and the forwarder need a CPU each, and there is one");
    interrupt::listen()?;
    let start = Instant::now();
    let (entries, contenders) = contenders(&args.only);
    let plan = if args.quick { QUICK } else { FULL };
    let results = Results::new(plan.extent, Machine::now()?, entries);
    eprint!("{}", table::entries(&results).printed());
    eprintln!("\n{}\n", results.machine.pinning);

    let _cleared = clear::clear(cpu::RELAY);
    let mut bench = Bench { plan, contenders, results, began: start };
    for (name, measure) in MEASURES {
        if args.measure.is_empty() || args.measure.iter().any(|wanted| wanted == name) {
            measure(&mut bench)?;
        }
    }
    let mut results = bench.results;
    results.goals = goals::judge(&results);
    results.seconds = start.elapsed().as_secs_f64();
    show(&results);
    report::write(&results, &args.out).context("writing the results")?;
    println!(
        "\n{:.0} s; results.json, results.csv, index.html and the charts are in {}",
        results.seconds,
        args.out.display()
    );
    // What was left out is said in the results; what broke while it ran is a failure of the run too.
    ensure!(results.failures.is_empty(), "{} of the measurements failed: see above", results.failures.len());
    Ok(())
}

/// Who could take part, with why some do not, and who does.
fn contenders(only: &[String]) -> (Vec<Entry>, Vec<Contender>) {
    let (mut entries, mut contenders) = (Vec::new(), Vec::new());
    for contender in Contender::ALL {
        let wanted = only.is_empty() || only.iter().any(|name| name == contender.name());
        let left_out = if wanted { contender.lacks() } else { Some("not asked for (--only)".into()) };
        let described = if left_out.is_none() { contender.described() } else { String::new() };
        if left_out.is_none() {
            contenders.push(contender);
        }
        entries.push(Entry { name: contender.name(), described, left_out });
    }
    (entries, contenders)
}

fn show(results: &Results) {
    for sheet in table::sheets(results) {
        print!("{}", sheet.printed());
    }
    print!("{}", table::goals(&results.goals).printed());
    for entry in results.entries.iter().filter(|entry| entry.left_out.is_some()) {
        println!("LEFT OUT: {}: {}", entry.name, entry.left_out.as_deref().unwrap_or_default());
    }
    for failure in &results.failures {
        println!("FAILED: {failure}");
    }
}
