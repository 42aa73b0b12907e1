//! A first try.
use mcr_bench::*;
fn main() -> anyhow::Result<()> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let contenders: Vec<_> = relay::Contender::ALL.into_iter().filter(|c| only.is_empty() || only.iter().any(|o| o == c.name())).filter(|c| c.lacks().is_none()).collect();
    let results = results::Results::new("quick", machine::about::Machine::now()?, vec![]);
    let mut bench = measure::Bench { plan: plan::QUICK, contenders, results, interrupted: Default::default() };
    let t = std::time::Instant::now();
    measure::throughput::measure(&mut bench)?;
    measure::outputs::measure(&mut bench)?;
    measure::latency::measure(&mut bench)?;
    measure::cpu::measure(&mut bench)?;
    measure::rules::measure(&mut bench)?;
    measure::control::measure(&mut bench)?;
    measure::idle::measure(&mut bench)?;
    measure::overload::measure(&mut bench)?;
    measure::founding::measure(&mut bench)?;
    println!("{:?}", t.elapsed());
    for (k, f) in &bench.results.figures { println!("{:?} {} s{} o{} {}B {} : {:?} {:?}", k.what, k.contender.name(), k.streams, k.outputs, k.size, k.rate, f.runs.0, f.sender_limited); }
    Ok(())
}
