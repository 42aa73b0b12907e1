//! One page with everything in it, and nothing from elsewhere.

use std::{collections::BTreeSet, fmt::Write};

use anyhow::Result;

use super::{
    chart::{self, Series},
    table::{self, Sheet},
};
use crate::{
    relay::Contender,
    results::{Key, Results, What},
};

const STYLE: &str = "body{font:15px sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.25em .7em;border-bottom:1px solid #ccc;text-align:left}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}.bad{color:#b00;font-weight:bold}";

/// The page.
pub fn page(results: &Results) -> Result<String> {
    let machine = &results.machine;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mcr bench</title>\n\
         <style>{STYLE}</style></head><body>\n\
         <h1>mcr bench</h1>\n<p>A {} run of {:.0} s, begun {} UTC, commit {}. \
         {}, {} CPUs ({}), {} MiB; Linux {}; load before: {}.</p>\n\
         <p>{}.</p>\n<p>Ratios within one run are what counts; spread is half of greatest minus least.</p>\n",
        results.extent,
        results.seconds,
        escaped(&machine.began),
        escaped(&machine.commit),
        escaped(&machine.system),
        machine.cpus,
        escaped(&machine.cpu),
        machine.memory_mib,
        escaped(&machine.kernel),
        escaped(&machine.load),
        escaped(&machine.pinning)
    );
    for failure in &results.failures {
        writeln!(page, "<p class=\"bad\">FAILED: {}</p>", escaped(failure))?;
    }
    page += &html(&table::goals(&results.goals));
    page += &html(&table::entries(results));
    for svg in charts(results)? {
        page += &svg;
    }
    for sheet in table::sheets(results) {
        page += &html(&sheet);
    }
    page += "</body></html>\n";
    Ok(page)
}

fn charts(results: &Results) -> Result<Vec<String>> {
    let mut charts = Vec::new();
    let streams: BTreeSet<u32> = results.of(What::Throughput).map(|(key, _)| key.streams).collect();
    for streams in streams.into_iter().rev() {
        let title = format!("Zero-loss throughput, {streams} streams");
        charts.push(grouped(results, What::Throughput, &title, |key| {
            (key.streams == streams).then(|| (key.size, format!("{} B", key.size)))
        })?);
    }
    if results.of(What::Outputs).next().is_some() {
        let title = "Zero-loss throughput over outputs of one interface, packets out";
        charts.push(grouped(results, What::Outputs, title, |key| {
            Some((key.outputs, format!("{} outputs", key.outputs)))
        })?);
    }
    if results.of(What::Cpu).next().is_some() {
        let title = "CPU of the system over the bare wire, 150,000 packets/s of 1024 B";
        charts.push(grouped(results, What::Cpu, title, |key| {
            (key.contender != Contender::Wire).then(|| (0, "50 streams".to_owned()))
        })?);
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
        charts.push(chart::lines(&title, ("us (logarithmic)", "% of the packets within"), true, &series)?);
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

fn html(sheet: &Sheet) -> String {
    let row = |tag: &str, cells: &[String]| {
        let cells = cells.iter().map(|cell| {
            let class = match cell.as_str() {
                "NOT MET" => " class=\"bad\"",
                text if text.starts_with("LEFT OUT") => " class=\"bad\"",
                text if text.starts_with(|c: char| c.is_ascii_digit()) => " class=\"n\"",
                _ => "",
            };
            format!("<{tag}{class}>{}</{tag}>", escaped(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = sheet.rows.iter().map(|cells| row("td", cells)).collect();
    format!("<h2>{}</h2>\n<table>\n{}{rows}</table>\n", escaped(&sheet.title), row("th", &sheet.head))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::delays::Delays, machine::about::Machine, results::Entry};

    #[test]
    fn all_is_on_the_page_and_nothing_comes_from_elsewhere() {
        let entry = Entry { name: "testpmd", described: "DPDK".into(), left_out: Some("no <packages>".into()) };
        let mut results = Results::new("quick", Machine::default(), vec![entry]);
        for contender in [Contender::Wire, Contender::McrEfficient] {
            results.add(Key::of(What::Throughput, contender).streams(50).size(64), 1e6);
            results.add(Key::of(What::Cpu, contender).streams(50), 1.5);
            results.add(Key::of(What::Outputs, contender).outputs(8), 2e6);
            results.delays.insert((contender, 10_000), Delays::of((0..200).map(|i| i % 7)));
        }
        results.failures.push("cpu: socat: it broke".into());
        results.goals = crate::judge::goals::judge(&results);
        let page = page(&results).unwrap();
        for text in
            ["LEFT OUT: no &lt;packages&gt;", "it broke", "not measured", "mcr-efficient", "One-way latency at 10000"]
        {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        let references = ["src=", "href=", "url(", "@import"];
        assert!(references.iter().all(|reference| !page.contains(reference)));
    }
}
