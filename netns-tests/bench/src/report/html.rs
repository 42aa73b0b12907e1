//! One page with everything in it, and nothing from elsewhere.

use std::fmt::Write;

use anyhow::Result;

use super::{
    charts::Chart,
    table::{self, Sheet},
};
use crate::results::Results;

const STYLE: &str = "body{font:15px sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.25em .7em;border-bottom:1px solid #ccc;text-align:left}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}.bad{color:#b00;font-weight:bold}";

/// The page.
pub fn page(results: &Results, charts: &[Chart]) -> Result<String> {
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
    for chart in charts {
        page += &chart.svg;
    }
    for sheet in table::sheets(results) {
        page += &html(&sheet);
    }
    page += "</body></html>\n";
    Ok(page)
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
    use crate::{
        load::delays::Delays,
        machine::about::Machine,
        relay::Contender,
        report::charts::charts,
        results::{Entry, Key, What},
    };

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
        let page = page(&results, &charts(&results).unwrap()).unwrap();
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
