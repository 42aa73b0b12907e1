//! CSV (RFC 4180): a line for each figure.

use std::fmt::Write;

use crate::results::Results;

/// All figures.
pub fn csv(results: &Results) -> String {
    let mut text =
        "what,contender,streams,outputs,size_bytes,offered_pps,unit,median,least,greatest,sender_limited,runs\r\n"
            .to_owned();
    for (key, figure) in &results.figures {
        let (Some(median), Some((least, greatest))) = (figure.runs.median(), figure.runs.range()) else { continue };
        let runs: Vec<String> = figure.runs.0.iter().map(f64::to_string).collect();
        write!(
            text,
            "{},{},{},{},{},{},{},{median},{least},{greatest},{},{}\r\n",
            name(key.what),
            key.contender.name(),
            key.streams,
            key.outputs,
            key.size,
            key.rate,
            key.what.unit(),
            figure.sender_limited,
            runs.join(" ")
        )
        .expect("a String takes everything");
    }
    text
}

/// A kind's name in files.
pub fn name(what: crate::results::What) -> String {
    serde_json::to_value(what).ok().and_then(|value| value.as_str().map(str::to_owned)).expect("it is a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::about::Machine,
        relay::Contender,
        results::{Key, What},
    };

    #[test]
    fn a_line_has_as_many_fields_as_the_head() {
        let mut results = Results::new("quick", Machine::default(), Vec::new());
        let key = Key::of(What::LatencyP50, Contender::McrEfficient).rate(100);
        for value in [3.5, 1.0, 2.0] {
            results.add(key, value);
        }
        let text = csv(&results);
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines[1], "latency_p50,mcr-efficient,1,1,1024,100,us,2,1,3.5,0,3.5 1 2");
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
    }
}
