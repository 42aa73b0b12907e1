//! Which charts there are.

use std::collections::BTreeSet;

use anyhow::Result;

use super::chart::{self, Series};
use crate::{
    relay::Contender,
    results::{Key, Results, What},
};

/// A chart.
pub struct Chart {
    /// What it shows, as a file's name.
    pub name: String,
    /// It, as an SVG element.
    pub svg: String,
}

/// All charts that there are figures for.
pub fn charts(results: &Results) -> Result<Vec<Chart>> {
    let mut charts = Vec::new();
    let mut add = |name: String, svg| charts.push(Chart { name, svg });
    let streams: BTreeSet<u32> = results.of(What::Throughput).map(|(key, _)| key.streams).collect();
    for streams in streams.into_iter().rev() {
        let title = format!("Zero-loss throughput, {streams} streams");
        let chart = grouped(results, What::Throughput, &title, |key| {
            (key.streams == streams).then(|| (key.size, format!("{} B", key.size)))
        })?;
        add(format!("throughput-{streams}"), chart);
    }
    if results.of(What::Outputs).next().is_some() {
        let title = "Zero-loss throughput over outputs of one interface, packets out";
        let chart =
            grouped(results, What::Outputs, title, |key| Some((key.outputs, format!("{} outputs", key.outputs))))?;
        add("outputs".into(), chart);
    }
    if results.of(What::Cpu).next().is_some() {
        let title = "CPU of the system over the bare wire, 150,000 packets/s of 1024 B";
        let chart = grouped(results, What::Cpu, title, |key| {
            (key.contender != Contender::Wire).then(|| (0, "50 streams".to_owned()))
        })?;
        add("cpu".into(), chart);
    }
    let rates: BTreeSet<u32> = results.delays.keys().map(|(_, rate)| *rate).collect();
    for rate in rates {
        let of = results.delays.iter().filter(|((_, at), delays)| *at == rate && delays.count() > 0);
        let series: Vec<Series<f64>> = of
            .map(|((contender, _), delays)| {
                let points = delays.curve().into_iter().map(|(ns, part)| (ns as f64 / 1e3, part * 100.0));
                (contender.name().to_owned(), points.collect())
            })
            .collect();
        let title = format!("One-way latency at {rate} packets/s");
        let chart = chart::lines(&title, ("us (logarithmic)", "% of the packets within"), true, &series)?;
        add(format!("latency-{rate}"), chart);
    }
    Ok(charts)
}

/// Bars of medians: `group` says in which group a figure stands, by rank and name, if in any.
fn grouped(
    results: &Results,
    what: What,
    title: &str,
    group: impl Fn(&Key) -> Option<(u32, String)>,
) -> Result<String> {
    let groups: BTreeSet<(u32, String)> = results.of(what).filter_map(|(key, _)| group(key)).collect();
    let groups: Vec<(u32, String)> = groups.into_iter().collect();
    let mut series: Vec<Series<usize>> = Vec::new();
    for (key, figure) in results.of(what) {
        let (Some(group), Some(median)) = (group(key), figure.runs.median()) else { continue };
        let Some(at) = groups.iter().position(|other| *other == group) else { continue };
        let name = key.contender.name();
        match series.iter_mut().find(|(of, _)| of == name) {
            Some((_, points)) => points.push((at, median)),
            None => series.push((name.to_owned(), vec![(at, median)])),
        }
    }
    let names: Vec<String> = groups.into_iter().map(|(_, name)| name).collect();
    chart::bars(title, what.unit(), &names, &series)
}
