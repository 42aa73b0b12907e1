//! JSON: everything, delays too.

use anyhow::Result;
use serde_json::{Value, json};

use super::csv::name;
use crate::results::Results;

/// Version of the object: changed with the meaning of a field.
const VERSION: u32 = 1;

/// The object, as text.
pub fn json(results: &Results) -> Result<String> {
    let figures: Vec<Value> = results
        .figures
        .iter()
        .map(|(key, figure)| {
            json!({
                "what": name(key.what), "contender": key.contender.name(), "streams": key.streams, "outputs": key.outputs,
                "size_bytes": key.size, "offered_pps": key.rate, "unit": key.what.unit(), "runs": figure.runs.0,
                "median": figure.runs.median(), "least": figure.runs.range().map(|range| range.0),
                "greatest": figure.runs.range().map(|range| range.1), "sender_limited": figure.sender_limited,
            })
        })
        .collect();
    let delays: Vec<Value> = results
        .delays
        .iter()
        .map(|((contender, rate), delays)| {
            let curve: Vec<Value> = delays.curve().into_iter().map(|(ns, part)| json!([ns, part])).collect();
            json!({"contender": contender.name(), "offered_pps": rate, "packets": delays.count(), "ns_and_part": curve})
        })
        .collect();
    let goals: Vec<Value> = results
        .goals
        .iter()
        .map(|goal| {
            json!({
                "figure": goal.figure, "bound": goal.bound, "unit": goal.unit, "measured": goal.measured,
                "met": goal.is_met(),
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({
        "version": VERSION, "extent": results.extent, "seconds": results.seconds, "machine": results.machine,
        "contenders": results.entries, "figures": figures, "delays": delays, "failures": results.failures, "goals": goals,
    }))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::delays::Delays,
        machine::about::Machine,
        relay::Contender,
        results::{Entry, Key, What},
    };

    #[test]
    fn what_was_found_and_what_was_left_out_is_in_it() {
        let entry = Entry { name: "testpmd", described: "DPDK".into(), left_out: Some("no packages".into()) };
        let mut results = Results::new("quick", Machine::default(), vec![entry]);
        results.add(Key::of(What::Cpu, Contender::Socat), 12.0);
        results.delays.insert((Contender::Wire, 100), Delays::of([0, 3, 1]));
        results.goals = crate::judge::goals::judge(&results);
        let value: Value = serde_json::from_str(&json(&results).unwrap()).unwrap();
        assert_eq!(value["contenders"][0]["left_out"], "no packages");
        assert_eq!((&value["figures"][0]["median"], &value["figures"][0]["unit"]), (&json!(12.0), &json!("us/packet")));
        assert_eq!(value["delays"][0]["ns_and_part"], json!([[1, 0.75], [2, 1.0]]));
        assert_eq!(value["goals"][0]["met"], Value::Null);
    }
}
